"""Orders out, their answers back: the Coinbase ``VenueGateway``.

Owns the request bytes, what leaves when, and cancels that wait.  ``submit`` encodes and writes in the caller's own
call: no task, no await, no signature.  What happens to orders after the answer (fills, unknown outcomes, checks) is
``settle``.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Mapping
from functools import partial
from typing import Protocol

import msgspec

from connectors.coinbase.auth import TokenPool
from connectors.coinbase.orders import MAX_CANCELS, Verdict, encode_cancels, encode_order, read_order_answer
from connectors.coinbase.settle import Settler
from connectors.coinbase.tracker import OrderTracker
from connectors.coinbase.wire import decode_cancel_answer
from connectors.http import OnDone, OnLost
from connectors.ratelimit import TokenBucket
from engine.commands import CancelOrder, NewOrder, OrderType, TimeInForce
from engine.errors import LocalProtocolError
from engine.events import CancelRejected, InputEvent, OrderAccepted, OrderOutcomeUnknown, OrderRejected
from engine.ports import Clock, Publish

PREFIX = "/api/v3/brokerage"
ORDERS_ROUTE = ("POST", f"{PREFIX}/orders")
CANCEL_ROUTE = ("POST", f"{PREFIX}/orders/batch_cancel")
MAX_WAITING_CANCELS = 1024
"""Cancels that wait for a connection, for the rate limit or for an order id; beyond it a cancel is refused."""
CANCEL_TRIES = 3
"""A cancel may be repeated without harm; after this many failures it is reported and its order is looked up."""
RETRY_DELAY_S = 0.3


class OrderWriter(Protocol):
    """What the gateway needs of ``connectors.http.OrderChannel``."""

    def try_send(self, request: bytes, on_done: OnDone, on_lost: OnLost) -> bool: ...


class GatewayCounters(msgspec.Struct):
    submitted: int = 0
    rejected_locally: int = 0
    rejected: int = 0
    unknown: int = 0
    cancels: int = 0
    cancel_retries: int = 0


def request_head(route: tuple[str, str], host: str, user_agent: str = "kestrel") -> bytes:
    """The constant part of a request, up to and including ``Bearer ``."""
    method, path = route
    return (
        f"{method} {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: {user_agent}\r\nAccept: application/json\r\n"
        f"Content-Type: application/json\r\nAuthorization: Bearer "
    ).encode()


class CoinbaseGateway:
    """Implements ``engine.ports.VenueGateway``; see there for the contract."""

    def __init__(
        self,
        venue: str,
        *,
        host: str,
        products: Mapping[str, str],
        publish: Publish,
        clock: Clock,
        writer: OrderWriter,
        tokens: TokenPool,
        tracker: OrderTracker,
        settler: Settler,
        bucket: TokenBucket,
    ) -> None:
        """``products`` maps canonical instruments to product ids; ``host`` is ``HOST[:PORT]`` as in the request."""
        self._venue = venue
        self._products = dict(products)
        self._publish_event = publish
        self._clock = clock
        self._writer = writer
        self._tokens = tokens
        self._tracker = tracker
        self._settler = settler
        self._bucket = bucket
        self._order_head = request_head(ORDERS_ROUTE, host)
        self._cancel_head = request_head(CANCEL_ROUTE, host)
        self._waiting: OrderedDict[str, tuple[str, int]] = OrderedDict()
        self._unaddressed: dict[str, None] = {}
        self._flush_timer: asyncio.TimerHandle | None = None
        self.counters = GatewayCounters()
        self._order_token = tokens.keep(*ORDERS_ROUTE)
        self._cancel_token = tokens.keep(*CANCEL_ROUTE)
        # On the path of an order: looked up once.
        self._now_ns = clock.now_ns
        self._fresh_token = tokens.token
        self._answered = self._on_order_answer
        self._lost = self._on_order_unknown

    @property
    def venue(self) -> str:
        return self._venue

    @property
    def waiting_cancels(self) -> int:
        return len(self._waiting) + len(self._unaddressed)

    # --- orders -------------------------------------------------------------------------------------------------

    def submit(self, order: NewOrder) -> None:
        now_ns = self._now_ns()
        product = self._products.get(order.intent.instrument)
        if product is None:
            self._refuse(order, "unknown_instrument", order.intent.instrument)
            return
        try:
            request = self.encode(order, product)
        except LocalProtocolError as error:
            self._refuse(order, "unsupported", str(error))
            return
        if not self._bucket.try_take(now_ns):
            self._refuse(order, "rate_limited", "the request budget is used up")
            return
        self._tracker.sent(order.client_order_id, now_ns)
        if self._writer.try_send(request, partial(self._answered, order), partial(self._lost, order)):
            self.counters.submitted += 1
        else:
            self._bucket.give_back()
            self._tracker.not_sent(order.client_order_id)
            self._refuse(order, "no_connection", "no free connection for orders")

    def encode(self, order: NewOrder, product: str) -> bytes:
        """The whole request, token included.  Raises ``LocalProtocolError`` for an order the venue does not know."""
        body = encode_order(order, product)
        return b"%b%b\r\nContent-Length: %d\r\n\r\n%b" % (
            self._order_head,
            self._fresh_token(self._order_token),
            len(body),
            body,
        )

    def _refuse(self, order: NewOrder, reason: str, text: str) -> None:
        """Nothing left this machine."""
        self.counters.rejected_locally += 1
        now_ns = self._clock.now_ns()
        self.publish(OrderRejected(now_ns, now_ns, self._venue, order.client_order_id, reason, text))

    def _on_order_answer(self, order: NewOrder, status: int, body: bytes) -> None:
        answer = read_order_answer(status, body)
        now_ns = self._clock.now_ns()
        if answer.verdict is Verdict.ACCEPTED:
            self.publish_all(self._tracker.accepted(order.client_order_id, answer.venue_order_id, now_ns))
            if order.intent.order_type is OrderType.MARKET or order.intent.time_in_force in _IMMEDIATE:
                # It must end within moments; if the stream does not say so, the listing will.
                self._settler.check_later(order.client_order_id)
            return
        if answer.verdict is Verdict.UNKNOWN:
            self._on_order_unknown(order, answer.reason)
            return
        if answer.reason == "unauthorized":
            self._tokens.discard()
        elif answer.reason == "rate_limited":
            self._bucket.pause(now_ns + 1_000_000_000)
        tracked = self._tracker.get(order.client_order_id)
        if tracked is not None and tracked.accepted:
            # The user stream has shown the order: the refusal contradicts evidence, so the order is looked up.
            self._settler.check_now(order.client_order_id)
            return
        self.counters.rejected += 1
        self._tracker.not_sent(order.client_order_id)
        self.publish(OrderRejected(now_ns, now_ns, self._venue, order.client_order_id, answer.reason, answer.text))

    def _on_order_unknown(self, order: NewOrder, reason: str) -> None:
        tracked = self._tracker.get(order.client_order_id)
        if tracked is not None and tracked.accepted:
            self._settler.check_now(order.client_order_id)
            return
        self.counters.unknown += 1
        now_ns = self._clock.now_ns()
        self._settler.resolve(order.client_order_id, self._products[order.intent.instrument], order.ts_ns, now_ns)
        self.publish(OrderOutcomeUnknown(now_ns, now_ns, self._venue, order.client_order_id, reason))

    # --- cancels ------------------------------------------------------------------------------------------------

    def cancel(self, cancel: CancelOrder) -> None:
        client_id = cancel.client_order_id
        tracked = self._tracker.get(client_id)
        venue_id = cancel.venue_order_id or (tracked.venue_order_id if tracked is not None else "")
        if not venue_id and tracked is None:
            self._refuse_cancel(client_id, "unknown_order")
        elif tracked is not None and tracked.closed:
            self._refuse_cancel(client_id, "order_closed")
        elif self.waiting_cancels >= MAX_WAITING_CANCELS:
            self._refuse_cancel(client_id, "too_many_waiting")
        elif not venue_id:
            # There is no cancel by client id: it waits until the venue has told the order's id.
            self._unaddressed[client_id] = None
        else:
            self._waiting.setdefault(venue_id, (client_id, 0))
            self.flush_cancels()

    def flush_cancels(self) -> None:
        """Send what waits, as many in one request as the venue takes.  Also called when a connection became free."""
        while self._waiting:
            now_ns = self._clock.now_ns()
            if not self._bucket.try_take(now_ns, priority=True):
                self._flush_later(self._bucket.wait_ns(now_ns, priority=True) / 1e9)
                return
            batch = dict(list(self._waiting.items())[:MAX_CANCELS])
            body = encode_cancels(list(batch))
            request = b"%b%b\r\nContent-Length: %d\r\n\r\n%b" % (
                self._cancel_head,
                self._fresh_token(self._cancel_token),
                len(body),
                body,
            )

            def done(status: int, answer: bytes, batch: dict[str, tuple[str, int]] = batch) -> None:
                self._on_cancel_answer(batch, status, answer)

            def lost(reason: str, batch: dict[str, tuple[str, int]] = batch) -> None:
                self._retry_cancels(batch, f"outcome_unknown_{reason}")

            if not self._writer.try_send(request, done, lost):
                self._bucket.give_back()
                self._flush_later(RETRY_DELAY_S)
                return
            self.counters.cancels += len(batch)
            for venue_id in batch:
                del self._waiting[venue_id]

    def _flush_later(self, delay_s: float) -> None:
        if self._flush_timer is None:
            self._flush_timer = asyncio.get_running_loop().call_later(delay_s, self._flush_due)

    def _flush_due(self) -> None:
        self._flush_timer = None
        self.flush_cancels()

    def _on_cancel_answer(self, batch: dict[str, tuple[str, int]], status: int, body: bytes) -> None:
        if status == 401:
            self._tokens.discard()
        if status in (401, 408, 429) or status >= 500:
            self._retry_cancels(batch, f"http_{status}")
            return
        results: dict[str, tuple[bool, str]] = {}
        if status == 200:
            try:
                for result in decode_cancel_answer(body).results:
                    results[result.order_id] = (result.success, result.failure_reason)
            except msgspec.DecodeError:
                self._retry_cancels(batch, "unreadable_answer")
                return
        for venue_id, (client_id, _) in batch.items():
            success, reason = results.get(venue_id, (False, f"http_{status}" if status != 200 else "not_answered"))
            if success:
                # An acknowledgement only; the end itself comes on the user stream, or the check finds it.
                self._settler.check_later(client_id)
            else:
                self._refuse_cancel(client_id, reason.lower())
                self._settler.check_now(client_id)

    def _retry_cancels(self, batch: dict[str, tuple[str, int]], reason: str) -> None:
        if reason.endswith("_stopped"):
            return
        for venue_id, (client_id, tries) in batch.items():
            tracked = self._tracker.get(client_id)
            if tracked is not None and tracked.closed:
                continue
            if tries + 1 < CANCEL_TRIES:
                self.counters.cancel_retries += 1
                self._waiting[venue_id] = (client_id, tries + 1)
            else:
                self._refuse_cancel(client_id, reason)
                self._settler.check_now(client_id)
        if self._waiting:
            self._flush_later(RETRY_DELAY_S)

    def _refuse_cancel(self, client_order_id: str, reason: str) -> None:
        now_ns = self._clock.now_ns()
        self._publish_event(CancelRejected(now_ns, now_ns, self._venue, client_order_id, reason))

    # --- events of this account ---------------------------------------------------------------------------------

    def publish(self, event: InputEvent) -> None:
        """Every account event passes here, the user stream's too: a cancel may be waiting for what it tells."""
        self._publish_event(event)
        if not self._unaddressed:
            return
        if type(event) is OrderAccepted and event.client_order_id in self._unaddressed:
            del self._unaddressed[event.client_order_id]
            self._waiting[event.venue_order_id] = (event.client_order_id, 0)
            self.flush_cancels()
        elif type(event) is OrderRejected and event.client_order_id in self._unaddressed:
            del self._unaddressed[event.client_order_id]
            self._refuse_cancel(event.client_order_id, "order_rejected")

    def publish_all(self, events: list[InputEvent]) -> None:
        for event in events:
            self.publish(event)

    def stop(self) -> None:
        if self._flush_timer is not None:
            self._flush_timer.cancel()
            self._flush_timer = None


_IMMEDIATE = (TimeInForce.IOC, TimeInForce.FOK)
