"""What became of predictions: each is held against the price as many rows later as its label looks ahead.

Owns the rows in between.  A hole in them ends the wait of all that were under way: nobody knows how many it was.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple


class Told(NamedTuple):
    """What was said of a row: the number, and the quantile of the set that was made of it."""

    value: float
    quantile: float


class Outcome(NamedTuple):
    """``said`` of the row at ``before_px``, and the price as many rows later as its label looks ahead."""

    said: Told
    before_px: float
    after_px: float


class _Row:
    __slots__ = ("px", "said", "ts_recv_ns")

    def __init__(self, ts_recv_ns: int, px: float, said: Told | None) -> None:
        self.ts_recv_ns, self.px, self.said = ts_recv_ns, px, said


class Outcomes:
    """Of one model on one instrument.  ``horizon_rows`` > 0."""

    def __init__(self, horizon_rows: int) -> None:
        self._rows: deque[_Row] = deque(maxlen=horizon_rows + 1)
        self._horizon_rows = horizon_rows
        self._early: tuple[int, Told] | None = None

    def say(self, ts_recv_ns: int, told: Told) -> None:
        """Of the row of that receive time: one that has been, or the one that is about to be told."""
        for row in reversed(self._rows):
            if row.ts_recv_ns == ts_recv_ns and row.said is None:
                row.said = told
                return
            if row.ts_recv_ns < ts_recv_ns:
                break
        self._early = (ts_recv_ns, told)

    def add(self, ts_recv_ns: int, px: float) -> Outcome | None:
        """A row is complete at ``px``; what was said of the one whose outcome it is."""
        said = None
        if self._early is not None and self._early[0] == ts_recv_ns:
            said = self._early[1]
        self._early = None
        self._rows.append(_Row(ts_recv_ns, px, said))
        first = self._rows[0]
        if len(self._rows) <= self._horizon_rows or first.said is None:
            return None
        return Outcome(first.said, first.px, px)

    def forget(self) -> None:
        """Rows are missing from here on."""
        self._rows.clear()
        self._early = None
