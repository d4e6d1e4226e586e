"""Do probabilities mean what they say?  An alarm that chance does not raise, however long it is looked at.

Owns what is bet on (``detector``): that the calibration error is beyond its limit.  The error of some dozen outcomes
is beyond any limit by chance alone.
"""

from __future__ import annotations

import math
from typing import Final

from models.observer.detector import Detector

BINS: Final = 10
"""Of the probability, equally wide."""
_KEPT: Final = 0.998
"""Of what a bin has shown, with each further outcome there: which side it errs on may change."""


class Calibration:
    """Of one version on one instrument.  ``limit``: of the calibration error; ``reach``: rows that a label looks ahead.

    A value is the mean of the outcomes of ``reach`` rows; of two such blocks one is passed over, so that no two values
    share an outcome.
    """

    def __init__(self, limit: float, reach: int) -> None:
        self._limit = limit
        self._reach = max(reach, 1)
        self._shown = [0.0] * BINS
        """By bin, by how much prices rose oftener than was said; newer outcomes count more."""
        self._block = -1
        self._signs = [0.0] * BINS
        self._sum, self._rows = 0.0, 0
        self._detector = Detector(1, together=1)

    @property
    def is_beyond(self) -> bool:
        """The error is beyond its limit, until the evidence for that is gone."""
        return self._detector.is_beyond

    def add(self, row: int, p: float, rose: bool) -> None:
        """The outcome of a row; rows come in order."""
        block = row // self._reach
        if block != self._block:
            self._end()
            self._block, self._sum, self._rows = block, 0.0, 0
            # What is bet on was known before the block began: outcomes of the one before are not, they reach into it.
            if block % 2 == 0:
                self._signs = [math.copysign(1.0, shown) if shown else 0.0 for shown in self._shown]
        at = min(int(p * BINS), BINS - 1)
        error = float(rose) - p
        if block % 2 == 0:
            self._sum += self._signs[at] * error
            self._rows += 1
            self._shown[at] = _KEPT * self._shown[at] + error

    def clear(self) -> None:
        """Count from here on."""
        self._detector.clear()

    def _end(self) -> None:
        if self._rows:
            mean = self._sum / self._rows
            self._detector.add(self._block, mean - self._limit, 0.0, mean)
