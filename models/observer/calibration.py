"""Do probabilities mean what they say?  An alarm that chance does not raise, however long it is looked at.

Owns a detector of changes by bets: whoever holds that the calibration error is within its limit is bet against, with
what is left after the last time that this was lost (J. Shin, A. Ramdas, A. Rinaldo, E-detectors: a nonparametric
framework for sequential change detection, NEJSDS 2024, the e-CUSUM).  While the error is within the limit, an alarm
comes on average not before ``RUN`` values; the error of some dozen outcomes is beyond any limit by chance alone.
"""

from __future__ import annotations

import math
from typing import Final

BINS: Final = 10
"""Of the probability, equally wide."""
RUN: Final = 1e6
"""Values until chance raises an alarm, on average, at least."""
STAKES: Final = (0.2, 0.8)
"""Of the wealth: small ones find small errors, great ones are quick."""
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
        self._wealth = [0.0] * len(STAKES)
        self.is_beyond = False
        """The error is beyond its limit, until the evidence for that is gone."""

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
        self._wealth = [0.0] * len(STAKES)
        self.is_beyond = False

    def _end(self) -> None:
        if not self._rows:
            return
        value = self._sum / self._rows - self._limit
        most = math.log(RUN * len(STAKES))
        for number, stake in enumerate(STAKES):
            grown = max(self._wealth[number], 0.0) + math.log1p(stake * value)
            self._wealth[number] = min(grown, most)
        if max(self._wealth) >= most:
            self.is_beyond = True
        elif max(self._wealth) <= 0.0:
            self.is_beyond = False
