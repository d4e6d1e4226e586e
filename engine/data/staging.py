"""Writing into a catalogue: rows are staged out of sight, then all of them become visible by one commit.

Owns the files until they are published.  Steps of ``Batch.publish``, each of which may be the last one before a kill:

1. the parts lie in ``.staging/<name>/``, closed, synced, their checksums taken: nothing is visible;
2. with the lock held they are renamed to their places: still nothing, no commit names them;
3. one commit is renamed into the log: everything is visible.

What a killed process leaves behind in step 1 or 2 the next one sets aside (``engine.data.upkeep``).
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import tempfile
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from engine.data.commits import Commit, CommitLog, State, locked, make_folder
from engine.data.kinds import conform, kind_named
from engine.data.meanwhile import Choice, StoredMeanwhile
from engine.data.parts import Part, Series, Source, date_unit, dates_of, footer, row_footer, series_of
from engine.durable import sync_folder
from engine.errors import DataError

STAGING: Final = ".staging"
STAGING_LOCK: Final = "lock"
HELD_BYTES: Final = 128 << 20
"""Rows kept in memory before the largest lot of them is written: files of many rows, bounded memory."""
OPEN_FILES: Final = 32
GROUP_ROWS: Final = 131_072


class Batch:
    """One commit in the making; any number of series.  A context manager: published at a clean exit, else discarded.

    Made by ``Catalogue.batch``.  ``parts`` are what was published, after it was.
    """

    def __init__(self, root: Path, source: Source, *, again: bool = False, choice: Choice | None = None) -> None:
        """``again``: rows of this source that are in already are replaced, series by series.  ``choice``: what the
        rows were chosen by; publishing raises ``StoredMeanwhile`` when that is no longer all there is.
        """
        self.source = source
        self.rows = 0
        self.parts: tuple[Part, ...] = ()
        self._root = root
        self._log = CommitLog(root)
        self._again = again
        self._choice = choice
        self._writers: dict[Series, SeriesWriter] = {}
        self._staged: list[tuple[Path, Part, str]] = []
        self._marks: dict[str, tuple[int | None, int]] = {}
        self._held_bytes = 0
        self._open: OrderedDict[tuple[Series, str], _PartFile] = OrderedDict()
        self._count = 0
        # The lock: no other process takes the folder for a leftover before its own lock is held.
        with _disk_errors(root), locked(root):
            self._known = self._log.load()
            self._log.begin()
            make_folder(root / STAGING)
            self._folder = Path(tempfile.mkdtemp(dir=root / STAGING))
            self._lock = os.open(self._folder / STAGING_LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            fcntl.flock(self._lock, fcntl.LOCK_EX)

    def writer(self, venue: str, symbol: str, kind: str, interval_ns: int = 0, *, instrument: str = "") -> SeriesWriter:
        """Where rows of one series go; the same object for the same series.

        ``venue`` and ``symbol`` in any spelling, ``instrument`` (an id) where it is known.  Raises ``DataError`` for
        what cannot be a series, and when rows of this source are in it already (without ``again``).
        """
        series = series_of(venue, symbol, kind, interval_ns, instrument)
        if series not in self._writers:
            self._refuse_twice(series, self._known)
            self._writers[series] = SeriesWriter(self, series)
        return self._writers[series]

    def mark(self, name: str, value: int, *, expected: int | None) -> None:
        """Set a mark together with the rows.  ``expected`` is what it was when they were chosen (None: not there): if
        another process moves it meanwhile, publishing raises ``DataError`` and nothing is changed.
        """
        self._marks[name] = (expected, value)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self.publish()
        finally:
            self.discard()

    def publish(self) -> tuple[Part, ...]:
        """Make everything visible.  Raises ``DataError``; then nothing is."""
        with _disk_errors(self._root):
            for writer in self._writers.values():
                writer.flush()
            while self._open:
                self._close(*self._open.popitem(last=False))
            if not self._staged and not self._marks:
                return ()
            with locked(self._root):
                self.parts, replaced = self._commit(self._log.load())
            for file in replaced:
                with contextlib.suppress(OSError):  # no commit names it any more: the next process clears it away
                    os.unlink(self._root / file)
        return self.parts

    def _commit(self, state: State) -> tuple[tuple[Part, ...], tuple[str, ...]]:
        for series in self._writers:
            self._refuse_twice(series, state)
        if self._choice is not None:
            others = (part for part in state.parts.values() if not self._replaces(part))
            self._choice.check((part for _, part, _ in self._staged), others)
        for name, (expected, _) in self._marks.items():
            if state.marks.get(name) != expected:
                raise DataError(
                    f"{name} was stored by another process meanwhile (up to {state.marks.get(name)})",
                    expected=f"{'nothing of it' if expected is None else f'up to {expected}'}",
                    do="run it again: nothing was stored twice",
                )
        replaced = tuple(file for file, part in state.parts.items() if self._replaces(part))
        number = state.number + 1
        moved: list[Path] = []
        try:
            parts = []
            for count, (path, part, folder) in enumerate(self._staged):
                file = f"{folder}/part-{number:08d}-{count:04d}.parquet"
                make_folder(self._root / folder)
                os.rename(path, self._root / file)
                moved.append(self._root / file)
                parts.append(msgspec.structs.replace(part, file=file))
            for parent in {path.parent for path in moved}:
                sync_folder(parent)
            commit = Commit(
                number=number,
                added=tuple(parts),
                removed=replaced,
                marks={name: value for name, (_, value) in self._marks.items()},
            )
            self._log.append(commit, state)
        except BaseException:
            # An interrupt may come when the commit is visible already: then its files stay.
            for path in () if self._log.has(number) else moved:
                with contextlib.suppress(OSError):
                    path.unlink()
            raise
        return tuple(msgspec.structs.replace(part, root=str(self._root)) for part in parts), replaced

    def _same_source(self, part: Part) -> bool:
        return bool(self.source.sha256) and part.source.sha256 == self.source.sha256

    def _replaces(self, part: Part) -> bool:
        keys = {series.key for series in self._writers}
        return self._again and self._same_source(part) and part.series.key in keys

    def _refuse_twice(self, series: Series, state: State) -> None:
        if self._again:
            return
        for part in state.parts.values():
            if part.series.key == series.key and self._same_source(part):
                name = "" if part.source.name == self.source.name else f" (as {part.source.name})"
                unforeseen = self._choice is not None and not self._choice.knew(part)
                raise (StoredMeanwhile if unforeseen else DataError)(
                    f"{self.source.name} is in the catalogue already{name}: its {series.kind} of {series.instrument}",
                    expected="a file with other content",
                    do="to replace what came from it: --again",
                )

    def discard(self) -> None:
        """Remove what is staged.  Idempotent; after ``publish`` there is nothing but the empty folder."""
        for part in self._open.values():
            part.abandon()
        self._open.clear()
        self._writers.clear()
        if self._lock >= 0:
            shutil.rmtree(self._folder, ignore_errors=True)
            os.close(self._lock)
            self._lock = -1

    # --- for the writers ----------------------------------------------------------------------------------------

    def took(self, rows: int, size: int) -> None:
        """A writer holds more rows; beyond ``HELD_BYTES`` the fullest one writes."""
        self.rows += rows
        self._held_bytes += size
        while self._held_bytes > HELD_BYTES:
            max(self._writers.values(), key=lambda writer: writer.held_bytes).flush()

    def store(self, series: Series, date: str, table: Any, size: int) -> None:
        """Write rows of one date to a part of their own or the one that is open for it."""
        self._held_bytes -= size
        key = (series, date)
        columns = _present(table, series)
        part = self._open.get(key)
        if part is not None and not columns <= part.columns:
            # A column that was empty so far: its file has none of it, and goes on in another.
            self._close(key, self._open.pop(key))
            columns |= part.columns
            part = None
        if part is None:
            self._count += 1
            part = _PartFile(self._folder / f"{self._count:06d}.parquet", series, self.source, columns)
            self._open[key] = part
            if len(self._open) > OPEN_FILES:
                self._close(*self._open.popitem(last=False))
        part.write(table)

    def _close(self, key: tuple[Series, str], part: _PartFile) -> None:
        series, date = key
        self._staged.append((part.path, part.close(), f"{series.folder}/date={date}"))


class SeriesWriter:
    """Takes tables of one series, in any order of time.  Made by ``Batch.writer``."""

    def __init__(self, batch: Batch, series: Series) -> None:
        self.series = series
        self.rows = 0
        self.held_bytes = 0
        self._batch = batch
        self._kind = kind_named(series.kind)
        self._unit = date_unit(series)
        self._held: dict[str, list[Any]] = {}

    def write(self, table: Any) -> None:
        """Rows (``pyarrow.Table`` or ``RecordBatch``) as ``engine.data.kinds.conform`` takes them; raises as it does.

        Bars: ``interval_ns`` of every row is the series'.
        """
        made = conform(table, self.series.kind, what=self._batch.source.name)
        if made.num_rows == 0:
            return
        if self.series.interval_ns:
            self._check_interval(made.column("interval_ns"))
        dates = dates_of(made.column("ts_ns").to_numpy(), self._unit)
        for date in np.unique(dates):
            own = dates == date
            rows = made if own.all() else made.filter(pa.array(own))
            self._held.setdefault(str(date), []).append(rows)
            self.held_bytes += rows.nbytes
            self.rows += rows.num_rows
            with _disk_errors(self._batch.source.name):
                self._batch.took(rows.num_rows, rows.nbytes)

    def flush(self) -> None:
        """Give what is held to the batch's files."""
        for date, tables in sorted(self._held.items()):
            rows = pa.concat_tables(tables)
            size = sum(table.nbytes for table in tables)
            if self._kind.bars:
                rows = rows.take(pc.sort_indices(rows, [("ts_ns", "ascending")]))  # stable
            self._batch.store(self.series, date, rows, size)
        self._held.clear()
        self.held_bytes = 0

    def _check_interval(self, column: Any) -> None:
        span = pc.min_max(column).as_py()
        if span["min"] != self.series.interval_ns or span["max"] != self.series.interval_ns:
            raise DataError(
                f"{self._batch.source.name} has bars of interval_ns {span['min']} to {span['max']}",
                expected=f"{self.series.interval_ns} in every row of this series",
                do="store each interval as a series of its own",
            )


class _PartFile:
    """A Parquet file being written.  Only the columns that hold something: a reader of single files takes a column that
    is there for one that is filled."""

    def __init__(self, path: Path, series: Series, source: Source, columns: frozenset[str]) -> None:
        self.path = path
        self.columns = columns
        self._series = series
        self._source = source
        self._kind = kind_named(series.kind)
        self._names = [name for name in self._kind.columns if name in columns]
        fields = [self._kind.schema.field(name) for name in self._names]
        schema = pa.schema(fields, metadata=footer(series, source, self._kind.version))
        times = {name: "DELTA_BINARY_PACKED" for name in self._names if name in ("ts_ns", "recv_ns")}
        self._file = pq.ParquetWriter(
            path,
            schema,
            compression="zstd",
            use_dictionary=[name for name in self._names if name not in times],
            column_encoding=times or None,
        )
        self._rows = 0
        self._spans: dict[str, tuple[int, int] | None] = {}

    def write(self, table: Any) -> None:
        self._rows += table.num_rows
        for name in ("ts_ns", "recv_ns"):
            self._widen(name, table)
        self._file.write_table(table.select(self._names), row_group_size=GROUP_ROWS)

    def _widen(self, name: str, table: Any) -> None:
        if name not in self.columns or (name in self._spans and self._spans[name] is None):
            return
        column = table.column(name)
        if column.null_count:
            self._spans[name] = None
            return
        span = pc.min_max(column).as_py()
        low, high = self._spans.get(name) or (span["min"], span["max"])
        self._spans[name] = (min(low, span["min"]), max(high, span["max"]))

    def close(self) -> Part:
        """Finish the file and sync it; what it is, without its final name."""
        first_ns, last_ns = self._spans["ts_ns"] or (0, 0)
        recv = self._spans.get("recv_ns") or (None, None)
        part = Part(
            file="",
            series=self._series,
            rows=self._rows,
            bytes=0,
            sha256="",
            schema_version=self._kind.version,
            first_ns=first_ns,
            last_ns=last_ns,
            source=self._source,
            first_recv_ns=recv[0],
            last_recv_ns=recv[1],
        )
        self._file.add_key_value_metadata(row_footer(part))
        self._file.close()
        with self.path.open("rb") as file:
            os.fsync(file.fileno())
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        return msgspec.structs.replace(part, bytes=self.path.stat().st_size, sha256=digest)

    def abandon(self) -> None:
        with contextlib.suppress(OSError, pa.ArrowException):
            self._file.close()


def _present(table: Any, series: Series) -> frozenset[str]:
    """Columns to be stored: all required ones, and the optional ones that hold something."""
    kind = kind_named(series.kind)
    empty = {name for name in kind.optional if table.column(name).null_count == table.num_rows}
    return frozenset(name for name in kind.columns if name not in empty)


@contextlib.contextmanager
def _disk_errors(what: object) -> Iterator[None]:
    """A full disk or a folder that may not be written is the user's to mend: one line."""
    try:
        yield
    except OSError as error:
        raise DataError(
            f"cannot write the rows of {what}: {error.strerror or error}",
            expected="room and the right to write",
            do="free the disk or choose another folder; nothing was stored",
        ) from error
