"""Observations of published series that a session has seen, for instruments that become known later.

Owns the memory and which observations matter at a time.  What a column makes of them is ``engine.features``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from math import isfinite

from engine.events import Observation

KEPT = 4096
"""Observations kept of each series: ten years of a daily one."""


class Published:
    """Gives them back in the order in which they were taken, series by series."""

    def __init__(self) -> None:
        self._seen: dict[str, deque[Observation]] = {}

    def take(self, observation: Observation) -> None:
        """Remember one; the oldest of its series goes when there are too many."""
        self._seen.setdefault(observation.series, deque(maxlen=KEPT)).append(observation)

    def of(self, series: Iterable[str]) -> list[Observation]:
        """What is known of these series."""
        return [observation for name in series for observation in self._seen.get(name, ())]


def known_before(observations: Iterable[Observation], start_ns: int, history_ns: int) -> list[Observation]:
    """What counts at ``start_ns`` and in the time before it, by publication; ``observations`` are in that order.

    All that was published less than ``history_ns`` before (rows of history are made as of then), and of each series
    the last word on its two newest periods before that.  A value that is not finite is no word: buffers ignore it.
    """
    recent: list[Observation] = []
    older: dict[str, dict[int, Observation]] = {}
    for observation in observations:
        if observation.ts_event_ns >= start_ns:
            continue
        if observation.ts_event_ns >= start_ns - history_ns:
            recent.append(observation)
            continue
        if not isfinite(observation.value):
            continue
        periods = older.setdefault(observation.series, {})
        periods[observation.period_end_ns] = observation
        if len(periods) > 2:
            del periods[min(periods)]
    kept = [observation for periods in older.values() for observation in periods.values()]
    return sorted(kept, key=lambda one: one.ts_event_ns) + recent
