"""Times on the wire and New York's calendar: UTC nanoseconds to the venue's text and back, trading weeks.

Owns formats, parsing and when the market of a kind is open.  Reads no clock and no time zone files: the rules of
New York's daylight saving (second Sunday of March to first Sunday of November, at 02:00) are computed.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from connectors.oanda.sandbox.errors import invalid

NS = 1_000_000_000
MINUTE_NS = 60 * NS
HOUR_NS = 3_600 * NS
DAY_NS = 86_400 * NS
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_UNIX = re.compile(r"(\d{1,12})(?:\.(\d{1,9}))?")
_RFC = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?\d*(Z|[+-]\d\d:\d\d)")
_ROLL_MINUTE = 17 * 60
"""A trading day of the venue begins at 17:00 New York."""
TIME_FIELDS = frozenset(
    {
        "time", "createTime", "openTime", "closeTime", "gtdTime", "filledTime", "cancelledTime", "createdTime",
        "resettablePLTime", "timestamp", "lastOrderFillTimestamp", "marginCallEnterTime",
        "lastMarginCallExtensionTime", "from", "to", "triggeredTime",
    }
)  # fmt: skip
"""Members of answers that hold a time where their value is a text with a ``T`` in it."""


def at(ts_ns: int) -> str:
    """``2026-11-20T14:03:07.123456789Z``"""
    seconds, rest = divmod(ts_ns, NS)
    return f"{_second(seconds)}.{rest:09d}Z"


@lru_cache(maxsize=64)
def _second(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}"


def parse_time_ns(raw: object, field: str) -> int:
    """RFC 3339 or unix seconds (as text) to UTC nanoseconds, all nine digits kept.

    Raises ``ApiError`` 400 that names ``field``.
    """
    text = str(raw).strip()
    if match := _UNIX.fullmatch(text):
        return int(match[1]) * NS + int((match[2] or "0").ljust(9, "0"))
    match = _RFC.fullmatch(text)
    if match is None:
        raise invalid(field)
    try:
        zone = "+00:00" if match[3] == "Z" else match[3]
        since = datetime.fromisoformat(match[1] + zone) - _EPOCH
    except (ValueError, OverflowError):
        raise invalid(field) from None
    return (since.days * 86_400 + since.seconds) * NS + int((match[2] or "0").ljust(9, "0"))


def as_unix(value: Any, key: str = "") -> Any:
    """A copy of an answer with every time as decimal seconds (``Accept-Datetime-Format: UNIX``)."""
    if isinstance(value, dict):
        return {name: as_unix(member, name) for name, member in value.items()}
    if isinstance(value, list):
        return [as_unix(member, key) for member in value]
    if key in TIME_FIELDS and isinstance(value, str) and "T" in value:
        seconds, rest = divmod(parse_time_ns(value, key), NS)
        return f"{seconds}.{rest:09d}"
    return value


# --- New York -----------------------------------------------------------------------------------------------------


@lru_cache(maxsize=16)
def _daylight(year: int) -> tuple[int, int]:
    """``(start, end)`` of daylight saving time of a year, UTC nanoseconds."""
    march = datetime(year, 3, 1, tzinfo=UTC)
    november = datetime(year, 11, 1, tzinfo=UTC)
    start_day = 1 + (6 - march.weekday()) % 7 + 7
    end_day = 1 + (6 - november.weekday()) % 7
    start = datetime(year, 3, start_day, 7, tzinfo=UTC)
    end = datetime(year, 11, end_day, 6, tzinfo=UTC)
    return int(start.timestamp()) * NS, int(end.timestamp()) * NS


def new_york_offset_ns(ts_ns: int) -> int:
    """What to add to UTC for New York's wall clock."""
    year = datetime.fromtimestamp(ts_ns // NS, UTC).year
    start, end = _daylight(year)
    return (-4 if start <= ts_ns < end else -5) * HOUR_NS


def _week_minute(ts_ns: int) -> int:
    """Minutes since Sunday 00:00 of New York's wall clock."""
    local = ts_ns + new_york_offset_ns(ts_ns)
    days, rest = divmod(local, DAY_NS)
    return ((days + 4) % 7) * 1440 + rest // MINUTE_NS  # 1970-01-01 was a Thursday


def next_roll_ns(ts_ns: int) -> int:
    """The next 17:00 New York after ``ts_ns``."""
    for days in (0, 1, 2):
        local_day = (ts_ns + new_york_offset_ns(ts_ns)) // DAY_NS + days
        guess = local_day * DAY_NS + _ROLL_MINUTE * MINUTE_NS
        roll = guess - new_york_offset_ns(guess + 5 * HOUR_NS)
        if roll > ts_ns:
            return roll
    raise AssertionError("unreachable: a day has 25 hours at most")


def weekday_of_roll(ts_ns: int) -> str:
    """The New York weekday on which a roll falls, as instruments name it."""
    names = ("SUNDAY", "MONDAY", "TUESDAY", "WEDNESDAY", "THURSDAY", "FRIDAY", "SATURDAY")
    return names[_week_minute(ts_ns) // 1440]


_FRIDAY, _SUNDAY = 5 * 1440, 0
_WEEKS = {
    # kind: (opens on Sunday, closes on Friday, daily pause from, to), minutes of the day in New York
    "fx": (17 * 60 + 5, 16 * 60 + 59, 16 * 60 + 59, 17 * 60 + 5),
    "metal": (18 * 60 + 5, 16 * 60 + 59, 16 * 60 + 59, 18 * 60 + 5),
    "index": (18 * 60, 16 * 60 + 59, 16 * 60 + 59, 18 * 60),
}
HOURS = ("always", *_WEEKS)


def is_open(hours: str, ts_ns: int) -> bool:
    """Whether instruments of these hours trade at ``ts_ns``; ``always`` is never closed."""
    week = _WEEKS.get(hours)
    if week is None:
        return True
    opens, closes, pause_from, pause_to = week
    minute = _week_minute(ts_ns)
    if minute < _SUNDAY + opens or minute >= _FRIDAY + closes:
        return False
    return minute < 1440 or not pause_from <= minute % 1440 < pause_to
