"""What one strategy may enter in one instrument: the limits that bind it there, and what the gate remembers of both.

Owns the short question whether nothing that is remembered speaks against an entry: rates, repetitions, ratios, losses
and cool-downs.  The memories are ``risk.pace``, ``risk.throttles`` and ``risk.losses``; what is looked up in them by
name is looked up once for each strategy and instrument, and whatever is not plain they are asked themselves.
"""

from __future__ import annotations

import sys

from engine.commands import OrderIntent
from engine.events import Side
from engine.ports import View
from engine.stakes import other_half
from risk.checks import SECOND_NS
from risk.controls import Ceiling
from risk.limits import RATIO_FREE
from risk.losses import Losses
from risk.pace import Pace
from risk.throttles import KEYS_MAX, Habits, Throttles

# Enum members are slow to reach through their class in CPython 3.11; this is the hot path.
_BUY = Side.BUY


class Memory:
    """All that one gate remembers."""

    __slots__ = ("has_losses", "has_throttles", "losses", "pace", "throttles")

    def __init__(self, pace: Pace, losses: Losses, throttles: Throttles) -> None:
        self.pace, self.losses, self.throttles = pace, losses, throttles
        self.has_losses, self.has_throttles = not losses.idle, not throttles.idle


class Standing:
    """``order``, ``total`` and ``open_orders``: see ``risk.controls.Ceiling``; ``flat``: the smaller of both amounts,
    for an order beside which nothing is held or open; ``other``: whose orders count with its own (``OwnPart``)."""

    __slots__ = (
        "_entries",
        "_habits",
        "_has_losses",
        "_has_memory",
        "_has_throttles",
        "_in_all",
        "_instrument",
        "_limit",
        "_limit_instrument",
        "_losses",
        "_losses_most",
        "_lowest",
        "_pace",
        "_quiet",
        "_repeats",
        "_stopped",
        "_strategy",
        "_throttles",
        "asks_gross",
        "flat",
        "open_orders",
        "order",
        "other",
        "total",
    )

    def __init__(self, strategy: str, instrument: str, ceiling: Ceiling, memory: Memory) -> None:
        self.order, self.total, self.open_orders = ceiling.order, ceiling.total, ceiling.open_orders
        self.flat, self.asks_gross = min(ceiling.order, ceiling.total), ceiling.asks_gross
        self._strategy, self._instrument = strategy, instrument
        self.other = other_half(strategy)
        self._pace, self._losses, self._throttles = memory.pace, memory.losses, memory.throttles
        self._has_losses, self._has_throttles = memory.has_losses, memory.has_throttles
        self._has_memory = memory.has_losses or memory.has_throttles
        # Windows and tables that their owners change in place and never replace.
        lane = memory.pace.entries
        self._in_all, self._entries = lane.in_all, lane.times_of(instrument)
        self._limit, self._limit_instrument = lane.limit, lane.limit_instrument
        self._stopped, self._quiet = memory.losses.stopped, memory.losses.quiet
        self._lowest = memory.losses.lowest_of(strategy)
        self._losses_most = memory.losses.most or sys.maxsize
        self._repeats = memory.throttles.repeats
        self._habits: Habits | None = None

    def holds_elsewhere(self, view: View) -> bool:
        """Whether the strategy or its twin holds something of another instrument; the account may show none of it,
        where others hold as much the other way."""
        name = self._instrument
        own, others = view.held_by(self._strategy), view.held_by(self.other)
        return len(own) > (name in own) or len(others) > (name in others)

    def is_calm(self, intent: OrderIntent, view: View, now_ns: int) -> bool:
        """Whether nothing that is remembered speaks against this entry; False: the checks have to say what."""
        pace = self._pace
        if (
            now_ns - pace.newest_ns < pace.window_ns
            or len(self._in_all) >= self._limit
            or len(self._entries) >= self._limit_instrument
        ) and pace.check_entry(intent, now_ns) is not None:
            return False
        if not self._has_memory:
            return True
        tallies = view.tallies()
        if self._has_losses:
            tally, lowest = tallies.get(self._strategy), self._lowest
            if (
                self._stopped
                or self._quiet
                or self.other in tallies
                or (
                    tally is not None
                    and (
                        tally.losses >= self._losses_most
                        or (lowest is not None and (tally.day is None or not tally.day > lowest))
                    )
                )
            ) and self._losses.check(self._strategy, self._instrument, tallies, now_ns) is not None:
                return False
        if not self._has_throttles:
            return True
        throttles, habits = self._throttles, self._habits
        if habits is None or throttles.forgiven:
            found = throttles.check(intent, tallies, now_ns)
            self._habits = throttles.habits_of(self._strategy)
            return found is None
        if self._repeats:
            kind = habits.buys if intent.side is _BUY else habits.sells
            times = kind.get(self._instrument)
            if times is None:
                is_full = len(kind) >= KEYS_MAX
            else:
                is_full = len(times) >= self._repeats and now_ns - times[0] < throttles.window_ns
        else:
            is_full = False
        if is_full or (len(habits.times) >= habits.per_s and now_ns - habits.times[0] < SECOND_NS):
            return throttles.check(intent, tallies, now_ns) is None
        return (
            throttles.opened < RATIO_FREE
            or throttles.keeps_ratio(self._strategy, habits, tallies)
            or throttles.check_ratio(self._strategy, habits, tallies) is None
        )
