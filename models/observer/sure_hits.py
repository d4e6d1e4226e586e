"""Is a model right as often as it is sure?  An alarm on the hit rate by confidence, of predictions that say much.

Owns which predictions those are, and what is held against them.  The calibration error is a mean over all predictions:
where one in twenty says 95 % and is no better than a coin it stays below three hundredths, and those few are the ones
that are traded on.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import Final, NamedTuple

from models.observer.detector import Detector
from models.observer.outcomes import CONFIDENCES

SURE: Final = CONFIDENCES[2:-1]
"""Lower edges of ``|2 p - 1|``.  Below the first a coin is within a tenth of what is said."""


class Short(NamedTuple):
    """Of predictions of a confidence from ``edge`` on to below ``end``: labels, the mean that was said, and the share
    that was right."""

    edge: float
    end: float
    labels: int
    said: float
    hit_rate: float


class SureHits:
    """Of one version on one instrument.  ``short_max``: by how much the hit rate may be below what was said;
    ``reach``: rows that a label looks ahead.
    """

    def __init__(self, short_max: float, reach: int) -> None:
        self._short_max = short_max
        self._detectors = [Detector(reach, together=len(SURE)) for _ in SURE]

    def add(self, row: int, p: float, rose: bool) -> None:
        """The outcome of a row; rows come in order."""
        at = bisect_right(SURE, abs(2.0 * p - 1.0)) - 1
        if at < 0:
            return
        said, hit = max(p, 1.0 - p), float((p >= 0.5) == rose)
        self._detectors[at].add(row, said - hit - self._short_max, said, hit)

    def clear(self) -> None:
        """Count from here on."""
        for detector in self._detectors:
            detector.clear()

    @property
    def short(self) -> list[Short]:
        """Where it is right too seldom."""
        ends = (*SURE[1:], CONFIDENCES[-1])
        found = [(edge, end, one.since) for edge, end, one in zip(SURE, ends, self._detectors, strict=True)]
        return [Short(edge, end, *since) for edge, end, since in found if since is not None]
