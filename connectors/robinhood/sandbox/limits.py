"""The venue's limit on requests: a bucket for each key.

Owns the counters.  Time is given by the caller; state is bounded.
"""

from __future__ import annotations

from collections import OrderedDict

from connectors.robinhood.sandbox.settings import RateLimits

_MOST_CALLERS = 1_024


class Buckets:
    """Full at first; refilled evenly."""

    def __init__(self, limits: RateLimits) -> None:
        self._limits = limits
        self._left: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def take(self, caller: str, now_ns: int) -> bool:
        """Whether one more request is allowed now; a refused one costs nothing."""
        burst = float(self._limits.burst)
        last_ns, left = self._left.pop(caller, (now_ns, burst))
        left = min(burst, left + max(0, now_ns - last_ns) * 1e-9 * self._limits.per_minute / 60.0)
        allowed = left >= 1.0
        self._left[caller] = (now_ns, left - allowed)
        if len(self._left) > _MOST_CALLERS:
            self._left.popitem(last=False)
        return allowed

    def drain(self) -> None:
        """Every bucket is empty now."""
        self._left = OrderedDict((caller, (last_ns, 0.0)) for caller, (last_ns, _) in self._left.items())
