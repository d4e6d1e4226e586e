"""Names of market streams: ``btcusdt@depth@100ms`` and the like.

Owns their reading.  Source: Binance spot API, "WebSocket market streams".
"""

from __future__ import annotations

import re

import msgspec

from connectors.binance.sandbox.wire import INTERVALS_S

_NAME = re.compile(r"([a-z0-9]{1,20})@([A-Za-z0-9_]+)(@(100|1000)ms)?")
_PLAIN = frozenset({"trade", "aggTrade", "bookTicker", "miniTicker", "ticker", "avgPrice"})
_ALL = {"!miniTicker@arr": "miniTicker", "!ticker@arr": "ticker"}


class StreamName(msgspec.Struct, frozen=True):
    """``symbol`` in upper case, empty for all; ``detail`` is a candle's interval or a book's depth; ``fast``: each
    100 ms."""

    text: str
    symbol: str
    kind: str
    detail: str = ""
    fast: bool = False


def parse(text: str) -> StreamName | None:
    """None for what is no name.  A symbol that does not exist is a name like any other, and stays silent."""
    if text in _ALL:
        return StreamName(text, "", _ALL[text])
    found = _NAME.fullmatch(text)
    if found is None:
        return None
    symbol, kind, pace = found[1].upper(), found[2], found[4]
    if kind in _PLAIN:
        return StreamName(text, symbol, kind) if pace is None else None
    if kind.startswith("kline_") and pace is None and kind[6:] in INTERVALS_S:
        return StreamName(text, symbol, "kline", kind[6:])
    if kind.startswith("depth") and kind[5:] in ("", "5", "10", "20"):
        return StreamName(text, symbol, "partial" if kind[5:] else "depth", kind[5:], pace == "100")
    return None
