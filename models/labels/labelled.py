"""Labels of the rows of one instrument, and how far each of them reads.

Owns what every kind of label has in common: which rows have one, and when it is known, which is what a split purges by.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from engine.errors import ConfigError

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]
Prices = npt.NDArray[Any]
"""(N,) float64 prices, or int64 ticks: with those, comparisons are exact."""

NEVER_NS: Final = np.iinfo(np.int64).max
"""When a label is known that never will be."""


@dataclass(frozen=True)
class Labels:
    """``values (N,)`` or ``(N, H)`` float64, NaN where unknown; ``last (N,)`` int64.

    ``last[i]`` is the last row that the label of row i reads, -1 where there is no label.  It is that of the whole
    horizon, also where the outcome was clear before: a row near a cut would else be kept or not by its outcome.
    """

    values: Float64
    last: Int64

    def __post_init__(self) -> None:
        assert len(self.values) == len(self.last)

    def __len__(self) -> int:
        return len(self.last)

    @property
    def known(self) -> npt.NDArray[np.bool_]:
        """(N,) whether the row has a label."""
        return self.last >= 0

    def end_ns(self, ts_ns: Int64) -> Int64:
        """(N,) when the label is known: the time of the last row it reads, ``NEVER_NS`` where there is none."""
        ends = np.full(len(self.last), NEVER_NS, np.int64)
        ends[self.known] = ts_ns[self.last[self.known]]
        return ends

    def within(self, ts_ns: Int64, span_ns_max: int) -> Labels:
        """Without the labels that span more time than that: across a pause, rows are no measure of it."""
        known = self.known
        span = np.zeros(len(self), np.int64)
        span[known] = ts_ns[self.last[known]] - ts_ns[known]
        return self.only(known & (span >= 0) & (span <= span_ns_max))

    def only(self, keep: npt.NDArray[np.bool_]) -> Labels:
        """The labels of those rows; the others have none."""
        values = self.values.copy()
        values[~keep] = np.nan
        return replace(self, values=values, last=np.where(keep, self.last, -1))


def unknown(rows: int, width: int = 0) -> Labels:
    """No label in any row; ``width`` values a row where there are several."""
    return Labels(np.full((rows, width) if width else rows, np.nan), np.full(rows, -1, np.int64))


def ahead(values: Float64, horizon: int, rows: int) -> Labels:
    """``values (N - horizon,)`` of the first rows of ``rows``, each read ``horizon`` rows ahead; no number is no
    label."""
    found = unknown(rows)
    count = max(rows - horizon, 0)
    good = np.flatnonzero(np.isfinite(values[:count]))
    found.values[good] = values[good]
    found.last[good] = good + horizon
    return found


def check_horizon(horizon: int, name: str = "horizon") -> None:
    """Raises ``ConfigError`` unless a label looks at least one row ahead."""
    if horizon < 1:
        raise ConfigError(f"label {name} of {horizon} rows", expected="1 or more")


def stacked(prices: Prices, count: int) -> Prices:
    """``(N - count, count)``: of each row the ``count`` prices that follow it, as a view."""
    return np.lib.stride_tricks.sliding_window_view(prices[1:], count)
