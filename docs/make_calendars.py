"""Compile trading calendars to the small files that the daemon reads: ``make calendars``.

    .venv/bin/python docs/make_calendars.py [NAME ...]

Owns which calendars there are and where their hours come from: the library exchange_calendars, which needs pandas and
is therefore never imported by the daemon.  The form of the files is that of ``engine.data.calendars``.
"""

from __future__ import annotations

import sys
from datetime import time
from zoneinfo import ZoneInfo

import exchange_calendars
import pandas as pd
from exchange_calendars.exchange_calendar import ExchangeCalendar, HolidayCalendar
from exchange_calendars.exchange_calendar_cmes import CMESExchangeCalendar
from exchange_calendars.exchange_calendar_xnys import XNYSExchangeCalendar
from pandas.tseries.holiday import Holiday

from engine.data.calendars import FOLDER, Calendar, write_calendar

FIRST, LAST = "1990-01-01", "2035-12-31"
_MINUTE_NS = 60 * 10**9


class GlobexCalendar(CMESExchangeCalendar):
    """The library ends a session at 17:00 Chicago, where the next one begins; Globex rests for the hour before."""

    close_times = ((None, time(16)),)


class CurrencyCalendar(ExchangeCalendar):
    """Currencies: a trading day runs from 17:00 to 17:00 New York, Sunday to Friday; none at Christmas and New Year."""

    name = "FX"
    tz = ZoneInfo("America/New_York")
    open_times = ((None, time(17)),)
    close_times = ((None, time(17)),)

    @property
    def open_offset(self) -> int:
        return -1

    @property
    def regular_holidays(self) -> HolidayCalendar:
        return HolidayCalendar(
            [Holiday("New Year's Day", month=1, day=1), Holiday("Christmas", month=12, day=25)],
        )


CALENDARS = {"XNYS": XNYSExchangeCalendar, "CMES": GlobexCalendar, "FX": CurrencyCalendar}


def compile_calendar(name: str) -> Calendar:
    """The sessions of one calendar as the library gives them."""
    schedule = CALENDARS[name](start=pd.Timestamp(FIRST), end=pd.Timestamp(LAST)).schedule
    opens, closes = (
        schedule[column].dt.tz_convert(None).to_numpy().astype("datetime64[ns]").astype("int64")
        for column in ("open", "close")
    )
    assert not (opens % _MINUTE_NS).any()
    assert not (closes % _MINUTE_NS).any()
    return Calendar(name, opens, closes)


def main(names: list[str]) -> None:
    for name in names or sorted(CALENDARS):
        calendar = compile_calendar(name)
        path = write_calendar(calendar, FOLDER, source=f"exchange_calendars {exchange_calendars.__version__}")
        print(f"{path.name}: {len(calendar.opens_ns)} sessions, {FIRST} to {LAST}, {path.stat().st_size} bytes")


if __name__ == "__main__":
    main(sys.argv[1:])
