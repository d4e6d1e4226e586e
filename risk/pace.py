"""How often orders were opened lately: rates, duplicates, runaway loops.

Owns the gate's only memory of its own.  Every part of it is bounded: times leave with their second, wishes with their
window (``DUPLICATES_MAX`` at once; a full memory refuses entries), counters exist for defined instruments only.
"""

from __future__ import annotations

from collections import deque
from decimal import Decimal

from engine.commands import OrderIntent
from engine.stakes import CLOSERS
from risk.checks import SECOND_NS, Finding, check_duplicate, check_rate
from risk.limits import Limits

EXIT_ORDERS_PER_S = 1
"""What reducing orders are held to when the rate limit itself is unusable: slow, but no trap."""

DUPLICATES_MAX = 10_000

RUNAWAY_CHECKS = frozenset(
    {"order_rate", "order_rate_instrument", "duplicate", "strategy_order_rate", "repeated_execution"}
)
"""Refusals that mean a strategy asks again without looking."""

WishKey = tuple[str, str, bool, Decimal, Decimal | None, Decimal | None]


class Lane:
    """Times of the orders of one kind, entries or exits, in all and for each instrument."""

    __slots__ = ("by_instrument", "in_all", "limit", "limit_instrument")

    def __init__(self, limit: int, limit_instrument: int) -> None:
        self.limit = limit
        self.limit_instrument = limit_instrument
        self.in_all: deque[int] = deque(maxlen=limit)
        self.by_instrument: dict[str, deque[int]] = {}

    def check(self, instrument: str, now_ns: int) -> Finding | None:
        # A window that is not full needs no look at its oldest time.
        if len(self.in_all) >= self.limit:
            found = check_rate("order_rate", self.in_all, self.limit, now_ns)
            if found is not None:
                return found
        times = self.by_instrument.get(instrument)
        if times is None or len(times) < self.limit_instrument:
            return None
        return check_rate("order_rate_instrument", times, self.limit_instrument, now_ns)

    def times_of(self, instrument: str) -> deque[int]:
        """Of a defined instrument; one object for good."""
        times = self.by_instrument.get(instrument)
        if times is None:
            times = self.by_instrument[instrument] = deque(maxlen=self.limit_instrument)
        return times

    def count(self, instrument: str, now_ns: int) -> None:
        for lately in (self.in_all, self.times_of(instrument)):
            # What left the window goes, so that a generous limit does not mean a long memory.
            while lately and now_ns - lately[0] >= SECOND_NS:
                lately.popleft()
            lately.append(now_ns)


class Pace:
    """Sliding windows over the gate's own orders.  Time is given with each call."""

    __slots__ = (
        "_closers",
        "_exits",
        "_newest",
        "_refusals",
        "_wishes",
        "entries",
        "newest_ns",
        "runaway",
        "window_ns",
    )

    def __init__(self, limits: Limits) -> None:
        limit = max(limits.max_orders_per_s, EXIT_ORDERS_PER_S)
        limit_instrument = max(limits.max_orders_per_s_instrument, EXIT_ORDERS_PER_S)
        self.entries = Lane(limit, limit_instrument)
        self._exits = Lane(limit, limit_instrument)
        # Apart: a strategy that sends exits without end must not keep the guardian's or an operator's from leaving.
        self._closers = Lane(limit, limit_instrument)
        self.window_ns = limits.duplicate_window_ns
        self._wishes: dict[WishKey, int] = {}
        # The newest one is not among them until it has to be: hashing amounts costs more than most orders need.
        self._newest: OrderIntent | None = None
        self.newest_ns = 0
        """When the last wish was granted."""
        self._refusals: deque[int] = deque(maxlen=max(limits.max_rejections_per_s, 1))
        self.runaway = ""
        """Why this is a runaway loop; empty while it is none.  Latched until ``forgive``."""

    def check_entry(self, intent: OrderIntent, now_ns: int) -> Finding | None:
        entries = self.entries
        # A lane in which neither window is full has nothing to say.
        times = entries.by_instrument.get(intent.instrument)
        if len(entries.in_all) >= entries.limit or (times is not None and len(times) >= entries.limit_instrument):
            found = entries.check(intent.instrument, now_ns)
            if found is not None:
                return found
        wishes = self._wishes
        if now_ns - self.newest_ns >= self.window_ns:  # the newest wish left the window, and so did all before it
            if wishes:
                wishes.clear()
            self._newest = None
            return None
        self._file_newest()
        if not wishes:
            return None
        if len(wishes) >= DUPLICATES_MAX and now_ns - next(iter(wishes.values())) < self.window_ns:
            return ("duplicate", f"{len(wishes)} orders within {self.window_ns} ns", "room to remember one more")
        last_ns = wishes.get(_wish(intent))
        return None if last_ns is None else check_duplicate(last_ns, now_ns, self.window_ns)

    def check_exit(self, intent: OrderIntent, now_ns: int) -> Finding | None:
        return self._exits_of(intent).check(intent.instrument, now_ns)

    def count_entry(self, intent: OrderIntent, now_ns: int) -> None:
        self.entries.count(intent.instrument, now_ns)
        if now_ns - self.newest_ns >= self.window_ns:
            self._wishes.clear()
        else:
            self._file_newest()
        self._newest = intent
        self.newest_ns = max(self.newest_ns, now_ns)

    def _file_newest(self) -> None:
        """Put the newest wish among those that can be looked up, and take out what had left its window by then."""
        newest = self._newest
        if newest is None:
            return
        self._newest = None
        wishes, key, newest_ns = self._wishes, _wish(newest), self.newest_ns
        wishes.pop(key, None)  # put back at the end: the first one is always the oldest
        wishes[key] = newest_ns
        while True:
            oldest = next(iter(wishes))
            if newest_ns - wishes[oldest] < self.window_ns or oldest is key:
                break
            del wishes[oldest]

    def count_exit(self, intent: OrderIntent, now_ns: int) -> None:
        self._exits_of(intent).count(intent.instrument, now_ns)

    def _exits_of(self, intent: OrderIntent) -> Lane:
        return self._closers if intent.strategy in CLOSERS else self._exits

    def count_refusal(self, intent: OrderIntent, check: str, now_ns: int) -> None:
        """Refused by a check of ``RUNAWAY_CHECKS``: the n-th within one second latches ``runaway`` (F3)."""
        refusals = self._refusals
        refusals.append(now_ns)
        if len(refusals) == refusals.maxlen and now_ns - refusals[0] < SECOND_NS and not self.runaway:
            self.runaway = (
                f"runaway loop: {len(refusals)} refusals within {now_ns - refusals[0]} ns, "
                f"the last of {intent.strategy} on {intent.instrument} by {check}"
            )

    def forgive(self) -> None:
        """An operator resumed: start counting anew."""
        self.runaway = ""
        self._refusals.clear()


def _wish(intent: OrderIntent) -> WishKey:
    # The order's type is told by which prices it has; enum members in a key are slow to hash.
    return (intent.strategy, intent.instrument, intent.side > 0, intent.qty, intent.limit_px, intent.trigger_px)
