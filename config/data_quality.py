"""The command ``data quality``: what the quality gate makes of stored rows.

Owns its options and how the report is shown; judging is ``engine.data.judging``.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
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
    progress_bar,
    short_name,
)
from config.data_list import CatalogueOption, open_catalogue
from engine.cli import ConfigOption, JsonFlag, SetOption, print_json
from engine.errors import ConfigError, DataError

if TYPE_CHECKING:
    from engine.data.judging import Judged


def data_quality(
    files: Annotated[list[Path] | None, typer.Argument(help="files or folders (default: the whole catalogue)")] = None,
    folder: CatalogueOption = None,
    hours: Annotated[
        float | None, typer.Option("--hours", help="only the last so many hours of each series (default: all)")
    ] = None,
    columns: ColumnsOption = "",
    kind: KindOption = "",
    interval: IntervalOption = "",
    tz: ZoneOption = "",
    time_unit: UnitOption = "",
    config: ConfigOption = None,
    assign: SetOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Judge stored rows as a session would: points, issues by kind and issue rate of each series."""
    import msgspec

    from config.commands import parse_overrides
    from config.load import load
    from engine.data.importing.options import make_options
    from engine.data.judging import Judged, judge_catalogue, judge_file

    if hours is not None and not 0 < hours < float("inf"):
        raise ConfigError(f"--hours {hours}", expected="a positive number of hours")
    tolerances = load(config or (), overrides=parse_overrides(assign)).quality.tolerances()
    found: list[Judged] = []
    if files:
        options = make_options(columns=columns, kind=kind, interval=interval, tz=tz, time_unit=time_unit)
        # Nothing is stored: a file that does not say what it is about can be judged all the same.
        options = msgspec.structs.replace(options, nameless="unknown")
        chosen, skipped = choose(files)
        with progress_bar(len(chosen)) as advance:
            for number, path in enumerate(chosen):

                def told(share: float, before: int = number, path: Path = path) -> None:
                    advance(before + share, path.name)

                try:
                    found += judge_file(path, options, tolerances, hours, told)
                except DataError as error:
                    if len(chosen) == 1 and not skipped:
                        raise
                    found.append(Judged(file=str(path), error=str(error)))
        for path in skipped:
            print(f"skipped: {path} is no market data of a known format", file=sys.stderr)
    if folder is not None or not files:
        catalogue = open_catalogue(folder, config, assign)
        with progress_bar(1.0) as advance:
            found += judge_catalogue(catalogue, tolerances, hours, lambda share: advance(share, str(catalogue.root)))
    show(found, hours)
    if as_json:
        print_json({"hours": hours, "series": [msgspec.to_builtins(one) for one in found]})
    if any(one.error for one in found):
        raise typer.Exit(2)


def show(found: Sequence[Judged], hours: float | None) -> None:
    """The table, then what kept a file from being judged."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(title="quality" if hours is None else f"quality of the last {hours:g} hours of each series")
    table.add_column("file", overflow="fold")
    for name in ("instrument", "kind"):
        table.add_column(name)
    for name in ("points", "suspect", "dropped", "issue rate"):
        table.add_column(name, justify="right")
    table.add_column("issues", overflow="fold")
    for one in found:
        quality = one.quality
        words = [escape(short_name(one.file)), escape(one.instrument), f"{one.kind} {one.interval}".strip()]
        if quality is None:
            table.add_row(*words, "", "", "", "", "REFUSED" if one.error else "[dim]not judged[/dim]")
            continue
        issues = [f"{name} {count:,}" for name, count in quality.issues.items()]
        issues += [f"[dim]{name} clock {ms:+,.0f} ms[/dim]" for name, ms in one.clock_offset_ms.items()]
        figures = [f"{quality.points:,}", f"{quality.suspect:,}", f"{quality.dropped:,}", f"{quality.issue_rate:.4%}"]
        table.add_row(*words, *figures, ", ".join(issues) or "none")
    Console(width=None if sys.stdout.isatty() else 160).print(table)
    for one in found:
        if one.error:
            print(f"kestrel: {one.error}", file=sys.stderr)
