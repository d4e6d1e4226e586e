"""What was traded: the last public trades, candles cut from them and the 24-hour figures of one product.

Owns bounded history.  Pure: times come with the trades.
"""

from __future__ import annotations

from collections import deque
from decimal import Decimal

import msgspec

MINUTE_S = 60
DAY_S = 86_400
NS = 1_000_000_000

GRANULARITIES_S = {
    "ONE_MINUTE": 60,
    "FIVE_MINUTE": 300,
    "FIFTEEN_MINUTE": 900,
    "THIRTY_MINUTE": 1_800,
    "ONE_HOUR": 3_600,
    "TWO_HOUR": 7_200,
    "FOUR_HOUR": 14_400,
    "SIX_HOUR": 21_600,
    "ONE_DAY": 86_400,
}


class PublicTrade(msgspec.Struct, frozen=True):
    """``maker_side`` is what the venue publishes: BUY means that a resting buy order was hit by a seller."""

    trade_id: str
    px: Decimal
    qty: Decimal
    maker_side: str
    ts_ns: int


class Candle(msgspec.Struct):
    """``start_s`` is the bucket's first unix second; volume in base units."""

    start_s: int
    open_px: Decimal
    high_px: Decimal
    low_px: Decimal
    close_px: Decimal
    volume_qty: Decimal

    def extend(self, later: Candle) -> None:
        """Take in a later candle of the same bucket."""
        self.high_px = max(self.high_px, later.high_px)
        self.low_px = min(self.low_px, later.low_px)
        self.close_px = later.close_px
        self.volume_qty += later.volume_qty


class Tape:
    """Trades and candles of one product.  ``max_trades`` bounds the trades and the minutes that are kept."""

    def __init__(self, *, max_trades: int = 10_000) -> None:
        self.trades: deque[PublicTrade] = deque(maxlen=max_trades)
        self._minutes: deque[Candle] = deque(maxlen=max_trades)
        self._day: deque[Candle] = deque()
        self.volume_24h = Decimal(0)
        self.quote_volume_24h = Decimal(0)
        self._quote_by_minute: deque[tuple[int, Decimal]] = deque()
        self._day_high: Decimal | None = None
        self._day_low: Decimal | None = None

    @property
    def last_px(self) -> Decimal | None:
        return self.trades[-1].px if self.trades else None

    def add(self, trade: PublicTrade) -> None:
        """Record a trade.  A trade older than the last minute joins that minute: history never runs backwards."""
        self.trades.append(trade)
        start_s = trade.ts_ns // NS // MINUTE_S * MINUTE_S
        last = self._minutes[-1] if self._minutes else None
        made = Candle(start_s, trade.px, trade.px, trade.px, trade.px, trade.qty)
        value = trade.px * trade.qty
        if last is not None and start_s <= last.start_s:
            last.extend(made)
            self._quote_by_minute[-1] = (last.start_s, self._quote_by_minute[-1][1] + value)
            self._day_high = max(self._day_high or trade.px, trade.px)
            self._day_low = min(self._day_low or trade.px, trade.px)
        else:
            self._minutes.append(made)
            self._day.append(made)
            self._quote_by_minute.append((start_s, value))
            self._drop_older_than(start_s - DAY_S)
            self._day_high = max(candle.high_px for candle in self._day)
            self._day_low = min(candle.low_px for candle in self._day)
        self.volume_24h += trade.qty
        self.quote_volume_24h += value

    def _drop_older_than(self, start_s: int) -> None:
        while self._day and self._day[0].start_s < start_s:
            self.volume_24h -= self._day.popleft().volume_qty
            self.quote_volume_24h -= self._quote_by_minute.popleft()[1]

    def day(self) -> tuple[Decimal, Decimal, Decimal]:
        """High, low and first price of the last 24 hours; zeros before the first trade."""
        if not self._day or self._day_high is None or self._day_low is None:
            return Decimal(0), Decimal(0), Decimal(0)
        return self._day_high, self._day_low, self._day[0].open_px

    def change_24h_percent(self) -> Decimal:
        first = self.day()[2]
        last = self.last_px
        if last is None or first <= 0:
            return Decimal(0)
        return ((last - first) / first * 100).quantize(Decimal("0.00000001"))

    def candles(self, granularity_s: int, start_s: int, end_s: int) -> list[Candle]:
        """Buckets that begin within ``[start_s, end_s]``, newest first; buckets without a trade are absent."""
        found: list[Candle] = []
        for minute in reversed(self._minutes):
            bucket = minute.start_s // granularity_s * granularity_s
            if bucket > end_s:
                continue
            if bucket < start_s:
                break
            if found and found[-1].start_s == bucket:
                whole = found[-1]
                whole.open_px = minute.open_px
                whole.high_px = max(whole.high_px, minute.high_px)
                whole.low_px = min(whole.low_px, minute.low_px)
                whole.volume_qty += minute.volume_qty
            else:
                found.append(
                    Candle(bucket, minute.open_px, minute.high_px, minute.low_px, minute.close_px, minute.volume_qty)
                )
        return found

    def latest(self, limit: int, start_s: int | None = None, end_s: int | None = None) -> list[PublicTrade]:
        """Trades, newest first, optionally within ``[start_s, end_s]``."""
        found: list[PublicTrade] = []
        for trade in reversed(self.trades):
            if end_s is not None and trade.ts_ns > end_s * NS:
                continue
            if (start_s is not None and trade.ts_ns < start_s * NS) or len(found) >= limit:
                break
            found.append(trade)
        return found
