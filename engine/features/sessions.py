"""When an instrument's market is open: the session that a row lies in, or the next one.

Owns what a session means to a row.  The hours are those of ``engine.data.calendars``; which calendar an instrument
follows is part of the instrument (``session_calendar``).

A row at time t lies in the first session that has not ended before t: a bar that ends with the session is its last row,
and a tick at the opening is its first.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from engine.data.calendars import Calendar, calendar
from engine.instruments import Instrument

Int64 = npt.NDArray[np.int64]

DAY_NS = 86_400_000_000_000


class Session(NamedTuple):
    """Holds or is next for every time with ``after_ns < t <= close_ns``; ``after_ns`` is when the one before ended."""

    after_ns: int
    open_ns: int
    close_ns: int


class Sessions:
    """Sessions of one calendar.  A market without one never closes: its sessions are the UTC days."""

    def __init__(self, hours: Calendar | None) -> None:
        self._hours = hours

    @classmethod
    def of(cls, instrument: Instrument) -> Sessions:
        """Raises ``DataError`` when the instrument names a calendar that does not exist."""
        return cls(None if instrument.session_calendar is None else calendar(instrument.session_calendar))

    def at(self, ts_ns: int) -> Session | None:
        """The session that holds this time, else the next one; None where the calendar does not reach."""
        if self._hours is None:
            begin_ns = (ts_ns - 1) // DAY_NS * DAY_NS
            return Session(begin_ns, begin_ns, begin_ns + DAY_NS)
        opens, closes = self._hours.opens_ns, self._hours.closes_ns
        number = int(np.searchsorted(closes, ts_ns, "left"))
        if number == len(closes) or ts_ns < opens[0]:
            return None
        after_ns = int(closes[number - 1]) if number else int(opens[0]) - 1
        return Session(after_ns, int(opens[number]), int(closes[number]))

    def changes(self, ts_ns: Int64) -> Int64:
        """Places in a sequence of times whose session is not that of the time before."""
        if self._hours is None:
            number = (ts_ns - 1) // DAY_NS
        else:
            number = np.searchsorted(self._hours.closes_ns, ts_ns, "left")
            number[ts_ns < self._hours.opens_ns[0]] = -1
        return np.flatnonzero(np.diff(number)) + 1
