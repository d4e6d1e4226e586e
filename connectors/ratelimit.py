"""A token bucket with a lane that cancels can always use.

Owns the count of requests that may still leave, and how long none may after the venue said "too many" (429).  Does not
wait or read a clock: ``now_ns`` is given, and a caller that gets False decides itself what that means (an order is
refused with that reason, a cancel waits).
"""

from __future__ import annotations

NS_PER_S = 1_000_000_000
FIRST_PAUSE_NS, LONGEST_PAUSE_NS = 1 * NS_PER_S, 8 * NS_PER_S
"""Pauses after a 429 double, until a request of that lane succeeds."""
LONGEST_WISH_NS = 60 * NS_PER_S
"""A longer Retry-After is cut to this: one more request a minute does no harm, a cancel that never leaves does."""


class _Pause:
    """When one lane is shut."""

    __slots__ = ("length_ns", "until_ns")

    def __init__(self) -> None:
        self.until_ns = 0
        self.length_ns = 0

    def begin(self, now_ns: int, wish_ns: int) -> None:
        """A request was refused; ``wish_ns`` is the earliest time that the venue named, 0 for none."""
        if now_ns >= self.until_ns:  # else it left together with the one whose refusal began this pause
            self.length_ns = min(2 * self.length_ns or FIRST_PAUSE_NS, LONGEST_PAUSE_NS)
            self.until_ns = now_ns + self.length_ns
        self.until_ns = max(self.until_ns, wish_ns)

    def succeeded(self, now_ns: int) -> None:
        if now_ns >= self.until_ns:
            self.length_ns = 0


class TokenBucket:
    """``rate_per_s`` tokens a second up to ``burst``; ordinary requests leave ``reserve`` tokens for priority ones.

    The reserve is what keeps a burst of new orders from delaying the cancels that would undo them (fault C7).
    """

    def __init__(self, rate_per_s: float, burst: int, *, reserve: int = 0, now_ns: int = 0) -> None:
        if rate_per_s <= 0 or burst < 1 or not 0 <= reserve < burst:
            raise ValueError(
                f"rate limit needs rate_per_s > 0, burst >= 1, 0 <= reserve < burst: {rate_per_s=} {burst=} {reserve=}"
            )
        self.rate_per_s = rate_per_s
        self._rate_per_ns = rate_per_s / NS_PER_S
        self._burst = float(burst)
        self._reserve = float(reserve)
        self._ordinary_floor = 1.0 + self._reserve
        self._tokens = float(burst)
        self._last_ns = now_ns
        self._pause = _Pause()
        self._priority_pause = _Pause()
        self._wish_ns = 0

    def try_take(self, now_ns: int, *, priority: bool = False) -> bool:
        """Take one token if there is one for this lane.  A clock that steps back gives nothing and takes nothing."""
        if now_ns > self._last_ns:
            tokens = self._tokens + (now_ns - self._last_ns) * self._rate_per_ns
            self._tokens = tokens = tokens if tokens < self._burst else self._burst  # min() would double the cost
            self._last_ns = now_ns
        else:
            tokens = self._tokens
        if now_ns < (self._priority_pause if priority else self._pause).until_ns:
            return False
        # A hair of tolerance: ten refills of 0.1 token must make one token.
        if tokens + 1e-9 < (1.0 if priority else self._ordinary_floor):
            return False
        self._tokens = tokens - 1.0
        return True

    def give_back(self) -> None:
        """The request of the last taken token did not leave after all."""
        self._tokens = min(self._burst, self._tokens + 1.0)

    def wait_ns(self, now_ns: int, *, priority: bool = False) -> int:
        """Nanoseconds until ``try_take`` could succeed if nobody else takes; 0 when it can now."""
        tokens = self.left(now_ns)
        floor = 1.0 if priority else 1.0 + self._reserve
        refill_ns = 0 if tokens + 1e-9 >= floor else int((floor - tokens) / self._rate_per_ns) + 1
        return max(refill_ns, (self._priority_pause if priority else self._pause).until_ns - now_ns)

    def left(self, now_ns: int) -> float:
        """Tokens that are there now, those of the reserve included."""
        return min(self._burst, self._tokens + max(0, now_ns - self._last_ns) * self._rate_per_ns)

    def pause(self, until_ns: int) -> None:
        """The ordinary lane is shut until then, cancels go on."""
        self._pause.until_ns = max(self._pause.until_ns, until_ns)
        self._tokens = min(self._tokens, self._reserve + 1.0)

    def answered(self, now_ns: int, status: int, retry_after_s: int = 0) -> None:
        """An answer's HTTP status, of either lane: 429 shuts the ordinary lane.

        ``retry_after_s`` is how long the venue asks to wait, 0 when it does not say.
        """
        if status == 429:
            if retry_after_s > 0:
                self._wish_ns = max(self._wish_ns, now_ns + min(retry_after_s * NS_PER_S, LONGEST_WISH_NS))
            self._pause.begin(now_ns, self._wish_ns)
            self.pause(self._pause.until_ns)

    def succeeded(self, now_ns: int, *, priority: bool = False) -> None:
        """A request of this lane was served: its next pause is short again.  Of the other lane that says nothing."""
        (self._priority_pause if priority else self._pause).succeeded(now_ns)

    def priority_refused(self, now_ns: int) -> None:
        """Even a priority request was answered 429: its lane is shut too, and opens before the ordinary one."""
        self._priority_pause.begin(now_ns, self._wish_ns)
        self.pause(self._priority_pause.until_ns + FIRST_PAUSE_NS)
