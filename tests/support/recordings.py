"""Small recorded files, made on the spot: the columns of real ones, invented prices."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

START_NS = 1_723_161_600_000_000_000


def quotes_file(folder: Path, rows: int = 10, venue: str = "coinbase", symbol: str = "BTC-USD") -> Path:
    """Quotes with sizes, 50 ms apart, that climb a cent a row."""
    path = folder / "quotes.parquet"
    count = range(rows)
    table = pa.table(
        {
            "ts_ns": pa.array([START_NS + n * 50_000_000 for n in count], pa.int64()),
            "bid": [60_000.0 + n / 100 for n in count],
            "ask": [60_000.01 + n / 100 for n in count],
            "bid_size": [1.0] * rows,
            "ask_size": [2.0] * rows,
        }
    )
    pq.write_table(table.replace_schema_metadata({"venue": venue, "symbol": symbol}), path)
    return path
