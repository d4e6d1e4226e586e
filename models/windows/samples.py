"""Labelled samples: the rows of a table that a model can be asked about and be told what came of it.

Owns which rows those are: a full window of clean rows, a label that is known.  A row without a label is left out, and
is in the windows of others all the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from engine.errors import DataError
from models.labels import Labels
from models.splits import Spans
from models.windows.table import Float32, Float64, Int64, RowTable


@dataclass(frozen=True)
class Samples:
    """N samples in order of instrument, then time; splits and batches name them by number."""

    table: RowTable
    position: Int64
    """(N,) the table's row that each window ends at."""
    values: Float64
    """(N,) or (N, H) the label."""
    last: Int64
    """(N,) the table's row that each label reads last."""

    def __len__(self) -> int:
        return len(self.position)

    @cached_property
    def spans(self) -> Spans:
        """What of time each of them touches."""
        ts_ns = self.table.ts_ns
        return Spans(self.table.begin_ns(self.position), ts_ns[self.position], ts_ns[self.last])

    @cached_property
    def instrument(self) -> Int64:
        """(N,) the number of each one's instrument in the table."""
        return self.table.instrument_of(self.position)

    def windows(self, index: Int64) -> Float32:
        """``(B, W, F)`` raw features of these samples; a copy."""
        return self.table.windows(self.position[index])


def samples_of(table: RowTable, label: str | Labels) -> Samples:
    """The samples that a label makes of a table: one of its own by name, or labels of its rows.

    Raises ``DataError`` for a label that the table does not have.
    """
    if isinstance(label, str):
        if label not in table.labels:
            raise DataError(f"the rows have no label {label!r}", expected=f"one of {', '.join(table.labels) or 'none'}")
        label = table.labels[label]
    position = np.flatnonzero(table.warm & label.known)
    return Samples(table, position, np.asarray(label.values[position]), np.asarray(label.last[position]))
