"""The command ``data verify``: what is wrong with files, or with a catalogue.

Owns its options and its exit status: 1 when something is damaged, 2 when a file is whole but cannot be understood, 0
else, whatever the defects of the rows.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from config.data_import import (
    ColumnsOption,
    IntervalOption,
    KindOption,
    UnitOption,
    ZoneOption,
    choose,
    print_reports,
    progress_bar,
    run_files,
    show,
)
from config.data_list import CatalogueOption, open_catalogue
from engine.cli import ConfigOption, JsonFlag, SetOption

if TYPE_CHECKING:
    from engine.data.importing.importer import FileReport
    from engine.data.importing.options import Options


def data_verify(
    files: Annotated[list[Path] | None, typer.Argument(help="files or folders (default: the whole catalogue)")] = None,
    folder: CatalogueOption = None,
    columns: ColumnsOption = "",
    kind: KindOption = "",
    interval: IntervalOption = "",
    tz: ZoneOption = "",
    time_unit: UnitOption = "",
    config: ConfigOption = None,
    assign: SetOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Read every row and take every checksum: gaps, repeats, order, crossed quotes, outliers, damage."""
    reports: list[FileReport] = []
    skipped: list[Path] = []
    root = ""
    if files:
        from engine.data.importing.options import make_options
        from engine.data.verification import verify_file

        options = make_options(columns=columns, kind=kind, interval=interval, tz=tz, time_unit=time_unit)
        options = _looked_at(options)
        chosen, skipped = choose(files)
        reports += run_files(chosen, lambda path, progress: verify_file(path, options, progress), alone=False)
    if folder is not None or not files:
        from engine.data.verification import verify_catalogue

        catalogue = open_catalogue(folder, config, assign)
        root = str(catalogue.root)
        with progress_bar(1.0) as advance:
            reports += verify_catalogue(catalogue, lambda share: advance(share, root))
    show(reports)
    damaged = sum(report.damaged for report in reports)
    rows = sum(report.rows for report in reports)
    print(f"{len(reports):,} files, {rows:,} rows, {damaged} damaged")
    if as_json:
        print_reports({"catalogue": root, "rows": rows, "damaged": damaged}, reports, skipped)
    if damaged:
        raise typer.Exit(1)
    if any(report.error for report in reports):
        raise typer.Exit(2)


def _looked_at(options: Options) -> Options:
    """Nothing is stored: a file that does not say what it is about can be looked at all the same."""
    import msgspec

    return msgspec.structs.replace(options, nameless="unknown")
