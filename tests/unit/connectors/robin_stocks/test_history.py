"""Bars of the past: which are asked for, and which are believed."""

from __future__ import annotations

import itertools
import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from connectors.robin_stocks.history import INTERVALS, MINUTE_NS, history, wanted
from connectors.robin_stocks.messages import Outcome, Told
from connectors.robin_stocks.sandbox.charts import Chart
from connectors.robin_stocks.sandbox.times import MarketHours
from tests.support.robin_stocks import NOW_NS, SECOND_NS, STOCK, listings


def bar(begins_at: str, close: str = "231.0", **fields: str) -> dict[str, str]:
    return {
        "begins_at": begins_at, "open_price": "230.0", "high_price": "232.0", "low_price": "229.0",
        "close_price": close, "volume": "100", **fields,
    }  # fmt: skip


def test_the_shortest_span_that_holds_so_many() -> None:
    """Lengths that the venue does not have are none."""
    assert wanted(5 * MINUTE_NS, 20) == ("5minute", "week")
    assert wanted(5 * MINUTE_NS, 300) == ("5minute", "month")
    assert wanted(1_440 * MINUTE_NS, 10**6) == ("day", "5year")
    assert wanted(MINUTE_NS, 20) is None


async def test_bars_that_make_no_sense_are_left_out() -> None:
    """Unfinished, twice, out of order, without a time, of no price: the rest is told by its end, oldest first."""
    rows: list[Any] = [
        bar("2026-11-20T13:50:00Z"), bar("2026-11-20T13:55:00Z", "231.5"), bar("2026-11-20T13:55:00Z", "9"),
        bar("2026-11-20T13:40:00Z"), bar("nonsense"), bar("2026-11-20T13:57:00Z", "nan"), {"begins_at": 7}, None,
        bar("2026-11-20T14:00:00Z"),
    ]  # fmt: skip
    asked: list[dict[str, Any]] = []

    async def call(name: str, given: dict[str, Any]) -> Told:
        asked.append({"call": name, **given})
        return Told(1, Outcome.OK, 200, json.dumps(rows).encode())

    made = await history(call, listings()[STOCK].instrument, 5 * MINUTE_NS, 20, NOW_NS)
    assert asked == [{"call": "bars", "symbol": "AAPL", "interval": "5minute", "span": "week"}]
    assert [(one.close_px, (NOW_NS - one.ts_event_ns) // MINUTE_NS) for one in made] == [(231.0, 8), (231.5, 3)]


async def test_no_answer_is_no_bars() -> None:
    """The start goes on without them."""

    async def call(_name: str, _given: dict[str, Any]) -> Told:
        return Told(1, Outcome.UNKNOWN)

    assert await history(call, listings()[STOCK].instrument, 5 * MINUTE_NS, 20, NOW_NS) == []


@pytest.mark.parametrize("always", [True, False])
def test_a_span_has_its_bars_at_any_time_of_the_day(always: bool) -> None:
    """Minutes after midnight and after the opening bell, at week ends and after holidays."""
    for day, minute in itertools.product(range(25, 31), (5 * 60 + 5, 14 * 60 + 35, 21 * 60 + 5)):  # Thanksgiving: 26th
        now_ns = int(datetime(2026, 11, day, tzinfo=UTC).timestamp()) * SECOND_NS + minute * MINUTE_NS
        chart = Chart(listings()[STOCK].instrument, Decimal(200), MarketHours(always=always), seed=1, now_ns=now_ns)
        for interval_ns, (_, spans) in INTERVALS.items():
            for _, holds in spans:
                name, span = wanted(interval_ns, holds) or ("", "")
                rows = chart.bars(name, span, "regular", now_ns)
                assert sum(row.begins_ns + interval_ns <= now_ns for row in rows) >= holds, (interval_ns, span, now_ns)
