"""Rate limits as the venue applies them: requests and new connections a second for each address.

Owns the counters.  Time is given by the caller; state is bounded.
"""

from __future__ import annotations

from collections import OrderedDict

_MOST_CALLERS = 1_024


class PerSecond:
    """A window that slides: a bucket of ``limit`` that refills evenly within a second."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._level: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def take(self, caller: str, now_ns: int) -> bool:
        """Whether one more is allowed now."""
        last_ns, used = self._level.pop(caller, (now_ns, 0.0))
        used = max(0.0, used - (now_ns - last_ns) * 1e-9 * self.limit)
        allowed = used <= self.limit - 1
        self._level[caller] = (now_ns, used + allowed)
        if len(self._level) > _MOST_CALLERS:
            self._level.popitem(last=False)
        return allowed
