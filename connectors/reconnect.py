"""How long to wait before the next connection attempt.

Owns the arithmetic of back-off: exponential, capped, jittered, with a budget of attempts per minute (a reconnect storm
is bounded even when every connection opens and dies at once).  Does not sleep, connect or read a clock: time and
randomness are given.
"""

from __future__ import annotations

from collections import deque
from random import Random


class Backoff:
    """Delays between attempts.  ``next_delay_s`` is called once before each attempt that follows a failure.

    The n-th delay without a success between is uniform in ``[x/2, x]`` with ``x = min(cap_s, base_s * factor**n)``
    (equal jitter: it spreads clients and still never comes near zero).  When ``budget_per_minute`` attempts lie in
    the last 60 s, the delay is stretched until the oldest of them is a minute old.
    """

    def __init__(
        self,
        rng: Random,
        *,
        base_s: float = 1.0,
        cap_s: float = 30.0,
        factor: float = 2.0,
        budget_per_minute: int = 12,
    ) -> None:
        if base_s <= 0 or cap_s < base_s or factor < 1 or budget_per_minute < 1:
            raise ValueError(
                f"back-off needs 0 < base_s <= cap_s, factor >= 1, budget_per_minute >= 1: "
                f"{base_s=} {cap_s=} {factor=} {budget_per_minute=}"
            )
        self._rng = rng
        self._base_s = base_s
        self._cap_s = cap_s
        self._factor = factor
        self._budget = budget_per_minute
        self._failures = 0
        self._attempts_s: deque[float] = deque(maxlen=budget_per_minute)

    @property
    def failures(self) -> int:
        """Attempts since the last ``succeeded``."""
        return self._failures

    def next_delay_s(self, now_s: float) -> float:
        """Seconds to wait from ``now_s`` (any monotonic clock) until the attempt, which is charged to the budget."""
        ceiling_s = self._base_s
        for _ in range(self._failures):
            ceiling_s *= self._factor
            if ceiling_s >= self._cap_s:
                break
        ceiling_s = min(ceiling_s, self._cap_s)
        delay_s = ceiling_s * (0.5 + 0.5 * self._rng.random())
        if len(self._attempts_s) == self._budget:
            delay_s = max(delay_s, self._attempts_s[0] + 60.0 - now_s)
        self._failures += 1
        self._attempts_s.append(now_s + delay_s)
        return delay_s

    def succeeded(self) -> None:
        """The connection proved itself (not merely opened): the next delay starts from ``base_s`` again.

        The budget is not given back, so a peer that accepts and drops cannot be hammered.
        """
        self._failures = 0
