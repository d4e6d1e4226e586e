"""How far the price goes over a horizon of late: the unit that errors of returns are measured in.

Owns the mean of the squared log returns over ``horizon`` rows, the newer ones counting more (J.P. Morgan, RiskMetrics,
1996, with a mean of nothing).  It rests on the rows of an instrument alone, not on what anybody says of them, and an
error is measured by the scale that was known when the forecast was said.
"""

from __future__ import annotations

import math
from typing import Final

from models.observer.rebuilding import ROWS_KEPT, Rows

HALF_LIFE: Final = 1_000
"""Rows, and ``_LABELS`` labels at least: those that overlap are one move."""
_LABELS: Final = 20
LEAST: Final = 100
"""Returns, and two labels at least, before it is told."""


class Scale:
    """Of one horizon on the rows of one instrument.  Memory is a few numbers."""

    def __init__(self, rows: Rows, horizon: int) -> None:
        self._rows = rows
        self._horizon = horizon
        self._least = max(LEAST, 2 * horizon)
        self._keep = 2.0 ** (-1.0 / max(HALF_LIFE, _LABELS * horizon))
        self._next = max(rows.count - ROWS_KEPT, 0) + horizon
        self._squares = self._weight = 0.0
        self._count = 0

    def follow(self) -> None:
        """Take in the rows that were made since.  None reaches across a break of the feed."""
        rows, horizon = self._rows, self._horizon
        for row in range(self._next, rows.count):
            before, now = rows.px(row - horizon), rows.px(row)
            if row - horizon >= rows.begun and before > 0.0 and 0.0 < now < math.inf:
                self._squares = self._keep * self._squares + math.log(now / before) ** 2
                self._weight = self._keep * self._weight + 1.0
                self._count += 1
        self._next = max(self._next, rows.count)

    @property
    def rms(self) -> float:
        """Root mean square, a log return; NaN before it is told, and where the price stood still."""
        known = self._count >= self._least and self._squares > 0.0
        return math.sqrt(self._squares / self._weight) if known else math.nan
