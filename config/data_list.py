"""The commands ``data list`` and ``data query``: what the catalogue holds, and questions to it.

Owns how it is shown; what is stored is ``engine.data.catalogue``'s.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from engine.cli import ConfigOption, JsonFlag, SetOption, print_json

if TYPE_CHECKING:
    from engine.data.catalogue import Catalogue, Part

CatalogueOption = Annotated[
    Path | None, typer.Option("--catalogue", help="folder of stored data (default: setting data.catalogue)")
]
SHOWN: Final = 200
"""Rows of a query that are printed; ``--json`` has them all."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def open_catalogue(folder: Path | None, config: list[Path] | None, assign: list[str] | None) -> Catalogue:
    """The catalogue that is named, else the configured one; what was found wrong with it goes to stderr."""
    from config.commands import parse_overrides
    from config.load import load
    from engine.data.catalogue import Catalogue

    if folder is None:
        folder = load(config or (), overrides=parse_overrides(assign)).data.catalogue
    catalogue = Catalogue(folder)
    for problem in catalogue.problems:
        print(f"set aside: {problem.line()}", file=sys.stderr)
    return catalogue


def data_list(
    folder: CatalogueOption = None, config: ConfigOption = None, assign: SetOption = None, as_json: JsonFlag = False
) -> None:
    """What is stored: venue, instrument, kind, interval, first and last time, rows, bytes, parts."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    catalogue = open_catalogue(folder, config, assign)
    rows = summary(catalogue.parts())
    table = Table(title=escape(str(catalogue.root)))
    for name in ("venue", "instrument", "kind", "interval", "first (UTC)", "last (UTC)"):
        table.add_column(name)
    for name in ("rows", "MB", "parts"):
        table.add_column(name, justify="right")
    for row in rows:
        words = [row["venue"], row["instrument"], row["kind"], row["interval"], _minute(row["first"])]
        figures = [f"{row['rows']:,}", f"{row['bytes'] / 1e6:,.2f}", f"{row['parts']:,}"]
        table.add_row(*(escape(str(word)) for word in (*words, _minute(row["last"]), *figures)))
    if rows:
        Console(width=None if sys.stdout.isatty() else 160).print(table)
    else:
        print(f"nothing is stored in {catalogue.root}; see: data import, data fetch, data record")
    if as_json:
        problems = [{"file": each.file, "reason": each.reason, "rows": each.rows} for each in catalogue.problems]
        print_json({"catalogue": str(catalogue.root), "series": rows, "set_aside": problems})


def summary(parts: list[Part]) -> list[dict[str, Any]]:
    """One row for each series, in order of their names.  ``first`` and ``last`` are of ``ts_ns``, as ISO 8601."""
    from engine.data.parts import interval_text

    found: dict[tuple[str, str, str, int], list[Part]] = {}
    for part in parts:
        found.setdefault(part.series.key, []).append(part)
    return [
        {
            "venue": venue,
            "instrument": instrument,
            "symbol": ", ".join(sorted({part.symbol for part in own})),
            "kind": kind,
            "interval": interval_text(interval_ns) if interval_ns else "",
            "first": iso(min(part.first_ns for part in own)),
            "last": iso(max(part.last_ns for part in own)),
            "rows": sum(part.rows for part in own),
            "bytes": sum(part.bytes for part in own),
            "parts": len(own),
        }
        for (venue, instrument, kind, interval_ns), own in sorted(found.items())
    ]


def data_query(
    statement: Annotated[str, typer.Argument(metavar="SQL", help="one SELECT over the views, one for each kind")],
    folder: CatalogueOption = None,
    config: ConfigOption = None,
    assign: SetOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Ask the stored data in SQL (DuckDB): the views are quotes, trades, bars and so on; nothing can be changed."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    result = open_catalogue(folder, config, assign).query(statement)
    table = Table()
    for name in result.schema.names:
        table.add_column(escape(name))
    for row in _rows(result.slice(0, SHOWN)):
        table.add_row(*("" if value is None else escape(str(value)) for value in row))
    Console(width=None if sys.stdout.isatty() else 200).print(table)
    if result.num_rows > SHOWN:
        print(f"... and {result.num_rows - SHOWN:,} more rows")
    if as_json:
        rows = [list(map(_plain, row)) for row in _rows(result)]
        print_json({"columns": result.schema.names, "rows": rows})


def _rows(result: Any) -> Iterator[tuple[Any, ...]]:
    """By place, not by name: two columns of a join may have one name."""
    return zip(*(column.to_pylist() for column in result.columns), strict=True)


def iso(ts_ns: int) -> str:
    """UTC nanoseconds as ISO 8601, to the microsecond."""
    return (_EPOCH + timedelta(microseconds=ts_ns // 1000)).isoformat().replace("+00:00", "Z")


def _minute(text: str) -> str:
    return text[:16].replace("T", " ")


def _plain(value: Any) -> Any:
    """JSON knows no NaN and no infinity: they are null, as what is missing is; also within lists and structs."""
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, dict):
        return {str(name): _plain(each) for name, each in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
