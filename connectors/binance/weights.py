"""What of the venue's request weight may still be used in this minute: a count, no clock.

Owns the arithmetic.  ``now_ns`` is given; who waits, and what leaves first, is the caller's.

The venue grants an address a weight a minute, over all programs behind it, and bans who goes on after 429: first for
minutes, then for days (418).  So we use a share, believe its own count where that is higher, and stop when told.
"""

from __future__ import annotations

from typing import Final

NS_PER_S: Final = 1_000_000_000
MINUTE_NS: Final = 60 * NS_PER_S
PAUSE_S: Final = 30
"""After a refusal that names no time."""
BAN_S: Final = 120
"""After a 418 that names none: the shortest ban the venue speaks of."""


class WeightBudget:
    """``limit`` is what the venue grants a minute, ``share`` the part of it that is ours to use (0 to 1)."""

    def __init__(self, limit: int, share: float = 0.5) -> None:
        if limit < 1 or not 0.0 < share <= 1.0:
            raise ValueError(f"weight budget needs limit >= 1, 0 < share <= 1: {limit=} {share=}")
        self.limit = limit
        self.ours = int(limit * share)
        self.used = 0
        """In the minute that ``take`` saw last, by our own count or the venue's, whichever is higher."""
        self._minute = -1
        self._shut_until_ns = 0

    def wait_ns(self, weight: int, now_ns: int) -> int:
        """Nanoseconds until ``take`` could succeed; 0 when it can now.  A weight beyond the budget waits for a minute
        of its own."""
        self._turn(now_ns)
        wait_ns = self._shut_until_ns - now_ns
        if self.used and self.used + weight > self.ours:
            wait_ns = max(wait_ns, (self._minute + 1) * MINUTE_NS - now_ns)
        return max(wait_ns, 0)

    def take(self, weight: int, now_ns: int) -> bool:
        """Count a request that leaves now; False, and nothing is counted, when it must wait."""
        if self.wait_ns(weight, now_ns):
            return False
        self.used += weight
        return True

    def told(self, used: str, now_ns: int) -> None:
        """``X-MBX-USED-WEIGHT-1M`` of an answer: what the whole address has used in the venue's present minute."""
        if used.isascii() and used.isdigit() and len(used) < 10:
            self._turn(now_ns)
            self.used = max(self.used, int(used))

    def refused(self, status: int, retry_after_s: int, now_ns: int) -> None:
        """An answer of 429 (too many) or 418 (banned): nothing leaves until then."""
        wait_s = retry_after_s or (BAN_S if status == 418 else PAUSE_S)
        self._shut_until_ns = max(self._shut_until_ns, now_ns + wait_s * NS_PER_S)

    def _turn(self, now_ns: int) -> None:
        """The venue counts by minutes of the clock; a clock that steps back stays in its minute."""
        minute = now_ns // MINUTE_NS
        if minute > self._minute:
            self._minute = minute
            self.used = 0
