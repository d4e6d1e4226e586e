"""Small files of published series, as the catalogue keeps them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

Row = tuple[int, int, str, float]
"""Publication, end of the period, series, value."""


def published_file(path: Path, rows: Sequence[Row]) -> Path:
    """Columns and types of the kind ``exogenous``."""
    times, periods, series, values = zip(*rows, strict=True)
    table = pa.table(
        {
            "ts_ns": pa.array(times, pa.int64()),
            "period_end_ns": pa.array(periods, pa.int64()),
            "series": pa.array(series, pa.string()),
            "value": pa.array(values, pa.float64()),
        }
    )
    pq.write_table(table, path)
    return path
