"""What a user may say about a file that does not say it itself: the options of ``data import``.

Owns their parsing; which of them a file needs is ``mapping`` and ``naming``.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from datetime import datetime, timezone
from typing import Final, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from engine.data.kinds import KINDS, kind_named
from engine.data.parts import interval_ns_of
from engine.errors import ConfigError

SYMBOL: Final = "symbol"
"""The one column that is no column of a kind: it says which series a row belongs to."""

# What users may write on the left of --columns beside the names themselves.
_SHORT: Final = {"ts": "ts_ns", "recv": "recv_ns", "period_end": "period_end_ns", "publication": "ts_ns"}
_UNITS: Final = ("s", "ms", "us", "ns")


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """Everything empty: take it from the file.

    ``columns`` maps a column of the kind (or ``symbol``) to the file's own name for it.  ``tz`` is the zone of times
    that have none, ``time_unit`` that of numbers.  ``received_ns`` is the time of raw messages that have none.
    """

    columns: Mapping[str, str] = {}
    kind: str = ""
    venue: str = ""
    symbol: str = ""
    interval_ns: int = 0
    tz: str = ""
    time_unit: Literal["", "s", "ms", "us", "ns"] = ""
    label: Literal["start", "end"] = "start"
    received_ns: int | None = None
    nameless: str = ""
    """Venue and symbol of a file that is only looked at, where nothing says them."""


def make_options(
    *,
    columns: str = "",
    kind: str = "",
    venue: str = "",
    symbol: str = "",
    interval: str = "",
    tz: str = "",
    time_unit: str = "",
    label: str = "start",
    received: str = "",
) -> Options:
    """Options from what was typed.  Raises ``ConfigError`` or ``DataError``, before any file is opened."""
    if kind and kind not in KINDS:
        raise ConfigError(f"--kind {kind}", expected=f"one of {', '.join(KINDS)}", do=_meant(kind, KINDS))
    if time_unit and time_unit not in _UNITS:
        raise ConfigError(f"--time-unit {time_unit}", expected=f"one of {', '.join(_UNITS)}")
    if label not in ("start", "end"):
        raise ConfigError(f"--label {label}", expected="start or end: which edge of a bar its time is")
    if tz:
        _zone(tz)
    return Options(
        columns=parse_columns(columns, kind),
        kind=kind,
        venue=venue.strip(),
        symbol=symbol.strip(),
        interval_ns=interval_ns_of(interval) if interval else 0,
        tz=tz,
        time_unit=time_unit,  # type: ignore[arg-type]
        label=label,  # type: ignore[arg-type]
        received_ns=_instant(received) if received else None,
    )


def parse_columns(text: str, kind: str = "") -> dict[str, str]:
    """``ts=Date,open=Open`` as ``{"ts_ns": "Date", "open": "Open"}``.

    Raises ``ConfigError`` for a part without ``=``, a name that no kind (or not ``kind``) has, and for one named twice.
    """
    known = set(kind_named(kind).columns) if kind else {name for each in KINDS.values() for name in each.columns}
    known |= {SYMBOL}
    made: dict[str, str] = {}
    for pair in filter(None, (part.strip() for part in text.split(","))):
        name, equals, source = (part.strip() for part in pair.partition("="))
        if not equals or not name or not source:
            raise ConfigError(f"--columns has {pair!r}", expected="pairs such as ts=Date,open=Open")
        column = _SHORT.get(name, name)
        if column not in known:
            of = f"a column of {kind}" if kind else "a column of some kind of data"
            raise ConfigError(f"--columns maps {name!r}", expected=of, do=_meant(name, [*known, *_SHORT]))
        if column in made:
            raise ConfigError(f"--columns maps {name!r} twice", expected="each column once", do="leave one of them out")
        if source in made.values():
            raise ConfigError(
                f"--columns reads {source!r} twice", expected="each column of the file once", do="leave one of them out"
            )
        made[column] = source
    return made


def _meant(name: str, names: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(names), n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}?" if close else ""


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ConfigError(f"--tz {name!r}", expected="a time zone such as UTC or America/New_York") from error


def _instant(text: str) -> int:
    """An ISO 8601 time as UTC ns; without a zone it is UTC."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise ConfigError(f"--received {text!r}", expected="a time such as 2017-06-30T12:00:00Z") from error
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=timezone.utc)  # noqa: UP017 - the alias hides which zone it is
    return int(moment.timestamp()) * 10**9 + moment.microsecond * 1000
