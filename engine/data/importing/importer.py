"""A file's way into the catalogue: surveyed, put in order, selected, examined, stored by one commit.

Owns the order of these steps and the report.  The first pass finds whatever is wrong with the file as a whole; a
catalogue is touched only by the second, and by one commit at its end: all of a file or nothing of it.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import pyarrow as pa

from engine.data.catalogue import Catalogue
from engine.data.defects import DEFECTS, REMARKS, Examination
from engine.data.importing.options import Options
from engine.data.importing.ordering import Spool
from engine.data.importing.reading import Key, Reader
from engine.data.importing.selection import ONE_A_TIME, OneATime, Stored
from engine.data.importing.sources import source_of
from engine.data.importing.survey import Found, survey
from engine.data.instruments import venue_id
from engine.data.meanwhile import chosen_anew
from engine.data.parts import Source, date_unit, interval_text, series_of
from engine.data.sessions import market_of
from engine.errors import DataError

Progress = Callable[[float], None]
"""Told the share of a file's work that is done, 0 to 1."""


class FileReport(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one file.  ``defects`` and ``remarks`` count by the names of ``engine.data.defects``.

    ``clock_ms`` is the median of ``recv_ns - ts_ns`` where that is a defect.  ``columns_left_out`` are columns of the
    file that its kind does not have.  ``error``: why nothing was imported; empty when it was.
    """

    file: str
    venue: str = ""
    kind: str = ""
    interval: str = ""
    series: int = 0
    rows: int = 0
    imported: int = 0
    defects: dict[str, int] = {}
    remarks: dict[str, int] = {}
    clock_ms: float | None = None
    columns_left_out: tuple[str, ...] = ()
    error: str = ""
    damaged: bool = False


def import_file(
    catalogue: Catalogue, path: Path, options: Options, *, again: bool = False, progress: Progress = lambda _: None
) -> FileReport:
    """Store one file, unless the catalogue has it, read in the same way; ``again`` replaces what it gave before.

    Raises ``DataError`` with nothing changed.
    """
    reader = Reader(path, options)
    read_as = hashlib.sha256(msgspec.json.encode((options, reader.subject), order="deterministic")).hexdigest()
    source = msgspec.structs.replace(source_of(path), reading=read_as[:16])
    return chosen_anew(lambda: _store(catalogue, path, options, source, again=again, progress=progress))


def _store(
    catalogue: Catalogue, path: Path, options: Options, source: Source, *, again: bool, progress: Progress
) -> FileReport:
    catalogue.refresh()
    before = None if again else _stored_before(catalogue, path, source)
    if before is not None:
        progress(1.0)
        return before
    passage = Passage(path, options, progress)
    stored: dict[Key, Stored] = {}
    for key, found in passage.found.items():
        series = series_of(passage.venue, key.symbol, key.kind, found.interval_ns)
        stored[key] = Stored(catalogue, series, source.sha256, passage.counts[key])
        try:
            stored[key].check(key, found)
        except DataError as error:
            raise DataError(f"{path}: {error.seen}", expected=error.expected, do=error.do) from error
    imported = 0
    with catalogue.batch(source, again=again, chosen=True) as batch:
        writers = {
            key: batch.writer(passage.venue, key.symbol, key.kind, found.interval_ns)
            for key, found in passage.found.items()
        }
        for key, table in passage.tables({key: each.select for key, each in stored.items()}):
            writers[key].write(table)
            imported += table.num_rows
        if imported:
            mark = _mark(source)
            batch.mark(mark, imported, expected=catalogue.mark(mark))
    catalogue.refresh()
    return passage.report(imported)


def _mark(source: Source) -> str:
    """The name under which the catalogue keeps how many rows of a file it took; without it, parts that were lost since
    could not be told from a file that is stored whole."""
    return f"import {source.sha256} read {source.reading}"


def _stored_before(catalogue: Catalogue, path: Path, source: Source) -> FileReport | None:
    """The report of a file that is stored whole, read in the same way; None for any other."""
    own = (source.sha256, source.reading)
    parts = [part for part in catalogue.parts() if (part.source.sha256, part.source.reading) == own]
    rows = sum(part.rows for part in parts)
    if not rows or rows != catalogue.mark(_mark(source)):
        return None
    lengths = sorted({part.interval_ns for part in parts} - {0})
    return FileReport(
        file=str(path),
        venue=parts[0].venue,
        kind=" + ".join(sorted({part.kind for part in parts})),
        interval=", ".join(interval_text(length) for length in lengths),
        series=len({part.series.key for part in parts}),
        rows=rows,
        remarks={"stored_before": rows},
    )


def examine_file(path: Path, options: Options, progress: Progress = lambda _: None) -> FileReport:
    """What ``import_file`` would find, with nothing stored.  Raises ``DataError``."""
    passage = Passage(path, options, progress)
    kept = sum(table.num_rows for _, table in passage.tables({}))
    return passage.report(kept)


class Passage:
    """Both passes over one file.  Made: the first is done, and ``found`` are its series."""

    def __init__(self, path: Path, options: Options, progress: Progress) -> None:
        self._path = path
        self._reader = Reader(path, options)
        self._progress = progress
        self._seen = 0
        self._label_end = options.label == "end"
        self.venue = self._reader.subject.venue
        self.found: dict[Key, Found] = survey(self._reader, lambda rows: self._tell(rows, 0.0))
        self._seen = self._reader.read_rows
        self.counts: dict[Key, Counter[str]] = {key: Counter() for key in self.found}
        self.examined: dict[Key, Examination] = {
            key: Examination(key.kind, market_of(self.venue, key.symbol), found.interval_ns)
            for key, found in self.found.items()
        }
        self._once = {key: OneATime(self.counts[key]) for key in self.found if key.kind in ONE_A_TIME}

    def tables(self, selects: dict[Key, Callable[[Any], Any]]) -> Iterator[tuple[Key, Any]]:
        """The second pass: what is to be stored, in order of time, in tables that ``conform`` takes."""
        with Spool() as spool:
            for key, table in self._reader.chunks():
                self._tell(self._reader.read_rows, 0.5)
                if not table.num_rows:
                    continue
                found = self.found[key]
                rows = self._finished(found, table)
                if found.sort:
                    series = series_of(self.venue, key.symbol, key.kind, found.interval_ns)
                    spool.add(key, rows, date_unit(series))
                else:
                    yield from self._judged(key, rows, selects)
            for key, rows in spool.read():
                yield from self._judged(key, rows, selects)
        self._progress(1.0)

    def _judged(self, key: Key, table: Any, selects: dict[Key, Callable[[Any], Any]]) -> Iterator[tuple[Key, Any]]:
        if key in self._once:
            table = self._once[key].select(table)
        self.examined[key].add(table)
        if key in selects and table.num_rows:
            table = selects[key](table)
        if table.num_rows:
            yield key, table

    def _finished(self, found: Found, table: Any) -> Any:
        """With its interval, and the time of a bar as its start."""
        if not found.interval_ns:
            return table
        if self._label_end:
            starts = table.column("ts_ns").to_numpy() - found.interval_ns
            table = table.set_column(table.schema.get_field_index("ts_ns"), "ts_ns", pa.array(starts))
        lengths = np.full(table.num_rows, found.interval_ns, np.int64)
        return table.append_column("interval_ns", pa.array(lengths))

    def _tell(self, rows: int, share: float) -> None:
        total = self._reader.total or self._seen
        if total:
            self._progress(share + 0.5 * min(rows / total, 1.0))

    def report(self, imported: int) -> FileReport:
        """To be called when ``tables`` is through."""
        counts: Counter[str] = Counter()
        lags = []
        for key, examination in self.examined.items():
            counts += examination.finish()
            counts += self.counts[key]
            counts["non_monotonic"] += self.found[key].backward
            if self._reader.subject.label_unclear and key.kind in ONE_A_TIME:
                counts["label_unclear"] += self.found[key].rows
            if examination.lag_ns is not None:
                lags.append(examination.lag_ns)
            if self._reader.subject.volume_in and key.kind == "bars":
                counts["volume_unit"] += self.found[key].rows
        for lost in self._reader.dropped.values():
            counts += lost
        counts.update(self._reader.published)
        if self._reader.naive:
            counts["naive_time"] = self._reader.read_rows
        kinds = sorted({key.kind for key in self.found} or {self._reader.kind})
        lengths = sorted({found.interval_ns for found in self.found.values()} - {0})
        return FileReport(
            file=str(self._path),
            venue=venue_id(self.venue),
            kind=" + ".join(kinds),
            interval=", ".join(interval_text(length) for length in lengths),
            series=len(self.found),
            rows=self._reader.read_rows,
            imported=imported,
            defects={name: counts[name] for name in DEFECTS if counts[name] > 0 and name not in REMARKS},
            remarks={name: counts[name] for name in DEFECTS if counts[name] > 0 and name in REMARKS},
            clock_ms=float(np.median(lags)) / 1e6 if counts["clock_behind"] else None,
            columns_left_out=self._reader.unused,
        )


SKIPPED: Final = frozenset({"readme", "licence", "license", "notice", "copying", "changelog", "sha256sums"})
"""Files beside data, by the beginning of their names."""


def is_beside(path: Path) -> bool:
    """Whether a file only accompanies data: a README, a licence, a checksum, a hidden file."""
    name = path.name.lower()
    if name.startswith(".") or name.endswith((".md", ".sha256", ".json")):
        return True
    stem = name.partition(".")[0]
    folders = {folder.name.lower() for folder in path.parents}
    return stem in SKIPPED or bool(folders & {"licences", "licenses"})
