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
"""Different (strategy, instrument, direction) that are remembered; more is refused."""

Key = tuple[str, str, bool]


class Throttles:
    """Of one gate.  Time is given with each call."""

    __slots__ = (
        "_by_strategy",
        "_opened",
        "_opened_all",
        "_ratio",
        "_repeats",
        "_since",
        "_times",
        "_window_ns",
        "_wishes",
    )

    def __init__(self, limits: Limits) -> None:
        self._by_strategy = dict(limits.strategy_limits or {})
        self._ratio = limits.max_orders_per_fill
        self._repeats = limits.max_repeats or 0
        self._window_ns = limits.repeat_window_ns or 0
        self._times: dict[str, deque[int]] = {}
        self._wishes: dict[Key, deque[int]] = {}
        self._opened: dict[str, int] = {}
        self._opened_all = 0
        self._since: dict[str, int] = {}  # fills of a strategy when it was first counted

    @property
    def idle(self) -> bool:
        """Nothing of this is configured."""
        asked = [one.max_orders_per_s or one.max_orders_per_fill for one in self._by_strategy.values()]
        return self._ratio is None and not self._repeats and not any(asked)

    def _of(self, strategy: str) -> StrategyLimits | None:
        return self._by_strategy.get(strategy) or self._by_strategy.get(EVERY_OTHER)

    def check(self, intent: OrderIntent, tallies: Mapping[str, Tally], now_ns: int) -> Finding | None:
        strategy = intent.strategy
        limits = self._of(strategy)
        if limits is not None and limits.max_orders_per_s is not None:
            times = self._times.get(strategy)
            if times is not None and len(times) >= limits.max_orders_per_s:
                found = check_rate("strategy_order_rate", times, limits.max_orders_per_s, now_ns)
                if found is not None:
                    return found
        if self._repeats:
            key = (strategy, intent.instrument, intent.side > 0)
            times = self._wishes.get(key)
            if times is None:
                if len(self._wishes) >= KEYS_MAX:
                    return ("repeated_execution", f"{KEYS_MAX} kinds of entries", "room to remember one more")
            elif len(times) >= self._repeats:
                found = check_repeats(times, self._repeats, now_ns, self._window_ns)
                if found is not None:
                    return found
        return self._check_ratio(strategy, limits, tallies)

    def _check_ratio(
        self, strategy: str, limits: StrategyLimits | None, tallies: Mapping[str, Tally]
    ) -> Finding | None:
        if strategy not in self._since:  # what was executed before answers none of the orders that are counted here
            tally = tallies.get(strategy)
            self._since[strategy] = 0 if tally is None else tally.fills
        if limits is not None and limits.max_orders_per_fill is not None:
            opened = self._opened.get(strategy, 0)
            if opened >= RATIO_FREE:
                fills = self._fills(strategy, tallies)
                found = check_orders_per_fill(opened, fills, limits.max_orders_per_fill, RATIO_FREE)
                if found is not None:
                    return ("strategy_orders_per_fill", *found[1:])
        if self._ratio is not None and self._opened_all >= RATIO_FREE:
            fills = sum(self._fills(name, tallies) for name in self._opened)
            return check_orders_per_fill(self._opened_all, fills, self._ratio, RATIO_FREE)
        return None

    def _fills(self, strategy: str, tallies: Mapping[str, Tally]) -> int:
        tally = tallies.get(strategy)
        return 0 if tally is None else tally.fills - self._since.get(strategy, 0)

    def count(self, intent: OrderIntent, now_ns: int) -> None:
        """An entry was opened."""
        strategy = intent.strategy
        limits = self._of(strategy)
        if limits is not None and limits.max_orders_per_s is not None:
            times = self._times.get(strategy)
            if times is None:
                times = self._times[strategy] = deque(maxlen=max(limits.max_orders_per_s, 1))
            while times and now_ns - times[0] >= SECOND_NS:
                times.popleft()
            times.append(now_ns)
        if self._repeats:
            key = (strategy, intent.instrument, intent.side > 0)
            times = self._wishes.get(key)
            if times is None:
                times = self._wishes[key] = deque(maxlen=max(self._repeats, 1))
            times.append(now_ns)
        self._opened[strategy] = self._opened.get(strategy, 0) + 1
        self._opened_all += 1

    def forgive(self) -> None:
        """An operator resumed: ratios and repeats begin anew."""
        self._since.clear()
        self._wishes.clear()
        self._opened.clear()
        self._opened_all = 0
