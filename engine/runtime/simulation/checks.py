"""The invariants, judged by what was recorded, what was written to the network and what the venue knows.

Owns its own books, made from records alone: it asks the core what it believes and never how it came to believe it.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import NamedTuple, Protocol

import msgspec

from engine.bus import EventBus
from engine.codec import Record, encode
from engine.commands import BalanceAdjusted, NewOrder, RiskState
from engine.core import TradingCore
from engine.events import (
    MARKET_TYPES,
    AccountSettled,
    BalanceReported,
    Event,
    OrderFilled,
    OrderRejected,
    Side,
    StateCarried,
    Timer,
)
from engine.orders import FINAL, OrderState

ZERO = Decimal(0)
WAITING_MAX = 64
ORDERS_MARK = b"POST /api/v3/brokerage/orders HTTP/1.1\r\n"
GIVEN_UP = "never_arrived"
RECENT_NS = 60_000_000_000


class Violation(NamedTuple):
    """``at_s`` is virtual time."""

    invariant: str
    text: str
    at_s: float


class Fact(Protocol):
    """A fill as the venue has it."""

    @property
    def entry_id(self) -> str: ...
    @property
    def client_order_id(self) -> str: ...
    @property
    def ours(self) -> bool: ...


class Truth(Protocol):
    """The venue's own state."""

    disturbed_ns: int

    def balances(self) -> dict[str, Decimal]: ...

    def fills(self) -> Sequence[Fact]: ...

    def open_orders(self) -> dict[str, Decimal]: ...

    def order_count(self, client_order_id: str) -> int: ...

    def worst_base(self, side: Side) -> Decimal: ...


class _OrderBody(msgspec.Struct):
    client_order_id: str
    side: str
    order_configuration: dict[str, dict[str, object]]


class _Booked(NamedTuple):
    session: int
    seq: int
    fill: OrderFilled


class Checks:
    """One account over all of its sessions.  ``base`` is the currency of the instrument, ``quote`` what pays it."""

    def __init__(
        self,
        truth: Truth,
        now_s: Callable[[], float],
        now_ns: Callable[[], int],
        *,
        instrument: str,
        max_position_qty: Decimal,
    ) -> None:
        self.violations: list[Violation] = []
        self.events = 0
        self.orders = 0
        self.sent = 0
        self.digest = 0
        """Of everything that was recorded, in order."""
        self._truth = truth
        self._now_s = now_s
        self._now_ns = now_ns
        self._instrument = instrument
        self._venue = instrument.partition("@")[2]
        self._base, self._quote = instrument.partition("@")[0].split("/")
        self._max_qty = max_position_qty
        self._session = 0
        self._core: TradingCore
        self._bus: EventBus
        self._must_settle = False
        self._settled = False
        self._changed = False
        self._fills: dict[str, _Booked] = {}
        self._moves: list[tuple[int, int, str, Decimal]] = []
        """``(session, seq, currency, amount)`` of everything that is no fill."""
        self._told: dict[str, tuple[int, int]] = {}
        """Currencies that were opened, and by which record."""
        self._journaled: dict[str, tuple[int, int]] = {}
        self._wishes: dict[str, str] = {}
        self._posted: dict[str, int] = {}
        self._states: dict[str, tuple[OrderState, Decimal]] = {}
        self._totals: dict[str, Decimal] = {}
        self._given_up: list[str] = []

    def fail(self, invariant: str, text: str) -> None:
        """Keep the first few: the rest follows from them."""
        if len(self.violations) < 5:
            self.violations.append(Violation(invariant, text, self._now_s()))

    # --- sessions ----------------------------------------------------------------------------------------------------

    def begin(self, core: TradingCore, bus: EventBus) -> None:
        """A session starts on the account."""
        self._session += 1
        self._core, self._bus = core, bus
        self._must_settle = self._settled = False
        self._states.clear()
        self._wishes.clear()

    # --- what is recorded --------------------------------------------------------------------------------------------

    def recorded(self, seq: int, record: Record) -> None:
        """The journal has taken it."""
        self.digest = zlib.crc32(encode(record), self.digest)
        kind = type(record)
        if kind in MARKET_TYPES or kind is Timer:
            return
        self._changed = True
        if isinstance(record, NewOrder):
            self._on_new(seq, record)
        elif isinstance(record, OrderFilled):
            self._on_fill(seq, record)
        elif isinstance(record, BalanceAdjusted):
            self._move(seq, record.currency, record.told - record.booked)
            if not record.told and self._truth.balances()[record.currency]:
                self.fail("C14", f"the venue holds {record.currency} and was heard to hold none")
        elif isinstance(record, BalanceReported):
            if record.currency not in self._told:
                self._told[record.currency] = (self._session, seq)
                self._move(seq, record.currency, record.total)
        elif isinstance(record, OrderRejected):
            if record.reason == GIVEN_UP:
                self._given_up.append(record.client_order_id)
        elif isinstance(record, StateCarried):
            self._must_settle = True
        elif isinstance(record, AccountSettled):
            self._settled = True

    def _on_new(self, seq: int, new: NewOrder) -> None:
        self.orders += 1
        name, wish = new.client_order_id, new.intent.reason
        if name in self._journaled:
            self.fail("I5", f"client order id {name} was given twice")
        self._journaled[name] = (self._session, seq)
        if wish in self._wishes:
            self.fail("I5", f"{wish} of one session became {self._wishes[wish]} and {name}")
        self._wishes[wish] = name
        for value in (new.intent.qty, new.intent.limit_px):
            if value is not None and type(value) is not Decimal:
                self.fail("I8", f"{name} has an amount of type {type(value).__name__}")
        if self._must_settle and not self._settled:
            self.fail("I10", f"{name} was decided before the account was settled")

    def _on_fill(self, seq: int, fill: OrderFilled) -> None:
        for value in (fill.qty, fill.px, fill.fee):
            if type(value) is not Decimal:
                self.fail("I8", f"fill {fill.trade_id} has an amount of type {type(value).__name__}")
        known = self._fills.get(fill.trade_id)
        if known is None:
            self._fills[fill.trade_id] = _Booked(self._session, seq, fill)
            for currency, amount in _moves_of(fill, self._base, self._quote):
                self._add(currency, amount)

    def _move(self, seq: int, currency: str, amount: Decimal) -> None:
        self._moves.append((self._session, seq, currency, amount))
        self._add(currency, amount)

    def _add(self, currency: str, amount: Decimal) -> None:
        self._totals[currency] = self._totals.get(currency, ZERO) + amount

    # --- after each event --------------------------------------------------------------------------------------------

    def after(self, event: Event) -> None:  # noqa: ARG002
        """The core has handled it and its commands have left."""
        self.events += 1
        if not self._changed:
            return
        self._changed = False
        self._check_books()
        self._check_orders()
        if self._bus.waiting > WAITING_MAX:
            self.fail("I11", f"{self._bus.waiting} events wait in the bus")

    def _check_books(self) -> None:
        if self._instrument not in self._core.lanes:
            return  # what an earlier session left shows itself when the instrument is defined
        portfolio = self._core.portfolio
        held = portfolio.position(self._instrument).qty
        if self._base in self._told and held != self._totals.get(self._base, ZERO):
            self.fail("I1", f"position {held}, recorded fills and adjustments make {self._totals.get(self._base)}")
        cash = portfolio.balance(self._venue, self._quote)
        if cash is not None and cash != self._totals.get(self._quote, ZERO):
            self.fail("I1", f"cash {cash}, recorded fills and adjustments make {self._totals.get(self._quote)}")

    def _check_orders(self) -> None:
        states, orders = self._states, self._core.orders
        seen = {order.client_order_id: order for order in orders.open_orders()}
        for name in list(states):
            order = seen.get(name) or orders.get(name)
            if order is None:
                self.fail("I6", f"order {name} was forgotten in state {states[name][0]}")
                del states[name]
                continue
            self._check_step(name, states[name], (order.state, order.filled_qty))
            states[name] = (order.state, order.filled_qty)
            if order.state in FINAL and len(states) > 200:
                del states[name]
        for name, order in seen.items():
            if name not in states:
                states[name] = (order.state, order.filled_qty)

    def _check_step(self, name: str, before: tuple[OrderState, Decimal], after: tuple[OrderState, Decimal]) -> None:
        (old, old_qty), (new, new_qty) = before, after
        if new_qty < old_qty:
            self.fail("I6", f"filled quantity of {name} went from {old_qty} to {new_qty}")
        if old in FINAL and new is not old and old is not OrderState.REJECTED and new is not OrderState.FILLED:
            self.fail("I6", f"order {name} went from {old} to {new}")

    # --- what leaves -------------------------------------------------------------------------------------------------

    def written(self, data: bytes) -> bool:
        """A client writes this to the venue's order entry; whether it is an order."""
        if not data.startswith(ORDERS_MARK):
            return False
        body = msgspec.json.decode(data[data.index(b"\r\n\r\n") + 4 :], type=_OrderBody)
        name = body.client_order_id
        self.sent += 1
        if name not in self._journaled:
            self.fail("I2", f"order {name} was sent and is not in the journal")
        self._posted[name] = self._posted.get(name, 0) + 1
        if self._posted[name] > 1:
            self.fail("I5", f"order {name} was sent {self._posted[name]} times")
        if self._must_settle and not self._settled:
            self.fail("I10", f"order {name} was sent before the account was settled")
        if body.side == "BUY" and self._core.gate.state is not RiskState.ACTIVE:
            # On spot nothing is short: a buy always adds.
            self.fail("I4", f"order {name} buys while risk is {self._core.gate.state.value}")
        if body.side == "BUY" and (
            not self._truth.disturbed_ns or self._now_ns() - self._truth.disturbed_ns > RECENT_NS
        ):
            (fields,) = body.order_configuration.values()
            worst = self._truth.worst_base(Side.BUY) + Decimal(str(fields["base_size"]))
            if worst > self._max_qty:
                self.fail("I3", f"order {name} can make the position {worst}, limit {self._max_qty}")
        return True

    # --- the end -----------------------------------------------------------------------------------------------------

    def finish(self) -> None:
        """Nothing is under way any more: the books and the venue must agree to the last digit."""
        truth, core = self._truth, self._core
        for currency, total in truth.balances().items():
            booked = core.portfolio.balance(self._venue, currency)
            if booked is not None and booked != total:
                self.fail("end", f"{currency}: books {booked}, venue {total}")
        ours = {order.client_order_id for order in core.orders.open_orders()}
        theirs = set(truth.open_orders())
        if ours != theirs:
            self.fail("end", f"open only in the books: {sorted(ours - theirs)}; only there: {sorted(theirs - ours)}")
        for order in core.orders.open_orders():
            if order.state is OrderState.UNKNOWN:
                self.fail("end", f"order {order.client_order_id} is still unknown")
        there = {fill.entry_id for fill in truth.fills() if fill.ours}
        booked_ours = {name for name, one in self._fills.items() if one.fill.client_order_id in self._journaled}
        for entry_id in sorted(there - booked_ours):
            self.fail("end", f"fill {entry_id} of ours was never booked")
        for entry_id in sorted(booked_ours - there):
            self.fail("end", f"fill {entry_id} was booked and never happened")
        for name in self._given_up:
            if truth.order_count(name):
                self.fail("B16", f"order {name} was given up and is at the venue")
        for name in self._posted:
            if truth.order_count(name) > 1:
                self.fail("I5", f"there are {truth.order_count(name)} orders {name} at the venue")


def _moves_of(fill: OrderFilled, base: str, quote: str) -> list[tuple[str, Decimal]]:
    sign = int(fill.side)
    return [(base, sign * fill.qty), (quote, -sign * fill.qty * fill.px), (fill.fee_currency, -fill.fee)]
