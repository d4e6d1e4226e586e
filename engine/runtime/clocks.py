"""Clocks of the live process: monotonic time anchored to UTC, and a watch that notices when the wall clock steps.

The only file, with the probe, that reads a clock.  Everything else is given one (``engine.ports.Clock``).
"""

from __future__ import annotations

import time

from engine.ports import Clock

_perf_counter_ns = time.perf_counter_ns
_time_ns = time.time_ns


class SystemClock:
    """``now_ns`` is the monotonic clock plus an offset to UTC that is measured once: it never steps back.

    Steps of the wall clock while the process lives do not reach ``now_ns``; ``ClockWatch`` reports them.
    """

    __slots__ = ("offset_ns",)

    def __init__(self) -> None:
        self.offset_ns = _measure_offset_ns()
        """UTC minus ``time.perf_counter_ns`` at start."""

    def now_ns(self) -> int:
        return _perf_counter_ns() + self.offset_ns

    def wall_ns(self) -> int:
        return _time_ns()


def _measure_offset_ns() -> int:
    """The reading least disturbed by the scheduler: the narrowest of some brackets, wall time in its middle."""
    best_width, best_offset = 1 << 62, 0
    for _ in range(16):
        before = _perf_counter_ns()
        wall = _time_ns()
        after = _perf_counter_ns()
        if after - before < best_width:
            best_width, best_offset = after - before, wall - (before + after) // 2
    return best_offset


class ClockWatch:
    """Says when the wall clock has moved against ``now_ns`` by more than ``limit_ns`` since the last report.

    Slow drift adds up and is reported when it exceeds the limit; nothing is re-anchored, ``now_ns`` goes on as before.
    A suspended machine shows as a step forward, because the monotonic clock stands still meanwhile.
    """

    def __init__(self, clock: Clock, *, limit_ns: int = 100_000_000) -> None:
        self._clock = clock
        self._limit_ns = limit_ns
        self._reference_ns = clock.wall_ns() - clock.now_ns()

    def check(self) -> int:
        """Nanoseconds the wall clock moved (positive: forward); 0 when that is within the limit."""
        difference_ns = self._clock.wall_ns() - self._clock.now_ns()
        delta_ns = difference_ns - self._reference_ns
        if abs(delta_ns) <= self._limit_ns:
            return 0
        self._reference_ns = difference_ns
        return delta_ns


class ManualClock:
    """Time that moves only when told: tests and simulations.  ``wall_ns`` follows unless stepped on its own."""

    def __init__(self, start_ns: int = 1_700_000_000_000_000_000) -> None:
        self._now_ns = start_ns
        self._step_ns = 0

    def now_ns(self) -> int:
        return self._now_ns

    def wall_ns(self) -> int:
        return self._now_ns + self._step_ns

    def advance(self, delta_ns: int) -> None:
        """Raises ``ValueError`` for a negative step: monotonic time has none."""
        if delta_ns < 0:
            raise ValueError(f"monotonic time cannot go back by {-delta_ns} ns")
        self._now_ns += delta_ns

    def step_wall(self, delta_ns: int) -> None:
        """Move the wall clock alone, as an operator or NTP would."""
        self._step_ns += delta_ns
