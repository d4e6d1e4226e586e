"""How often a strategy may ask: its own order rate, entries repeated in one direction, orders for each execution.

Owns the memory of those, bounded like ``risk.pace``, which holds the rates of the account.  All of it counts entries:
cancels and exits are never throttled here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

from engine.commands import OrderIntent
from engine.ports import Tally
from risk.checks import SECOND_NS, Finding, check_orders_per_fill, check_rate, check_repeats
from risk.limits import EVERY_OTHER, RATIO_FREE, Limits, StrategyLimits

KEYS_MAX = 10_000
"""Instruments that are remembered for each strategy and direction; more is refused."""
STRATEGIES_MAX = 1_000
"""Strategies that are remembered; a session has a handful."""


class _Habits:
    """What one strategy has done lately.  ``since_fills``: its executions when it was counted first."""

    __slots__ = ("buys", "limits", "opened", "per_s", "sells", "since_fills", "times")

    def __init__(self, limits: StrategyLimits | None) -> None:
        self.limits = limits
        self.per_s = 0 if limits is None else limits.max_orders_per_s or 0
        self.times: deque[int] = deque(maxlen=max(self.per_s, 1))
        self.buys: dict[str, deque[int]] = {}
        self.sells: dict[str, deque[int]] = {}
        self.forget(0)

    def forget(self, fills: int) -> None:
        self.buys.clear()
        self.sells.clear()
        self.opened, self.since_fills = 0, fills


class Throttles:
    """Of one gate.  Time is given with each call."""

    __slots__ = ("_by_strategy", "_forgiven", "_habits", "_opened", "_ratio", "_repeats", "_window_ns")

    def __init__(self, limits: Limits) -> None:
        self._by_strategy = dict(limits.strategy_limits or {})
        self._ratio = limits.max_orders_per_fill
        self._repeats = limits.max_repeats or 0
        self._window_ns = limits.repeat_window_ns or 0
        self._habits: dict[str, _Habits] = {}
        self._opened = 0
        self._forgiven = False

    @property
    def idle(self) -> bool:
        """Nothing of this is configured."""
        asked = [one.max_orders_per_s or one.max_orders_per_fill for one in self._by_strategy.values()]
        return self._ratio is None and not self._repeats and not any(asked)

    def check(self, intent: OrderIntent, tallies: Mapping[str, Tally], now_ns: int) -> Finding | None:
        habits = self._habits.get(intent.strategy)
        if habits is None or self._forgiven:
            habits = self._begin(intent.strategy, tallies)
            if habits is None:
                return ("strategy_order_rate", f"{STRATEGIES_MAX} strategies", "room to remember one more")
        if habits.per_s and len(habits.times) >= habits.per_s:
            found = check_rate("strategy_order_rate", habits.times, habits.per_s, now_ns)
            if found is not None:
                return found
        if self._repeats:
            kind = habits.buys if intent.side > 0 else habits.sells
            times = kind.get(intent.instrument)
            if times is None:
                if len(kind) >= KEYS_MAX:
                    return ("repeated_execution", f"{KEYS_MAX} kinds of entries", "room to remember one more")
            elif len(times) >= self._repeats:
                found = check_repeats(times, self._repeats, now_ns, self._window_ns)
                if found is not None:
                    return found
        # Nobody's own count is above that of all.
        return None if self._opened < RATIO_FREE else self._check_ratio(intent.strategy, habits, tallies)

    def _begin(self, strategy: str, tallies: Mapping[str, Tally]) -> _Habits | None:
        """What was executed before answers none of the orders that are counted from here on."""
        if self._forgiven:
            self._forgiven, self._opened = False, 0
            for name, known in self._habits.items():
                known.forget(_fills(name, tallies))
        habits = self._habits.get(strategy)
        if habits is None and len(self._habits) < STRATEGIES_MAX:
            limits = self._by_strategy.get(strategy) or self._by_strategy.get(EVERY_OTHER)
            habits = self._habits[strategy] = _Habits(limits)
            habits.forget(_fills(strategy, tallies))
        return habits

    def _check_ratio(self, strategy: str, habits: _Habits, tallies: Mapping[str, Tally]) -> Finding | None:
        limit = None if habits.limits is None else habits.limits.max_orders_per_fill
        if limit is not None:
            fills = _fills(strategy, tallies) - habits.since_fills
            found = check_orders_per_fill(habits.opened, fills, limit, RATIO_FREE)
            if found is not None:
                return ("strategy_orders_per_fill", *found[1:])
        if self._ratio is None:
            return None
        fills = sum(_fills(name, tallies) - known.since_fills for name, known in self._habits.items())
        return check_orders_per_fill(self._opened, fills, self._ratio, RATIO_FREE)

    def count(self, intent: OrderIntent, now_ns: int) -> None:
        """An entry was opened; it was checked before."""
        habits = self._habits.get(intent.strategy)
        if habits is None:
            return
        if habits.per_s:
            times = habits.times
            while times and now_ns - times[0] >= SECOND_NS:
                times.popleft()
            times.append(now_ns)
        if self._repeats:
            kind = habits.buys if intent.side > 0 else habits.sells
            lately = kind.get(intent.instrument)
            if lately is None:
                lately = kind[intent.instrument] = deque(maxlen=max(self._repeats, 1))
            lately.append(now_ns)
        habits.opened += 1
        self._opened += 1

    def forgive(self) -> None:
        """An operator resumed: ratios and repeats begin anew, at the next order."""
        self._forgiven = True


def _fills(strategy: str, tallies: Mapping[str, Tally]) -> int:
    tally = tallies.get(strategy)
    return 0 if tally is None else tally.fills
