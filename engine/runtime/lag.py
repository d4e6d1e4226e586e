"""How late the event loop is: the measure by which feeds decide to conflate and operators see a busy loop."""

from __future__ import annotations

import asyncio

from engine.ports import Clock

PERIOD_S = 0.01


class LagMeter:
    """A timer that should fire every 10 ms; what it is late by is the lag.

    ``lag_ns`` may be asked from a socket callback that runs before the overdue timer: an overdue timer counts as lag
    already.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._due_ns = 0
        self._last_ns = 0
        self.worst_ns = 0
        self._handle: asyncio.TimerHandle | None = None

    def start(self) -> None:
        self._schedule()

    def stop(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def lag_ns(self) -> int:
        if self._handle is None:
            return 0
        overdue_ns = self._clock.now_ns() - self._due_ns
        return max(overdue_ns, self._last_ns, 0)

    def _schedule(self) -> None:
        self._due_ns = self._clock.now_ns() + int(PERIOD_S * 1e9)
        self._handle = asyncio.get_running_loop().call_later(PERIOD_S, self._fire)

    def _fire(self) -> None:
        self._last_ns = max(self._clock.now_ns() - self._due_ns, 0)
        self.worst_ns = max(self.worst_ns, self._last_ns)
        self._schedule()
