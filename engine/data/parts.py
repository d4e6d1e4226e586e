"""Parts of the catalogue: what one Parquet file of it is, where it lies, how names become paths and back.

Owns the layout ``venue=V/instrument=I/kind=K[/interval=1h]/date=D`` and the metadata in a file's footer.  Which files
are visible is ``engine.data.commits``; writing them is ``engine.data.staging``.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, unquote

import msgspec
import numpy as np
import numpy.typing as npt

from engine.data.instruments import split_symbol, venue_id
from engine.data.kinds import kind_named
from engine.errors import DataError

_NAME_BYTES_MAX: Final = 200
"""Of an escaped name: file systems stop at 255, and ``instrument=`` and a temporary ending come on top."""
_INTERVALS: Final = (
    ("w", 7 * 86_400 * 10**9),
    ("d", 86_400 * 10**9),
    ("h", 3_600 * 10**9),
    ("m", 60 * 10**9),
    ("s", 10**9),
    ("ms", 10**6),
    ("us", 10**3),
    ("ns", 1),
)
MINUTE_NS: Final = 60 * 10**9
HOUR_NS: Final = 3_600 * 10**9


class Source(msgspec.Struct, frozen=True):
    """Where rows came from: a file (``name`` and the ``sha256`` of its content) or a session (its id, no digest).

    ``reading`` tells ways to read one file apart: a digest of the options and of what it was taken to be about.
    """

    name: str
    sha256: str = ""
    reading: str = ""

    @classmethod
    def of_file(cls, path: Path) -> Source:
        """Reads the whole file.  Raises ``DataError`` when it cannot."""
        try:
            with path.open("rb") as file:
                return cls(path.name, hashlib.file_digest(file, "sha256").hexdigest())
        except OSError as error:
            raise DataError(
                f"{path} cannot be read: {error.strerror}", expected="a file", do="check the path"
            ) from error


class Series(msgspec.Struct, frozen=True, order=True):
    """What one stream of rows is about.  ``interval_ns`` is 0 for everything but bars; ``symbol`` the source's name."""

    venue: str
    instrument: str
    symbol: str
    kind: str
    interval_ns: int = 0

    @property
    def folder(self) -> str:
        """Below the catalogue's root."""
        pair = self.instrument.removesuffix(f"@{self.venue}")
        parts = [f"venue={escape(self.venue)}", f"instrument={escape(pair)}", f"kind={self.kind}"]
        if self.interval_ns:
            parts.append(f"interval={interval_text(self.interval_ns)}")
        return "/".join(parts)

    @property
    def key(self) -> tuple[str, str, str, int]:
        """Its identity: one instrument may come under several symbols."""
        return (self.venue, self.instrument, self.kind, self.interval_ns)


class Part(msgspec.Struct, frozen=True):
    """One visible Parquet file.  ``file`` is its path below the catalogue's root, ``path`` the whole one.

    ``first_ns`` and ``last_ns`` are the least and greatest ``ts_ns``; ``first_recv_ns`` and ``last_recv_ns`` those of
    ``recv_ns`` where every row has one, else None.
    """

    file: str
    series: Series
    rows: int
    bytes: int
    sha256: str
    schema_version: int
    first_ns: int
    last_ns: int
    source: Source
    first_recv_ns: int | None = None
    last_recv_ns: int | None = None
    root: str = ""

    @property
    def path(self) -> Path:
        return Path(self.root, self.file)

    @property
    def venue(self) -> str:
        return self.series.venue

    @property
    def instrument(self) -> str:
        return self.series.instrument

    @property
    def symbol(self) -> str:
        return self.series.symbol

    @property
    def kind(self) -> str:
        return self.series.kind

    @property
    def interval_ns(self) -> int:
        return self.series.interval_ns


def series_of(venue: str, symbol: str, kind: str, interval_ns: int = 0, instrument: str = "") -> Series:
    """The series of a venue's symbol, both in any spelling; ``instrument`` (an id) where it is known already.

    Raises ``DataError`` for an unknown kind, a name that cannot be one, or an interval that does not fit the kind.
    """
    wanted = kind_named(kind)
    takes_interval = "interval_ns" in wanted.columns
    if takes_interval != (interval_ns > 0):
        raise DataError(
            f"{kind} of {symbol} with interval_ns {interval_ns}",
            expected="the length of a bar in ns" if takes_interval else "0: only bars have an interval",
        )
    name = venue_id(venue)
    if not name:
        raise DataError(f"venue {venue!r}", expected="a name with letters a to z or digits")
    series = Series(name, instrument or instrument_id(name, symbol), symbol.strip(), kind, interval_ns)
    for text in (series.venue, series.instrument, series.symbol):
        try:
            # What is not printable could command a terminal that lists it.
            length = len(escape(text)) if text.strip() and text.isprintable() else 0
        except UnicodeEncodeError:  # half a surrogate pair: a name that no file can carry
            length = 0
        if not 0 < length <= _NAME_BYTES_MAX:
            raise DataError(
                f"symbol {symbol[:60]!r} of venue {venue[:60]!r} cannot be a name",
                expected=f"printable text of 1 to {_NAME_BYTES_MAX} bytes, odd characters counted as three",
                do="give it another one",
            )
    return series


def instrument_id(venue: str, symbol: str) -> str:
    """``BASE/QUOTE@venue``; a symbol that does not say its base and quote (``ESH4``) stays whole: ``ESH4@venue``."""
    try:
        base, quote_currency = split_symbol(venue, symbol)
    except DataError:
        return f"{symbol.strip().upper()}@{venue}"
    return f"{base}/{quote_currency}@{venue}"


def escape(name: str) -> str:
    """A name as one path segment: letters, digits, ``_`` and ``.`` stay, ``/`` is ``-``, all else is ``%XX``.

    Reversible (``unescape``), and never more than one segment: a name cannot leave its folder.
    """
    # quote() leaves - and ~ alone; both are escaped here, - because it stands for the slash.
    return "-".join(quote(piece, safe="").replace("-", "%2D").replace("~", "%7E") for piece in name.split("/"))


def unescape(segment: str) -> str:
    return "/".join(unquote(piece) for piece in segment.split("-"))


def interval_text(interval_ns: int) -> str:
    """``1h``, ``5m``, ``100ms``: in the largest unit that divides it."""
    for unit, factor in _INTERVALS:
        if interval_ns % factor == 0:
            return f"{interval_ns // factor}{unit}"
    raise DataError(f"interval_ns {interval_ns}", expected="a positive number")


def interval_ns_of(text: str) -> int:
    """The inverse of ``interval_text``.  Raises ``DataError``."""
    match = re.fullmatch(r"([1-9]\d*)(w|d|h|m|s|ms|us|ns)", text)
    if match is None:
        raise DataError(f"interval {text!r}", expected="a length such as 1m, 5m, 1h or 1d")
    return int(match[1]) * dict(_INTERVALS)[match[2]]


def date_unit(series: Series) -> str:
    """What one folder ``date=`` spans, as numpy's unit: a day of ticks, a month of minute bars, a year of longer ones.

    So that a file holds thousands of rows: never one a bar.
    """
    if not kind_named(series.kind).bars or 0 < series.interval_ns < MINUTE_NS:
        return "D"
    return "M" if 0 < series.interval_ns < HOUR_NS else "Y"


def dates_of(ts_ns: npt.NDArray[np.int64], unit: str) -> Any:
    """The date (``datetime64[unit]``, UTC) of each time."""
    return ts_ns.astype("datetime64[ns]").astype(f"datetime64[{unit}]")


def footer(series: Series, source: Source, version: int) -> dict[str, str]:
    """What every file says about itself, rows and times apart.  ``venue`` and ``symbol`` are where readers of single
    files (``engine.data.schema``) look for them."""
    return {
        "venue": series.venue,
        "symbol": series.symbol,
        "instrument": series.instrument,
        "kind": series.kind,
        "schema_version": str(version),
        "interval_ns": str(series.interval_ns),
        "source": source.name,
        "source_sha256": source.sha256,
    }


def row_footer(part: Part) -> dict[str, str]:
    """What is only known when all rows are written."""
    made = {"rows": str(part.rows), "first_ns": str(part.first_ns), "last_ns": str(part.last_ns)}
    if part.first_recv_ns is not None:
        made |= {"first_recv_ns": str(part.first_recv_ns), "last_recv_ns": str(part.last_recv_ns)}
    return made
