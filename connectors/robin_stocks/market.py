"""Quotes and trading hours, asked for again and again: what this venue has in place of a market stream.

Owns how often they are asked, and what is told of them: quotes, halts of a stock, the hours of New York, and whether
quotes still come.  Hours are the venue's own answer, also on a day on which the calendar has others; where it has given
none for the day, they are those of the compiled calendar (regular sessions, ``engine.data.calendars``).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from math import isfinite, nan
from typing import Any

import numpy as np

from connectors.robin_stocks import wire
from connectors.robin_stocks.directory import NEW_YORK
from connectors.robin_stocks.messages import Outcome, Told
from connectors.robin_stocks.offset import ClockOffset
from connectors.robin_stocks.orders import Listing
from connectors.robin_stocks.settings import RobinStocksSettings
from engine.data.calendars import calendar
from engine.errors import DataError
from engine.events import FeedDown, FeedUp, InstrumentStatus, Quote, SessionScheduled, TradingStatus, VenueStatus
from engine.ports import Publish

_MIC = "XNYS"
_MAX_URLS = 20
"""Options in one request: each is named by a long address."""
_AROUND_THE_CLOCK_NS = 23 * 3600 * wire.NS_PER_S
"""A session that lasts so long ends with its day and closes nothing."""
VENUE, CALENDAR = "venue", "calendar"
_log = logging.getLogger(__name__)
Call = Callable[[str, dict[str, Any]], Awaitable[Told]]


class MarketPoll:
    """Two tasks.  ``reopened`` is called when trading begins again after a pause: the account may have moved."""

    def __init__(
        self,
        settings: RobinStocksSettings,
        listings: Mapping[str, Listing],
        *,
        call: Call,
        publish: Publish,
        now_ns: Callable[[], int],
        reopened: Callable[[], None],
    ) -> None:
        self._settings = settings
        self._call = call
        self._publish = publish
        self._now_ns = now_ns
        self._reopened = reopened
        self._stocks = {each.instrument.venue_symbol: name for name, each in listings.items() if not each.is_option}
        self._options = {each.url: name for name, each in listings.items() if each.is_option}
        self._asks: dict[str, float] = {}
        self._stamps: dict[str, str] = {}
        self._halted: set[str] = set()
        self._good_ns = 0
        self._is_up = False
        self._shut = ""
        self._session: tuple[int, int] | None = None
        """Opening and close of today's session; None: none today."""
        self._session_day = self._session_source = ""
        self._scheduled: tuple[int, int, str] = (0, 0, "")
        self.offset = ClockOffset()
        self._told_hours = False
        self._hours_due_ns = 0
        self._tasks: list[asyncio.Task[None]] = []
        self.unreadable = 0

    # --- questions ----------------------------------------------------------------------------------------------------

    def ask_px(self, instrument: str) -> float:
        return self._asks.get(instrument, nan)

    def shut(self) -> str:
        """Why nothing trades now; empty when it does.  By the clock, so that no order slips in after the close."""
        return self._closed(self._now_ns())

    # --- life ---------------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Hours and first quotes, told; returns when the market counts as up, closed or not."""
        await self._read_hours()
        self._tell_hours()
        await self._read_quotes()

    def start(self) -> None:
        loop = asyncio.get_running_loop()
        self._tasks = [
            loop.create_task(self._every(self._settings.quotes_s, self._quotes_round), name="robin_stocks quotes"),
            loop.create_task(self._every(1.0, self._hours_round), name="robin_stocks hours"),
        ]

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []

    async def _every(self, seconds: float, act: Callable[[], Awaitable[None]]) -> None:
        """For ever: a round that fails is logged and the next one comes."""
        while True:
            await asyncio.sleep(seconds)
            try:
                await act()
            except Exception:
                _log.exception("%s: a round of the market failed; it goes on", self._settings.name)

    # --- quotes -------------------------------------------------------------------------------------------------------

    async def _quotes_round(self) -> None:
        await self._read_quotes()
        age_ns = self._now_ns() - self._good_ns
        if self._is_up and age_ns > self._settings.silence_s * wire.NS_PER_S:
            self.down(f"no quotes for {age_ns / wire.NS_PER_S:.0f} s")

    def down(self, reason: str) -> None:
        """Quotes do not come."""
        if self._is_up:
            self._is_up = False
            now_ns = self._now_ns()
            self._publish(FeedDown(now_ns, now_ns, self._settings.name, "market", reason))

    async def _read_quotes(self) -> None:
        whole = True
        if self._stocks:
            whole = self._take(*await self._timed("quotes", {"symbols": list(self._stocks)}))
        urls = list(self._options)
        for at in range(0, len(urls), _MAX_URLS):
            whole &= self._take(*await self._timed("option_quotes", {"urls": urls[at : at + _MAX_URLS]}))
        if not whole:
            return
        now_ns = self._good_ns = self._now_ns()
        if not self._is_up:
            self._is_up = True
            self._publish(FeedUp(now_ns, now_ns, self._settings.name, "market"))
            self._reopened()

    async def _timed(self, call: str, given: dict[str, Any]) -> tuple[Told, int]:
        """An answer, and when it was asked for."""
        asked_ns = self._now_ns()
        return await self._call(call, given), asked_ns

    def _take(self, told: Told, asked_ns: int) -> bool:
        """Quotes of one answer; False for what is none."""
        if told.outcome is not Outcome.OK:
            return False
        try:
            rows, broken = wire.read_rows(told.body, wire.QuoteRow)
        except wire.UNREADABLE:
            self.unreadable += 1
            return False
        self.unreadable += broken
        recv_ns = self._now_ns()
        self.offset.add(told.date_s, asked_ns, recv_ns)
        for row in rows:
            name = self._options.get(row.instrument) or self._stocks.get(row.symbol)
            if name is not None:
                self._tell_quote(name, row, recv_ns)
        return True

    def _tell_quote(self, name: str, row: wire.QuoteRow, recv_ns: int) -> None:
        if row.trading_halted != (name in self._halted):
            (self._halted.add if row.trading_halted else self._halted.discard)(name)
            status = TradingStatus.HALTED if row.trading_halted else TradingStatus.TRADING
            self._publish(InstrumentStatus(recv_ns, recv_ns, name, status))
            if not row.trading_halted:
                self._reopened()
        bid, ask = row.bid_price, row.ask_price
        if bid is None or ask is None or not (isfinite(bid) and isfinite(ask)) or not 0 < bid <= ask:
            return  # zeros stand for no quote, as outside of hours
        self._asks[name] = ask
        # A quote that stands since it was asked last is of now, by the venue's clock: it was seen again.
        seen_ns = recv_ns + self.offset.ns
        ts_ns = seen_ns if self._stamps.get(name) == row.updated_at else wire.parse_time(row.updated_at) or seen_ns
        self._stamps[name] = row.updated_at
        sizes = [nan if size is None or not size > 0 else size for size in (row.bid_size, row.ask_size)]
        self._publish(Quote(ts_ns, recv_ns, name, bid, sizes[0], ask, sizes[1]))

    # --- hours --------------------------------------------------------------------------------------------------------

    async def _hours_round(self) -> None:
        now_ns = self._now_ns()
        if _day(now_ns) != self._session_day or now_ns >= self._hours_due_ns:
            await self._read_hours()
        self._tell_hours()

    async def _read_hours(self) -> None:
        now_ns = self._now_ns()
        day = _day(now_ns)
        self._hours_due_ns = now_ns + int(self._settings.hours_s * wire.NS_PER_S)
        told = await self._call("hours", {"mic": _MIC, "date": day})
        session: tuple[int, int] | None = None
        source = VENUE
        try:
            if told.outcome is not Outcome.OK:
                raise ValueError(told.text)
            row = wire.read(told.body, wire.HoursRow)
            if row.is_open:
                session = wire.parse_time(row.opens_at or ""), wire.parse_time(row.closes_at or "")
                if not 0 < session[0] < session[1]:
                    raise ValueError("hours that make no sense")
        except wire.UNREADABLE as error:
            if (self._session_day, self._session_source) == (day, VENUE):
                _log.warning("%s tells no hours (%s); what it said before holds", self._settings.name, error)
                return
            _log.warning("%s tells no hours (%s); those of the calendar are kept", self._settings.name, error)
            session, source = _calendar_session(now_ns), CALENDAR
        self._session, self._session_day, self._session_source = session, day, source
        self._schedule(now_ns)

    def _schedule(self, now_ns: int) -> None:
        """Say when the session ends before it does: no order is decided between the close and our looking at it."""
        session = self._session
        if session is None:
            return  # nothing trades today, which is a state; an earlier day's session has ended by itself
        opens_ns, closes_ns = (0, 0) if session[1] - session[0] >= _AROUND_THE_CLOCK_NS else session
        scheduled = (opens_ns, closes_ns, self._session_source)
        if scheduled != self._scheduled and (closes_ns or self._scheduled[1]):
            self._publish(SessionScheduled(now_ns, now_ns, self._settings.name, "", *scheduled))
        self._scheduled = scheduled

    def _closed(self, now_ns: int) -> str:
        if self._session is None:
            return "New York has no session today"
        opens_ns, closes_ns = self._session
        if opens_ns <= now_ns < closes_ns:
            return ""
        return "New York is not open yet" if now_ns < opens_ns else "New York has closed"

    def _tell_hours(self) -> None:
        now_ns = self._now_ns()
        closed = self._closed(now_ns)
        if closed == self._shut and self._told_hours:
            return
        was_shut, self._shut, told, self._told_hours = bool(self._shut), closed, self._told_hours, True
        status = TradingStatus.HALTED if closed else TradingStatus.TRADING
        if told or closed:
            self._publish(VenueStatus(now_ns, now_ns, self._settings.name, status, closed))
        if was_shut and not closed:
            self._reopened()


def _day(now_ns: int) -> str:
    """The date in New York."""
    return datetime.fromtimestamp(now_ns // wire.NS_PER_S, NEW_YORK).date().isoformat()


def _calendar_session(now_ns: int) -> tuple[int, int] | None:
    """Today's regular session as the compiled calendar has it."""
    try:
        sessions = calendar(_MIC)
    except DataError:
        return None
    at = int(np.searchsorted(sessions.closes_ns, now_ns, "right"))
    for number in (at - 1, at):
        if 0 <= number < len(sessions.opens_ns) and _day(int(sessions.opens_ns[number])) == _day(now_ns):
            return int(sessions.opens_ns[number]), int(sessions.closes_ns[number])
    return None
