"""The invariants, sampled while a session runs: the core's state against sums and steps that are made here.

Owns what is compared and what follows; the sums of money are ``engine.runtime.own_books``'.  A look is between two
events, in bounded slices, and changes nothing: what it asks for, a halt, is an input like an operator's.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, Final

from engine.bus import EventBus
from engine.carried import decode_carried
from engine.commands import RiskState
from engine.core import TradingCore
from engine.events import (
    BalanceReported,
    FillCorrected,
    FundingSettled,
    InputEvent,
    InstrumentDefined,
    OrderFilled,
    PositionReported,
    Resumed,
    SessionStarted,
    StateCarried,
)
from engine.intents import said
from engine.managed_order import ManagedOrder
from engine.order_states import FINAL, OrderState
from engine.orders import CLOSED_KEPT
from engine.runtime.order_steps import Seen, find_backward_step, see
from engine.runtime.own_books import OwnBooks
from engine.stakes import CLOSERS

ZERO = Decimal(0)
SOURCE: Final = "self-check"
"""Who gives the halt."""
INVARIANTS: Final = ("I1", "I3", "I4", "I5", "I6", "I8", "I9", "I11", "I12")
"""What is looked at, by the names in which a breach is counted."""
HALTING: Final = frozenset({"I1", "I3", "I4", "I5", "I6", "I8", "I12"})
"""Breaches after which the books, or their guards, cannot be trusted."""
ORDERS_PER_LOOK = 256
"""Orders that one look compares; the next goes on behind them."""
ENDED_KEPT = 1024
"""Ended orders that are looked at again."""
TOLD_MAX = 20
"""Breaches that the log names; counted are all."""
OBSERVED: Final = frozenset(
    {
        OrderFilled, FillCorrected, FundingSettled, BalanceReported, PositionReported, InstrumentDefined,
        StateCarried, SessionStarted, Resumed,
    }
)  # fmt: skip
"""Events that ``observe`` is to be told of."""

Breach = tuple[str, str]
"""Invariant, and what was seen and expected."""


class SelfCheck:
    """``observe`` after an event of ``OBSERVED`` was published, ``look`` from time to time, between two events."""

    def __init__(self, core: TradingCore, bus: EventBus, log: Any) -> None:
        self._core = core
        self._bus = bus
        self._log = log
        self.counts = dict.fromkeys(INVARIANTS, 0)
        """Breaches so far, by invariant."""
        self.told: list[Breach] = []
        """The first ones."""
        self._books = OwnBooks(core)
        self._steps: OrderedDict[str, tuple[Seen, int]] = OrderedDict()
        """Orders as they were when they were looked at, and how many there had been by then."""
        self._corrections = 0
        self._opened = 0
        """Orders of ours whose making was looked at."""
        self._was_halted = False
        self._has_hashes = True
        self._next = 0

    def observe(self, event: InputEvent) -> None:
        if isinstance(event, Resumed):
            self._was_halted = False
        elif isinstance(event, SessionStarted):
            self._has_hashes = bool(event.config_hash and event.code_hash)
        elif isinstance(event, StateCarried):
            self._books.go_on_from(decode_carried(event.state))
        elif isinstance(
            event,
            OrderFilled | FillCorrected | FundingSettled | BalanceReported | PositionReported | InstrumentDefined,
        ):
            self._books.take(event)

    def look(self) -> str:
        """Take one sample; returns why trading must halt, empty where it need not.  Never raises."""
        if self._bus.dead:
            return ""  # what happens now is not booked
        found: list[Breach] = []
        try:
            for one in self._breaches():
                found.append(one)  # noqa: PERF402 -- what was found before a check fails is told
        except Exception as error:  # a guard that cannot judge must stop trading, not the daemon
            found.append(("I12", f"a check failed: {said(error)}"))
        for invariant, text in found:
            self.counts[invariant] += 1
            if len(self.told) < TOLD_MAX:
                self.told.append((invariant, text))
                self._log.error("an invariant does not hold", invariant=invariant, text=text)
        return next((f"{invariant}: {text}"[:300] for invariant, text in found if invariant in HALTING), "")

    def _breaches(self) -> Iterator[Breach]:
        if self._bus.waiting:
            yield "I11", f"{self._bus.waiting} events wait while none is handled, expected none"
        for name in self._core.lanes:
            yield from _inexact(f"position in {name}", self._core.portfolio.qty(name))
        yield from self._open_orders()
        yield from (("I1", text) for text in self._books.look())
        yield from self._made()
        yield from self._steps_taken()

    # --- orders ------------------------------------------------------------------------------------------------------

    def _made(self) -> Iterator[Breach]:
        """Orders that were made since the last look."""
        orders, is_halted = self._core.orders, self._core.gate.state is RiskState.HALTED
        newest = orders.opened_count
        for number in range(max(self._opened, newest - CLOSED_KEPT // 4) + 1, newest + 1):
            order = orders.opened(number)
            if order is None:
                yield "I6", f"order {number} of this session is not known, of {newest}"
                continue
            intent = order.intent
            if not self._has_hashes or not intent.strategy:
                yield "I9", f"order {order.client_order_id} names no strategy, or its session no configuration and code"
            if self._was_halted and is_halted and self._adds_risk(order):
                yield (
                    "I4",
                    f"order {order.client_order_id} was made while halted and adds to what {intent.strategy} holds",
                )
        self._opened, self._was_halted = newest, is_halted

    def _adds_risk(self, order: ManagedOrder) -> bool:
        """Whether its strategy holds something in the direction of the order: one that only reduces leaves none."""
        intent = order.intent
        if intent.reduce_only or intent.strategy in CLOSERS or order.state is OrderState.REJECTED:
            return False
        return self._core.portfolio.strategy_qty(intent.strategy, intent.instrument) * int(intent.side) > ZERO

    def _steps_taken(self) -> Iterator[Breach]:
        """How orders went on that were looked at before."""
        core, steps = self._core, self._steps
        if core.counters.corrections != self._corrections:  # a corrected execution may make less of an order
            self._corrections = core.counters.corrections
            steps.clear()
        known = core.orders.opened_count + core.counters.external_orders
        for name in list(steps)[:ORDERS_PER_LOOK]:
            before, of_known = steps[name]
            order = core.orders.get(name)
            if order is None:
                del steps[name]
                if before.state not in FINAL and known - of_known < CLOSED_KEPT:
                    yield "I6", f"order {name} was {before.state} and is not known any more"
                continue
            now = see(order)
            # Between two looks it may have ended, and then have grown at the venue.
            if (defect := find_backward_step(before, now)) and now.qty <= before.qty:
                yield "I6", f"order {name}: {defect}"
            steps[name] = (now, known)
            steps.move_to_end(name)
            if now.state in FINAL and len(steps) > ENDED_KEPT:
                del steps[name]

    def _open_orders(self) -> Iterator[Breach]:
        """Each instrument's orders, and what they hold together: whole instruments, as many as fit."""
        orders = self._core.orders
        known = orders.opened_count + self._core.counters.external_orders
        by_instrument: dict[str, list[ManagedOrder]] = {name: [] for name in self._core.lanes}
        for order in orders.open_orders():
            by_instrument.setdefault(order.intent.instrument, []).append(order)
        names = list(by_instrument)
        seen = 0
        for step in range(len(names)):
            name = names[(self._next + step) % len(names)]
            if seen and seen + len(by_instrument[name]) > ORDERS_PER_LOOK:
                self._next += step
                return
            seen += len(by_instrument[name]) + 1
            yield from self._held_by(name, by_instrument[name], known)
        self._next = 0

    def _held_by(self, name: str, open_orders: list[ManagedOrder], known: int) -> Iterator[Breach]:
        held = {1: ZERO, -1: ZERO}
        for order in open_orders:
            called, intent = order.client_order_id, order.intent
            if self._core.orders.get(called) is not order:
                yield "I5", f"order {called} is open and is not what is known by that id"
            elif called not in self._steps:
                self._steps[called] = (see(order), known)
            if order.state in FINAL:
                yield "I6", f"order {called} is {order.state} and counts as open"
            if len(set(order.trade_ids)) != len(order.trade_ids):
                yield "I1", f"order {called} counts an execution twice: {len(order.trade_ids)} are booked"
            for what in ("qty", "limit_px", "trigger_px"):
                yield from _inexact(f"{what} of order {called}", getattr(intent, what))
            yield from _inexact(f"filled quantity of order {called}", order.filled_qty)
            most_qty = intent.qty if order.edit is None else max(intent.qty, order.edit.qty)
            held[int(intent.side)] += max(most_qty - order.filled_qty, ZERO)
        for side, due in held.items():
            counted = self._core.orders.open_qty(name, side)
            if counted != due:
                which = "buy" if side > 0 else "sell"
                yield "I3", f"limits count {counted} open to {which} in {name}, open orders make {due}"


def _inexact(what: str, amount: object) -> Iterator[Breach]:
    if amount is not None and type(amount) is not Decimal:
        yield "I8", f"{what} is of type {type(amount).__name__}, expected Decimal"
