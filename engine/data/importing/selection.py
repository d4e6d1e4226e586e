"""Which rows of a file go into the catalogue: bars once for each time, and nothing that is there already.

Owns the rows that are left out because another row says the same or contradicts it; each is counted by reason.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from engine.data.catalogue import Catalogue
from engine.data.importing.reading import Key
from engine.data.importing.survey import Found
from engine.data.kinds import KINDS
from engine.data.parts import Part, Series
from engine.errors import DataError

Mask = npt.NDArray[np.bool_]

ONE_A_TIME = frozenset({"bars", "quote_bars"})
"""Kinds of which a series has one row for each time."""
_STREAMS = frozenset({"quotes", "side_quotes", "trades", "book_deltas", "book10", "orders"})
"""Kinds in which rows of two sources over the same time would be everything twice."""


class OneATime:
    """Leaves the first bar of each time; rows come in order of time, table after table."""

    def __init__(self, counts: Counter[str]) -> None:
        self._counts = counts
        self._last: Any = None

    def select(self, table: Any) -> Any:
        held = 0
        if self._last is not None:
            table = pa.concat_tables([self._last, table])
            held = 1
        times = table.column("ts_ns").to_numpy()
        first = np.concatenate(([True], times[1:] != times[:-1]))
        if not first.all():
            leader = np.maximum.accumulate(np.where(first, np.arange(first.size), 0))
            same = equal_rows(table, table.take(pa.array(leader)))
            self._counts["repeated_bars"] += int((~first & same).sum())
            self._counts["conflicting_bars"] += int((~first & ~same).sum())
            table = table.filter(pa.array(first))
        self._last = table.slice(table.num_rows - 1)
        return table.slice(held)


class Stored:
    """What a catalogue holds of one series from other sources."""

    def __init__(self, catalogue: Catalogue, series: Series, sha256: str, counts: Counter[str]) -> None:
        self._catalogue = catalogue
        self._kind = series.kind
        self._counts = counts
        self._parts = [
            part
            for part in catalogue.parts(series.venue, series.instrument, series.kind, interval_ns=series.interval_ns)
            if part.source.sha256 != sha256 or not sha256
        ]

    def check(self, key: Key, found: Found) -> None:
        """Raises ``DataError`` when ticks of the same time are there already: they would all be there twice."""
        if self._kind not in _STREAMS:
            return
        part = next((p for p in self._parts if p.first_ns <= found.last_ns and p.last_ns >= found.first_ns), None)
        if part is not None:
            raise DataError(
                f"its {key.kind} of {part.instrument} are of a time that the catalogue has already, from "
                f"{part.source.name}",
                expected="ticks of another time, each stored once",
                do="leave the file out, or import it into another catalogue (--to)",
            )

    def select(self, table: Any) -> Any:
        """Rows of bars and series whose time (all columns, for other kinds) is not stored yet."""
        if not self._parts or self._kind not in (*ONE_A_TIME, "exogenous"):
            return table
        times = table.column("ts_ns").to_numpy()
        low, high = int(times.min()), int(times.max())
        near = [part for part in self._parts if part.first_ns <= high and part.last_ns >= low]
        if not near:
            return table
        stored = _rows(self._catalogue, near, low, high)
        if not stored.num_rows:
            return table
        wanted = [name for name in KINDS[self._kind].columns if name in table.schema.names]
        if self._kind == "exogenous":
            return self._unknown(table, stored, wanted)
        stored = stored.take(pa.array(np.argsort(stored.column("ts_ns").to_numpy(), kind="stable")))
        there = stored.column("ts_ns").to_numpy()
        at = np.minimum(np.searchsorted(there, times), there.size - 1)
        known: Mask = there[at] == times
        same = known & equal_rows(table.select(wanted), stored.select(wanted).take(pa.array(at)))
        self._counts["stored_already"] += int(same.sum())
        self._counts["differs_from_stored"] += int((known & ~same).sum())
        return table.filter(pa.array(~known))

    def _unknown(self, table: Any, stored: Any, wanted: list[str]) -> Any:
        have = set(zip(*(stored.column(name).to_pylist() for name in wanted), strict=True))
        rows = zip(*(table.column(name).to_pylist() for name in wanted), strict=True)
        fresh = np.array([row not in have for row in rows], np.bool_)
        self._counts["stored_already"] += int((~fresh).sum())
        return table.filter(pa.array(fresh))


def equal_rows(left: Any, right: Any) -> Mask:
    """Row by row, over the columns of ``left``: NaN and null equal each other and themselves."""
    same = np.ones(left.num_rows, np.bool_)
    for name in left.schema.names:
        same &= _equal(left.column(name), right.column(name))
    return same


def _equal(left: Any, right: Any) -> Mask:
    if pa.types.is_floating(left.type) or pa.types.is_floating(right.type):
        a, b = left.to_numpy(), right.to_numpy()
        either: Mask = (a == b) | (np.isnan(a) & np.isnan(b))
        return either
    if not left.null_count and not right.null_count and pa.types.is_integer(left.type):
        exact: Mask = left.to_numpy() == right.to_numpy()
        return exact
    return np.array([x == y for x, y in zip(left.to_pylist(), right.to_pylist(), strict=True)], np.bool_)


def _rows(catalogue: Catalogue, parts: list[Part], low: int, high: int) -> Any:
    schema = KINDS[parts[0].kind].schema
    batches = [
        batch.replace_schema_metadata(None)
        for part in parts
        for batch in catalogue.read_part(part, start_ns=low, end_ns=high + 1)
    ]
    return pa.Table.from_batches(batches, schema=schema) if batches else schema.empty_table()
