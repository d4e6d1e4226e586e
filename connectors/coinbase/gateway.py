"""Orders out, their answers back: the Coinbase ``VenueGateway``.

Owns the request bytes of orders and when they leave.  ``submit`` encodes and writes in the caller's own call: no task,
no await, no signature.  Cancels are ``cancels``, changes in place ``edits``; what happens to orders after the answer
(fills, unknown outcomes, checks) is ``settle``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import msgspec

from connectors.coinbase.auth import TokenPool
from connectors.coinbase.cancels import CancelQueue
from connectors.coinbase.edits import Edits
from connectors.coinbase.orders import (
    CLOSE_ROUTE,
    ORDERS_ROUTE,
    closes_contracts,
    encode_close,
    encode_order,
    read_order_answer,
    request_head,
)
from connectors.coinbase.settle import Settler
from connectors.coinbase.symbols import is_contract
from connectors.coinbase.tracker import OrderTracker
from connectors.http import OrderWriter
from connectors.ratelimit import TokenBucket
from connectors.verdicts import Verdict
from engine.commands import CancelOrder, NewOrder, NewOrderWithExits, OrderType, ReplaceOrder, TimeInForce
from engine.errors import LocalProtocolError
from engine.events import CancelRejected, InputEvent, OrderOutcomeUnknown, OrderRejected
from engine.ports import Clock, Publish


class GatewayCounters(msgspec.Struct):
    submitted: int = 0
    rejected_locally: int = 0
    rejected: int = 0
    unknown: int = 0


class CoinbaseGateway:
    """Implements ``engine.ports.VenueGateway`` and ``EditingGateway``; see there for the contract."""

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
        hold_s: Callable[[], float] = lambda: 0.0,
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
        self.counters = GatewayCounters()
        self._order_token = tokens.keep(*ORDERS_ROUTE)
        self._contracts = frozenset(name for name, product_id in products.items() if is_contract(product_id))
        if self._contracts:
            self._close_head = request_head(CLOSE_ROUTE, host)
            self._close_token = tokens.keep(*CLOSE_ROUTE)
        # On the path of an order: looked up once.
        self._now_ns = clock.now_ns
        self._fresh_token = tokens.token
        self._answered = self._on_order_answer
        self._lost = self._on_order_unknown
        self.cancels = CancelQueue(
            host=host,
            refuse=self._refuse_cancel,
            clock=clock,
            writer=writer,
            tokens=tokens,
            tracker=tracker,
            settler=settler,
            bucket=bucket,
            hold_s=hold_s,
        )
        self.edits = Edits(
            venue,
            host=host,
            publish=self.publish,
            clock=clock,
            writer=writer,
            tokens=tokens,
            tracker=tracker,
            settler=settler,
            bucket=bucket,
        )

    @property
    def venue(self) -> str:
        return self._venue

    # --- orders -------------------------------------------------------------------------------------------------

    def submit(self, order: NewOrder) -> None:
        now_ns = self._now_ns()
        try:
            product = self._products.get(order.intent.instrument)
            if product is None:
                self._refuse(order, "unknown_instrument", str(order.intent.instrument))
                return
            request = self.encode(order, product)
        except LocalProtocolError as error:
            self._refuse(order, "unsupported", str(error))
            return
        except Exception as error:
            # Whatever stood in its fields: one order that has no bytes must not end what called us.
            self._refuse(order, "unencodable", f"{type(error).__name__}: {error}")
            return
        if not self._bucket.try_take(now_ns):
            self._refuse(order, "rate_limited", "the request budget is used up")
            return
        self._tracker.sent(order.client_order_id, now_ns, order.intent)
        if isinstance(order, NewOrderWithExits):
            self._tracker.attachments.expect(order, product)
        try:
            written = self._writer.try_send(request, partial(self._answered, order), partial(self._lost, order))
        except Exception as error:
            # Part of it may have left: no evidence either way.
            self._on_order_unknown(order, f"send_failed_{type(error).__name__.lower()}")
            return
        if written:
            self.counters.submitted += 1
        else:
            self._bucket.give_back()
            self._tracker.not_sent(order.client_order_id)
            self._refuse(order, "no_connection", "no free connection for orders")

    def encode(self, order: NewOrder, product: str) -> bytes:
        """The whole request, token included.  Raises ``LocalProtocolError`` for an order the venue does not know."""
        head, token = self._order_head, self._order_token
        if self._contracts and order.intent.instrument in self._contracts and closes_contracts(order):
            head, token = self._close_head, self._close_token
            body = encode_close(order, product)
        else:
            body = encode_order(order, product)
        return b"%b%b\r\nContent-Length: %d\r\n\r\n%b" % (
            head,
            self._fresh_token(token),
            len(body),
            body,
        )

    def _refuse(self, order: NewOrder, reason: str, text: str) -> None:
        """Nothing left this machine."""
        self.counters.rejected_locally += 1
        now_ns = self._clock.now_ns()
        plain = text[:200].encode("ascii", "backslashreplace").decode()  # it may quote what could not be encoded
        self.publish(OrderRejected(now_ns, now_ns, self._venue, order.client_order_id, reason, plain))

    def _on_order_answer(self, order: NewOrder, status: int, body: bytes) -> None:
        answer = read_order_answer(status, body)
        now_ns = self._clock.now_ns()
        if status < 300:
            self._bucket.succeeded(now_ns)
        if answer.verdict is Verdict.ACCEPTED:
            self.publish_all(self._tracker.accepted(order.client_order_id, answer.venue_order_id, now_ns))
            if answer.exit_order_id:
                self.publish_all(self._tracker.name_exit(order.client_order_id, answer.exit_order_id, now_ns))
            if order.intent.order_type is OrderType.MARKET or order.intent.time_in_force in _IMMEDIATE:
                # It must end within moments; if the stream does not say so, the listing will.
                self._settler.checks.check_later(order.client_order_id)
            return
        if answer.verdict is Verdict.UNKNOWN:
            self._on_order_unknown(order, answer.reason)
            return
        if answer.reason == "unauthorized":
            self._tokens.discard()
        tracked = self._tracker.get(order.client_order_id)
        if tracked is not None and tracked.accepted:
            # The user stream has shown the order: the refusal contradicts evidence, so the order is looked up.
            self._settler.checks.check_now(order.client_order_id)
            return
        self.counters.rejected += 1
        self._tracker.not_sent(order.client_order_id)
        self.publish(OrderRejected(now_ns, now_ns, self._venue, order.client_order_id, answer.reason, answer.text))

    def _on_order_unknown(self, order: NewOrder, reason: str) -> None:
        tracked = self._tracker.get(order.client_order_id)
        if tracked is not None and tracked.accepted:
            self._settler.checks.check_now(order.client_order_id)
            return
        self.counters.unknown += 1
        now_ns = self._clock.now_ns()
        self._settler.resolve(order.client_order_id, self._products[order.intent.instrument], order.ts_ns, now_ns)
        self.publish(OrderOutcomeUnknown(now_ns, now_ns, self._venue, order.client_order_id, reason))

    # --- cancels ------------------------------------------------------------------------------------------------

    def cancel(self, cancel: CancelOrder) -> None:
        self.cancels.ask(cancel.client_order_id, cancel.venue_order_id)

    def _refuse_cancel(self, client_order_id: str, reason: str) -> None:
        now_ns = self._clock.now_ns()
        self._publish_event(CancelRejected(now_ns, now_ns, self._venue, client_order_id, reason))

    # --- changes in place -----------------------------------------------------------------------------------------

    def replace(self, replace: ReplaceOrder) -> None:
        self.edits.send(replace)

    # --- events of this account ---------------------------------------------------------------------------------

    def publish(self, event: InputEvent) -> None:
        """Every account event passes here, the user stream's too: a cancel may be waiting for what it tells."""
        self._publish_event(event)
        if self.cancels.unaddressed:
            self.cancels.on_event(event)

    def publish_all(self, events: list[InputEvent]) -> None:
        for event in events:
            self.publish(event)

    def stop(self) -> None:
        self.cancels.stop()


_IMMEDIATE = (TimeInForce.IOC, TimeInForce.FOK)
