"""Times the stages of one tick (``engine.ports.STAGES``) into histograms; the live implementation of ``Probe``.

Owns measuring only; exporting is ``engine.runtime.metrics``.  On the path a mark is a clock read and two list writes;
what they mean is worked out in ``end``, when the event's orders have left.
"""

from __future__ import annotations

import time

from engine.ports import STAGES
from engine.runtime.clocks import SystemClock
from engine.runtime.histogram import Histogram

_perf_counter_ns = time.perf_counter_ns
_DECODE, _BOOK, _ORDER, _WRITE = (STAGES.index(name) for name in ("decode", "book", "order", "write"))
_PLAUSIBLE_NS = 10_000_000_000
_MARKS_MAX = 256
"""Marks kept of one event; an event with more (a strategy that sends dozens of orders) has its first ones timed."""


class StageProbe:
    """``begin`` when the bus takes an event, ``mark(i)`` when stage ``i`` ends, ``end`` when its commands are sent.

    A stage's time is that since the mark before.  ``tick_to_order`` runs from the receive stamp of a market event (from
    ``begin`` when the stamp is not of this clock's time, as in a recording) to the end of the write, for events that
    opened an order.
    """

    __slots__ = (
        "_at_ns",
        "_begin_ns",
        "_marks",
        "_offset_ns",
        "_record",
        "_recv_ns",
        "_stages",
        "stages",
        "tick_to_order",
    )

    def __init__(self, clock: SystemClock) -> None:
        self.stages: dict[str, Histogram] = {name: Histogram() for name in STAGES}
        self.tick_to_order = Histogram()
        self._record = [histogram.record for histogram in self.stages.values()]  # no look-up by name on the path
        self._offset_ns = clock.offset_ns
        self._begin_ns = 0
        self._recv_ns = 0
        self._marks = 0
        self._stages = [0] * _MARKS_MAX
        self._at_ns = [0] * _MARKS_MAX

    def begin(self, ts_recv_ns: int) -> None:
        self._marks = 0
        self._recv_ns = ts_recv_ns
        self._begin_ns = _perf_counter_ns()

    def mark(self, stage: int) -> None:
        marks = self._marks
        if marks < _MARKS_MAX:
            self._at_ns[marks] = _perf_counter_ns()
            self._stages[marks] = stage
            self._marks = marks + 1

    def end(self) -> None:
        """Turn the marks of this event into counts."""
        last_ns = begin_ns = self._begin_ns
        received_ns = self._recv_ns - self._offset_ns
        start_ns = received_ns if 0 <= begin_ns - received_ns < _PLAUSIBLE_NS else begin_ns
        tick = opened = False
        record = self._record
        for index in range(self._marks):
            stage, at_ns = self._stages[index], self._at_ns[index]
            record[stage](at_ns - last_ns)
            last_ns = at_ns
            if stage == _BOOK:  # only market events come here: what precedes ``begin`` was decoding
                tick = True
                if begin_ns > start_ns:
                    record[_DECODE](begin_ns - start_ns)
            elif stage == _ORDER:
                opened = True
            elif stage == _WRITE and opened and tick:
                opened = False
                self.tick_to_order.record(at_ns - start_ns)
        self._marks = 0
