"""Orders and cancels out through the library: the ``VenueGateway`` of an exchange.

Owns the requests and what their answers say.  A request is made once: what was lost is looked for (``settle``), never
sent again.  Cancels are tried a few times, as one more does no harm, and end in evidence or in a refusal.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping
from decimal import Decimal
from typing import Any, Final

import msgspec

from connectors.ccxt_venue import errors
from connectors.ccxt_venue.answers import read_order
from connectors.ccxt_venue.client_ids import ClientIds
from connectors.ccxt_venue.errors import Verdict
from connectors.ccxt_venue.library import Handle, NotSentError
from connectors.ccxt_venue.orders import OrderRequest, encode_order
from connectors.ccxt_venue.settle import Settler
from connectors.ccxt_venue.tracker import OrderTracker
from connectors.ccxt_venue.turns import Lane
from engine.commands import CancelOrder, NewOrder, OrderType, TimeInForce
from engine.errors import KestrelError, LocalProtocolError
from engine.events import CancelRejected, InputEvent, OrderAccepted, OrderOutcomeUnknown, OrderRejected
from engine.instruments import Instrument
from engine.ports import Clock, Publish

CANCEL_TRIES: Final = 3
RETRY_DELAY_S: Final = 0.3
MAX_WAITING_CANCELS: Final = 1024

_log = logging.getLogger(__name__)


class GatewayCounters(msgspec.Struct):
    submitted: int = 0
    rejected_locally: int = 0
    rejected: int = 0
    unknown: int = 0
    cancels: int = 0
    cancel_retries: int = 0


class CcxtGateway:
    """``handle`` gives the object that is in use.  ``best`` gives the best ask of an instrument, None for none."""

    def __init__(
        self,
        venue: str,
        *,
        handle: Callable[[], Handle],
        instruments: Mapping[str, Instrument],
        ids: ClientIds,
        tracker: OrderTracker,
        settler: Settler,
        publish: Publish,
        clock: Clock,
        best: Callable[[str], float | None],
        timeout_s: float,
        in_flight_max: int,
        key_refused: Callable[[str], None],
    ) -> None:
        self.counters = GatewayCounters()
        self._venue = venue
        self._handle = handle
        self._instruments = instruments
        self._ids = ids
        self._tracker = tracker
        self._settler = settler
        self._publish_event = publish
        self._clock = clock
        self._best = best
        self._timeout_s = timeout_s
        self._in_flight_max = in_flight_max
        self._key_refused = key_refused
        self._tasks: set[asyncio.Task[None]] = set()
        self._orders = 0
        self._queued: dict[str, asyncio.Task[None]] = {}
        """Orders of which nothing has left this machine yet."""
        self._cancels: set[str] = set()
        self._unaddressed: dict[str, None] = {}
        """Cancels of orders whose id at the exchange is not known yet."""
        self._stopped = False

    @property
    def venue(self) -> str:
        return self._venue

    @property
    def in_flight(self) -> int:
        """Orders that wait for their answer."""
        return self._orders

    @property
    def waiting_cancels(self) -> int:
        return len(self._cancels) + len(self._unaddressed)

    # --- orders -----------------------------------------------------------------------------------------------------

    def submit(self, order: NewOrder) -> None:
        now_s = asyncio.get_running_loop().time()
        if self._stopped:
            self._refuse(order.client_order_id, "stopped", "")
        elif self._orders >= self._in_flight_max:
            self._refuse(order.client_order_id, "too_many_in_flight", f"{self._orders} orders wait for their answer")
        elif not self._handle().budget.may_order(now_s):
            self._refuse(order.client_order_id, "rate_limited", "the exchange's rate is used up")
        else:
            self._submit(order)

    def _submit(self, order: NewOrder) -> None:
        try:
            request = self._encode(order)
        except KestrelError as error:
            self._refuse(order.client_order_id, "unsupported", error.seen)
            return
        except Exception as error:
            self._refuse(order.client_order_id, *errors.refusal(error))
            return
        self.counters.submitted += 1
        self._orders += 1
        self._tracker.sent(order.client_order_id, request.symbol, order.intent.qty, order.ts_ns)
        task = self._begin(self._send(order, request))
        task.add_done_callback(self._on_sent)
        self._queued[order.client_order_id] = task

    def _encode(self, order: NewOrder) -> OrderRequest:
        """Raises ``LocalProtocolError``, also where the library would send other numbers than these."""
        handle, name = self._handle(), order.intent.instrument
        instrument = self._instruments.get(name)
        if instrument is None:
            raise LocalProtocolError(f"an order in {name[:60]}", expected="one of the configured symbols")
        symbol = name.partition("@")[0]
        request = encode_order(
            order,
            instrument,
            symbol,
            self._ids,
            features=getattr(handle.ex, "features", None),
            buys_by_cost=bool(handle.ex.options.get("createMarketBuyOrderRequiresPrice")),
            ask_px=self._best(name),
        )
        for number, method in ((request.amount, "amount_to_precision"), (request.price, "price_to_precision")):
            if number is not None and Decimal(handle.pure(method, symbol, number)) != Decimal(number):
                raise LocalProtocolError(f"{number} would be sent as {handle.pure(method, symbol, number)}")
        return request

    def _refuse(self, client_order_id: str, reason: str, text: str) -> None:
        """Nothing left this machine."""
        self.counters.rejected_locally += 1
        now_ns = self._clock.now_ns()
        plain = text[:200].encode("ascii", "backslashreplace").decode()
        self.publish(OrderRejected(now_ns, now_ns, self._venue, client_order_id, reason, plain))

    async def _send(self, order: NewOrder, request: OrderRequest) -> None:
        client_id = order.client_order_id

        def leaves() -> None:
            del self._queued[client_id]

        try:
            async with asyncio.timeout(self._timeout_s):
                found = await self._handle().call("create_order", *request.arguments(), lane=Lane.ORDER, leaves=leaves)
        except asyncio.CancelledError:
            if not self._is_told(client_id):
                self._unknown(order, "stopped")
            raise
        except Exception as error:
            if client_id in self._queued:
                said = error.seen if isinstance(error, NotSentError) else "requests before it had no answer"
                self._take_out(client_id, "not_sent", said)
            else:
                self._on_error(order, error)
            return
        now_ns = self._clock.now_ns()
        seen = read_order(found, now_ns)
        if seen is None:
            self._unknown(order, "answer_without_id")
            return
        self.publish_all(self._tracker.accepted(client_id, seen.venue_order_id, now_ns))
        if order.intent.order_type is OrderType.MARKET or order.intent.time_in_force in _IMMEDIATE:
            self._settler.expect_end(client_id)
        else:
            self._settler.check_later(client_id)

    def _on_error(self, order: NewOrder, error: Exception) -> None:
        if errors.verdict(error, self._handle().exchange) is Verdict.UNKNOWN:
            self._unknown(order, errors.reason(error), errors.words(error))
            return
        tracked = self._tracker.get(order.client_order_id)
        if tracked is not None and tracked.accepted:
            # Something else has shown the order: the refusal contradicts evidence, so it is looked up.
            self._settler.check_now(order.client_order_id)
            return
        if errors.is_key(error):
            self._key_refused(errors.words(error))
        self.counters.rejected += 1
        self._tracker.not_sent(order.client_order_id)
        now_ns = self._clock.now_ns()
        self.publish(OrderRejected(now_ns, now_ns, self._venue, order.client_order_id, *errors.refusal(error)))

    def _on_sent(self, _task: asyncio.Task[None]) -> None:
        self._orders -= 1

    def _take_out(self, client_id: str, reason: str, said: str) -> asyncio.Task[None]:
        """Of the queue: told at once, as nothing of it has left and nothing will."""
        task = self._queued.pop(client_id)
        self._tracker.not_sent(client_id)
        self._refuse(client_id, reason, said)
        return task

    def _is_told(self, client_id: str) -> bool:
        """Whether what became of it is known, so that nobody has to look for it."""
        tracked = self._tracker.get(client_id)
        return tracked is None or (tracked.closed and not tracked.accepted)

    def _unknown(self, order: NewOrder, reason: str, said: str = "") -> None:
        tracked = self._tracker.get(order.client_order_id)
        if tracked is not None and tracked.accepted:
            self._settler.check_now(order.client_order_id)
            return
        self.counters.unknown += 1
        if said:
            _log.warning("%s: nobody knows what became of order %s: %s", self._venue, order.client_order_id, said)
        now_ns = self._clock.now_ns()
        self._settler.resolve(order.client_order_id, now_ns, order.intent)
        self.publish(OrderOutcomeUnknown(now_ns, now_ns, self._venue, order.client_order_id, reason))

    # --- cancels ----------------------------------------------------------------------------------------------------

    def cancel(self, cancel: CancelOrder) -> None:
        client_id = cancel.client_order_id
        tracked = self._tracker.get(client_id)
        venue_id = cancel.venue_order_id or ("" if tracked is None else tracked.venue_order_id)
        symbol = cancel.instrument.partition("@")[0] if tracked is None else tracked.symbol
        if self._stopped:
            self._refuse_cancel(client_id, "stopped")
        elif tracked is not None and tracked.closed:
            self._refuse_cancel(client_id, "order_closed")
        elif client_id in self._queued:
            self._take_out(client_id, "cancelled_before_sent", "").cancel()
        elif self.waiting_cancels >= MAX_WAITING_CANCELS:
            self._refuse_cancel(client_id, "too_many_waiting")
        elif venue_id:
            self._begin_cancel(client_id, venue_id, symbol)
        elif tracked is None:
            self._refuse_cancel(client_id, "unknown_order")
        else:
            self._unaddressed[client_id] = None

    def _begin_cancel(self, client_id: str, venue_id: str, symbol: str) -> None:
        if client_id not in self._cancels:
            self._cancels.add(client_id)
            self._begin(self._cancel(client_id, venue_id, symbol))

    async def _cancel(self, client_id: str, venue_id: str, symbol: str) -> None:
        said = "outcome_unknown"
        try:
            for tries in range(CANCEL_TRIES):
                if tries:
                    self.counters.cancel_retries += 1
                    await asyncio.sleep(RETRY_DELAY_S * 2**tries)
                tracked = self._tracker.get(client_id)
                if tracked is not None and tracked.closed:
                    return
                self.counters.cancels += 1
                try:
                    async with asyncio.timeout(self._timeout_s):
                        await self._handle().call("cancel_order", venue_id, symbol, lane=Lane.CANCEL)
                except Exception as error:
                    said = errors.reason(error)
                    if errors.verdict(error) is Verdict.REFUSED or errors.is_gone(error):
                        break  # no second one fares better; the look-up says what became of the order
                    _log.info("%s: cancel of %s: %s", self._venue, client_id, errors.words(error))
                    continue
                if tracked is not None:
                    tracked.cancel_taken_ns = self._clock.now_ns()
                # An acknowledgement only: the end itself is what a look-up shows.
                self._settler.expect_end(client_id)
                return
            self._refuse_cancel(client_id, said)
            self._settler.check_now(client_id)
        except asyncio.CancelledError:
            self._refuse_cancel(client_id, "stopped")
            raise
        finally:
            self._cancels.discard(client_id)

    def _refuse_cancel(self, client_order_id: str, reason: str) -> None:
        now_ns = self._clock.now_ns()
        self._publish_event(CancelRejected(now_ns, now_ns, self._venue, client_order_id, reason))

    def not_effective(self, client_id: str) -> None:
        """A cancel was taken, and a while later the order is open still: said once, so that it is asked for again."""
        self._refuse_cancel(client_id, "not_effective")

    # --- events of this account -------------------------------------------------------------------------------------

    def publish(self, event: InputEvent) -> None:
        """Every account event passes here: a cancel may wait for what it tells."""
        self._publish_event(event)
        if not self._unaddressed:
            return
        if type(event) is OrderAccepted and event.client_order_id in self._unaddressed:
            del self._unaddressed[event.client_order_id]
            tracked = self._tracker.get(event.client_order_id)
            if tracked is not None:
                self._begin_cancel(event.client_order_id, event.venue_order_id, tracked.symbol)
        elif type(event) is OrderRejected and event.client_order_id in self._unaddressed:
            del self._unaddressed[event.client_order_id]
            self._refuse_cancel(event.client_order_id, "order_rejected")

    def publish_all(self, events: list[InputEvent]) -> None:
        for event in events:
            self.publish(event)

    # --- life -------------------------------------------------------------------------------------------------------

    def _begin(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work, name=f"{self._venue}-request")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def stop(self) -> None:
        """What waits for an answer is unknown from now on; orders and cancels that have not left are refused."""
        self._stopped = True
        for client_id in list(self._queued):
            self._take_out(client_id, "stopped", "it had not left yet")
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        left, self._unaddressed = list(self._unaddressed), {}
        for client_id in left:
            self._refuse_cancel(client_id, "stopped")


_IMMEDIATE: Final = (TimeInForce.IOC, TimeInForce.FOK)
