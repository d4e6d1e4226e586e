"""Who may ask next: cancels always, orders before questions, questions before polls.

Owns the shares of one token bucket.  Does not wait or read a clock.
"""

from __future__ import annotations

from connectors.ratelimit import TokenBucket

CANCEL_SHARE, POLL_SHARE = 1 / 10, 1 / 5
"""Of the burst: kept for cancels; and kept, cancels' part included, from polls, so that orders have some to leave by
when polling alone takes what comes back."""


class Budget:
    """``bucket`` counts all requests of the account; its priority lane is for cancels."""

    def __init__(self, per_minute: float, burst: int, *, now_ns: int) -> None:
        self.bucket = TokenBucket(per_minute / 60.0, burst, reserve=int(burst * CANCEL_SHARE), now_ns=now_ns)
        self._poll_floor = burst * POLL_SHARE

    def try_poll(self, now_ns: int) -> bool:
        """Take a token for a poll."""
        if self.bucket.left(now_ns) < self._poll_floor:
            return False
        return self.bucket.try_take(now_ns)

    def try_ask(self, now_ns: int) -> bool:
        """Take a token for an order, or for a question that something waits for."""
        return self.bucket.try_take(now_ns)

    def wait_s(self, now_ns: int, *, poll: bool) -> float:
        """About how long until ``try_poll`` or ``try_ask`` could succeed; at least a moment."""
        wait_s = self.bucket.wait_ns(now_ns) / 1e9
        if poll:
            missing = self._poll_floor - self.bucket.left(now_ns)
            wait_s = max(wait_s, missing / self.bucket.rate_per_s)
        return min(max(wait_s, 0.01), 5.0)
