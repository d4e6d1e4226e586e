"""Candles and aggregate trades of the past: which spans the venue has, and what an answer means.

Owns shapes and number kinds of ``GET klines`` and ``GET aggTrades``.  Asks nobody; no clock.
"""

from __future__ import annotations

from math import inf
from typing import Final

import msgspec

from connectors.binance.streams import SPOT
from engine.events import Bar

NS_PER_MS: Final = 1_000_000
_S: Final = 1_000
_MINUTE: Final = 60 * _S
_HOUR: Final = 60 * _MINUTE
_NAMES: Final = {
    **{n * _MINUTE: f"{n}m" for n in (1, 3, 5, 15, 30)},
    **{n * _HOUR: f"{n}h" for n in (1, 2, 4, 6, 8, 12)},
    24 * _HOUR: "1d",
}
"""Milliseconds of a candle -> the venue's name.  Three days, weeks and months begin on days of their own."""


class PastCandle(msgspec.Struct, array_like=True, gc=False):
    """``[1499040000000,"0.01634790","0.80000000","0.01575800","0.01577100","148976.11",1499644799999,"2434.19",308,
    "1756.87","28.46","0"]``: first millisecond, open, high, low, close, base volume, last millisecond, ..."""

    first: int
    open_px: float
    high_px: float
    low_px: float
    close_px: float
    volume_qty: float
    last: int
    quote_volume: float
    trades: int


class PastTrade(msgspec.Struct, gc=False):
    """``{"a":26129,"p":"0.01633102","q":"4.70443515","f":27781,"l":27781,"T":1498793709153,"m":true,"M":true}``"""

    a: int
    p: float
    q: float
    T: int
    m: bool


decode_candles = msgspec.json.Decoder(list[PastCandle], strict=False).decode
decode_trades = msgspec.json.Decoder(list[PastTrade], strict=False).decode


def interval_name(venue: str, interval_ns: int) -> str:
    """The venue's name of this candle length; empty when it has none.  Seconds are spot's alone."""
    if interval_ns == _S * NS_PER_MS and venue == SPOT:
        return "1s"
    return _NAMES.get(interval_ns // NS_PER_MS, "") if interval_ns % NS_PER_MS == 0 else ""


def intervals_ns(venue: str) -> tuple[int, ...]:
    """Lengths of candles that the venue makes, shortest first."""
    seconds = (_S * NS_PER_MS,) if venue == SPOT else ()
    return seconds + tuple(sorted(ms * NS_PER_MS for ms in _NAMES))


def is_sound(candle: PastCandle, interval_ms: int) -> bool:
    """A candle of this grid: finite and positive prices in order, a volume that is one."""
    return (
        candle.first % interval_ms == 0
        and 0.0 < candle.low_px <= min(candle.open_px, candle.close_px)
        and max(candle.open_px, candle.close_px) <= candle.high_px < inf
        and 0.0 <= candle.volume_qty < inf
    )


def bars_of(candles: list[PastCandle], instrument: str, interval_ns: int, recv_ns: int) -> list[Bar]:
    """The sound ones as events, oldest first."""
    sound = {c.first: c for c in candles if is_sound(c, interval_ns // NS_PER_MS)}
    return [
        Bar(
            *(first * NS_PER_MS + interval_ns, recv_ns, instrument, interval_ns),
            *(c.open_px, c.high_px, c.low_px, c.close_px, c.volume_qty),
        )
        for first, c in sorted(sound.items())
    ]
