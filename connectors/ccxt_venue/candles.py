"""Candles of the past as ``Bar`` events: what warms time-bar features up before the first live tick.

Owns the paging and which candles are whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import Final

from connectors.ccxt_venue.exact import MS_NS, plain
from connectors.ccxt_venue.library import Handle
from engine.events import Bar

PAGE_BARS: Final = 200
PAGES_MAX: Final = 50
_SECOND_NS: Final = 1_000_000_000


def timeframe(known: object, interval_ns: int) -> str:
    """The library's name of a bar length that the exchange has; empty for none."""
    if not isinstance(known, Mapping) or interval_ns <= 0 or interval_ns % _SECOND_NS:
        return ""
    seconds = interval_ns // _SECOND_NS
    for unit, length in (("w", 604_800), ("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)):
        if seconds % length == 0 and f"{seconds // length}{unit}" in known:
            return f"{seconds // length}{unit}"
    return ""


async def fetch_bars(
    handle: Handle, symbol: str, instrument: str, *, interval_ns: int, bars: int, venue_now_ns: int, recv_ns: int
) -> list[Bar]:
    """The last ``bars`` finished candles, oldest first; fewer where there are no more.  Raises ``VenueError``."""
    name = timeframe(getattr(handle.ex, "timeframes", None), interval_ns)
    if not name:
        return []
    end_ms = venue_now_ns // interval_ns * interval_ns // MS_NS  # the bar that starts here is not finished
    width_ms = interval_ns // MS_NS
    found: dict[int, Bar] = {}
    since_ms = end_ms - bars * width_ms
    for _ in range(PAGES_MAX):
        if since_ms >= end_ms:
            break
        rows = await handle.ask("fetch_ohlcv", symbol, name, since_ms, min(PAGE_BARS, bars))
        page = [row for row in rows if isinstance(row, list) and len(row) >= 6 and isinstance(row[0], int)]
        for row in page:
            values = [plain(value) for value in row[1:6]]
            if end_ms - bars * width_ms <= row[0] < end_ms and all(map(isfinite, values)):
                found[row[0]] = Bar((row[0] + width_ms) * MS_NS, recv_ns, instrument, interval_ns, *values)
        last_ms = max((row[0] for row in page), default=since_ms)
        since_ms = max(last_ms, since_ms) + width_ms
    return [bar for _, bar in sorted(found.items())]
