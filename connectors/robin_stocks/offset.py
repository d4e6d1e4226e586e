"""How far the venue's clock is from ours, from the dates of its answers: whole seconds, and still enough.

Owns the arithmetic.  An answer was made between our question and its arrival, and its date is cut to the second: that
bounds the offset from both sides.  Bounds of many answers are one narrow range.  Pure: times are given.
"""

from __future__ import annotations

NS_PER_S = 1_000_000_000
_FORGET_NS = 900 * NS_PER_S
"""A range is begun anew after so long: clocks drift."""


class ClockOffset:
    """``ns`` is the venue's clock minus ours: 0 as long as nothing proves that it is another."""

    def __init__(self) -> None:
        self.ns = 0
        self._low_ns = self._high_ns = 0
        self._since_ns = 0

    def add(self, date_s: int, asked_ns: int, heard_ns: int) -> None:
        """An answer of that date, between these two moments of ours.  One without a date says nothing."""
        if date_s <= 0 or heard_ns < asked_ns:
            return
        low_ns, high_ns = date_s * NS_PER_S - heard_ns, (date_s + 1) * NS_PER_S - asked_ns
        fits = self._since_ns and max(low_ns, self._low_ns) <= min(high_ns, self._high_ns)
        if fits and heard_ns - self._since_ns < _FORGET_NS:
            self._low_ns, self._high_ns = max(low_ns, self._low_ns), min(high_ns, self._high_ns)
        else:
            self._low_ns, self._high_ns, self._since_ns = low_ns, high_ns, heard_ns
        self.ns = min(max(0, self._low_ns), self._high_ns)
