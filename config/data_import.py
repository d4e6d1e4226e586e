"""The command ``data import``: files of others into the catalogue.

Owns its options, which files of a folder are taken, the progress and the report at the end.  What happens with a file
is ``engine.data.importing``.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from engine.cli import ConfigOption, JsonFlag, SetOption, print_line
from engine.errors import DataError, printable

if TYPE_CHECKING:
    from engine.data.importing.importer import FileReport

Files = Annotated[list[Path], typer.Argument(help="files, or folders whose files are all taken")]
ColumnsOption = Annotated[str, typer.Option("--columns", metavar="ts=Date,open=Open,...", help="which column is which")]
KindOption = Annotated[str, typer.Option("--kind", help="bars, trades, quotes, exogenous, ... (default: by columns)")]
VenueOption = Annotated[str, typer.Option("--venue", help="where the file does not say it")]
SymbolOption = Annotated[str, typer.Option("--symbol", help="where the file does not say it: BTC-USD")]
IntervalOption = Annotated[str, typer.Option("--interval", help="length of its bars: 1m, 5m, 1h, 1d")]
ZoneOption = Annotated[str, typer.Option("--tz", help="zone of times that have none (default UTC)")]
UnitOption = Annotated[str, typer.Option("--time-unit", help="of times that are numbers: s, ms, us or ns")]
LabelOption = Annotated[str, typer.Option("--label", help="which edge of a bar its time is: start or end")]


def data_import(
    files: Files,
    to: Annotated[Path | None, typer.Option("--to", help="the catalogue (default: setting data.catalogue)")] = None,
    columns: ColumnsOption = "",
    kind: KindOption = "",
    venue: VenueOption = "",
    symbol: SymbolOption = "",
    interval: IntervalOption = "",
    tz: ZoneOption = "",
    time_unit: UnitOption = "",
    label: LabelOption = "start",
    received: Annotated[str, typer.Option("--received", help="time of raw messages that have none")] = "",
    again: Annotated[bool, typer.Option("--again", help="replace what the same file gave before")] = False,
    config: ConfigOption = None,
    assign: SetOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Store CSV, Parquet, feather and raw frames in the catalogue; each file whole or not at all."""
    from config.data_list import open_catalogue
    from engine.data.importing.importer import import_file
    from engine.data.importing.options import make_options

    options = make_options(
        columns=columns,
        kind=kind,
        venue=venue,
        symbol=symbol,
        interval=interval,
        tz=tz,
        time_unit=time_unit,
        label=label,
        received=received,
    )
    chosen, skipped = choose(files)
    catalogue = open_catalogue(to, config, assign)
    reports = run_files(
        chosen,
        lambda path, progress: import_file(catalogue, path, options, again=again, progress=progress),
        alone=len(chosen) == 1 and not skipped,
    )
    rows, imported = sum(report.rows for report in reports), sum(report.imported for report in reports)
    show(reports)
    for path in skipped:
        print(f"skipped: {path} is no market data of a known format", file=sys.stderr)
    failed = [report for report in reports if report.error]
    before = sum(report.remarks.get("stored_before", 0) for report in reports)
    done = f"{imported + before:,} of {rows:,} rows are in {catalogue.root}"
    done += f", {before:,} of them since an earlier import" if before else ""
    print(done + (f"; {len(failed)} files were refused" if failed else ""))
    if as_json:
        content = {"catalogue": str(catalogue.root), "rows": rows, "imported": imported, "before": before}
        content |= {"failed": len(failed)}
        print_reports(content, reports, skipped)
    if failed:
        raise typer.Exit(2)


def choose(paths: Sequence[Path]) -> tuple[list[Path], list[Path]]:
    """The files to be read, and those of named folders that are no data.  Raises ``DataError`` for a path that is not
    there, or a folder with nothing in it.

    A README, a licence or a checksum beside data is neither.
    """
    from engine.data.importing.importer import is_beside
    from engine.data.importing.sources import format_of

    chosen: list[Path] = []
    skipped: list[Path] = []
    for path in paths:
        if not path.is_dir():
            chosen.append(path)
            continue
        found = sorted(each for each in path.rglob("*") if each.is_file() and not is_beside(each.relative_to(path)))
        known = {each: _is_known(each, format_of) for each in found}
        chosen += [each for each in found if known[each]]
        skipped += [each for each in found if not known[each]]
        if not any(known.values()):
            raise DataError(f"{path} has no file of market data", expected="CSV, Parquet, feather or JSON lines in it")
    return list(dict.fromkeys(chosen)), skipped


def _is_known(path: Path, format_of: Callable[[Path], str]) -> bool:
    """Whether a file is to be read; one that is damaged is, so that its error is told."""
    ending = path.name.lower().removesuffix(".gz").rpartition(".")[2]
    if ending in ("parquet", "feather", "arrow", "csv", "tsv", "jsonl"):
        return True
    try:
        return bool(format_of(path))
    except DataError:
        return False


def run_files(
    paths: Sequence[Path], work: Callable[[Path, Callable[[float], None]], FileReport], *, alone: bool
) -> list[FileReport]:
    """``work`` on each file, with a bar for all of them (by bytes) on a terminal.

    A file that is refused becomes a report with its error, and the others go on; ``alone`` it is raised.
    """
    from engine.data.importing.importer import FileReport

    reports: list[FileReport] = []
    sizes = {path: path.stat().st_size if path.exists() else 0 for path in paths}
    with progress_bar(sum(sizes.values())) as advance:
        done = 0
        for path in paths:
            advance(done, path.name)

            def told(share: float, before: int = done, path: Path = path) -> None:
                advance(before + share * sizes[path], path.name)

            try:
                reports.append(work(path, told))
            except DataError as error:
                if alone:
                    raise
                reports.append(FileReport(file=str(path), error=str(error)))
            done += sizes[path]
            advance(done, path.name)
    return reports


@contextmanager
def progress_bar(total: float) -> Iterator[Callable[[float, str], None]]:
    """``advance(done, what)`` moves a bar on a terminal's stderr; elsewhere nothing is shown."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress:
        task = progress.add_task("", total=max(total, 1))

        def advance(done: float, what: str) -> None:
            progress.update(task, completed=done, description=what[:60])

        yield advance


def show(reports: Sequence[FileReport]) -> None:
    """The table of the report, then what each file's error is."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(title="quality report")
    for name in ("file", "kind"):
        table.add_column(name, overflow="fold")
    for name in ("rows", "imported"):
        table.add_column(name, justify="right")
    table.add_column("defects", overflow="fold")
    for report in reports:
        kind = f"{report.kind} {report.interval}".strip()
        said = "DAMAGED" if report.damaged else "REFUSED" if report.error else _defects(report)
        table.add_row(escape(short_name(report.file)), kind, f"{report.rows:,}", f"{report.imported:,}", said)
    Console(width=None if sys.stdout.isatty() else 160).print(table)
    for report in reports:
        if report.error:
            print(f"kestrel: {report.error}", file=sys.stderr)


def short_name(file: str) -> str:
    """A file's name; of a part of a catalogue venue, instrument and date, since its name alone says nothing."""
    steps = file.split("/")
    if not steps[0].startswith("venue="):
        return printable(Path(file).name)
    said = [step.rpartition("=")[2] for step in steps if not step.startswith(("kind=", "interval="))]
    return printable("/".join(said))


def _defects(report: FileReport) -> str:
    from rich.markup import escape

    parts = [f"{name} {count:,}" for name, count in report.defects.items()]
    if report.clock_ms is not None:
        parts = [f"{part} ({report.clock_ms:+,.0f} ms)" if part.startswith("clock_behind") else part for part in parts]
    parts += [f"[dim]{name} {count:,}[/dim]" for name, count in report.remarks.items()]
    if report.columns_left_out:
        parts.append(f"[dim]not stored: {escape(printable(', '.join(report.columns_left_out)))}[/dim]")
    return ", ".join(parts) or "none"


def print_reports(content: dict[str, Any], reports: Sequence[FileReport], skipped: Sequence[Path] = ()) -> None:
    """One JSON object on the last line: ``files: [{file, rows, imported, defects, ...}]``."""
    import msgspec

    files = [msgspec.to_builtins(report) for report in reports]
    print_line(json.dumps({**content, "files": files, "skipped": [str(path) for path in skipped]}))
