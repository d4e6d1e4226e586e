"""The venue's clock and the hours of its market: sessions of New York, as JSON and as questions.

Owns when which kind of order may trade.  Regular sessions, holidays and early closes are those of the compiled calendar
XNYS (``engine.data.calendars``); around them lie the extended hours and the venue's day-and-night market.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

import msgspec
import numpy as np

from engine.data.calendars import calendar

NS = 1_000_000_000
NEW_YORK = ZoneInfo("America/New_York")
_CALENDAR = "XNYS"
REGULAR, EXTENDED, ALL_DAY, CLOSED = "regular_hours", "extended_hours", "all_day_hours", "closed"
KINDS = (REGULAR, EXTENDED, ALL_DAY)
"""What an order may ask for, narrowest first; each holds the ones before it."""
_EARLY_CLOSE_TO_END_NS = 4 * 3600 * NS
"""After an early close the extended session is as long as on other days (unverified)."""


class Span(msgspec.Struct, frozen=True):
    """From ``opens_ns`` up to, not including, ``closes_ns``."""

    opens_ns: int
    closes_ns: int

    def holds(self, now_ns: int) -> bool:
        return self.opens_ns <= now_ns < self.closes_ns


class Day(msgspec.Struct, frozen=True):
    """One date of the market; without spans it is closed.  ``spans`` by the words of orders."""

    date: date
    spans: dict[str, Span]

    @property
    def is_open(self) -> bool:
        return bool(self.spans)


def iso(ts_ns: int) -> str:
    """``2026-11-20T14:03:07.123456Z``"""
    seconds, rest_ns = divmod(ts_ns, NS)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest_ns // 1_000:06d}Z"


def iso_seconds(ts_ns: int) -> str:
    """``2026-11-20T14:30:00Z``"""
    return f"{datetime.fromtimestamp(ts_ns // NS, UTC):%Y-%m-%dT%H:%M:%SZ}"


def date_at(now_ns: int) -> date:
    """The date in New York."""
    return datetime.fromtimestamp(now_ns // NS, NEW_YORK).date()


def at(day: date, clock: time) -> int:
    """UTC nanoseconds of a time of day in New York."""
    return int(datetime.combine(day, clock, NEW_YORK).timestamp()) * NS


@lru_cache(maxsize=512)
def trading_day(day: date) -> Day:
    """The hours of one date as the exchange keeps them."""
    sessions = calendar(_CALENDAR)
    number = int(np.searchsorted(sessions.opens_ns, at(day, time(0))))
    if number >= len(sessions.opens_ns) or date_at(int(sessions.opens_ns[number])) != day:
        return Day(day, {})
    regular = Span(int(sessions.opens_ns[number]), int(sessions.closes_ns[number]))
    usual = at(day, time(20))
    early = regular.closes_ns != at(day, time(16))
    ends = regular.closes_ns + _EARLY_CLOSE_TO_END_NS if early else usual
    whole = Span(at(day - timedelta(days=1), time(20)), ends)
    return Day(day, {REGULAR: regular, EXTENDED: Span(at(day, time(7)), ends), ALL_DAY: whole})


@lru_cache(maxsize=512)
def endless_day(day: date) -> Day:
    """A date of a market that never closes."""
    whole = Span(at(day, time(0)), at(day + timedelta(days=1), time(0)))
    return Day(day, dict.fromkeys(KINDS, whole))


class MarketHours:
    """``always``: every date is open all day, which is what a trial at a weekend wants."""

    def __init__(self, *, always: bool) -> None:
        self.always = always

    def day(self, day: date) -> Day:
        return endless_day(day) if self.always else trading_day(day)

    def next_open(self, day: date, step: int = 1) -> date:
        """The open date after (``step`` 1) or before (-1) a date; within three weeks there is one."""
        for _ in range(21):
            day += timedelta(days=step)
            if self.day(day).is_open:
                break
        return day

    def session(self, now_ns: int) -> str:
        """The narrowest kind of hours that holds now; ``CLOSED`` for none."""
        for day in self._near(now_ns):
            for kind in KINDS:
                if kind in day.spans and day.spans[kind].holds(now_ns):
                    return kind
        return CLOSED

    def trades(self, kind: str, now_ns: int) -> bool:
        """Whether an order for these hours may trade now."""
        return any(kind in day.spans and day.spans[kind].holds(now_ns) for day in self._near(now_ns))

    def ends(self, kind: str, now_ns: int) -> int:
        """When the session of this kind that holds now, or else the next one, is over: the end of a day order."""
        for day in self._near(now_ns):
            if kind in day.spans and now_ns < day.spans[kind].closes_ns:
                return day.spans[kind].closes_ns
        span = self.day(self.next_open(date_at(now_ns))).spans
        return span[kind].closes_ns if kind in span else now_ns

    def next_start(self, kind: str, now_ns: int) -> int:
        """When the next session of this kind begins, after now."""
        day = date_at(now_ns)
        found = self.day(day).spans.get(kind)
        if found is not None and now_ns < found.opens_ns:
            return found.opens_ns
        return self.day(self.next_open(day)).spans[kind].opens_ns

    def _near(self, now_ns: int) -> tuple[Day, Day]:
        """Its own date, and the next one, whose night has begun at eight in the evening."""
        today = date_at(now_ns)
        return self.day(today), self.day(today + timedelta(days=1))
