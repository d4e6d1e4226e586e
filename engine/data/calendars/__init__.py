"""Trading calendars: when the sessions of a market begin and end, from small compiled files.

Owns the form of the files and the lookup.  They are made offline from exchange_calendars (``docs/make_calendars.py``).
What a session means to a feature is ``engine.features.sessions``'; which one an instrument follows is the instrument's
``session_calendar``.

- ``XNYS``: New York Stock Exchange, regular session, with holidays and early closes.
- ``CMES``: CME Globex as for index futures, 17:00 to 16:00 Chicago; also precious metals over the counter.
- ``FX``: currencies, 17:00 to 17:00 New York from Sunday to Friday.

A market without a calendar never closes.  Future sessions are what the rules foretell today: a day of mourning or a new
holiday needs newer files.
"""

from __future__ import annotations

import difflib
import zipfile
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from engine.errors import DataError

Int64 = npt.NDArray[np.int64]

FOLDER: Final = Path(__file__).parent
_MINUTE_NS: Final = 60 * 10**9


class Calendar(NamedTuple):
    """Sessions in order; none begins before the one before it has ended."""

    name: str
    opens_ns: Int64
    closes_ns: Int64

    def is_open(self, ts_ns: Int64) -> npt.NDArray[np.bool_]:
        """Whether a session holds each time, its end not included.

        Raises ``DataError`` for times that the calendar does not cover.
        """
        if ts_ns.size and not (self.opens_ns[0] <= ts_ns.min() and ts_ns.max() <= self.closes_ns[-1]):
            raise DataError(
                f"times outside of the trading calendar {self.name}",
                expected=f"{_day(self.opens_ns[0])} to {_day(self.closes_ns[-1])}",
                do="compile a longer calendar: make calendars",
            )
        latest = np.searchsorted(self.opens_ns, ts_ns, "right") - 1
        held: npt.NDArray[np.bool_] = (latest >= 0) & (ts_ns < self.closes_ns[np.maximum(latest, 0)])
        return held


def names() -> tuple[str, ...]:
    """The calendars there are."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.npz")))


@cache
def calendar(name: str) -> Calendar:
    """The calendar of that name.  Raises ``DataError`` when there is none or its file is damaged."""
    if name not in names():
        near = difflib.get_close_matches(name, names(), n=1)
        raise DataError(
            f"unknown trading calendar {name!r}",
            expected=f"one of {', '.join(names())}",
            do=f"did you mean {near[0]!r}?" if near else "",
        )
    return read_calendar(FOLDER / f"{name}.npz")


def read_calendar(path: Path) -> Calendar:
    """One file.  Raises ``DataError`` when it is no calendar."""
    try:
        with np.load(path, allow_pickle=False) as file:
            opens = np.cumsum(file["open_steps_min"].astype(np.int64)) * _MINUTE_NS
            closes = opens + file["lengths_min"].astype(np.int64) * _MINUTE_NS
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(
            f"{path.name} is no trading calendar: {error}", expected="a file of make_calendars.py", do="make calendars"
        ) from error
    if not len(opens) or (closes <= opens).any() or (opens[1:] < closes[:-1]).any():
        raise DataError(
            f"{path.name} has sessions that overlap or end before they begin",
            expected="sessions in order",
            do="make calendars",
        )
    return Calendar(path.stem, opens, closes)


def write_calendar(made: Calendar, folder: Path, *, source: str) -> Path:
    """Store a calendar, times in whole minutes; the same sessions give the same bytes."""
    path = folder / f"{made.name}.npz"
    opens_min = made.opens_ns // _MINUTE_NS
    # Differences: a few repeating numbers instead of twelve thousand distinct ones.
    np.savez_compressed(
        path,
        open_steps_min=np.diff(opens_min, prepend=0).astype(np.int32),
        lengths_min=((made.closes_ns - made.opens_ns) // _MINUTE_NS).astype(np.int32),
        source=np.array(source),
    )
    return path


def _day(ts_ns: int) -> str:
    return str(np.datetime64(int(ts_ns), "ns").astype("datetime64[D]"))
