"""How late the event loop is.

Owns one repeating timer and the difference between when it is due and what time it is.  Feeds ask it before they
publish a batch; it decides nothing.
"""

from __future__ import annotations

import asyncio


class LoopLag:
    """A callable that returns the loop's present lag in nanoseconds.

    A timer is due every ``interval_s``.  As long as the loop keeps up, the next due time lies ahead and the lag is 0;
    when work piles up the due time passes without the timer having run, and the lag is how long ago that was.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, interval_s: float = 0.01) -> None:
        self._loop = loop
        self._interval_s = interval_s
        self._due_s = loop.time() + interval_s
        self._timer: asyncio.TimerHandle | None = loop.call_at(self._due_s, self._tick)
        self._worst_ns = 0

    def __call__(self) -> int:
        late_s = self._loop.time() - self._due_s
        return int(late_s * 1e9) if late_s > 0.0 and self._timer is not None else 0

    def take_worst(self) -> int:
        """The greatest lag since this was last asked, ns: what a gauge that is read now and then has to show."""
        worst_ns, self._worst_ns = max(self._worst_ns, self()), 0
        return worst_ns

    def _tick(self) -> None:
        lag_ns = self()
        self._worst_ns = max(self._worst_ns, lag_ns)
        self._due_s = self._loop.time() + self._interval_s
        self._timer = self._loop.call_at(self._due_s, self._tick)

    def stop(self) -> None:
        """No more timers; the lag reads 0 from now on."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
