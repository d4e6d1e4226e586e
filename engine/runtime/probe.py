"""Times the stages of one tick (``engine.ports.STAGES``) into histograms; the live implementation of ``Probe``.

Owns measuring only; exporting is ``engine.runtime.metrics``.  On the path a mark is a clock read and two list writes.
What the marks mean is worked out for a hundred events at once, after an event's orders have left: one by one it took as
long as a tenth of the tick, and the histograms it touched drove the tick's own data out of the caches.
"""

from __future__ import annotations

import threading
import time

import numpy as np
import numpy.typing as npt

from engine.ports import STAGES
from engine.runtime.clocks import SystemClock
from engine.runtime.histogram import Histogram, record_many

_perf_counter_ns = time.perf_counter_ns
_DECODE, _BOOK, _ORDER, _WRITE = (STAGES.index(name) for name in ("decode", "book", "order", "write"))
_TICK_TO_ORDER = len(STAGES)
_RECEIVED, _BEGIN = -2, -1
"""What stands where a mark has its stage: an event starts with its receive stamp and the time of ``begin``."""
_PLAUSIBLE_NS = 10_000_000_000
_FULL = 1024
"""Marks after which they are counted."""
_SLACK = 2 + 256
"""Marks that even the last event before that has room for; its further ones (dozens of orders) are not timed."""
_OLDEST_NS = 1_000_000_000
"""In a quiet market marks are counted after this time; timers are events, so it passes."""


class StageProbe:
    """``begin`` when the bus takes an event, ``mark(i)`` when stage ``i`` ends, ``end`` when its commands are sent.

    A stage's time is that since the mark before.  ``tick_to_order`` runs from the receive stamp of a market event (from
    ``begin`` when the stamp is not of this clock's time, as in a recording) to the end of the write, for events that
    opened an order.

    Belongs to the thread that makes it.  Read there, ``stages`` and ``tick_to_order`` are exact; another thread sees
    them up to a second old.
    """

    __slots__ = (
        "_at_ns",
        "_counted_ns",
        "_kept",
        "_marks",
        "_offset_ns",
        "_owner",
        "_stages",
        "_what",
    )

    def __init__(self, clock: SystemClock) -> None:
        self._stages = {name: Histogram() for name in (*STAGES, "tick_to_order")}
        self._offset_ns = clock.offset_ns
        self._owner = threading.get_ident()
        self._counted_ns = 0
        self._marks = 0
        self._kept = 0  # marks of events that ended; those behind belong to the open one
        self._what = [0] * (_FULL + _SLACK)
        self._at_ns = [0] * (_FULL + _SLACK)

    def begin(self, ts_recv_ns: int) -> None:
        at, at_ns, what = self._kept, self._at_ns, self._what
        at_ns[at] = ts_recv_ns
        what[at] = _RECEIVED
        at += 1
        at_ns[at] = _perf_counter_ns()
        what[at] = _BEGIN
        self._marks = at + 1

    def mark(self, stage: int) -> None:
        at = self._marks
        if at < _FULL + _SLACK:
            self._at_ns[at] = _perf_counter_ns()
            self._what[at] = stage
            self._marks = at + 1

    def end(self) -> None:
        """The event is over: its marks count.  Without it, as when the journal refuses the event, they are dropped."""
        kept = self._kept = self._marks
        if kept >= _FULL or self._at_ns[kept - 1] - self._counted_ns > _OLDEST_NS:
            self._count()

    @property
    def stages(self) -> dict[str, Histogram]:
        """By name, in the order of a tick."""
        return {name: self._settled(name) for name in STAGES}

    @property
    def tick_to_order(self) -> Histogram:
        return self._settled("tick_to_order")

    def _settled(self, name: str) -> Histogram:
        if threading.get_ident() == self._owner:
            self._count()
        return self._stages[name]

    def _count(self) -> None:
        """Turn the marks of all ended events into counts."""
        kept, self._kept, self._marks = self._kept, 0, 0
        self._counted_ns = _perf_counter_ns()
        if not kept:
            return
        at_ns = np.array(self._at_ns[:kept], np.int64)
        what = np.array(self._what[:kept], np.intp)
        took_ns = np.empty_like(at_ns)
        took_ns[1:] = at_ns[1:] - at_ns[:-1]
        marks = what >= 0  # the first is none
        # By event: where it starts, when it was received, whether it was a tick and opened an order.
        event = np.cumsum(what == _BEGIN) - 1
        begin_ns = at_ns[what == _BEGIN]
        waited_ns = begin_ns - (at_ns[what == _RECEIVED] - self._offset_ns)
        waited_ns[(waited_ns < 0) | (waited_ns >= _PLAUSIBLE_NS)] = 0
        tick = _holds(event, what == _BOOK, len(begin_ns))  # only market events come to a book
        opened = _holds(event, what == _ORDER, len(begin_ns))
        decoded_ns = waited_ns[tick & (waited_ns > 0)]
        written = (what == _WRITE).nonzero()[0]
        written = written[(tick & opened)[event[written]]]
        reached_ns = at_ns[written] - (begin_ns - waited_ns)[event[written]]
        record_many(
            list(self._stages.values()),
            np.concatenate(
                (what[marks], np.full(len(decoded_ns), _DECODE), np.full(len(reached_ns), _TICK_TO_ORDER)),
                dtype=np.intp,
            ),
            np.concatenate((took_ns[marks], decoded_ns, reached_ns)),
        )


def _holds(event: npt.NDArray[np.intp], chosen: npt.NDArray[np.bool_], events: int) -> npt.NDArray[np.bool_]:
    """For each of ``events``, whether any of its ``chosen`` marks is there."""
    found = np.zeros(events, np.bool_)
    found[event[chosen]] = True
    return found
