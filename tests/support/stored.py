"""Small tables of stored data, made on the spot."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from engine.data.catalogue import Catalogue, Source

DAY_NS = 86_400 * 10**9
T0 = 19_900 * DAY_NS
"""2024-06-26."""


def quotes(rows: int, *, start_ns: int = T0, step_ns: int = 10**9, recv_lag_ns: int | None = None) -> Any:
    """Quotes a second apart whose bid is the row's number plus 100."""
    times = [start_ns + number * step_ns for number in range(rows)]
    columns: dict[str, Any] = {
        "ts_ns": pa.array(times, pa.int64()),
        "bid": [100.0 + number for number in range(rows)],
        "bid_size": [1.0] * rows,
        "ask": [101.0 + number for number in range(rows)],
        "ask_size": [2.0] * rows,
    }
    if recv_lag_ns is not None:
        columns["recv_ns"] = pa.array([time + recv_lag_ns for time in times], pa.int64())
    return pa.table(columns)


def bars(rows: int, interval_ns: int, *, start_ns: int = T0) -> Any:
    return pa.table(
        {
            "ts_ns": pa.array([start_ns + number * interval_ns for number in range(rows)], pa.int64()),
            "interval_ns": pa.array([interval_ns] * rows, pa.int64()),
            "open": [100.0] * rows,
            "high": [102.0] * rows,
            "low": [99.0] * rows,
            "close": [101.0 + number for number in range(rows)],
            "volume": [5.0] * rows,
        }
    )


def store(root: Path, table: Any, kind: str = "quotes", symbol: str = "BTC-USD", **options: Any) -> Catalogue:
    """One table into one series of venue ``test``, from a source without a digest."""
    catalogue = Catalogue(root)
    with catalogue.writer("test", symbol, kind, source=options.pop("source", Source("made")), **options) as writer:
        writer.write(table)
    return catalogue


def meanwhile(monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]) -> None:
    """``act`` happens once, when the next batch is open: rows are chosen by what was stored, and are not published."""
    original = Catalogue.batch
    done: list[bool] = []

    def batch(self: Catalogue, source: Source, **options: Any) -> Any:
        made = original(self, source, **options)
        if not done:
            done.append(True)
            act()
        return made

    monkeypatch.setattr(Catalogue, "batch", batch)


def rows_of(catalogue: Catalogue, kind: str, **chosen: Any) -> Any:
    """All rows of a kind as one table."""
    batches = list(catalogue.read(kind, **chosen))
    return pa.Table.from_batches([batch.replace_schema_metadata(None) for batch in batches]) if batches else None
