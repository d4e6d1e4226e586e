"""When a market is expected to trade: regular sessions, weekends, holidays, early closes.

Owns the rules by which a hole in recorded data is told from a closed market: crypto never closes, currencies rest from
Friday to Sunday 17:00 New York, metals and futures also for an hour a day, US shares trade 09:30 to 16:00 New York.
Does not own what happens with a hole (``engine.data.defects``) nor trading hours of a live venue.

Holidays follow the exchanges' published rules (NYSE rule 7.2) and a list of one-off closings; a rule errs towards
"closed", because a missing row of a quiet holiday is not worth an alarm.
"""

from __future__ import annotations

import enum
from datetime import date, timedelta
from functools import cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from engine.data.instruments import is_equity_venue, split_symbol, venue_id
from engine.errors import DataError

Times = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

_MINUTE_NS: Final = 60 * 10**9
_DAY_NS: Final = 86_400 * 10**9
_OPEN_MINUTE: Final = 9 * 60 + 30
_CLOSE_MINUTE: Final = 16 * 60
_EARLY_MINUTE: Final = 13 * 60
_ROLL_MINUTE: Final = 17 * 60
"""Currencies, metals and futures change their trading day at 17:00 New York."""

_CURRENCIES: Final = frozenset(
    {"USD", "EUR", "GBP", "JPY", "CHF", "AUD", "CAD", "NZD", "SEK", "NOK", "DKK", "SGD", "HKD", "CNH", "MXN", "ZAR"}
    | {"TRY", "PLN", "HUF", "CZK"}
)
_METALS: Final = frozenset({"XAU", "XAG", "XPT", "XPD"})
_ALWAYS_OPEN_QUOTES: Final = frozenset({"USDT", "USDC", "BTC", "ETH"})

# Closings that no rule foretells: attacks of 2001, storms of 2012, days of mourning.
_CLOSINGS: Final = frozenset(
    date.fromisoformat(day)
    for day in (
        *("2001-09-11", "2001-09-12", "2001-09-13", "2001-09-14", "2004-06-11", "2007-01-02"),
        *("2012-10-29", "2012-10-30", "2018-12-05", "2025-01-09"),
    )
)
_EARLY_CLOSINGS: Final = frozenset({date(1999, 12, 31), date(2003, 12, 26)})


class Market(enum.StrEnum):
    """Whose opening hours hold."""

    ALWAYS = "always"
    FX = "fx"
    METALS = "metals"
    FUTURES = "futures"
    US_EQUITIES = "us_equities"


def market_of(venue: str, symbol: str) -> Market:
    """The market that ``symbol`` of ``venue`` belongs to; what is not known is taken to trade always.

    A currency pair of a crypto exchange (EUR/USD on Kraken) is taken for a currency: fewer alarms, not more.
    """
    venue = venue_id(venue)
    if is_equity_venue(venue):
        return Market.US_EQUITIES
    if venue.startswith("cme"):
        return Market.FUTURES
    try:
        base, quote = split_symbol(venue, symbol)
    except DataError:
        return Market.ALWAYS
    if base in _METALS and quote not in _ALWAYS_OPEN_QUOTES:
        return Market.METALS
    return Market.FX if base in _CURRENCIES and quote in _CURRENCIES else Market.ALWAYS


def bars_expected(market: Market, starts_ns: Times, interval_ns: int) -> Mask:
    """Whether a bar that starts at each of these times (UTC ns) is expected to exist.

    US shares: when any part of it lies in the regular session.  Others: when all of it lies in open hours, because
    the first and the last minutes around a weekend are often empty.  A daily bar is expected on each session date.
    """
    if market is Market.ALWAYS:
        return np.ones(starts_ns.size, np.bool_)
    if interval_ns >= _DAY_NS:
        return _session_days(market, starts_ns)
    first = is_open(market, starts_ns)
    last = is_open(market, starts_ns + max(interval_ns - _MINUTE_NS, 0))
    return first | last if market is Market.US_EQUITIES else first & last


def is_open(market: Market, ts_ns: Times) -> Mask:
    """Whether the market is in its regular session at each of these times (UTC ns)."""
    if market is Market.ALWAYS or not ts_ns.size:
        return np.ones(ts_ns.size, np.bool_)
    days, minutes = _new_york(ts_ns)
    weekday = (days + 3) % 7  # 1970-01-01 was a Thursday; 0 is Monday
    if market is Market.US_EQUITIES:
        closed, early = _days_of(days, _us_holidays), _days_of(days, _us_early_closes)
        close = np.where(early, _EARLY_MINUTE, _CLOSE_MINUTE)
        session: Mask = (weekday < 5) & ~closed & (minutes >= _OPEN_MINUTE) & (minutes < close)
        return session
    late_friday = (weekday == 4) & (minutes >= _ROLL_MINUTE)
    weekend = late_friday | (weekday == 5) | ((weekday == 6) & (minutes < _ROLL_MINUTE))
    feast = _days_of(days, _feasts) & (minutes < _ROLL_MINUTE + 120)
    eve = _days_of(days + 1, _feasts) & (minutes >= _EARLY_MINUTE)
    open_hours: Mask = ~(weekend | feast | eve)
    if market is Market.FX:
        return open_hours
    pause = (minutes >= _ROLL_MINUTE - 60) & (minutes < _ROLL_MINUTE + 120)  # an hour of these three, by year
    holiday = _days_of(days, _us_holidays)
    friday = _days_of(days, _good_fridays)
    short = holiday & (minutes >= _EARLY_MINUTE - 60) & (minutes < _ROLL_MINUTE + 60)
    late_sunday = (weekday == 6) & (minutes < _ROLL_MINUTE + 120)
    before = _days_of(days + 1, _good_fridays) & (minutes >= _ROLL_MINUTE - 60)
    busy: Mask = open_hours & ~(pause | short | friday | late_sunday | before)
    return busy


def _session_days(market: Market, starts_ns: Times) -> Mask:
    """Daily bars are dated by their UTC start: Monday to Friday, and Sunday where the market opens then."""
    days = starts_ns // _DAY_NS
    weekday = (days + 3) % 7
    if market is Market.US_EQUITIES:
        return (weekday < 5) & ~_days_of(days, _us_holidays)
    closed = _days_of(days, _feasts) | _days_of(days + 1, _feasts) | _days_of(days - 1, _feasts)
    if market is not Market.FX:
        closed |= _days_of(days, _good_fridays)
    return (weekday < 5) & ~closed


def _new_york(ts_ns: Times) -> tuple[Times, Times]:
    """Day number since 1970-01-01 and minute of the day, both New York's."""
    try:
        local: Any = pc.local_timestamp(pa.array(ts_ns).cast(pa.timestamp("ns", "America/New_York")))
    except pa.ArrowException as error:
        raise DataError(
            f"the time zone America/New_York is not known to this machine ({error})",
            do="install the operating system's tzdata package",
        ) from error
    wall = local.cast(pa.int64()).to_numpy()
    return wall // _DAY_NS, wall % _DAY_NS // _MINUTE_NS


def _days_of(days: Times, of_year: Any) -> Mask:
    """Whether each day number is among ``of_year(year)`` of its year."""
    low, high = int(days.min()), int(days.max())
    epoch = date(1970, 1, 1)
    years = range((epoch + timedelta(low)).year, (epoch + timedelta(high)).year + 1)
    numbers = [(day - epoch).days for year in years for day in of_year(year)]
    return np.isin(days, np.array(numbers, np.int64))


@cache
def _us_holidays(year: int) -> frozenset[date]:
    """Full closings of US stock exchanges."""
    days = {
        _observed(date(year, 1, 1)) if date(year, 1, 1).weekday() != 5 else None,  # a Saturday's is not made up for
        _nth(year, 2, 0, 3),
        _easter(year) - timedelta(2),
        _last_monday_of_may(year),
        _observed(date(year, 7, 4)),
        _nth(year, 9, 0, 1),
        _nth(year, 11, 3, 4),
        _observed(date(year, 12, 25)),
        _nth(year, 1, 0, 3) if year >= 1998 else None,
        _observed(date(year, 6, 19)) if year >= 2022 else None,
    }
    return frozenset(day for day in days if day) | {day for day in _CLOSINGS if day.year == year}


@cache
def _us_early_closes(year: int) -> frozenset[date]:
    """Days that end at 13:00: around Independence Day, after Thanksgiving, Christmas Eve, and two that no rule has."""
    july = date(year, 7, 4)
    days = {date(year, 7, 3), _nth(year, 11, 3, 4) + timedelta(1), date(year, 12, 24)}
    if july.weekday() == 3:
        days.add(date(year, 7, 5))
    return frozenset(days | {day for day in _EARLY_CLOSINGS if day.year == year})


@cache
def _feasts(year: int) -> frozenset[date]:
    """Christmas and New Year: the two days on which currencies rest everywhere."""
    return frozenset({date(year, 1, 1), date(year, 12, 25)})


@cache
def _good_fridays(year: int) -> frozenset[date]:
    return frozenset({_easter(year) - timedelta(2)})


def _observed(day: date) -> date:
    """A holiday on a Saturday is kept on the Friday before, one on a Sunday on the Monday after."""
    return day + timedelta({5: -1, 6: 1}.get(day.weekday(), 0))


def _nth(year: int, month: int, weekday: int, count: int) -> date:
    """The ``count``-th ``weekday`` (0 is Monday) of a month."""
    first = date(year, month, 1)
    return first + timedelta((weekday - first.weekday()) % 7 + 7 * (count - 1))


def _last_monday_of_may(year: int) -> date:
    last = date(year, 5, 31)
    return last - timedelta(last.weekday())


def _easter(year: int) -> date:
    """Easter Sunday of the Gregorian calendar (Meeus, Astronomical Algorithms, chapter 8)."""
    a, b, c = year % 19, year // 100, year % 100
    d, e, f = b // 4, b % 4, (b + 8) // 25
    g = (b - f + 1) // 3
    h = (19 * a + b - d - g + 15) % 30
    i, k = c // 4, c % 4
    m = (32 + 2 * e + 2 * i - h - k) % 7
    n = (a + 11 * h + 22 * m) // 451
    month, day = divmod(h + m - 7 * n + 114, 31)
    return date(year, month, day + 1)
