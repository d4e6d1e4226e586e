"""What is wrong with files and with a catalogue: every row read, every checksum taken.

Owns the reading of a catalogue's parts for their defects; a file outside of one goes the way of an import with nothing
stored at its end.  Damaged parts are set aside by the catalogue itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from engine.data.catalogue import Catalogue
from engine.data.defects import DEFECTS, REMARKS, Examination
from engine.data.importing.damage import DamagedFile
from engine.data.importing.importer import FileReport, Progress, examine_file
from engine.data.importing.options import Options
from engine.data.importing.sources import promised_digest, source_of
from engine.data.kinds import kind_named
from engine.data.parts import Part, interval_text
from engine.data.sessions import market_of
from engine.errors import DataError


def verify_file(path: Path, options: Options, progress: Progress = lambda _: None) -> FileReport:
    """The defects of one file; ``damaged`` with its ``error`` when it cannot be read, or not as it was written."""
    try:
        promised = promised_digest(path)
        if promised and source_of(path).sha256 != promised:
            raise DamagedFile(
                f"{path} is not what its checksum says", expected=f"sha256 {promised[:12]}...", do="copy it again"
            )
        return examine_file(path, options, progress)
    except DataError as error:
        return FileReport(file=str(path), error=str(error), damaged=isinstance(error, DamagedFile))


def verify_catalogue(catalogue: Catalogue, progress: Progress = lambda _: None) -> Iterator[FileReport]:
    """First the parts that are damaged and now set aside, then the defects of all others, series after series.

    Parts of one series and date are looked at together, since each holds a part of its rows.
    """
    opening = [problem for problem in catalogue.problems if problem.rows]
    for problem in [*opening, *catalogue.verify()]:
        yield FileReport(file=problem.file, rows=problem.rows, error=problem.line(), damaged=True)
    parts = sorted(catalogue.parts(), key=lambda part: (part.series.folder, _date(part), part.first_ns, part.file))
    total = sum(part.rows for part in parts) or 1
    done = 0
    for _, of_series in groupby(parts, key=lambda part: part.series.folder):
        last: Examination | None = None
        for date, group in groupby(of_series, key=_date):
            together = list(group)
            last, report = _examine(catalogue, together, last, date)
            yield report
            done += report.rows
            progress(done / total)


def _examine(
    catalogue: Catalogue, parts: list[Part], last: Examination | None, date: str
) -> tuple[Examination, FileReport]:
    first = parts[0]
    market = market_of(first.venue, first.symbol)
    examination = Examination(first.kind, market, first.interval_ns, after=last)
    backward = 0
    for table in _tables(catalogue, parts):
        times = table.column("ts_ns").to_numpy()
        backward += int((times[1:] < times[:-1]).sum())
        examination.add(table)
    counts = examination.finish()
    counts["non_monotonic"] += backward
    return examination, FileReport(
        file=first.file if len(parts) == 1 else f"{first.series.folder}/date={date} ({len(parts)} parts)",
        venue=first.venue,
        kind=first.kind,
        interval=interval_text(first.interval_ns) if first.interval_ns else "",
        series=1,
        rows=examination.rows,
        imported=examination.rows,
        defects={name: counts[name] for name in DEFECTS if counts[name] > 0 and name not in REMARKS},
        remarks={name: counts[name] for name in DEFECTS if counts[name] > 0 and name in REMARKS},
        clock_ms=(examination.lag_ns or 0) / 1e6 if counts["clock_behind"] else None,
    )


def _tables(catalogue: Catalogue, parts: list[Part]) -> Iterator[Any]:
    """Rows in order of time: of several parts of bars together, else part after part as they were stored."""
    if len(parts) > 1 and kind_named(parts[0].kind).bars:
        batches = [batch.replace_schema_metadata(None) for part in parts for batch in catalogue.read_part(part)]
        rows = pa.Table.from_batches(batches)
        yield rows.take(pc.sort_indices(rows, [("ts_ns", "ascending")]))
        return
    for part in parts:
        for batch in catalogue.read_part(part):
            yield pa.Table.from_batches([batch])


def _date(part: Part) -> str:
    return part.file.rpartition("/")[0].rpartition("date=")[2]
