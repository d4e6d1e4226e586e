"""Orders and cancels out, their answers back: the Robinhood ``VenueGateway``.

Owns request bytes, when they leave, and every cancel until it ends in evidence or in a refusal.  ``submit`` encodes,
signs and writes in the caller's own call: a signature is good for seconds and is made for the moment it leaves.  What
happens to an order after its answer is told by ``watch``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from functools import partial

import msgspec

from connectors.http import OrderWriter
from connectors.robinhood import wire
from connectors.robinhood.auth import Key
from connectors.robinhood.budget import Budget
from connectors.robinhood.orders import Answer, encode_order, read_answer, refusal, rule_broken
from connectors.robinhood.tracker import OrderTracker
from connectors.robinhood.watch import NS_PER_S, OrderWatch
from connectors.verdicts import Verdict
from engine.commands import CancelOrder, NewOrder
from engine.errors import LocalProtocolError
from engine.events import CancelRejected, InputEvent, OrderAccepted, OrderOutcomeUnknown, OrderRejected, Side
from engine.instruments import Instrument
from engine.ports import Publish

MAX_WAITING_CANCELS = 1024
"""Cancels on their way, waiting or sent; beyond it a cancel is refused."""
CANCEL_TRIES = 4
"""A cancel may be repeated without harm; after this many failures it is reported and its order is asked about."""
RETRY_DELAY_S = 0.3
NOT_NOW_S = 0.02
"""Until the next try of a cancel that found no connection, or no budget."""
EFFECT_NS = 5 * NS_PER_S
"""An acknowledged cancel has this long to show an effect."""


class Counters(msgspec.Struct):
    submitted: int = 0
    rejected_locally: int = 0
    rejected: int = 0
    unknown: int = 0
    cancels: int = 0
    cancel_retries: int = 0


class RobinhoodGateway:
    """Implements ``engine.ports.VenueGateway``; see there for the contract.

    ``symbols`` maps canonical instruments to the venue's symbols, ``instruments`` to their rules; ``host`` is
    ``HOST[:PORT]`` as in the request.
    ``venue_now_ns`` is our clock corrected to the venue's.  ``sell_only(instrument)`` says why nothing may be bought
    now, empty when it may.
    """

    def __init__(
        self,
        venue: str,
        *,
        host: str,
        symbols: Mapping[str, str],
        instruments: Mapping[str, Instrument],
        key: Key,
        paths: wire.Paths,
        publish: Publish,
        now_ns: Callable[[], int],
        venue_now_ns: Callable[[], int],
        writer: OrderWriter,
        tracker: OrderTracker,
        watch: OrderWatch,
        budget: Budget,
        sell_only: Callable[[str], str] = lambda _instrument: "",
        retry_delay_s: float = RETRY_DELAY_S,
    ) -> None:
        self._venue = venue
        self._host = host
        self._symbols = dict(symbols)
        self._instruments = instruments
        self._key = key
        self._paths = paths
        self._publish_event = publish
        self._now_ns = now_ns
        self._venue_now_ns = venue_now_ns
        self._writer = writer
        self._tracker = tracker
        self._watch = watch
        self._budget = budget
        self._sell_only = sell_only
        self._retry_delay_s = retry_delay_s
        self._with_time_in_force = True
        self.key_refusals = 0
        """Orders in a row that were refused for the key."""
        self._cancels: dict[str, int] = {}
        """Client id -> failures so far, of cancels that are not acknowledged yet."""
        self._unaddressed: dict[str, None] = {}
        """Cancels of orders whose venue id is not known yet: there is no cancel by client id."""
        self._acknowledged: dict[str, int] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._stopped = False
        self.counters = Counters()

    @property
    def venue(self) -> str:
        return self._venue

    def waiting_cancels(self) -> int:
        """Cancels that are not acknowledged."""
        return len(self._cancels) + len(self._unaddressed)

    def stop(self) -> None:
        """Nothing leaves any more; cancels that were not acknowledged are refused with reason ``stopped``."""
        self._stopped = True
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        left = [*self._cancels, *self._unaddressed]
        self._cancels.clear()
        self._unaddressed.clear()
        for client_id in left:
            self._refuse_cancel(client_id, "stopped")

    # --- orders -------------------------------------------------------------------------------------------------------

    def submit(self, order: NewOrder) -> None:
        client_id = order.client_order_id
        try:
            symbol = self._symbols.get(order.intent.instrument)
            if symbol is None:
                self._refuse(client_id, "unknown_instrument", str(order.intent.instrument))
                return
            why = self._sell_only(order.intent.instrument) if order.intent.side is Side.BUY else ""
            if why:
                self._refuse(client_id, "sell_only", why)
                return
            broken = rule_broken(order, self._instruments[order.intent.instrument])
            if broken:
                self._refuse(client_id, *broken)
                return
            request = self.encode(order, symbol)
        except LocalProtocolError as error:
            self._refuse(client_id, "unsupported", str(error))
            return
        except Exception as error:
            # Whatever stood in its fields: one order that has no bytes must not end what called us.
            self._refuse(client_id, "unencodable", f"{type(error).__name__}: {error}")
            return
        if not self._budget.try_ask(self._now_ns()):
            self._refuse(client_id, "rate_limited", "the request budget is used up")
            return
        self._tracker.sent(client_id, order.intent.instrument, self._now_ns())
        try:
            written = self._writer.try_send(request, partial(self._on_answer, order), partial(self._on_lost, order))
        except Exception as error:
            # Part of it may have left: no evidence either way.
            self._on_lost(order, f"send_failed_{type(error).__name__.lower()}")
            return
        if written:
            self.counters.submitted += 1
            return
        self._budget.bucket.give_back()
        self._tracker.not_sent(client_id)
        self._refuse(client_id, "no_connection", "no free connection for orders")

    def encode(self, order: NewOrder, symbol: str) -> bytes:
        """The whole request, signed.  Raises ``LocalProtocolError`` for an order the venue does not know."""
        body = encode_order(order, symbol, with_time_in_force=self._with_time_in_force)
        return self._key.request(self._venue_now_ns(), "POST", self._paths.orders(), self._host, body)

    def _refuse(self, client_id: str, reason: str, text: str) -> None:
        """Nothing left this machine."""
        self.counters.rejected_locally += 1
        now_ns = self._now_ns()
        plain = text[:200].encode("ascii", "backslashreplace").decode()  # it may quote what could not be encoded
        self.publish(OrderRejected(now_ns, now_ns, self._venue, client_id, reason, plain))

    def _on_answer(self, order: NewOrder, status: int, body: bytes) -> None:
        answer = read_answer(status, body)
        now_ns = self._now_ns()
        if answer.verdict is Verdict.ACCEPTED and answer.order is not None:
            self._budget.bucket.succeeded(now_ns)
            self.key_refusals = 0
            if not self._is_of(answer.order, order):
                self._on_lost(order, "another_order_in_the_answer")
                return
            self.publish_all(self._tracker.observe(answer.order, now_ns))
            self._watch.look_soon()
        elif answer.verdict is Verdict.REJECTED:
            self._on_refused(order, answer, now_ns)
        else:
            self._on_lost(order, answer.reason)

    def _is_of(self, shown: wire.Order, order: NewOrder) -> bool:
        """Whether an answer is about the order that was sent."""
        tracked = self._tracker.find(shown)
        return tracked is not None and tracked.client_order_id == order.client_order_id

    def _on_refused(self, order: NewOrder, answer: Answer, now_ns: int) -> None:
        client_id = order.client_order_id
        self.key_refusals = self.key_refusals + 1 if answer.reason in ("unauthorized", "permission_denied") else 0
        if answer.attr.endswith("time_in_force") and self._paths.generation == "v1":
            # Whether v1 takes one is not documented alike everywhere: the next order goes without.
            self._with_time_in_force = False
        tracked = self._tracker.get(client_id)
        if tracked is not None and tracked.accepted:
            # A listing has shown the order: the refusal contradicts evidence, so it is asked about.
            self._watch.check(client_id)
            return
        self.counters.rejected += 1
        self._tracker.not_sent(client_id)
        self.publish(OrderRejected(now_ns, now_ns, self._venue, client_id, answer.reason, answer.text[:200]))

    def _on_lost(self, order: NewOrder, reason: str) -> None:
        client_id = order.client_order_id
        tracked = self._tracker.get(client_id)
        if tracked is not None and tracked.accepted:
            self._watch.check(client_id)
            return
        self.counters.unknown += 1
        now_ns = self._now_ns()
        self._watch.resolve(client_id, now_ns if tracked is None else tracked.sent_ns)
        self.publish(OrderOutcomeUnknown(now_ns, now_ns, self._venue, client_id, reason))

    # --- cancels ------------------------------------------------------------------------------------------------------

    def cancel(self, cancel: CancelOrder) -> None:
        client_id = cancel.client_order_id
        tracked = self._tracker.get(client_id)
        venue_id = tracked.venue_order_id if tracked is not None else cancel.venue_order_id
        if self._stopped:
            self._refuse_cancel(client_id, "stopped")
        elif tracked is not None and tracked.closed:
            self._refuse_cancel(client_id, "order_closed")
        elif tracked is None and not venue_id:
            self._refuse_cancel(client_id, "unknown_order")
        elif client_id in self._cancels or client_id in self._unaddressed:
            return  # one is on its way
        elif self.waiting_cancels() >= MAX_WAITING_CANCELS:
            self._refuse_cancel(client_id, "too_many_waiting")
        elif not venue_id:
            self._unaddressed[client_id] = None
        else:
            self._begin_cancel(client_id, venue_id)

    def _begin_cancel(self, client_id: str, venue_id: str) -> None:
        self._acknowledged.pop(client_id, None)  # what counts from now on is the answer to this one
        self._cancels[client_id] = 0
        self._send_cancel(client_id, venue_id)

    def _send_cancel(self, client_id: str, venue_id: str) -> None:
        if client_id not in self._cancels:
            return
        bucket, now_ns = self._budget.bucket, self._now_ns()
        if not bucket.try_take(now_ns, priority=True):
            wait_s = max(NOT_NOW_S, bucket.wait_ns(now_ns, priority=True) / 1e9)
            self._later(client_id, venue_id, wait_s)
            return
        request = self._key.request(self._venue_now_ns(), "POST", self._paths.cancel(venue_id), self._host)
        try:
            written = self._writer.try_send(
                request,
                partial(self._on_cancel_answer, client_id, venue_id),
                partial(self._on_cancel_failed, client_id, venue_id),
            )
        except Exception as error:
            self._on_cancel_failed(client_id, venue_id, f"send_failed_{type(error).__name__.lower()}")
            return
        if written:
            self.counters.cancels += 1
        else:
            bucket.give_back()
            self._later(client_id, venue_id, NOT_NOW_S)

    def _on_cancel_answer(self, client_id: str, venue_id: str, status: int, body: bytes) -> None:
        now_ns = self._now_ns()
        if 200 <= status < 300:
            # An acknowledgement in words; the end itself is shown by a listing, or shown not to come.
            self._budget.bucket.succeeded(now_ns, priority=True)
            if self._cancels.pop(client_id, None) is not None:
                self._acknowledged[client_id] = now_ns
            self._watch.look_soon()
            return
        if status == 429:
            self._budget.bucket.priority_refused(now_ns)
        if status in (401, 403, 408, 409, 425, 429) or not 400 <= status < 500:
            self._on_cancel_failed(client_id, venue_id, f"http_{status}")
            return
        self._cancels.pop(client_id, None)
        self._refuse_cancel(client_id, refusal(status, body)[0])
        self._watch.check(client_id)

    def _on_cancel_failed(self, client_id: str, venue_id: str, reason: str) -> None:
        if client_id not in self._cancels:
            return
        failures = self._cancels[client_id] + 1
        tracked = self._tracker.get(client_id)
        if tracked is not None and tracked.closed:
            self._cancels.pop(client_id)
        elif self._stopped or failures >= CANCEL_TRIES:
            self._cancels.pop(client_id)
            self._refuse_cancel(client_id, reason)
            self._watch.check(client_id)
        else:
            self._cancels[client_id] = failures
            self.counters.cancel_retries += 1
            self._later(client_id, venue_id, self._retry_delay_s)

    def after_round(self, asked_ns: int) -> None:
        """A round of questions that began at ``asked_ns`` is over: cancels that had no effect are said, once each."""
        for client_id, told_ns in list(self._acknowledged.items()):
            tracked = self._tracker.get(client_id)
            if tracked is None or tracked.closed:
                del self._acknowledged[client_id]
            elif asked_ns - told_ns >= EFFECT_NS and not tracked.end:
                del self._acknowledged[client_id]
                self._refuse_cancel(client_id, "not_effective")

    def _refuse_cancel(self, client_id: str, reason: str) -> None:
        now_ns = self._now_ns()
        self._publish_event(CancelRejected(now_ns, now_ns, self._venue, client_id, reason))

    # --- events of this account ---------------------------------------------------------------------------------------

    def publish(self, event: InputEvent) -> None:
        """Every account event passes here: a cancel may be waiting for what it tells."""
        self._publish_event(event)
        if not self._unaddressed:
            return
        if type(event) is OrderAccepted and event.client_order_id in self._unaddressed:
            del self._unaddressed[event.client_order_id]
            self._begin_cancel(event.client_order_id, event.venue_order_id)
        elif type(event) is OrderRejected and event.client_order_id in self._unaddressed:
            del self._unaddressed[event.client_order_id]
            self._refuse_cancel(event.client_order_id, "order_rejected")

    def publish_all(self, events: list[InputEvent]) -> None:
        for event in events:
            self.publish(event)

    def _later(self, client_id: str, venue_id: str, delay_s: float) -> None:
        """One timer of an order; a second one while it runs changes nothing."""
        if self._stopped or client_id in self._timers:
            return

        def fire() -> None:
            del self._timers[client_id]
            self._send_cancel(client_id, venue_id)

        self._timers[client_id] = asyncio.get_running_loop().call_later(delay_s, fire)
