"""How much may be asked of an exchange, in its own units: endpoints cost more or less of one bucket.

Owns the arithmetic: the library's own bucket goes by turn, so that an order would wait behind every question that was
asked before it.  Here questions wait and orders do not; what orders took, the questions after them wait for.  No clock:
times are given (any monotonic clock, s).
"""

from __future__ import annotations

FIRST_PAUSE_S, LONGEST_PAUSE_S = 2.0, 60.0


class Budget:
    """``unit_s``: one unit of cost comes back in this time.  Up to ``burst`` are saved; orders and cancels may go into
    debt by ``reserve``."""

    def __init__(self, unit_s: float, *, burst: float = 8.0, reserve: float = 8.0, now_s: float = 0.0) -> None:
        if unit_s < 0 or burst < 1 or reserve < 0:
            raise ValueError(f"budget needs unit_s >= 0, burst >= 1, reserve >= 0: {unit_s=} {burst=} {reserve=}")
        self._unit_s = unit_s
        self._burst = burst
        self._reserve = reserve
        self._units = burst
        self._last_s = now_s
        self._pause_s = 0.0
        self._shut_until_s = float("-inf")

    def question_wait_s(self, now_s: float) -> float:
        """Until the next question may leave; 0 when it may now."""
        self._refill(now_s)
        owed = -self._units * self._unit_s if self._units < 0 else 0.0
        return max(owed, self._shut_until_s - now_s, 0.0)

    def may_order(self, now_s: float) -> bool:
        """Whether an order may leave now."""
        self._refill(now_s)
        return self._units > -self._reserve and now_s >= self._shut_until_s

    def spend(self, now_s: float, cost: float) -> None:
        """A request leaves; the costs are the library's, those of some orders are 0."""
        self._refill(now_s)
        if self._unit_s > 0:
            self._units -= max(cost, 0.0)

    def refused(self, now_s: float) -> None:
        """The exchange said "too many": nothing but cancels leaves for a while, longer each time."""
        if now_s >= self._shut_until_s:  # else it left together with the one whose refusal began this pause
            self._pause_s = min(2 * self._pause_s or FIRST_PAUSE_S, LONGEST_PAUSE_S)
            self._shut_until_s = now_s + self._pause_s
        self._units = min(self._units, 0.0)

    def succeeded(self, now_s: float) -> None:
        """The next pause is short again."""
        if now_s >= self._shut_until_s:
            self._pause_s = 0.0

    def _refill(self, now_s: float) -> None:
        if now_s > self._last_s:
            if self._unit_s > 0:
                self._units = min(self._burst, self._units + (now_s - self._last_s) / self._unit_s)
            self._last_s = now_s
