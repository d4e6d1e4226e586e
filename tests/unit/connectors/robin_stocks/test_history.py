"""Bars of the past: which are asked for, and which are believed."""

from __future__ import annotations

import json
from typing import Any

from connectors.robin_stocks.history import MINUTE_NS, history, wanted
from connectors.robin_stocks.messages import Outcome, Told
from tests.support.robin_stocks import NOW_NS, STOCK, listings


def bar(begins_at: str, close: str = "231.0", **fields: str) -> dict[str, str]:
    return {
        "begins_at": begins_at, "open_price": "230.0", "high_price": "232.0", "low_price": "229.0",
        "close_price": close, "volume": "100", **fields,
    }  # fmt: skip


def test_the_shortest_span_that_holds_so_many() -> None:
    """Lengths that the venue does not have are none."""
    assert wanted(5 * MINUTE_NS, 20) == ("5minute", "day")
    assert wanted(5 * MINUTE_NS, 200) == ("5minute", "week")
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
    assert asked == [{"call": "bars", "symbol": "AAPL", "interval": "5minute", "span": "day"}]
    assert [(one.close_px, (NOW_NS - one.ts_event_ns) // MINUTE_NS) for one in made] == [(231.0, 8), (231.5, 3)]


async def test_no_answer_is_no_bars() -> None:
    """The start goes on without them."""

    async def call(_name: str, _given: dict[str, Any]) -> Told:
        return Told(1, Outcome.UNKNOWN)

    assert await history(call, listings()[STOCK].instrument, 5 * MINUTE_NS, 20, NOW_NS) == []
