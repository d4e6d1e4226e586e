"""Rows that repeat an earlier row of the same time, counted while they stream by.

Owns the comparison of whole rows.  Only rows of one time can be equal, so what is kept from one table to the next are
the rows of its last time.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Codes = npt.NDArray[np.uint64]


class Repeats:
    """Counts full repeats in rows that come in order of ``ts_ns``.

    Rows that are not (received in another order than they happened) are compared with those of their time in the same
    table only.
    """

    def __init__(self) -> None:
        self._held: Any = None

    def add(self, table: Any) -> int:
        """Repeats among the rows of all times that are over."""
        if self._held is not None:
            names = [name for name in table.schema.names if name in self._held.schema.names]
            table = pa.concat_tables([self._held.select(names), table.select(names)])
        times = table.column("ts_ns").to_numpy()
        late = np.flatnonzero(times != times[-1])
        over = int(late[-1]) + 1 if late.size else 0
        self._held = table.slice(over)
        return count_repeats(table.slice(0, over))

    def finish(self) -> int:
        """Repeats among the rows of the last time."""
        held, self._held = self._held, None
        return 0 if held is None else count_repeats(held)


def count_repeats(table: Any) -> int:
    """How many rows equal an earlier one.  NaN equals NaN, null equals null."""
    if table.num_rows < 2:
        return 0
    rows = np.zeros(table.num_rows, np.uint64)
    for name in table.schema.names:
        # Multiply and add, modulo 2**64, by an odd constant (Knuth's golden ratio): the order of columns counts.
        rows = (rows ^ (rows >> np.uint64(29))) * np.uint64(0x9E3779B97F4A7C15) + _codes(table.column(name))
    times = table.column("ts_ns").to_numpy()
    order = np.lexsort((rows, times))
    rows, times = rows[order], times[order]
    return int(((rows[1:] == rows[:-1]) & (times[1:] == times[:-1])).sum())


def _codes(column: Any) -> Codes:
    """A number for each value, the same for the same value; 64 bits, of which no two rows of a time share all."""
    column = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    kind = column.type
    if pa.types.is_floating(kind) or pa.types.is_integer(kind):
        filled = column.fill_null(0) if column.null_count else column
        values = filled.to_numpy(zero_copy_only=False)
        wide = values.astype(np.float64).view(np.uint64) if pa.types.is_floating(kind) else values.astype(np.uint64)
        codes: Codes = wide
    else:
        codes = column.dictionary_encode().indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.uint64)
    if column.null_count:
        null = column.is_null().to_numpy(zero_copy_only=False).astype(np.uint64)
        codes = codes + null * np.uint64(0xD1B54A32D192ED03)
    return codes
