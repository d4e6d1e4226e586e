"""Candles of the past as ``Bar`` events: what warms time-bar features up before the first live tick.

Owns the paging of the candle endpoint and which candles are whole.  The venue leaves out buckets without trades; the
feature buffer sees that hole and says so.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import msgspec

from engine.events import Bar

GRANULARITIES = {
    60: "ONE_MINUTE",
    300: "FIVE_MINUTE",
    900: "FIFTEEN_MINUTE",
    1800: "THIRTY_MINUTE",
    3600: "ONE_HOUR",
    7200: "TWO_HOUR",
    21600: "SIX_HOUR",
    86400: "ONE_DAY",
}
"""Seconds of a bar -> the venue's name (``GET /products/{id}/candles``)."""
PAGE_BARS = 300
"""The venue answers at most 350 buckets; a margin for its own rounding of the ends."""
NS = 1_000_000_000

Get = Callable[[str, Sequence[tuple[str, str]]], Awaitable[bytes]]


class Candle(msgspec.Struct, gc=False):
    """``{"start":"1795183380","low":"61230","high":"61240.5","open":"61231","close":"61234.55","volume":"1.25"}``."""

    start: int
    low: float
    high: float
    open: float
    close: float
    volume: float


class Candles(msgspec.Struct):
    candles: list[Candle]


def granularity(interval_ns: int) -> str:
    """The venue's name of this bar length; empty when it has none."""
    return GRANULARITIES.get(interval_ns // NS, "") if interval_ns % NS == 0 else ""


async def fetch_bars(
    get: Get, path: str, instrument: str, *, interval_ns: int, bars: int, venue_now_ns: int, recv_ns: int
) -> list[Bar]:
    """The last ``bars`` finished candles, oldest first; fewer where the venue has no more.

    Raises ``VenueError`` (from ``get``) when the venue does not answer and ``msgspec.DecodeError`` for another answer.
    """
    seconds = interval_ns // NS
    name = granularity(interval_ns)
    end_s = venue_now_ns // NS // seconds * seconds  # the bar that starts here is not finished
    found: dict[int, Candle] = {}
    wanted = bars
    while wanted > 0 and name:
        count = min(wanted, PAGE_BARS)
        start_s = end_s - count * seconds
        params = [("start", str(start_s)), ("end", str(end_s - 1)), ("granularity", name)]
        page = msgspec.json.decode(await get(path, params), type=Candles, strict=False)
        found.update({candle.start: candle for candle in page.candles if start_s <= candle.start < end_s})
        wanted -= count
        end_s = start_s
    return [
        Bar((at + seconds) * NS, recv_ns, instrument, interval_ns, c.open, c.high, c.low, c.close, c.volume)
        for at, c in sorted(found.items())
    ]
