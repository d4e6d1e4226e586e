"""Rows in order of time, whatever order and number they come in.

Owns the sorting of a file that is not in order: rows are spooled to a folder by day, month or year (the catalogue's
own), then each is read back and sorted.  What is in memory is one such stretch of one series.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from engine.data.importing.reading import Key
from engine.data.parts import dates_of


class Spool:
    """A temporary folder of rows; a context manager, nothing of it stays."""

    def __init__(self) -> None:
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._files: dict[Key, dict[str, list[Path]]] = {}
        self._count = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._folder is not None:
            self._folder.cleanup()

    def add(self, key: Key, table: Any, unit: str) -> None:
        """Put rows away by their date; ``unit`` is the catalogue's (D, M or Y)."""
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="kestrel-import-")
        dates = dates_of(table.column("ts_ns").to_numpy(), unit)
        for date in np.unique(dates):
            own = dates == date
            rows = table if own.all() else table.filter(pa.array(own))
            path = Path(self._folder.name, f"{self._count}.arrow")
            self._count += 1
            with pa.ipc.new_file(str(path), rows.schema) as file:
                file.write_table(rows)
            self._files.setdefault(key, {}).setdefault(str(date), []).append(path)

    def read(self) -> Iterator[tuple[Key, Any]]:
        """Series after series, each in order of time; equal times in the order in which they were added."""
        for key, dates in self._files.items():
            for date in sorted(dates):
                tables = []
                for path in dates[date]:
                    with pa.ipc.open_file(str(path)) as file:
                        tables.append(file.read_all())
                rows = pa.concat_tables(tables)
                by = "recv_ns" if _received(rows) else "ts_ns"
                yield key, rows.take(pc.sort_indices(rows, [(by, "ascending")]))


def _received(rows: Any) -> bool:
    return "recv_ns" in rows.schema.names and not rows.column("recv_ns").null_count
