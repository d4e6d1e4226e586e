"""Rate limits as the venue applies them: so many a second for each key or address.

Owns the counters.  Time is given by the caller; state is bounded.
"""

from __future__ import annotations

from collections import OrderedDict

_MOST_CALLERS = 1_024


class PerSecond:
    """A fixed window of one second per caller."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._used: OrderedDict[str, tuple[int, int]] = OrderedDict()

    def take(self, caller: str, now_ns: int) -> tuple[bool, int]:
        """``(allowed, remaining in this second)``."""
        second = now_ns // 1_000_000_000
        window, used = self._used.pop(caller, (second, 0))
        if window != second:
            used = 0
        allowed = used < self.limit
        self._used[caller] = (second, used + allowed)
        if len(self._used) > _MOST_CALLERS:
            self._used.popitem(last=False)
        return allowed, self.limit - used - allowed
