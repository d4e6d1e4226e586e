"""Coinbase as one object: start it, and facts are published; its gateway takes commands.

Owns the order of a start and of a stop, and the wiring of the connector's parts.  Without a key file it is market-only:
public data, no gateway.
"""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
from collections.abc import Callable, Sequence
from urllib.parse import urlsplit

from connectors import picows_ws, ws
from connectors.coinbase.account import AccountHealth
from connectors.coinbase.auth import Key, TokenPool
from connectors.coinbase.directory import Directory
from connectors.coinbase.feed import CoinbaseFeed, subscription
from connectors.coinbase.gateway import CoinbaseGateway
from connectors.coinbase.history import granularity
from connectors.coinbase.orders import PREFIX
from connectors.coinbase.protocol import CoinbaseMarketProtocol, StreamProtocol
from connectors.coinbase.reconcile import AccountReconciler
from connectors.coinbase.settings import CoinbaseSettings
from connectors.coinbase.settle import Settler
from connectors.coinbase.shadow import CoinbaseShadow
from connectors.coinbase.tracker import OrderTracker
from connectors.coinbase.user_protocol import CoinbaseUserProtocol
from connectors.http import OrderChannel
from connectors.lag import LoopLag
from connectors.ratelimit import TokenBucket
from connectors.reconnect import Backoff
from connectors.rest import RestClient
from engine.carried import CarriedOrder
from engine.errors import VenueError
from engine.instruments import Instrument
from engine.ports import Clock, FeedCounts, Publish

NS_PER_S = 1_000_000_000
TOKEN_REFRESH_S = 5.0
SKEW_EVERY_S = 300.0

_log = logging.getLogger(__name__)


class CoinbaseVenue:
    """The connector.  ``publish`` receives every fact; ``start`` returns when the venue is ready to trade.

    ``history(instrument)`` is asked once the instrument is defined: bar length (ns) and number of finished candles that
    its features want from the past; ``(0, 0)`` for none.  ``lag_ns`` tells how late the event loop is (default: a timer
    of its own).  ``rng`` jitters reconnections.  ``carried`` are orders of an earlier session on the account, which was
    last heard of at ``carried_ns``.
    """

    def __init__(
        self,
        settings: CoinbaseSettings,
        publish: Publish,
        clock: Clock,
        *,
        lag_ns: Callable[[], int] | None = None,
        rng: random.Random | None = None,
        history: Callable[[str], tuple[int, int]] = lambda _instrument: (0, 0),
        carried: Sequence[CarriedOrder] = (),
        carried_ns: int = 0,
    ) -> None:
        """Raises ``ConfigError`` for settings or a key file that cannot work."""
        settings.check()
        self.settings = settings
        self.instruments: dict[str, Instrument] = {}
        """By canonical id; filled by ``start``."""
        self.offset_ns = 0
        """The venue's clock minus ours."""
        self.gateway: CoinbaseGateway | None = None
        self.market_feed: CoinbaseFeed | None = None
        self.user_feed: CoinbaseFeed | None = None
        self.settler: Settler | None = None
        self.channel: OrderChannel | None = None
        self._publish = publish
        self._clock = clock
        self._lag_ns = lag_ns
        self._own_lag: LoopLag | None = None
        self._rng = rng or random.Random()
        self._history = history
        self._carried = carried
        self._carried_ns = carried_ns
        self.reconciler: AccountReconciler | None = None
        self._host = urlsplit(settings.rest_url).netloc
        self._tokens: TokenPool | None = None
        if settings.key_file:
            self._tokens = TokenPool(
                Key.from_file(settings.key_file),
                self._host,
                venue_now_ns=lambda: clock.now_ns() + self.offset_ns,
                nonce=lambda: secrets.token_hex(32),
            )
        self._rest = RestClient(
            settings.rest_url + PREFIX, authorize=self._authorize, timeout_s=settings.rest_timeout_s
        )
        self._directory = Directory(settings, self._rest, clock, private=self._tokens is not None)
        self._housekeeper: asyncio.Task[None] | None = None

    @property
    def name(self) -> str:
        return self.settings.name

    def _authorize(self, method: str, path: str) -> dict[str, str]:
        return {} if self._tokens is None else {"Authorization": f"Bearer {self._tokens.make(method, path)}"}

    # --- start and stop -----------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Clock, instruments, balances, order connections, streams; returns when every stream is confirmed.

        Raises ``VenueError`` with one clear line, and leaves nothing open, when any of them cannot be had.
        """
        try:
            await self._start()
        except BaseException:
            await self.stop()
            raise

    async def _start(self) -> None:
        settings = self.settings
        if self._lag_ns is None:
            self._own_lag = LoopLag(asyncio.get_running_loop())
        await self._rest.start()
        self.offset_ns = await self._directory.clock_offset_ns()
        for event in await self._directory.define():
            self._publish(event)
        self.instruments = self._directory.instruments
        await self._warm_up()
        if self._tokens is not None:
            await self._start_account(self._tokens)
        self.market_feed = self._feed(
            settings.ws_market_url,
            CoinbaseMarketProtocol(settings.name, self._directory.market_products, settings.channels),
            self._publish,
            subscriptions=self._market_subscriptions,
            resync=self._resync_books,
        )
        self.market_feed.start()
        await self.market_feed.wait_up(settings.open_timeout_s + settings.confirm_timeout_s)
        self._housekeeper = asyncio.get_running_loop().create_task(self._keep_house(), name=f"{self.name}-house")

    async def _warm_up(self) -> None:
        """Candles of the past for instruments whose features want them."""
        for instrument in self.instruments:
            interval_ns, bars = self._history(instrument)
            if bars > 0 and granularity(interval_ns):
                now_ns = self._clock.now_ns() + self.offset_ns
                for bar in await self._directory.history(instrument, interval_ns, bars, now_ns):
                    self._publish(bar)

    async def _start_account(self, tokens: TokenPool) -> None:
        """Order connections, the user stream, then the balances: what is filled after their reading is told by a stream
        that is already up, and what was filled before is in them."""
        settings = self.settings
        url = urlsplit(settings.rest_url)
        secure = url.scheme == "https"
        tracker = OrderTracker(self.name, {p: i for i, p in self._directory.products.items()})
        account = AccountHealth(self.name, lambda event: gateway.publish(event), self._clock)
        burst = max(4, int(settings.orders_per_s))
        now_ns = self._clock.now_ns
        bucket = TokenBucket(settings.orders_per_s, burst, reserve=burst // 4, now_ns=now_ns())
        self.channel = OrderChannel(
            url.hostname or "",
            url.port or (443 if secure else 80),
            ssl=ws.default_ssl(settings.rest_url, None),
            backoff=lambda: Backoff(self._rng, base_s=0.1, cap_s=settings.backoff_cap_s, budget_per_minute=30),
            connections=settings.order_connections,
            timeout_s=settings.order_timeout_s,
            open_timeout_s=settings.open_timeout_s,
            warm_request=f"GET {PREFIX}/time HTTP/1.1\r\nHost: {self._host}\r\nUser-Agent: kestrel\r\n\r\n".encode(),
            on_free=self._on_free_connection,
            on_answer=lambda status, retry_after_s: bucket.answered(now_ns(), status, retry_after_s),
        )
        self.settler = Settler(
            self.name,
            rest=self._rest,
            tracker=tracker,
            clock=self._clock,
            emit=lambda events: gateway.publish_all(events),
            account=account,
            venue_offset_ns=lambda: self.offset_ns,
            still_open=lambda client_id, asked_ns: gateway.cancels.still_open(client_id, asked_ns),
            grace_s=settings.unknown_grace_s,
        )
        self.gateway = gateway = CoinbaseGateway(
            self.name,
            host=self._host,
            products=self._directory.products,
            publish=self._publish,
            clock=self._clock,
            writer=self.channel,
            tokens=tokens,
            tracker=tracker,
            settler=self.settler,
            bucket=bucket,
        )
        await self.channel.start()
        self.settler.start()
        settler = self.settler
        self.reconciler = reconciler = AccountReconciler(
            self.name,
            directory=self._directory,
            settler=settler,
            tracker=tracker,
            products=self._directory.products,
            publish=self._publish,
            clock=self._clock,
            venue_offset_ns=lambda: self.offset_ns,
            every_s=settings.reconcile_s,
        )

        def after_batch() -> None:
            settler.wake_for_fills()
            reconciler.look_for_strangers()

        self.user_feed = self._feed(
            settings.ws_user_url,
            CoinbaseUserProtocol(self.name, tracker),
            account.on_stream,
            subscriptions=self._user_subscriptions,
            resync=lambda _handle: reconciler.wake(),
            after_batch=after_batch,
        )
        # Before the stream tells of them: it would take them for somebody else's.
        reconciler.adopt(self._carried, self._carried_ns)
        self.user_feed.start()
        await self.user_feed.wait_up(settings.open_timeout_s + settings.confirm_timeout_s)
        opening = await reconciler.open()
        tracker.open(opening.since_ns, opening.doubtful_ns)
        account.open()
        reconciler.start()

    def confirm(self) -> None:
        """Have the account confirmed soon (``engine.ports.Venue``)."""
        if self.reconciler is not None:
            self.reconciler.wake()

    def _on_free_connection(self) -> None:
        if self.gateway is not None:
            self.gateway.cancels.flush()

    async def stop(self) -> None:
        """Close everything, streams first; safe to call twice and after a failed start."""
        if self._housekeeper is not None:
            self._housekeeper.cancel()
            await asyncio.gather(self._housekeeper, return_exceptions=True)
            self._housekeeper = None
        for feed in (self.market_feed, self.user_feed):
            if feed is not None:
                await feed.stop()
        if self.reconciler is not None:
            await self.reconciler.stop()
        if self.settler is not None:
            await self.settler.stop()
        if self.gateway is not None:
            self.gateway.stop()
        if self.channel is not None:
            await self.channel.stop()
        await self._rest.stop()
        if self._own_lag is not None:
            self._own_lag.stop()
            self._own_lag = None

    def shadow(self) -> CoinbaseShadow | None:
        """The wire half for shadow ticks; None without order entry or before ``start``."""
        if self.gateway is None:
            return None
        labels = {i: label for label, ids in self._directory.market_products.items() for i in ids}
        return CoinbaseShadow(self.name, labels, self.gateway)

    def counts(self) -> FeedCounts:
        feeds = [feed for feed in (self.market_feed, self.user_feed) if feed is not None]
        return FeedCounts(
            conflated=sum(feed.conflated for feed in feeds),
            reconnects=sum(max(feed.connections - 1, 0) for feed in feeds),
        )

    def queue_depths(self) -> dict[str, int]:
        """Cancels that have not left, and orders and cancels that wait for their answer."""
        gateway, channel = self.gateway, self.channel
        return {
            "cancels": 0 if gateway is None else len(gateway.cancels),
            "requests": 0 if channel is None else channel.open - channel.free,
        }

    # --- wiring -------------------------------------------------------------------------------------------------

    def _feed(
        self,
        url: str,
        protocol: StreamProtocol,
        publish: Publish,
        *,
        subscriptions: Callable[[], Sequence[bytes]],
        resync: Callable[[ws.WsHandle], None],
        after_batch: Callable[[], None] | None = None,
    ) -> CoinbaseFeed:
        settings = self.settings
        lag_ns = self._lag_ns or self._own_lag
        assert lag_ns is not None
        return CoinbaseFeed(
            url,
            protocol,
            subscriptions=subscriptions,
            publish=publish,
            clock=self._clock,
            connect=picows_ws.connect if settings.transport == "picows" else ws.connect,
            backoff=Backoff(self._rng, base_s=settings.backoff_base_s, cap_s=settings.backoff_cap_s),
            lag_ns=lag_ns,
            options=ws.WsOptions(open_timeout_s=settings.open_timeout_s),
            conflate_lag_ns=int(settings.conflate_lag_ms * 1e6),
            confirm_timeout_s=settings.confirm_timeout_s,
            silence_timeout_s=settings.silence_timeout_s,
            resync=resync,
            after_batch=after_batch,
        )

    def _market_subscriptions(self) -> list[bytes]:
        products = list(self._directory.market_products)
        return [
            subscription("subscribe", channel, () if channel in ("heartbeats", "status") else products)
            for channel in self.settings.channels
        ]

    def _resync_books(self, handle: ws.WsHandle) -> None:
        """A new subscription begins with a snapshot (venue's level2 rule)."""
        products = list(self._directory.market_products)
        handle.send(subscription("unsubscribe", "level2", products))
        handle.send(subscription("subscribe", "level2", products))

    def _user_subscriptions(self) -> list[bytes]:
        tokens = self._tokens
        assert tokens is not None
        if self.reconciler is not None and self.user_feed is not None and self.user_feed.connections > 1:
            # What was told while we were away is read by REST; the snapshot lists open orders only.
            self.reconciler.wake()
        return [
            subscription("subscribe", "heartbeats", (), tokens.make_stream()),
            subscription("subscribe", "user", (), tokens.make_stream()),
        ]

    async def _keep_house(self) -> None:
        """Tokens made ahead, and the clock offset every few minutes.  A failed question keeps the last answer."""
        loop = asyncio.get_running_loop()
        next_skew_s = loop.time() + SKEW_EVERY_S
        while True:
            await asyncio.sleep(TOKEN_REFRESH_S)
            try:
                if self._tokens is not None:
                    self._tokens.refresh()
                if loop.time() >= next_skew_s:
                    next_skew_s = loop.time() + SKEW_EVERY_S
                    self.offset_ns = await self._directory.clock_offset_ns()
            except VenueError as error:
                _log.warning("%s: %s", self.name, error)
            except Exception:
                _log.exception("%s: housekeeping failed; it goes on", self.name)
