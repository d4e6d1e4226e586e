"""Coinbase as one object: start it, and facts are published; its gateway takes commands.

Owns the order of a start and of a stop, public data and the clocks.  Orders and the account are
``connectors.coinbase.trading``'s; without a key file it is market-only: public data, no gateway.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import secrets
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from urllib.parse import urlsplit

from connectors import picows_ws, ws
from connectors.coinbase.access import KeyAccess
from connectors.coinbase.auth import Key, TokenPool
from connectors.coinbase.directory import Directory
from connectors.coinbase.feed import CoinbaseFeed, subscription
from connectors.coinbase.gateway import CoinbaseGateway
from connectors.coinbase.history import granularity
from connectors.coinbase.orders import PREFIX
from connectors.coinbase.previews import Preview
from connectors.coinbase.products import ProductWatch
from connectors.coinbase.protocol import CoinbaseMarketProtocol, StreamProtocol
from connectors.coinbase.settings import CoinbaseSettings
from connectors.coinbase.shadow import CoinbaseShadow
from connectors.coinbase.trading import Trading
from connectors.lag import LoopLag
from connectors.reconnect import Backoff
from connectors.rest import RestClient
from engine.carried import CarriedOrder
from engine.commands import OrderIntent
from engine.errors import VenueError, WrongAccount
from engine.events import InputEvent, InstrumentStatus
from engine.instruments import Instrument
from engine.ports import Clock, FeedCounts, Publish

NS_PER_S = 1_000_000_000
TOKEN_REFRESH_S = 5.0
SKEW_EVERY_S = 300.0
MINUTE_NS = 60 * NS_PER_S
LOOK_BACK_BARS = 300
"""Of a minute: a market that has not traded for longer says nothing of its price now."""

_log = logging.getLogger(__name__)


class CoinbaseVenue:
    """The connector.  ``publish`` receives every fact; ``start`` returns when the venue is ready to trade.

    ``history(instrument)`` is asked once the instrument is defined: bar length (ns) and number of finished candles that
    its features want from the past; ``(0, 0)`` for none.  ``lag_ns`` tells how late the event loop is (default: a timer
    of its own).  ``rng`` jitters reconnections.  ``carried`` are orders of an earlier session on the account,
    ``carried_balances`` what it held, by currency, ``carried_trades`` the executions that it booked last
    (``venue|id``).  ``identify`` is told the venue's id of the portfolio before the account is touched, and may refuse
    it.  ``rival(client_order_id)`` names the session of another daemon that sent an order, empty for any other order;
    an account on which one has orders open is refused at the start, and told of later.
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
        carried_balances: Mapping[str, Decimal] | None = None,
        carried_trades: Sequence[str] = (),
        identify: Callable[[str], None] | None = None,
        rival: Callable[[str], str] = lambda _client_order_id: "",
    ) -> None:
        """Raises ``ConfigError`` for settings or a key file that cannot work."""
        settings.check()
        self.settings = settings
        self.instruments: dict[str, Instrument] = {}
        """By canonical id; filled by ``start``."""
        self.offset_ns = 0
        """The venue's clock minus ours."""
        self.market_feed: CoinbaseFeed | None = None
        self.trading: Trading | None = None
        """With a key, from its start on."""
        self._publish = publish
        self._clock = clock
        self._lag_ns = lag_ns
        self._own_lag: LoopLag | None = None
        self._rng = rng or random.Random()
        self._history = history
        self._carried = carried
        self._carried_balances = carried_balances or {}
        self._carried_trades = carried_trades
        self._identify = identify
        self._rival = rival
        self._host = urlsplit(settings.rest_url).netloc
        self._tokens: TokenPool | None = None
        self._key: Key | None = None
        if settings.key_file:
            self._key = Key.from_file(settings.key_file)
            self._tokens = TokenPool(
                self._key,
                self._host,
                venue_now_ns=lambda: clock.now_ns() + self.offset_ns,
                nonce=lambda: secrets.token_hex(32),
            )
        self._rest = RestClient(
            settings.rest_url + PREFIX,
            authorize=self._authorize,
            timeout_s=settings.rest_timeout_s,
            route=settings.route,
        )
        self.access: KeyAccess | None = None
        if self._tokens is not None:
            self.access = KeyAccess(
                self.name,
                self._rest,
                publish,
                clock,
                confirm=self.confirm,
                fresh_tokens=self._tokens.discard,
                restored=self._flush_cancels,
            )
        self._directory = Directory(settings, self.access or self._rest, clock, private=self._tokens is not None)
        self.products = ProductWatch(self._directory, publish, clock, every_s=settings.products_s, confirm=self.confirm)
        self._housekeeper: asyncio.Task[None] | None = None
        self._clock_doubtful = asyncio.Event()

    @property
    def name(self) -> str:
        return self.settings.name

    @property
    def gateway(self) -> CoinbaseGateway | None:
        return None if self.trading is None else self.trading.gateway

    @property
    def permissions(self) -> Mapping[str, bool] | None:
        """What the key may do: ``view``, ``trade``, ``transfer``; None without a key, and before the venue told."""
        return None if self.access is None else self.access.permissions

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
        self._check_money()
        if self.access is not None:
            await self.access.check()
        if self._tokens is not None and self._identify is not None:
            self._identify(await self._directory.portfolio())
        for event in await self._directory.define():
            self._publish(event)
        self.instruments = self._directory.instruments
        await self._warm_up()
        if self._tokens is not None and self.access is not None:
            self.trading = self._make_trading(self._tokens, self.access)
            await self.trading.start(self._carried, self._carried_balances, self._carried_trades)
        self.market_feed = self._feed(
            settings.ws_market_url,
            CoinbaseMarketProtocol(
                settings.name, self._directory.market_products, settings.channels, listed=self._directory.products
            ),
            self._on_market_event if "status" in settings.channels else self._publish,
            subscriptions=self._market_subscriptions,
            resync=self._resync_books,
        )
        self.market_feed.start()
        await self.market_feed.wait_up(settings.open_timeout_s + settings.confirm_timeout_s)
        self.products.start()
        self._housekeeper = asyncio.get_running_loop().create_task(self._keep_house(), name=f"{self.name}-house")

    def _check_money(self) -> None:
        """Before the key is used.  Raises ``WrongAccount`` where server or key are of the other kind of money."""
        wanted, settings = self.settings.money, self.settings
        if not wanted:
            return
        names = {"play": "the built-in exchange", "real": "a real venue"}
        told = "play" if self._directory.is_play_money else "real"
        if told != wanted:
            raise WrongAccount(
                f"{settings.rest_url} is {names[told]}",
                expected=names[wanted],
                do="correct the address: play money and real money are never mixed",
            )
        if self._key is not None and self._key.is_play != (wanted == "play"):
            made = "the built-in exchange" if self._key.is_play else "somebody else than the built-in exchange"
            raise WrongAccount(
                f"the key in {settings.key_file} was made by {made}",
                expected=f"a key of {names[wanted]}",
                do="correct the key file: play money and real money are never mixed",
            )

    async def _warm_up(self) -> None:
        """Candles of the past for instruments whose features want them; of each other one the newest, by which its
        first price is judged."""
        for instrument in self.instruments:
            interval_ns, bars = self._history(instrument)
            now_ns = self._clock.now_ns() + self.offset_ns
            if bars > 0 and granularity(interval_ns):
                for bar in await self._directory.history(instrument, interval_ns, bars, now_ns):
                    self._publish(bar)
                continue
            try:
                newest = await self._directory.history(instrument, MINUTE_NS, LOOK_BACK_BARS, now_ns)
            except VenueError as error:
                _log.warning("%s: no candle to judge the first price by: %s", instrument, error)
                continue
            for bar in newest[-1:]:
                self._publish(bar)

    def _on_market_event(self, event: InputEvent) -> None:
        if type(event) is InstrumentStatus:
            self.products.on_status(event)
        else:
            self._publish(event)

    def renew(self, instrument: str, attempt: int) -> None:
        """Have the book of an instrument told anew: by another subscription, from the second ``attempt`` on by another
        connection (D2)."""
        feed = self.market_feed
        if feed is None or feed.handle is None or not isinstance(feed.protocol, CoinbaseMarketProtocol):
            return
        _log.warning("%s: the book of %s makes no sense, asked for anew (%d)", self.name, instrument, attempt)
        if attempt > 1:
            feed.handle.close(f"the book of {instrument} made no sense")
            return
        label = feed.protocol.label_of(instrument)
        feed.publish_all(feed.protocol.forget_book(label, self._clock.now_ns()))
        self._resync_books(feed.handle, (label,))

    async def preview(self, intent: OrderIntent) -> Preview:
        """What this order would cost now, and why the venue would not take it; nothing is placed.

        Raises ``VenueError`` where there is no answer, or no key, and ``LocalProtocolError`` for an order that the
        venue does not know.
        """
        if self.trading is None:
            raise VenueError(f"{self.name} previews orders for a key alone", expected="a started session with a key")
        return await self.trading.previews.ask(intent)

    def confirm(self) -> None:
        """Have the account confirmed soon (``engine.ports.Venue``), and the clocks compared: one may have stepped."""
        self._clock_doubtful.set()
        if self.trading is not None:
            self.trading.reconciler.rounds.wake()

    def _flush_cancels(self) -> None:
        if self.trading is not None:
            self.trading.flush_cancels()

    async def stop(self) -> None:
        """Close everything, streams first; safe to call twice and after a failed start."""
        if self._housekeeper is not None:
            self._housekeeper.cancel()
            await asyncio.gather(self._housekeeper, return_exceptions=True)
            self._housekeeper = None
        await self.products.stop()
        if self.access is not None:
            await self.access.stop()
        if self.market_feed is not None:
            await self.market_feed.stop()
        if self.trading is not None:
            await self.trading.stop()
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
        user_feed = None if self.trading is None else self.trading.user_feed
        feeds = [feed for feed in (self.market_feed, user_feed) if feed is not None]
        return FeedCounts(
            conflated=sum(feed.conflated for feed in feeds),
            reconnects=sum(max(feed.connections - 1, 0) for feed in feeds),
            duplicate_fills=0 if self.trading is None else self.trading.tracker.duplicate_fills,
        )

    def queue_depths(self) -> dict[str, int]:
        """Cancels that have not left, and orders and cancels that wait for their answer."""
        return {"cancels": 0, "requests": 0} if self.trading is None else self.trading.queue_depths()

    # --- wiring -------------------------------------------------------------------------------------------------

    def _make_trading(self, tokens: TokenPool, access: KeyAccess) -> Trading:
        return Trading(
            self.settings,
            access=access,
            tokens=tokens,
            directory=self._directory,
            products=self.products,
            publish=self._publish,
            clock=self._clock,
            rng=self._rng,
            feed=self._feed,
            venue_offset_ns=lambda: self.offset_ns,
            confirm=self.confirm,
            rival=self._rival,
        )

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
            options=ws.WsOptions(open_timeout_s=settings.open_timeout_s, route=settings.route),
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

    def _resync_books(self, handle: ws.WsHandle, labels: Sequence[str] = ()) -> None:
        """A new subscription begins with a snapshot (venue's level2 rule).  ``labels``: of these products alone."""
        products = list(labels or self._directory.market_products)
        handle.send(subscription("unsubscribe", "level2", products))
        handle.send(subscription("subscribe", "level2", products))

    async def _keep_house(self) -> None:
        """Tokens made ahead, and the clock offset every few minutes.  A failed question keeps the last answer.

        While it runs an offset has no limit: a machine that slept has a clock that is behind by that much, and tokens
        made by it would lock the account out, cancels included.  Quotes from the future are no reason to enter.
        """
        loop = asyncio.get_running_loop()
        next_skew_s = loop.time() + SKEW_EVERY_S
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(TOKEN_REFRESH_S):
                    await self._clock_doubtful.wait()
            if self._clock_doubtful.is_set():
                self._clock_doubtful.clear()
                next_skew_s = 0.0
            try:
                if loop.time() >= next_skew_s:
                    self.offset_ns = await self._directory.clock_offset_ns(limited=False)
                    next_skew_s = loop.time() + SKEW_EVERY_S
                if self._tokens is not None:
                    self._tokens.refresh()
            except VenueError as error:
                _log.warning("%s: %s", self.name, error)
            except Exception:
                _log.exception("%s: housekeeping failed; it goes on", self.name)
