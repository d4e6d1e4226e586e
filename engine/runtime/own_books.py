"""What executions alone make of money and positions, beside the books of the core (I1).

Owns the sums, each from a look at the books that nothing contradicted.  What moves money without an execution begins
the sums that it touches anew: the venue's word has replaced the books there.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Context, Decimal

from engine.carried import Carried
from engine.core import TradingCore
from engine.events import (
    BalanceReported,
    FillCorrected,
    FundingSettled,
    InstrumentDefined,
    OrderFilled,
    PositionReported,
)
from engine.instruments import FULLY_PAID, Instrument

ZERO = Decimal(0)
TRADES_KEPT = 16_384
"""Execution ids remembered, at least; from twice as many on the older half is forgotten."""
KEYS_PER_LOOK = 128
"""Sums that one look compares; the next goes on behind them."""
_EXACT = Context(prec=60)
_ROUNDING = Decimal("1e-20")
"""Of what has moved: the books round to 28 digits."""

Key = tuple[str, str]
"""Venue and currency of an amount of money; empty and the instrument of a margined position."""


class OwnBooks:
    """``take`` is told of account events as the core has handled them, ``look`` compares between two events."""

    def __init__(self, core: TradingCore) -> None:
        self._core = core
        self._sums: dict[Key, Decimal] = {}
        self._moved: dict[Key, Decimal] = {}
        """How much has gone to and fro since the sum was begun."""
        self._trades: dict[str, None] = {}
        self._older_trades: dict[str, None] = {}
        self._forgets = False
        self._corrected: set[str] = set()
        self._told: set[Key] = set()
        self._marks: tuple[int, ...] = ()
        self._next = 0

    def go_on_from(self, carried: Carried) -> None:
        """Executions that an earlier session has booked count no second time."""
        for one in carried.orders:
            for trade_id in one.trade_ids:
                self._trades[f"{one.new.venue}|{trade_id}"] = None
        self._trades.update(dict.fromkeys(carried.trades))
        self._corrected.update(one.trade for one in carried.corrections)
        self._sums.clear()

    def take(
        self,
        event: OrderFilled | FillCorrected | FundingSettled | BalanceReported | PositionReported | InstrumentDefined,
    ) -> None:
        """What an account event moves, or whose sums it begins anew."""
        if isinstance(event, OrderFilled):
            self._fill(event)
        elif isinstance(event, FillCorrected):
            self._corrected.add(f"{event.venue}|{event.trade_id}")
            self._sums.clear()
        elif isinstance(event, FundingSettled):
            self._sums.pop((event.venue, event.currency), None)
        elif isinstance(event, BalanceReported):
            self._first((event.venue, event.currency))
        elif isinstance(event, PositionReported):
            self._first(("", event.instrument))
        else:
            for key in _keys(event.definition):
                self._sums.pop(key, None)

    def look(self) -> list[str]:
        """What is not as executions make it, a line each; empty where all is."""
        marks = self._contradictions()
        if marks != self._marks:
            self._marks = marks
            self._sums.clear()
        found = []
        for key in self._due():
            held, due = self._held(key), self._sums.get(key)
            if due is None:
                self._sums[key], self._moved[key] = held, abs(held)
                continue
            if abs(_EXACT.subtract(held, due)) > _ROUNDING * self._moved[key]:
                what = f"{key[1]} at {key[0]}" if key[0] else f"position in {key[1]}"
                found.append(f"{what} is {held}, executions make {due}")
                del self._sums[key]  # told once; the next look begins from what the books say
        return found

    def _contradictions(self) -> tuple[int, ...]:
        """Counts of what moves the books otherwise, or keeps an execution out of them."""
        counters = self._core.counters
        forgotten = self._core.orders.duplicate_fills if self._forgets else 0
        return (
            counters.adjustments,
            counters.corrections,
            counters.unknown_corrections,
            counters.conflicting_fills,
            counters.core_errors,
            sum(counters.unreadable.values()),
            forgotten,
        )

    def _due(self) -> list[Key]:
        lanes = list(self._core.lanes.values())
        keys = list(dict.fromkeys(key for lane in lanes for key in _keys(lane.instrument)))
        if len(keys) <= KEYS_PER_LOOK:
            return keys
        first = self._next % len(keys)
        self._next = first + KEYS_PER_LOOK
        return (keys + keys)[first : first + KEYS_PER_LOOK]

    def _held(self, key: Key) -> Decimal:
        venue, name = key
        return (self._core.portfolio.balance(venue, name) or ZERO) if venue else self._core.portfolio.qty(name)

    def _first(self, key: Key) -> None:
        """The first report opens the books; later ones are for reconciliation, which counts what it adjusts."""
        if key not in self._told:
            self._told.add(key)
            self._sums.pop(key, None)

    def _fill(self, fill: OrderFilled) -> None:
        key = f"{fill.venue}|{fill.trade_id}"
        if key in self._trades or key in self._older_trades:
            return
        if len(self._trades) >= TRADES_KEPT:
            self._forgets = self._forgets or bool(self._older_trades)
            self._older_trades, self._trades = self._trades, {}
        self._trades[key] = None
        lane = self._core.lanes.get(fill.instrument)
        if lane is None or key in self._corrected:
            self._sums.clear()
            return
        rules, qty = lane.instrument, fill.qty if fill.side > 0 else -fill.qty
        if rules.asset_class in FULLY_PAID:
            self._move((rules.venue, rules.base), qty)
            self._move((rules.venue, rules.quote), _EXACT.multiply(_EXACT.multiply(-qty, fill.px), rules.multiplier))
        else:
            self._move(("", rules.id), qty)
            self._sums.pop((rules.venue, rules.settlement), None)  # realised profit rests on what the core paid
        self._move((fill.venue, fill.fee_currency), -fill.fee)

    def _move(self, key: Key, amount: Decimal) -> None:
        if key in self._sums:
            self._sums[key] = _EXACT.add(self._sums[key], amount)
            self._moved[key] = _EXACT.add(self._moved[key], abs(amount))


def _keys(rules: Instrument) -> Iterator[Key]:
    """What an execution in an instrument moves, but for fees in other coins."""
    if rules.asset_class in FULLY_PAID:
        yield rules.venue, rules.base
        yield rules.venue, rules.quote
    else:
        yield "", rules.id
        yield rules.venue, rules.settlement
