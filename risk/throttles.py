"""How often a strategy may ask: its own order rate, entries repeated in one direction, orders for each execution.

Owns the memory of those, bounded like ``risk.pace``, which holds the rates of the account.  All of it counts entries:
cancels and exits are never throttled here.  A strategy and its twin are one.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Mapping
from decimal import Decimal

from engine.commands import OrderIntent
from engine.events import Side
from engine.ports import Tally
from engine.stakes import base_name, other_half
from risk.checks import SECOND_NS, Finding, check_orders_per_fill, check_rate, check_repeats
from risk.limits import EVERY_OTHER, RATIO_FREE, Limits, StrategyLimits

# Enum members are slow to reach through their class in CPython 3.11; this is the hot path.
_BUY = Side.BUY

KEYS_MAX = 10_000
"""Instruments that are remembered for each strategy and direction; more is refused."""
WHOLE_MAX = Decimal(1_000_000)
STRATEGIES_MAX = 1_000
"""Strategies that are remembered; a session has a handful."""


class Habits:
    """What one strategy has done lately.  ``since_fills``: its executions when it was counted first."""

    __slots__ = ("buys", "limits", "opened", "per_s", "sells", "since_fills", "times", "whole_ratio")

    def __init__(self, limits: StrategyLimits | None) -> None:
        self.limits = limits
        self.per_s = (None if limits is None else limits.max_orders_per_s) or sys.maxsize
        self.times: deque[int] = deque(maxlen=max(self.per_s, 1))
        self.whole_ratio = None if limits is None else _whole(limits.max_orders_per_fill)
        self.buys: dict[str, deque[int]] = {}
        self.sells: dict[str, deque[int]] = {}
        self.forget(0)

    def forget(self, fills: int) -> None:
        self.buys.clear()
        self.sells.clear()
        self.opened, self.since_fills = 0, fills


class Throttles:
    """Of one gate.  Time is given with each call."""

    __slots__ = ("_by_strategy", "_habits", "_ratio", "_whole_ratio", "forgiven", "opened", "repeats", "window_ns")

    def __init__(self, limits: Limits) -> None:
        self._by_strategy = dict(limits.strategy_limits or {})
        self._ratio = limits.max_orders_per_fill
        self._whole_ratio = _whole(self._ratio)
        self.repeats = limits.max_repeats or 0
        """Entries in one direction that a window holds; 0: not limited."""
        self.window_ns = limits.repeat_window_ns or 0
        self._habits: dict[str, Habits] = {}
        self.opened = 0
        """Entries of all strategies."""
        self.forgiven = False
        """What is remembered is forgotten before the next answer."""

    @property
    def idle(self) -> bool:
        """Nothing of this is configured."""
        asked = [one.max_orders_per_s or one.max_orders_per_fill for one in self._by_strategy.values()]
        return self._ratio is None and not self.repeats and not any(asked)

    def check(self, intent: OrderIntent, tallies: Mapping[str, Tally], now_ns: int) -> Finding | None:
        strategy = base_name(intent.strategy)
        habits = self._habits.get(strategy)
        if habits is None or self.forgiven:
            habits = self._begin(strategy, tallies)
            if habits is None:
                return ("strategy_order_rate", f"{STRATEGIES_MAX} strategies", "room to remember one more")
        if len(habits.times) >= habits.per_s:
            found = check_rate("strategy_order_rate", habits.times, habits.per_s, now_ns)
            if found is not None:
                return found
        if self.repeats:
            kind = habits.buys if intent.side == _BUY else habits.sells
            times = kind.get(intent.instrument)
            if times is None:
                if len(kind) >= KEYS_MAX:
                    return ("repeated_execution", f"{KEYS_MAX} kinds of entries", "room to remember one more")
            elif len(times) >= self.repeats:
                found = check_repeats(times, self.repeats, now_ns, self.window_ns)
                if found is not None:
                    return found
        # Nobody's own count is above that of all.
        return None if self.opened < RATIO_FREE else self.check_ratio(strategy, habits, tallies)

    def habits_of(self, strategy: str) -> Habits | None:
        """Of a strategy that was checked before; one object for good, changed in place."""
        return self._habits.get(base_name(strategy))

    def _begin(self, strategy: str, tallies: Mapping[str, Tally]) -> Habits | None:
        """What was executed before answers none of the orders that are counted from here on."""
        if self.forgiven:
            self.forgiven, self.opened = False, 0
            for name, known in self._habits.items():
                known.forget(_fills(name, tallies))
        habits = self._habits.get(strategy)
        if habits is None and len(self._habits) < STRATEGIES_MAX:
            limits = self._by_strategy.get(strategy) or self._by_strategy.get(EVERY_OTHER)
            habits = self._habits[strategy] = Habits(limits)
            habits.forget(_fills(strategy, tallies))
        return habits

    def keeps_ratio(self, strategy: str, habits: Habits, tallies: Mapping[str, Tally]) -> bool:
        """Whether ``check_ratio`` plainly finds nothing; False: ask it.  Counts and whole numbers only: an order less
        than so many times the executions needs no product of amounts."""
        fills = _fills(base_name(strategy), tallies) - habits.since_fills
        if habits.whole_ratio is not None and habits.opened >= habits.whole_ratio * fills:
            return False
        if self._whole_ratio is None:
            return True
        if len(self._habits) > 1:
            fills = self._fills_of_all(tallies)
        return self.opened < self._whole_ratio * fills

    def check_ratio(self, strategy: str, habits: Habits, tallies: Mapping[str, Tally]) -> Finding | None:
        """Orders for each execution, of the strategy and of all."""
        limit = None if habits.limits is None else habits.limits.max_orders_per_fill
        if limit is not None:
            fills = _fills(base_name(strategy), tallies) - habits.since_fills
            found = check_orders_per_fill(habits.opened, fills, limit, RATIO_FREE)
            if found is not None:
                return ("strategy_orders_per_fill", *found[1:])
        if self._ratio is None:
            return None
        return check_orders_per_fill(self.opened, self._fills_of_all(tallies), self._ratio, RATIO_FREE)

    def _fills_of_all(self, tallies: Mapping[str, Tally]) -> int:
        return sum([_fills(name, tallies) - known.since_fills for name, known in self._habits.items()])

    def count(self, intent: OrderIntent, now_ns: int) -> None:
        """An entry was opened; it was checked before."""
        habits = self._habits.get(base_name(intent.strategy))
        if habits is None:
            return
        if habits.per_s < sys.maxsize:
            times = habits.times
            while times and now_ns - times[0] >= SECOND_NS:
                times.popleft()
            times.append(now_ns)
        if self.repeats:
            kind = habits.buys if intent.side == _BUY else habits.sells
            lately = kind.get(intent.instrument)
            if lately is None:
                lately = kind[intent.instrument] = deque(maxlen=max(self.repeats, 1))
            lately.append(now_ns)
        habits.opened += 1
        self.opened += 1

    def forgive(self) -> None:
        """An operator resumed: ratios and repeats begin anew, at the next order."""
        self.forgiven = True


def _whole(ratio: Decimal | None) -> int | None:
    """The whole number below a ratio, None for none: at most ``WHOLE_MAX``, and 0 for what is no ratio."""
    if ratio is None:
        return None
    return int(min(ratio, WHOLE_MAX)) if ratio.is_finite() and ratio > 0 else 0


def _fills(base: str, tallies: Mapping[str, Tally]) -> int:
    """Executions of a strategy and its twin."""
    tally, other = tallies.get(base), tallies.get(other_half(base))
    return (0 if tally is None else tally.fills) + (0 if other is None else other.fills)
