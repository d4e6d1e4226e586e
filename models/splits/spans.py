"""What of time a sample touches: from where its window begins to when its label is known.

Owns the arithmetic of overlaps.  Everything is in nanoseconds, never in rows: instruments have other rows at the same
time, and a row of one may be a week of another.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from engine.errors import DataError

Int64 = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Spans:
    """(N,) int64 each, of samples of any instruments in any order.

    ``begin_ns``: when the first row of the window begins, which is when the row before it was made.  ``ts_ns``: when
    the sample is asked about.  ``end_ns``: when its label is known.
    """

    begin_ns: Int64
    ts_ns: Int64
    end_ns: Int64

    def __post_init__(self) -> None:
        if not len(self.begin_ns) == len(self.ts_ns) == len(self.end_ns):
            raise DataError("spans of different lengths", expected="three times of each sample")
        if bool((self.begin_ns > self.ts_ns).any()) or bool((self.end_ns < self.ts_ns).any()):
            raise DataError("a sample that ends before it begins", expected="window, then row, then label")

    def __len__(self) -> int:
        return len(self.ts_ns)

    def __getitem__(self, index: Any) -> Spans:
        return Spans(self.begin_ns[index], self.ts_ns[index], self.end_ns[index])

    @cached_property
    def moments(self) -> Int64:
        """The different times at which samples are asked about, ascending: what folds are cut of."""
        return np.unique(self.ts_ns)

    def apart_from(self, other: Spans, embargo_ns: int = 0) -> Bools:
        """(N,) which of these share no moment with any of ``other``, from window to label; ``embargo_ns`` more is kept
        free behind those.  Where one ends when another begins, they share nothing."""
        begins, ends = _merged(other.begin_ns, other.end_ns + embargo_ns)
        if not len(begins):
            return np.ones(len(self), bool)
        # The first stretch that ends after a sample begins is the only one that it may run into.
        at = np.searchsorted(ends, self.begin_ns, side="right")
        found = np.minimum(at, len(begins) - 1)
        inside = (at < len(begins)) & (begins[found] < self.end_ns)
        return ~inside


def _merged(begin_ns: Int64, end_ns: Int64) -> tuple[Int64, Int64]:
    """Disjoint stretches that together are the given ones, ascending."""
    if not len(begin_ns):
        return begin_ns, end_ns
    order = np.argsort(begin_ns, kind="stable")
    begins, ends = begin_ns[order], np.maximum.accumulate(end_ns[order])
    fresh = np.concatenate([[True], begins[1:] > ends[:-1]])
    starts = np.flatnonzero(fresh)
    return begins[starts], ends[np.append(starts[1:] - 1, len(ends) - 1)]
