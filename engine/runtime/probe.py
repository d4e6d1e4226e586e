"""Times the stages of one tick (``engine.ports.STAGES``) into histograms; the live implementation of ``Probe``.

Owns measuring only; exporting is ``engine.runtime.metrics``.
"""

from __future__ import annotations

import time

from engine.ports import STAGES
from engine.runtime.clocks import SystemClock
from engine.runtime.histogram import Histogram

_perf_counter_ns = time.perf_counter_ns
_DECODE, _BOOK, _ORDER, _WRITE = (STAGES.index(name) for name in ("decode", "book", "order", "write"))
_PLAUSIBLE_NS = 10_000_000_000


class StageProbe:
    """``begin`` when the bus takes an event, ``mark(i)`` when stage ``i`` ends: its time since the mark before.

    ``tick_to_order`` runs from the receive stamp of a market event (from ``begin`` when the stamp is not of this
    clock's time, as in a recording) to the end of the write, for events that opened an order.
    """

    __slots__ = (
        "_begin_ns",
        "_last_ns",
        "_offset_ns",
        "_opened",
        "_record",
        "_start_ns",
        "_tick",
        "stages",
        "tick_to_order",
    )

    def __init__(self, clock: SystemClock) -> None:
        self.stages: dict[str, Histogram] = {name: Histogram() for name in STAGES}
        self.tick_to_order = Histogram()
        self._record = [histogram.record for histogram in self.stages.values()]  # no look-up by name on the path
        self._offset_ns = clock.offset_ns
        self._begin_ns = 0
        self._start_ns = 0
        self._last_ns = 0
        self._tick = False
        self._opened = False

    def begin(self, ts_recv_ns: int) -> None:
        now_ns = _perf_counter_ns()
        received_ns = ts_recv_ns - self._offset_ns
        self._begin_ns = self._last_ns = now_ns
        self._start_ns = received_ns if 0 <= now_ns - received_ns < _PLAUSIBLE_NS else now_ns
        self._tick = False
        self._opened = False

    def mark(self, stage: int) -> None:
        now_ns = _perf_counter_ns()
        self._record[stage](now_ns - self._last_ns)
        self._last_ns = now_ns
        if stage == _BOOK:  # only market events come here: what precedes ``begin`` was decoding
            self._tick = True
            if self._begin_ns > self._start_ns:
                self._record[_DECODE](self._begin_ns - self._start_ns)
        elif stage == _ORDER:
            self._opened = True
        elif stage == _WRITE and self._opened and self._tick:
            self._opened = False
            self.tick_to_order.record(now_ns - self._start_ns)
