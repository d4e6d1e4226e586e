"""Trading hours in simulated time: the venue's own answers, the calendar where it gives none, and what the core makes
of both."""

from __future__ import annotations

import json
from datetime import date, datetime
from typing import Any

import pytest

from connectors.fakes import EventLog
from connectors.robin_stocks import orders, wire
from connectors.robin_stocks.directory import NEW_YORK
from connectors.robin_stocks.market import MarketPoll
from connectors.robin_stocks.messages import Outcome, Told
from connectors.robin_stocks.sandbox.times import MarketHours
from connectors.robin_stocks.sandbox.views import hours_json
from connectors.robin_stocks.settings import RobinStocksSettings
from engine import events as e
from tests.support.core import MemoryRecorder, build_core, open_market

ROW: dict[str, Any] = {"id": "1", "url": "x", "symbol": "AAPL", "state": "active", "tradability": "tradable"}
AAPL = orders.define_stock(
    wire.read(json.dumps(ROW).encode(), wire.InstrumentRow), "robin_stocks", 200.0, fractional=False
)


def at(text: str) -> int:
    """``2026-11-27 12:59`` in New York, as UTC nanoseconds."""
    return int(datetime.fromisoformat(text).replace(tzinfo=NEW_YORK).timestamp()) * wire.NS_PER_S


class Floor:
    """The poll of a venue whose clock is ours, beside a core; ``hours`` is the venue's own side, None: it fails."""

    def __init__(self) -> None:
        self.now_ns = 0
        self.hours: MarketHours | None = MarketHours(always=False)
        self.changes: dict[str, dict[str, Any]] = {}
        """Days of which the venue says something else."""
        self.log = EventLog()
        self.core = build_core(MemoryRecorder())
        self.reopened = 0
        self.poll = MarketPoll(
            RobinStocksSettings(),
            {},
            call=self._answer,
            publish=self._publish,
            now_ns=lambda: self.now_ns,
            reopened=self._reopen,
        )
        open_market(self.core, AAPL)

    def _publish(self, event: e.InputEvent) -> None:
        self.log(event)
        self.core.on_event(event)

    def _reopen(self) -> None:
        self.reopened += 1

    async def _answer(self, call: str, given: dict[str, Any]) -> Told:
        assert call == "hours"
        if self.hours is None:
            return Told(1, Outcome.UNKNOWN, 500, text="HTTP 500")
        told = hours_json(self.hours, given["mic"], date.fromisoformat(given["date"]))
        told |= self.changes.get(given["date"], {})
        return Told(1, Outcome.OK, 200, json.dumps(told).encode())

    async def look(self, text: str) -> str:
        """Let the time be that one; why the core takes no order then."""
        self.now_ns = at(text)
        await self.poll._hours_round()
        return self.reason()

    def reason(self, later_ns: int = 0) -> str:
        now_ns = self.now_ns + later_ns
        self.core.on_event(e.Timer(now_ns, now_ns, "tick"))
        return self.core.venues.reason_closed(AAPL.id)


@pytest.mark.fault("C10")
@pytest.mark.parametrize("calendar_only", [False, True])
async def test_the_week_of_thanksgiving(calendar_only: bool) -> None:
    """A holiday, a half day and a weekend, by the venue's answers and by the calendar where it has none: open exactly
    in the regular sessions, and closed at the close itself, before anybody has looked at the clock."""
    floor = Floor()
    if calendar_only:
        floor.hours = None
    open_at = []
    for text in (
        "2026-11-25 09:29", "2026-11-25 09:30", "2026-11-25 15:59", "2026-11-25 16:00", "2026-11-26 11:00",
        "2026-11-27 09:29", "2026-11-27 09:30", "2026-11-27 12:59", "2026-11-27 13:00", "2026-11-28 11:00",
        "2026-11-29 11:00", "2026-11-30 09:29", "2026-11-30 09:30",
    ):  # fmt: skip
        if not await floor.look(text):
            open_at.append(text[8:])
        if text in ("2026-11-25 15:59", "2026-11-27 12:59"):
            assert floor.reason(60 * wire.NS_PER_S - 1) == ""
            assert "its session ended" in floor.reason(60 * wire.NS_PER_S)
    assert open_at == ["25 09:30", "25 15:59", "27 09:30", "27 12:59", "30 09:30"]
    sources = {event.source for event in floor.log.of(e.SessionScheduled)}
    assert sources == {"calendar" if calendar_only else "venue"}
    assert floor.reopened == 3


async def test_the_venues_word_wins_over_the_calendar() -> None:
    """Open on a holiday, closed early on a usual day: orders go by what the venue says."""
    floor = Floor()
    opened = {"is_open": True, "opens_at": "2026-11-26T14:30:00Z", "closes_at": "2026-11-26T17:00:00Z"}
    floor.changes = {"2026-11-26": opened, "2026-11-30": {"closes_at": "2026-11-30T20:00:00Z"}}
    assert await floor.look("2026-11-26 10:00") == ""
    assert await floor.look("2026-11-26 12:00") != ""
    assert await floor.look("2026-11-30 14:59") == ""
    assert await floor.look("2026-11-30 15:00") != ""


async def test_what_it_said_of_a_day_holds_when_it_does_not_answer_later() -> None:
    """The calendar does not take the day's word back; of the next day it is all there is."""
    floor = Floor()
    floor.changes = {"2026-11-25": {"closes_at": "2026-11-25T18:00:00Z"}}
    assert await floor.look("2026-11-25 10:00") == ""
    floor.hours = None
    assert "New York has closed" in await floor.look("2026-11-25 14:00")
    assert await floor.look("2026-11-27 10:00") == ""
    assert floor.log.of(e.SessionScheduled)[-1].source == "calendar"


async def test_a_market_around_the_clock_closes_nothing_at_midnight() -> None:
    """Its day ends and the next one begins: no schedule is told, and one that was told is taken back."""
    floor = Floor()
    assert await floor.look("2026-11-25 10:00") == ""
    floor.hours = MarketHours(always=True)
    assert await floor.look("2026-11-25 15:30") == ""
    assert floor.log.of(e.SessionScheduled)[-1].closes_ns == 0
    assert floor.reason(9 * 3600 * wire.NS_PER_S) == ""
