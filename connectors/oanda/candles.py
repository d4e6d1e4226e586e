"""OANDA's candles: lengths, shapes, and which of them are sound.

Owns what the download (``archive``) and a session's warm-up share.  Prices are the middle of bid and ask; ``volume``
counts quotes, as everywhere in this market: nobody knows what was traded.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable

import msgspec

from connectors.oanda import requests, wire
from connectors.oanda.requests import Request
from engine.events import Bar

NS = wire.NS_PER_S
PAGE_BARS = 4_000
"""The venue answers with 5,000 at most; a margin for its own rounding of the ends."""
GRANULARITIES = {
    5: "S5", 10: "S10", 15: "S15", 30: "S30", 60: "M1", 120: "M2", 240: "M4", 300: "M5", 600: "M10", 900: "M15",
    1_800: "M30", 3_600: "H1", 7_200: "H2", 10_800: "H3", 14_400: "H4", 21_600: "H6", 28_800: "H8", 43_200: "H12",
    86_400: "D",
}  # fmt: skip
"""Seconds of a bar -> the venue's name.  Weeks and months have no fixed grid and are left out."""

Get = Callable[[Request], Awaitable[bytes]]


class Ohlc(msgspec.Struct, gc=False):
    o: float
    h: float
    l: float  # noqa: E741 - the venue's letter
    c: float


class Candle(msgspec.Struct, gc=False):
    """``{"complete":true,"volume":42,"time":"2026-11-20T14:03:00.000000000Z","mid":{"o":"1.08401",...}}``."""

    time: str
    volume: int
    complete: bool
    mid: Ohlc | None = None


class Candles(msgspec.Struct):
    candles: list[Candle]


def granularity(interval_ns: int) -> str:
    """The venue's name of this bar length; empty when it has none."""
    return GRANULARITIES.get(interval_ns // NS, "") if interval_ns % NS == 0 else ""


def is_sound(ts_ns: int, candle: Candle, interval_ns: int) -> bool:
    """Of this grid, with finite and positive prices in order."""
    mid = candle.mid
    return (
        mid is not None
        and ts_ns > 0
        and ts_ns % interval_ns == 0
        and 0.0 < mid.l <= min(mid.o, mid.c)
        and max(mid.o, mid.c) <= mid.h < math.inf
        and candle.volume >= 0
    )


async def fetch_bars(get: Get, symbol: str, instrument: str, *, interval_ns: int, bars: int, recv_ns: int) -> list[Bar]:
    """The last ``bars`` finished candles, oldest first; fewer where the venue has no more.  ``symbol`` is the venue's.

    Spans without a quote have no candle, so they are asked for by count and not by time.  Raises ``VenueError`` (from
    ``get``) when the venue does not answer and ``msgspec.DecodeError`` for another answer.
    """
    name = granularity(interval_ns)
    if not name or bars <= 0:
        return []
    count = min(bars, PAGE_BARS) + 1  # the last one is not finished
    body = await get(requests.candles(symbol, ("granularity", name), ("count", str(count))))
    parse = wire.TimeParser()
    found: dict[int, Candle] = {}
    for candle in msgspec.json.decode(body, type=Candles, strict=False).candles:
        ts_ns = parse(candle.time)
        if candle.complete and is_sound(ts_ns, candle, interval_ns):
            found.setdefault(ts_ns, candle)
    made = []
    for ts_ns, candle in sorted(found.items())[-bars:]:
        mid = candle.mid
        if mid is not None:
            end_ns, volume = ts_ns + interval_ns, float(candle.volume)
            made.append(Bar(end_ns, recv_ns, instrument, interval_ns, mid.o, mid.h, mid.l, mid.c, volume))
    return made
