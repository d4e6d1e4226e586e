"""Bars of the past for features that want them at the start.

Owns which of the venue's intervals and spans serve a wish.  Bars are those of regular sessions.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from math import isfinite
from typing import Any

from connectors.robin_stocks import wire
from connectors.robin_stocks.messages import Outcome, Told
from engine.events import Bar
from engine.instruments import Instrument

MINUTE_NS = 60 * wire.NS_PER_S
INTERVALS = {
    5 * MINUTE_NS: ("5minute", (("week", 234), ("month", 1_404))),
    10 * MINUTE_NS: ("10minute", (("week", 117), ("month", 702))),
    60 * MINUTE_NS: ("hour", (("week", 18), ("month", 108))),
    1_440 * MINUTE_NS: ("day", (("3month", 60), ("year", 250), ("5year", 1_250))),
}
"""Of each length: the venue's name, and how many finished bars each of its spans has at any time, at least.

A span ends with the session that runs, which may have just begun, and a holiday may lie in it: a week counts as three
sessions, a month as eighteen.  The span of a day is never asked for: after the opening bell it is empty.
"""
Call = Callable[[str, dict[str, Any]], Awaitable[Told]]


def wanted(interval_ns: int, bars: int) -> tuple[str, str] | None:
    """Interval and the shortest span that holds so many bars; None for a length that the venue does not have."""
    found = INTERVALS.get(interval_ns)
    if found is None:
        return None
    name, spans = found
    return name, next((span for span, holds in spans if holds >= bars), spans[-1][0])


async def history(call: Call, instrument: Instrument, interval_ns: int, bars: int, now_ns: int) -> list[Bar]:
    """The newest finished bars, oldest first; fewer, or none, where the venue does not tell them."""
    wish = wanted(interval_ns, bars)
    if wish is None:
        return []
    told = await call("bars", {"symbol": instrument.venue_symbol, "interval": wish[0], "span": wish[1]})
    if told.outcome is not Outcome.OK:
        return []
    try:
        rows, _ = wire.read_rows(told.body, wire.BarRow)
    except wire.UNREADABLE:
        return []
    made: list[Bar] = []
    for row in rows:
        end_ns = wire.parse_time(row.begins_at) + interval_ns
        prices = (row.open_price, row.high_price, row.low_price, row.close_price)
        if not interval_ns < end_ns <= now_ns or not all(isfinite(px) and px > 0 for px in (*prices, row.volume + 1)):
            continue
        if made and end_ns <= made[-1].ts_event_ns:
            continue  # told twice, or out of order
        made.append(Bar(end_ns, now_ns, instrument.id, interval_ns, *prices, row.volume))
    return made[-bars:]
