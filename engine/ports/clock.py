"""Where time comes from."""

from __future__ import annotations

from typing import Protocol


class Clock(Protocol):
    """Where time comes from.  The core never holds one: it sees time only on events."""

    def now_ns(self) -> int:
        """UTC nanoseconds that never step back: the monotonic clock anchored to UTC at start."""
        ...

    def wall_ns(self) -> int:
        """The wall clock, which may step; compared with ``now_ns`` to make ``ClockStepped`` events."""
        ...
