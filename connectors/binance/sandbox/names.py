"""Names of market streams: ``btcusdt@depth@100ms`` and the like, of spot and of USD-M futures.

Owns their reading, how often a book is told under each, and under which path futures serve it.  Source: Binance spot
API, "WebSocket market streams"; USD-M futures API, "WebSocket market streams", routed endpoints.
"""

from __future__ import annotations

import re

import msgspec

from connectors.binance.sandbox.wire import INTERVALS_S
from connectors.binance.streams import SPOT, USDM

_NAME = re.compile(r"([a-z0-9_]{1,30})@([A-Za-z0-9_]+)(@([0-9]{1,4}m?s))?")
_PLAIN = frozenset({"trade", "aggTrade", "bookTicker", "miniTicker", "ticker"})
_OF_ONE = {SPOT: _PLAIN | {"avgPrice"}, USDM: _PLAIN | {"forceOrder"}}
_OF_ALL = {
    SPOT: {"!miniTicker@arr": "miniTicker", "!ticker@arr": "ticker"},
    USDM: {
        "!miniTicker@arr": "miniTicker", "!ticker@arr": "ticker", "!bookTicker": "bookTicker",
        "!markPrice@arr": "markPrice", "!markPrice@arr@1s": "markPrice", "!forceOrder@arr": "forceOrder",
    },
}  # fmt: skip
PACES = {SPOT: {"": 1_000, "1000ms": 1_000, "100ms": 100}, USDM: {"": 250, "250ms": 250, "500ms": 500, "100ms": 100}}
"""By what a name says at its end, how often a book is told, ms."""
_PUBLIC = frozenset({"bookTicker", "depth", "partial", "trade"})


def suffixes(venue: str) -> dict[int, list[str]]:
    """What names of books end with, by how often these are told (ms)."""
    found: dict[int, list[str]] = {}
    for end, pace_ms in PACES[venue].items():
        found.setdefault(pace_ms, []).append(f"@{end}" if end else "")
    return found


class StreamName(msgspec.Struct, frozen=True):
    """``symbol`` in upper case, empty for all; ``detail`` is a candle's interval or a book's depth; ``pace_ms``: how
    often a book is told, or a mark price; 0 where that is not in the name."""

    text: str
    symbol: str
    kind: str
    detail: str = ""
    pace_ms: int = 0

    @property
    def path(self) -> str:
        """Where futures serve it: best prices, books and single trades under ``/public``, the rest ``/market``."""
        return "/public" if self.kind in _PUBLIC else "/market"


def parse(text: str, venue: str = SPOT) -> StreamName | None:
    """None for what is no name.  A symbol that does not exist is a name like any other, and stays silent."""
    of_all = _OF_ALL[venue].get(text)
    if of_all is not None:
        return StreamName(text, "", of_all, pace_ms=_mark_pace_ms(text) if of_all == "markPrice" else 0)
    found = _NAME.fullmatch(text)
    if found is None:
        return None
    symbol, kind, pace = found[1].upper(), found[2], found[4] or ""
    if kind == "markPrice" and venue == USDM and pace in ("", "1s"):
        return StreamName(text, symbol, kind, pace_ms=_mark_pace_ms(text))
    if kind in _OF_ONE[venue]:
        return None if pace else StreamName(text, symbol, kind)
    if kind.startswith("kline_") and not pace and kind[6:] in INTERVALS_S:
        return StreamName(text, symbol, "kline", kind[6:])
    if kind.startswith("depth") and kind[5:] in ("", "5", "10", "20") and pace in PACES[venue]:
        return StreamName(text, symbol, "partial" if kind[5:] else "depth", kind[5:], PACES[venue][pace])
    return None


def _mark_pace_ms(text: str) -> int:
    return 1_000 if text.endswith("@1s") else 3_000
