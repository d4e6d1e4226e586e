"""When the daemon would have answered what a shadow is asked: at once in its loop, or one after another on its worker.

Owns that course, from the record's times and what each prediction takes of a processor.  On the worker an instrument's
newest row takes the place of one that waits (``models.serving.worker``).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from engine.ports import Float32Array


class Ask(NamedTuple):
    """Row ``row`` of an instrument; ``number``: of the event that was handled."""

    instrument: str
    row: int
    window: Float32Array
    ts_event_ns: int
    ts_recv_ns: int
    number: int


class Turns:
    """Of one version.  Whoever goes through ``ask`` runs each that it yields, and says what it took (``took``) before
    the next one."""

    def __init__(self, deadline_us: float, *, on_worker: bool) -> None:
        self._deadline_ns = deadline_us * 1e3
        self.on_worker = on_worker
        self._waiting: dict[str, Ask] = {}
        self._free_ns = 0
        self.superseded = 0

    def ask(self, ask: Ask) -> Iterator[Ask]:
        """Those that are computed by now, in order: who waited, and this one, if nobody is at work."""
        while self._waiting and self._free_ns <= ask.ts_recv_ns:
            yield self._waiting.pop(next(iter(self._waiting)))
        if self.on_worker and self._free_ns > ask.ts_recv_ns:
            self.superseded += ask.instrument in self._waiting
            self._waiting[ask.instrument] = ask._replace(window=ask.window.copy())
        else:
            yield ask

    def took(self, ask: Ask, took_ns: int) -> tuple[int, bool]:
        """Time from ask to answer, ns, and whether that is late."""
        begun_ns = max(self._free_ns, ask.ts_recv_ns) if self.on_worker else ask.ts_recv_ns
        self._free_ns = begun_ns + took_ns
        latency_ns = self._free_ns - ask.ts_recv_ns
        return latency_ns, latency_ns > self._deadline_ns
