"""Orders and cancels out, their answers back: the ``VenueGateway`` of robin_stocks.

Owns what is asked of the worker for an order's sake, and what becomes of it when no answer comes.  ``submit`` encodes
and writes to a pipe in the caller's own call; it never waits.

Orders that wait.  One request is under way at a time, so an order may wait for a question before it.  It waits
``ORDER_WAIT_S`` at most: what it was priced by is old then.  As long as it waits a cancel takes it back, and nothing
of it leaves.

Unknown outcomes.  An order is posted once.  Where its answer is lost it stays unknown, listings are read until one
shows it, and only their repeated silence (``protocol``) ends that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Protocol

import msgspec

from connectors.robin_stocks import wire
from connectors.robin_stocks.messages import Outcome, Told
from connectors.robin_stocks.orders import Answer, Listing, encode, read_answer
from connectors.robin_stocks.protocol import OrderBooks
from connectors.robin_stocks.queue import Lane
from connectors.robin_stocks.settings import RobinStocksSettings
from connectors.verdicts import Verdict
from engine.commands import CancelOrder, NewOrder
from engine.errors import LocalProtocolError
from engine.events import CancelRejected, InputEvent, OrderOutcomeUnknown, OrderRejected
from engine.ports import Publish

CANCEL_TRIES = 4
"""A cancel may be repeated without harm; after this many failures it is reported."""
RETRY_S = 1.0
ORDER_WAIT_S = 2.0
"""An order that could not leave within it was not sent, and is told so."""
MAX_WAITING_CANCELS = 1_024


class Asks(Protocol):
    """``supervisor.Supervisor.ask``."""

    def __call__(
        self,
        call: str,
        given: dict[str, Any],
        tell: Callable[[Told], None],
        *,
        lane: Lane = Lane.READ,
        wait_s: float | None = None,
        key: str = "",
    ) -> bool: ...


class Counters(msgspec.Struct):
    submitted: int = 0
    rejected_locally: int = 0
    rejected: int = 0
    unknown: int = 0
    cancels: int = 0
    cancel_retries: int = 0


class RobinStocksGateway:
    """Implements ``engine.ports.VenueGateway``; see there for the contract.

    ``listings`` by instrument id; ``ask_px`` is an instrument's last known ask, NaN for none; ``shut`` says why nothing
    trades now, empty when it does.  ``look`` has orders asked about soon; ``withdraw`` takes back an order that waits
    for its turn, and says whether it did.
    """

    def __init__(
        self,
        settings: RobinStocksSettings,
        *,
        account: str,
        listings: Mapping[str, Listing],
        books: OrderBooks,
        ask: Asks,
        withdraw: Callable[[str], bool],
        ask_px: Callable[[str], float],
        shut: Callable[[], str],
        look: Callable[[], None],
        publish: Publish,
        now_ns: Callable[[], int],
    ) -> None:
        self._settings = settings
        self._venue = settings.name
        self._account = account
        self._listings = listings
        self._books = books
        self._ask = ask
        self._withdraw = withdraw
        self._ask_px = ask_px
        self._shut = shut
        self._look = look
        self._publish = publish
        self._now_ns = now_ns
        self._tries: dict[str, int] = {}
        """Cancels that are wanted, and how often each was sent."""
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._stopped = False
        self.counters = Counters()

    @property
    def venue(self) -> str:
        return self._venue

    @property
    def waiting_cancels(self) -> int:
        return len(self._tries)

    def stop(self) -> None:
        """No timer of this gateway fires any more."""
        self._stopped = True
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    # --- orders -------------------------------------------------------------------------------------------------------

    def submit(self, order: NewOrder) -> None:
        name = order.client_order_id
        try:
            listing = self._listings.get(order.intent.instrument)
            if listing is None:
                self._refuse(name, "unknown_instrument", str(order.intent.instrument))
                return
            closed = self._shut()
            if closed:
                # The venue would take it and keep it until the next open, whatever the price is then.
                self._refuse(name, "trading_halted", closed)
                return
            px = self._ask_px(order.intent.instrument)
            form = encode(order, listing, self._account, px, self._settings.market_slip)
        except LocalProtocolError as error:
            self._refuse(name, "unsupported", str(error))
            return
        except Exception as error:
            # Whatever stood in its fields: one order that cannot be encoded must not end what called us.
            self._refuse(name, "unencodable", f"{type(error).__name__}: {error}")
            return
        self._books.sent(order, self._now_ns())
        call = "place_option" if listing.is_option else "place"
        heard = partial(self._on_answer, name)
        if self._ask(call, {"payload": form}, heard, lane=Lane.ORDER, wait_s=ORDER_WAIT_S, key=name):
            self.counters.submitted += 1
            return
        self._books.refused(name)
        self._refuse(name, "no_connection", "no login, or too many orders wait")

    def _refuse(self, name: str, reason: str, text: str) -> None:
        """Nothing left this machine."""
        self.counters.rejected_locally += 1
        now_ns = self._now_ns()
        plain = text[:200].encode("ascii", "backslashreplace").decode()  # it may quote what could not be encoded
        self._publish(OrderRejected(now_ns, now_ns, self._venue, name, reason, plain))

    def _on_answer(self, name: str, told: Told) -> None:
        answer = read_answer(told)
        now_ns = self._now_ns()
        if answer.verdict is Verdict.ACCEPTED and answer.row is not None:
            self.tell(self._books.answered(name, answer.row, now_ns))
            order = self._books.get(name)
            if order is not None and order.immediate and not order.closed:
                self._later(f"end {name}", self._settings.immediate_s, partial(self._end_immediate, name))
            self._look()
        elif answer.verdict is Verdict.REJECTED:
            self._on_rejected(name, answer, now_ns)
        elif self._books.lose(name, now_ns):
            self.counters.unknown += 1
            self._publish(OrderOutcomeUnknown(now_ns, now_ns, self._venue, name, answer.reason[:200]))
            self._look()

    def _on_rejected(self, name: str, answer: Answer, now_ns: int) -> None:
        if not self._books.refused(name):
            self._look()  # a listing has shown it: the refusal contradicts evidence
            return
        self.counters.rejected += 1
        self._tries.pop(name, None)
        self._publish(OrderRejected(now_ns, now_ns, self._venue, name, answer.reason, answer.text))

    def _end_immediate(self, name: str) -> None:
        """What has not filled at once is not wanted any more."""
        order = self._books.get(name)
        if order is not None and not order.closed and name not in self._tries:
            self._tries[name] = 0
            self._send_cancel(name)

    # --- cancels ------------------------------------------------------------------------------------------------------

    def cancel(self, cancel: CancelOrder) -> None:
        name = cancel.client_order_id
        order = self._books.get(name)
        if order is None:
            self._refuse_cancel(name, "unknown_order")
        elif order.closed:
            self._refuse_cancel(name, "not_open")
        elif name in self._tries:
            pass  # it is under way
        elif self._withdraw(name):
            self._books.refused(name)
            self._refuse(name, "cancelled_before_sent", "it still waited for its turn")
        elif len(self._tries) >= MAX_WAITING_CANCELS:
            self._refuse_cancel(name, "too_many_cancels")
        else:
            self._tries[name] = 0
            self._send_cancel(name)

    def _send_cancel(self, name: str) -> None:
        order = self._books.get(name)
        if order is None or order.closed:
            self._tries.pop(name, None)
            return
        if not order.venue_order_id:
            return  # of unknown outcome: it is cancelled when it shows itself (``tell``)
        self._tries[name] = self._tries.get(name, 0) + 1
        self.counters.cancels += 1
        call = "cancel_option" if order.is_option else "cancel"
        if not self._ask(call, {"id": order.venue_order_id}, partial(self._on_cancel, name), lane=Lane.CANCEL):
            self._retry_cancel(name, "no_connection")

    def _on_cancel(self, name: str, told: Told) -> None:
        self._look()
        if told.outcome is Outcome.OK:
            # Taken, not carried out: what is told next decides.  One that is still open then is asked for again.
            self._later(f"cancel {name}", 10 * RETRY_S, partial(self._send_again, name))
            return
        if told.outcome is Outcome.REFUSED and told.status not in (401, 429):
            self._tries.pop(name, None)
            self._refuse_cancel(name, wire.refusal(told.body) or f"HTTP {told.status}")
            return
        self._retry_cancel(name, told.text or told.outcome.value)

    def _retry_cancel(self, name: str, reason: str) -> None:
        if self._tries.get(name, 0) >= CANCEL_TRIES:
            self._tries.pop(name, None)
            self._refuse_cancel(name, reason[:200])
            return
        self.counters.cancel_retries += 1
        self._later(f"cancel {name}", RETRY_S, partial(self._send_again, name))

    def _send_again(self, name: str) -> None:
        if name in self._tries:
            self._send_cancel(name)

    def _refuse_cancel(self, name: str, reason: str) -> None:
        now_ns = self._now_ns()
        self._publish(CancelRejected(now_ns, now_ns, self._venue, name, reason))

    # --- what is told -------------------------------------------------------------------------------------------------

    def tell(self, events: list[InputEvent]) -> None:
        """Every event of this account's orders passes here: a cancel may wait for what it tells."""
        for event in events:
            self._publish(event)
        if not events or not self._tries:
            return
        for name in list(self._tries):
            order = self._books.get(name)
            if order is None or order.closed:
                self._tries.pop(name, None)
            elif order.venue_order_id and not self._tries[name]:
                self._send_cancel(name)

    def _later(self, what: str, delay_s: float, act: Callable[[], None]) -> None:
        if self._stopped:
            return
        timer = self._timers.pop(what, None)
        if timer is not None:
            timer.cancel()

        def fire() -> None:
            self._timers.pop(what, None)
            act()

        self._timers[what] = asyncio.get_running_loop().call_later(delay_s, fire)
