"""What a key opens at Coinbase: order connections, the user stream, the gateway, and what keeps the account true.

Owns how these parts are put together, started and taken apart.  Public data, clocks and products are
``connectors.coinbase.venue``'s.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from urllib.parse import urlsplit

from connectors import ws
from connectors.account_health import AccountHealth
from connectors.coinbase.access import KeyAccess
from connectors.coinbase.auth import TokenPool
from connectors.coinbase.directory import Directory
from connectors.coinbase.feed import CoinbaseFeed, subscription
from connectors.coinbase.gateway import CoinbaseGateway
from connectors.coinbase.margin import MarginWatch
from connectors.coinbase.orders import PREFIX
from connectors.coinbase.previews import Previews
from connectors.coinbase.products import ProductWatch
from connectors.coinbase.reconcile import AccountReconciler
from connectors.coinbase.settings import CoinbaseSettings
from connectors.coinbase.settle import Settler
from connectors.coinbase.tracker import OrderTracker
from connectors.coinbase.user_protocol import MARGIN_CHANNEL, CoinbaseUserProtocol
from connectors.http import OrderChannel
from connectors.ratelimit import TokenBucket
from connectors.reconnect import Backoff
from engine.carried import CarriedOrder
from engine.events import FeedDown, FeedUp, InputEvent
from engine.ports import Clock, Publish


class Trading:
    """Of one start of the venue.  ``feed`` makes a stream as the venue makes its own; ``confirm`` has the account
    confirmed soon.  ``venue_offset_ns`` is the venue's clock minus ours; ``rival`` as for ``AccountReconciler``."""

    def __init__(
        self,
        settings: CoinbaseSettings,
        *,
        access: KeyAccess,
        tokens: TokenPool,
        directory: Directory,
        products: ProductWatch,
        publish: Publish,
        clock: Clock,
        rng: random.Random,
        feed: Callable[..., CoinbaseFeed],
        venue_offset_ns: Callable[[], int],
        confirm: Callable[[], None],
        rival: Callable[[str], str],
    ) -> None:
        name = settings.name
        self._settings = settings
        self._access = access
        self._tokens = tokens
        self._products = products
        self._publish = publish
        self._clock = clock
        self._rng = rng
        self._confirm = confirm
        self.tracker = tracker = OrderTracker(name, {p: i for i, p in directory.products.items()})
        self._account = AccountHealth(name, self._on_account_event, clock)
        burst = max(4, int(settings.orders_per_s))
        bucket = TokenBucket(settings.orders_per_s, burst, reserve=burst // 4, now_ns=clock.now_ns())
        self.channel = self._make_channel(bucket)
        self.settler = Settler(
            name,
            rest=access,
            tracker=tracker,
            clock=clock,
            emit=lambda events: self.gateway.publish_all(events),
            account=self._account,
            venue_offset_ns=venue_offset_ns,
            still_open=lambda client_id, asked_ns: self.gateway.cancels.still_open(client_id, asked_ns),
            grace_s=settings.unknown_grace_s,
        )
        self.gateway = CoinbaseGateway(
            name,
            host=urlsplit(settings.rest_url).netloc,
            products=directory.products,
            publish=self._on_order_event,
            clock=clock,
            writer=self.channel,
            tokens=tokens,
            tracker=tracker,
            settler=self.settler,
            bucket=bucket,
            hold_s=access.hold_s,
        )
        self.previews = Previews(
            host=urlsplit(settings.rest_url).netloc, products=directory.products, writer=self.channel, tokens=tokens
        )
        self.reconciler = AccountReconciler(
            name,
            directory=directory,
            settler=self.settler,
            tracker=tracker,
            products=directory.products,
            publish=publish,
            clock=clock,
            venue_offset_ns=venue_offset_ns,
            every_s=settings.reconcile_s,
            rival=rival,
        )
        self.settler.on_doubt = self.reconciler.rounds.wake
        self._protocol = CoinbaseUserProtocol(name, tracker, contracts=bool(directory.contracts))
        self._margin_watch = MarginWatch(name, self._protocol, self.reconciler) if directory.contracts else None
        self.user_feed = feed(
            settings.ws_user_url,
            self._protocol,
            self._on_stream,
            subscriptions=self._user_subscriptions,
            resync=lambda _handle: self.reconciler.rounds.wake(),
            after_batch=self._after_batch,
        )

    def _make_channel(self, bucket: TokenBucket) -> OrderChannel:
        settings = self._settings
        url = urlsplit(settings.rest_url)
        now_ns = self._clock.now_ns

        def on_answer(status: int, retry_after_s: int) -> None:
            bucket.answered(now_ns(), status, retry_after_s)
            self._access.answered(status)

        return OrderChannel(
            url.hostname or "",
            url.port or (443 if url.scheme == "https" else 80),
            ssl=ws.default_ssl(settings.rest_url, None, settings.route),
            route=settings.route,
            backoff=lambda: Backoff(self._rng, base_s=0.1, cap_s=settings.backoff_cap_s, budget_per_minute=30),
            connections=settings.order_connections,
            timeout_s=settings.order_timeout_s,
            open_timeout_s=settings.open_timeout_s,
            warm_request=f"GET {PREFIX}/time HTTP/1.1\r\nHost: {url.netloc}\r\nUser-Agent: kestrel\r\n\r\n".encode(),
            warm_after_s=settings.order_warm_s,
            on_free=self.flush_cancels,
            on_answer=on_answer,
        )

    # --- start and stop -----------------------------------------------------------------------------------------

    async def start(
        self, carried: Sequence[CarriedOrder], balances: Mapping[str, Decimal], trades: Sequence[str] = ()
    ) -> None:
        """Order connections, the user stream, then the balances: what is filled after their reading is told by a stream
        that is already up, and what was filled before is in them.

        ``carried`` are orders of an earlier session on the account, ``balances`` what it held, by currency,
        ``trades`` the executions that it booked last (``venue|id``).  Raises ``VenueError``; what was started is ended
        by ``stop``.
        """
        settings = self._settings
        await self.channel.start()
        self.settler.start()
        # Before the stream tells of them: it would take them for somebody else's.
        self.reconciler.adopt(carried, balances, trades)
        self.user_feed.start()
        await self.user_feed.wait_up(settings.open_timeout_s + settings.confirm_timeout_s)
        await self.reconciler.open()
        self._account.open()
        self.reconciler.rounds.start()
        self._access.open()

    async def stop(self) -> None:
        """The stream first; also after a start that failed."""
        await self.user_feed.stop()
        if self._margin_watch is not None:
            self._margin_watch.stop()
        await self.reconciler.rounds.stop()
        await self.settler.stop()
        self.gateway.stop()
        await self.channel.stop()

    # --- what is told -------------------------------------------------------------------------------------------

    def _on_order_event(self, event: InputEvent) -> None:
        self._publish(event)
        self._products.on_event(event)

    def _on_account_event(self, event: InputEvent) -> None:
        self.gateway.publish(event)
        if type(event) is FeedUp and self._access.is_open:
            self._confirm()  # entries wait for it (``engine.venues``)

    def _on_stream(self, event: InputEvent) -> None:
        self._account.on_stream(event)
        if type(event) is FeedUp:
            self._access.stream_up()
        elif type(event) is FeedDown:
            self._access.stream_ended(event.reason)

    def _after_batch(self) -> None:
        self.settler.wake_for_fills()
        self.reconciler.look_for_strangers()
        if self._margin_watch is not None:
            self._margin_watch.look()

    # --- what is asked ------------------------------------------------------------------------------------------

    def flush_cancels(self) -> None:
        """A connection is free, or the key is taken again."""
        self.gateway.cancels.flush()

    def queue_depths(self) -> dict[str, int]:
        """Cancels that have not left, and orders and cancels that wait for their answer."""
        return {"cancels": len(self.gateway.cancels), "requests": self.channel.open - self.channel.free}

    def _user_subscriptions(self) -> list[bytes]:
        if self.user_feed.connections > 1:
            # What was told while we were away is read by REST; the snapshot lists open orders only.
            self.reconciler.rounds.wake()
        channels = ["heartbeats", "user"] + ([] if self._margin_watch is None else [MARGIN_CHANNEL])
        return [subscription("subscribe", channel, (), self._tokens.make_stream()) for channel in channels]
