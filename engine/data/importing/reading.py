"""One file as canonical tables of its series, in the order of its rows.

Owns the way from a source's batch to columns of a kind: times, numbers, words, and which rows cannot be kept because a
value that every row needs is not there.  Storing is ``importer``; judging is ``engine.data.defects``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from engine.data.importing import values
from engine.data.importing.frames import read_frames
from engine.data.importing.mapping import MIXED_BOOK, Mapping, map_columns
from engine.data.importing.naming import ALL, Subject, find_subject
from engine.data.importing.options import SYMBOL, Options
from engine.data.importing.sources import Rows, format_of, open_rows
from engine.data.importing.times import Clock
from engine.data.kinds import KINDS
from engine.errors import DataError

NO_TIME: Final = "no_time"
NO_VALUE: Final = "no_value"
AMBIGUOUS: Final = "ambiguous_time"
BY_DAY: Final = "published_by_day"
AT_MIDNIGHT: Final = "published_at_midnight"

_TIMES: Final = ("ts_ns", "recv_ns", "period_end_ns")


class Key(NamedTuple):
    """One series within a file; the venue is the file's.  ``interval_ns`` 0: not said by the rows."""

    symbol: str
    kind: str
    interval_ns: int = 0


class Reader:
    """Reads one file as often as asked.  ``dropped`` counts, by reason, what the last pass left out, series by series.

    ``unused`` are columns that the kind does not have; ``naive`` says that times without a zone were taken for UTC,
    ``published`` counts, by defect, exogenous values whose moment of publication is not known to the hour.
    Raises ``DataError`` when made, for a file that nobody could import.
    """

    def __init__(self, path: Path, options: Options) -> None:
        self.path = path
        self.naive = False
        self.published: dict[str, int] = {}
        self.unused: tuple[str, ...] = ()
        self.total: int | None = None
        self.dropped: dict[Key, Counter[str]] = {}
        self.read_rows = 0
        self._options = options
        self._rows: Rows | None = None
        self.subject: Subject
        self._mapping = Mapping("frames", {})
        self.format = format_of(path)
        if self.format == "frames":
            if options.kind not in ("", "frames") or options.columns:
                raise DataError(f"{path} holds raw frames (JSON lines)", expected="kind frames, and no --columns")
            self.subject = find_subject(path, {}, options)
            return
        self._rows = open_rows(path)
        self.subject = find_subject(path, self._rows.metadata, options)
        self.total = self._rows.rows
        self._mapping = map_columns(path, self._rows.schema.names, options)
        self.unused = self._mapping.unused

    @property
    def kind(self) -> str:
        return self._mapping.kind

    def chunks(self) -> Iterator[tuple[Key, Any]]:
        """Tables with the columns of their kind that the file has (no ``interval_ns``), in the order of the file."""
        self.dropped = {}
        self.read_rows = 0
        if self._rows is None:
            yield from self._frames()
            return
        conversion = _Conversion(self.path, self._rows, self._mapping, self._options)
        for batch in self._rows.batches():
            if batch.num_rows:
                yield from self._split(conversion, batch)
        self.naive = conversion.naive
        self.published = conversion.published
        conversion.check_filled()

    def _frames(self) -> Iterator[tuple[Key, Any]]:
        key = Key(self.subject.symbol or ALL, "frames")

        def count(reason: str, number: int) -> None:
            self._count(key, reason, number)
            self.read_rows += number

        for table in read_frames(self.path, self._options.received_ns, count):
            self.read_rows += table.num_rows
            yield key, table

    def _split(self, conversion: _Conversion, batch: Any) -> Iterator[tuple[Key, Any]]:
        self.read_rows += batch.num_rows
        table, lost = conversion.convert(batch)
        for group, rows in _groups(table, [name for name in (SYMBOL, "message_type") if name in table.schema.names]):
            key = self._key(group, conversion)
            for reason, mask in lost.items():
                own = mask if rows is table else mask[rows.column("_row").to_numpy()]
                self._count(key, reason, int(own.sum()))
            mask = lost[NO_TIME] | lost[NO_VALUE]
            kept = ~(mask if rows is table else mask[rows.column("_row").to_numpy()])
            made = rows if kept.all() else rows.filter(pa.array(kept))
            if "message_type" in made.schema.names:
                made = _book(made, key.kind, conversion)
            made = made.drop_columns([n for n in _HELPERS if n in made.schema.names])
            yield from _by_interval(self.path, key, made)

    def _key(self, group: dict[str, str], conversion: _Conversion) -> Key:
        symbol = group.get(SYMBOL) or self.subject.symbol
        kind = self._mapping.kind
        if kind == "exogenous" and not symbol:
            symbol = ALL  # a file of macro series is about no instrument; column series tells them apart
        symbol = symbol or self._options.nameless
        if not symbol:
            raise DataError(
                f"nothing says which symbol {self.path} is about",
                expected="a column 'symbol', the key 'symbol' in its schema's metadata, a name such as BTC_USDT-5m",
                do="name it: --symbol BTC-USD",
            )
        if kind == MIXED_BOOK:
            kind = conversion.book_kind(group["message_type"])
        return Key(self.subject.full_symbol(symbol), kind)

    def _count(self, key: Key, reason: str, number: int) -> None:
        if number:
            self.dropped.setdefault(key, Counter())[reason] += number


_HELPERS: Final = (SYMBOL, "message_type", "_row")


class _Conversion:
    """Batches of one file, one after the other: what is learnt from the first (units, formats) holds for all."""

    def __init__(self, path: Path, rows: Rows, mapping: Mapping, options: Options) -> None:
        self.level = 0
        self.level_of: tuple[Any, Any] = (None, None)
        self._path = path
        self._rows = rows
        self._mapping = mapping
        self._options = options
        self._done = 0
        kind = KINDS.get(mapping.kind)
        self._schema = kind.schema if kind else KINDS["book_deltas"].schema
        self._clocks = {
            name: Clock(
                self._what(name),
                self._where,
                unit=options.time_unit or _unit(source),
                zone=options.tz,
                # What was published on a day was known by its end, and to say more would be to foretell it.
                by_end=name == "ts_ns" and mapping.kind == "exogenous",
            )
            for name, source in mapping.columns.items()
            if name in _TIMES
        }
        self._filled: dict[str, bool] = {}

    @property
    def naive(self) -> bool:
        return any(clock.naive for clock in self._clocks.values())

    @property
    def published(self) -> dict[str, int]:
        """Of exogenous values: how many were published on a day, or all of them at midnight, which may be the same."""
        if self._mapping.kind != "exogenous":
            return {}
        clock = self._clocks["ts_ns"]
        return {BY_DAY: clock.days, AT_MIDNIGHT: clock.midnights if clock.midnights == self._done else 0}

    def convert(self, batch: Any) -> tuple[Any, dict[str, Any]]:
        """The batch in our columns, and masks of the rows that cannot be kept, by reason."""
        columns: dict[str, Any] = {}
        no_time = np.zeros(batch.num_rows, np.bool_)
        no_value = np.zeros(batch.num_rows, np.bool_)
        ambiguous = sum(clock.ambiguous for clock in self._clocks.values())
        for name, source in self._mapping.columns.items():
            column = batch.column(batch.schema.names.index(source))
            if name in _TIMES:
                times, valid = self._clocks[name].read(column)
                columns[name] = pa.array(times, mask=~valid)
                if name != "recv_ns":
                    no_time |= ~valid
                    self._filled[name] = self._filled.get(name, False) or bool(valid.any())
                continue
            columns[name] = made = self._column(name, column)
            if self._is_required(name):
                held = made.is_valid().to_numpy(zero_copy_only=False)
                if pa.types.is_float64(made.type):
                    held &= np.isfinite(pc.fill_null(made, np.nan).to_numpy(zero_copy_only=False))
                no_value |= ~held
                self._filled[name] = self._filled.get(name, False) or bool(held.any())
        if "is_buyer_maker" in columns:
            columns["side"] = pc.if_else(columns.pop("is_buyer_maker"), "sell", "buy")
        if self._mapping.kind == "exogenous" and "series" not in columns:
            columns["series"] = columns[SYMBOL]
        columns["_row"] = pa.array(np.arange(batch.num_rows))
        self._done += batch.num_rows
        masks = {NO_TIME: no_time, NO_VALUE: no_value & ~no_time}
        twice = sum(clock.ambiguous for clock in self._clocks.values()) - ambiguous
        if twice:
            masks[AMBIGUOUS] = np.arange(batch.num_rows) < twice  # a count; which rows they are plays no part
        return pa.table(columns), masks

    def check_filled(self) -> None:
        """Raises ``DataError`` for a file without rows, or one in which a column that is needed never has a value."""
        if not self._done:
            raise DataError(f"{self._path} has no rows", expected="at least one", do="choose another file")
        empty = next((name for name, filled in self._filled.items() if not filled), None)
        if empty is not None:
            raise DataError(
                f"{self._what(empty)} has no value in any row (all of them empty or NaN)",
                expected="a value in the rows that are to be stored",
                do=f"choose another column: --columns {empty.removesuffix('_ns')}=COLUMN",
            )

    def book_kind(self, message_type: str) -> str:
        made = {"snapshot": "book_snapshots", "delta": "book_deltas", "update": "book_deltas"}.get(message_type.lower())
        if made is None:
            raise DataError(f"{self._what('message_type')} is {message_type!r}", expected="snapshot or delta")
        return made

    def _column(self, name: str, column: Any) -> Any:
        what, where = self._what(name), self._where
        if name == "side":
            kind = "book_deltas" if self._mapping.kind == MIXED_BOOK else self._mapping.kind
            return values.words(column, values.SIDES[kind], what, where)
        if name == "action":
            return values.words(column, values.ACTIONS, what, where)
        if name in (SYMBOL, "message_type"):
            return values.texts(column, what, where)
        if name == "is_buyer_maker":
            return values.flags(column, what, where)
        wanted = self._schema.field(name).type
        if pa.types.is_float64(wanted):
            return values.numbers(column, what, where)
        if pa.types.is_int64(wanted):
            return values.integers(column, what, where)
        return values.flags(column, what, where) if pa.types.is_boolean(wanted) else values.texts(column, what, where)

    def _is_required(self, name: str) -> bool:
        if name == SYMBOL:
            return True
        return name in self._schema.names and not self._schema.field(name).nullable

    def _what(self, name: str) -> str:
        return f"{self._path} column {self._mapping.columns.get(name, name)!r}"

    def _where(self, row: int) -> str:
        """The ``row``-th of the batch in hand."""
        return self._rows.where(self._done + row)


def _unit(name: str) -> str:
    """The unit that a column's own name ends with."""
    ending = name.rpartition("_")[2]
    return ending if ending in ("ns", "us", "ms") and ending != name else ""


def _groups(table: Any, names: list[str]) -> Iterator[tuple[dict[str, str], Any]]:
    """Rows by the values of some columns, in the order in which the groups begin; each keeps its rows' order."""
    if not names:
        yield {}, table
        return
    coded = [table.column(name).combine_chunks().dictionary_encode() for name in names]
    keys = np.zeros(table.num_rows, np.int64)
    for column in coded:
        codes = pc.fill_null(column.indices, len(column.dictionary)).to_numpy(zero_copy_only=False)
        keys = keys * (len(column.dictionary) + 1) + codes
    found, first = np.unique(keys, return_index=True)
    for key in found[np.argsort(first)]:
        own = keys == key
        rows = table if own.all() else table.filter(pa.array(own))
        yield {name: rows.column(name)[0].as_py() or "" for name in names}, rows


def _by_interval(path: Path, key: Key, table: Any) -> Iterator[tuple[Key, Any]]:
    """A file may say the length of each bar; several lengths are several series."""
    if "interval_ns" not in table.schema.names:
        yield key, table
        return
    rest = table.drop_columns(["interval_ns"])
    lengths = table.column("interval_ns").to_numpy()
    for length in np.unique(lengths):
        if length <= 0:
            raise DataError(
                f"{path} has a bar of {key.symbol} with interval_ns {length}",
                expected="a length above 0",
                do="correct the column, or leave it out and name the length: --interval 1h",
            )
        own = lengths == length
        yield key._replace(interval_ns=int(length)), rest if own.all() else rest.filter(pa.array(own))


def _book(table: Any, kind: str, state: _Conversion) -> Any:
    """Rows of a mixed book file as those of ``kind``; a snapshot's levels are counted, best first, as they come."""
    if kind == "book_deltas":
        if "last_update_id" in table.schema.names:
            table = table.append_column("first_update_id", table.column("last_update_id"))
        return table
    if not table.num_rows:
        return table.append_column("level", pa.array([], pa.int64()))
    ids = table.column("last_update_id").to_pylist() if "last_update_id" in table.schema.names else [0] * len(table)
    levels = []
    for group in zip(ids, table.column("side").to_pylist(), strict=True):
        state.level = state.level + 1 if group == state.level_of else 1
        state.level_of = group
        levels.append(state.level)
    return table.append_column("level", pa.array(levels, pa.int64()))
