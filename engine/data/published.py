"""Observations of published series in Parquet files: which files hold them, and their rows in order of publication.

Columns: ``ts_ns`` (publication), ``period_end_ns`` (both int64 UTC nanoseconds), ``series``, ``value``.  Owns the
reading.  A value that is not finite is handed on: buffers ignore it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from engine.data.catalogue import Catalogue
from engine.data.parts import Part
from engine.data.schema import check_time_range, first_line, open_parquet
from engine.errors import DataError
from engine.events import MarketEvent, Observation

KIND: Final = "exogenous"
_COLUMNS: Final = ("ts_ns", "period_end_ns", "series", "value")
_Market = TypeVar("_Market", bound=MarketEvent)


def split_files(paths: Sequence[Path]) -> tuple[list[Path], list[Path]]:
    """Files of market data, and those of published series (which have the columns ``series`` and ``value``).

    Raises ``DataError`` for what is no Parquet file.
    """
    market: list[Path] = []
    published: list[Path] = []
    for path in paths:
        with open_parquet(path) as file:
            names = set(file.schema_arrow.names)
        (published if {"series", "value"} <= names else market).append(path)
    return market, published


def read_observations(paths: Iterable[Path]) -> list[Observation]:
    """All rows of these files in order of publication; rows that say the same twice count once.

    ``ts_recv_ns`` is the publication too.  Raises ``DataError`` for a missing column, a wrong type or no time.
    """
    found: dict[Observation, None] = {}
    for path in paths:
        with open_parquet(path) as file:
            _check_columns(path, file.schema_arrow)
            try:
                table = file.read(columns=list(_COLUMNS), use_threads=False)
            except (pa.ArrowException, OSError) as error:
                raise DataError(
                    f"{path} is damaged: a page cannot be read ({first_line(error)})", do="copy it again"
                ) from error
        found.update(dict.fromkeys(_observations(path, table)))
    return sorted(found, key=lambda one: (one.ts_event_ns, one.period_end_ns))


def observations_of(paths: Iterable[Path], series: Collection[str]) -> list[Observation]:
    """Those of the series, as ``read_observations`` gives them; without series nothing is read."""
    return [one for one in read_observations(paths if series else ()) if one.series in series]


def holding(paths: Iterable[Path], series: Collection[str]) -> list[Path]:
    """The files with an observation of one of the series."""
    return [path for path in paths if observations_of([path], series)]


def stored_parts(catalogue: Catalogue, series: Collection[str]) -> list[Part]:
    """The parts with an observation of one of the series.  Raises ``DataError`` for one that is damaged."""
    parts = catalogue.parts(kind=KIND) if series else []
    for part in parts:
        catalogue.check(part)
    return [part for part in parts if holding([part.path], series)]


def stored_observations(root: Path, series: Collection[str]) -> list[Observation]:
    """Those series of a catalogue.  Raises ``DataError`` for one that it does not have, or a damaged part."""
    found = observations_of([part.path for part in stored_parts(Catalogue(root), series)], series)
    missing = sorted(set(series) - {observation.series for observation in found})
    if missing:
        raise DataError(
            f"{root} has no published series {', '.join(missing)}",
            expected="series imported into the catalogue",
            do="run.py data import FILE --kind exogenous, or leave it out of exogenous.series",
        )
    return found


def with_published(market: Iterable[_Market], observations: Sequence[Observation]) -> Iterator[_Market | Observation]:
    """Each observation before the first market event that was received later than it was published."""
    at = 0
    for event in market:
        while at < len(observations) and observations[at].ts_recv_ns < event.ts_recv_ns:
            yield observations[at]
            at += 1
        yield event


def _check_columns(path: Path, schema: Any) -> None:
    for name in _COLUMNS:
        if name not in schema.names:
            raise DataError(
                f"{path} has no column {name!r}",
                expected=f"published series with the columns {', '.join(_COLUMNS)}",
                do="import it: run.py data import FILE --kind exogenous",
            )
        seen = schema.field(name).type
        right = {
            "series": pa.types.is_string(seen) or pa.types.is_large_string(seen),
            "value": pa.types.is_floating(seen) or pa.types.is_integer(seen),
        }.get(name, pa.types.is_int64(seen))
        if not right:
            raise DataError(
                f"{path} has column {name!r} of type {seen}",
                expected={"series": "string", "value": "double (float64)"}.get(name, "int64 UTC nanoseconds"),
                do="convert the column",
            )


def _observations(path: Path, table: Any) -> Iterator[Observation]:
    for name in ("ts_ns", "period_end_ns", "series"):
        if table.column(name).null_count:
            raise DataError(f"{path} has rows without {name}", expected="one in every row", do="drop those rows")
    times = table.column("ts_ns").to_pylist()
    if times:
        check_time_range(path, "ts_ns", min(times), max(times))
    values = pc.fill_null(table.column("value").cast(pa.float64()), float("nan")).to_pylist()
    periods, series = table.column("period_end_ns").to_pylist(), table.column("series").to_pylist()
    for ts_ns, name, value, period_end_ns in zip(times, series, values, periods, strict=True):
        yield Observation(ts_ns, ts_ns, name, value, period_end_ns)
