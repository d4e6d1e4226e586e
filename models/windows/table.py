"""Rows of several instruments one after another, in memory or mapped from a file.

Owns the layout; what the numbers are is ``rows``'s, where they lie is ``store``'s.  A window is W rows that end at a
position; it is a view until somebody takes a copy of some.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt

from engine.features.spec import FeatureSpec
from engine.instruments import Instrument
from models.labels import Labels

Int64 = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]
Float32 = npt.NDArray[np.float32]


@dataclass(frozen=True)
class RowTable:
    """``starts (M + 1,)`` are the first rows of the M instruments, and the end; rows of each are in order of time."""

    spec: FeatureSpec
    instruments: tuple[Instrument, ...]
    starts: Int64
    values: Float32
    """(R, F); NaN where a column has no value yet."""
    ts_event_ns: Int64
    """(R,) venue time; of a candle its end."""
    ts_ns: Int64
    """(R,) receive time, never stepping back within an instrument: what splits cut."""
    close_px: Float64
    high_px: Float64
    low_px: Float64
    warm: npt.NDArray[np.bool_]
    """(R,) whether the window that ends here is full of clean rows."""
    sources: tuple[tuple[str, str], ...] = ()
    """Names and sha256 of all that was read."""
    labels: Mapping[str, Labels] = field(default_factory=dict)
    """By name; ``last`` counts rows of the table."""
    fingerprint: str = ""
    """Of what is stored; empty in memory."""

    def __len__(self) -> int:
        return len(self.ts_ns)

    @property
    def window(self) -> int:
        return self.spec.window

    @cached_property
    def view(self) -> Float32:
        """``(R - W + 1, W, F)`` all windows, no copy; the one at k ends at row k + W - 1."""
        rows, width = self.values.shape
        step = self.values.strides[0]
        return np.lib.stride_tricks.as_strided(
            self.values,
            (max(rows - self.window + 1, 0), self.window, width),
            (step, step, self.values.strides[1]),
            writeable=False,
        )

    def windows(self, position: Int64) -> Float32:
        """``(N, W, F)`` raw features of the windows that end at these rows; a copy of them alone."""
        return np.ascontiguousarray(self.view[position - (self.window - 1)])

    def instrument_of(self, position: Int64) -> Int64:
        """(N,) the number of each row's instrument."""
        return np.searchsorted(self.starts, position, side="right") - 1

    def begin_ns(self, position: Int64) -> Int64:
        """(N,) when the windows that end at these rows begin: when the row before their first was made.

        The first row of an instrument has none before it: it begins its interval earlier, or as good as when it was
        made.
        """
        first = self.starts[self.instrument_of(position)]
        before = position - self.window
        earlier_ns = self.ts_ns[first] - max(self.spec.sampling.interval_ns, 1)
        return np.where(before >= first, self.ts_ns[np.maximum(before, first)], earlier_ns)
