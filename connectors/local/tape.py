"""What was traded: the last public trades, candles cut from them and the figures of the last day, of one market.

Owns bounded history, and a made-up past before the first trade.  Pure: times come with the trades.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal

import msgspec

NS = 1_000_000_000
MINUTE_S = 60
DAY_S = 86_400
_ZERO = Decimal(0)


class PublicTrade(msgspec.Struct, frozen=True):
    """``buyer_is_maker``: a resting buy order was hit by a seller.  ``number`` counts within the venue."""

    number: int
    px: Decimal
    qty: Decimal
    buyer_is_maker: bool
    ts_ns: int


class Candle(msgspec.Struct):
    """``start_s`` is the first unix second.  ``volume_qty`` is in base units, ``value`` in quote currency.

    ``taken_qty`` and ``taken_value`` are the part of them that buyers took.  ``first`` and ``last`` are numbers of
    trades, -1: none.
    """

    start_s: int
    open_px: Decimal
    high_px: Decimal
    low_px: Decimal
    close_px: Decimal
    volume_qty: Decimal = _ZERO
    value: Decimal = _ZERO
    trades: int = 0
    taken_qty: Decimal = _ZERO
    taken_value: Decimal = _ZERO
    first: int = -1
    last: int = -1

    def extend(self, later: Candle) -> None:
        """Take in a later candle of the same bucket."""
        self.high_px = max(self.high_px, later.high_px)
        self.low_px = min(self.low_px, later.low_px)
        self.close_px = later.close_px
        self.volume_qty += later.volume_qty
        self.value += later.value
        self.trades += later.trades
        self.taken_qty += later.taken_qty
        self.taken_value += later.taken_value
        self.first = later.first if self.first < 0 else self.first
        self.last = max(self.last, later.last)

    @property
    def mean_px(self) -> Decimal:
        """Weighted by volume; the last price where there is none."""
        return self.value / self.volume_qty if self.volume_qty else self.close_px


class Tape:
    """Trades and minutes of one market, ``max_trades`` of the former and ``max_minutes`` of the latter."""

    def __init__(self, *, max_trades: int, max_minutes: int) -> None:
        self.trades: deque[PublicTrade] = deque(maxlen=max_trades)
        self._minutes: deque[Candle] = deque(maxlen=max_minutes)
        self._day: Candle | None = None
        self._day_of = (0, 0)

    @property
    def last_px(self) -> Decimal | None:
        return self._minutes[-1].close_px if self._minutes else None

    def add(self, trade: PublicTrade) -> None:
        """Record a trade.  One that is older than the last minute joins it: history never runs backwards."""
        self.trades.append(trade)
        start_s = trade.ts_ns // NS // MINUTE_S * MINUTE_S
        value = trade.px * trade.qty
        taken_qty, taken_value = (_ZERO, _ZERO) if trade.buyer_is_maker else (trade.qty, value)
        made = Candle(
            start_s, trade.px, trade.px, trade.px, trade.px, trade.qty, value, 1, taken_qty, taken_value,
            trade.number, trade.number,
        )  # fmt: skip
        last = self._minutes[-1] if self._minutes else None
        if last is not None and start_s <= last.start_s:
            last.extend(made)
        else:
            self._minutes.append(made)

    def fabricate(self, until_ns: int, minutes: int, px: Decimal, tick_px: Decimal, *, bps: float, seed: str) -> None:
        """A past that ends at ``px``; the same for the same seed and time.  Before the first trade only."""
        draw = random.Random(seed)
        end_s = until_ns // NS // MINUTE_S * MINUTE_S
        made: list[Candle] = []
        close = max(10, int(px / tick_px))
        for back in range(1, minutes + 1):
            opened = max(10, round(close * (1.0 - draw.gauss(0.0, bps * 1e-4))))
            reach = round(abs(draw.gauss(0.0, bps * 0.5e-4)) * close)
            low, high = max(1, min(opened, close) - reach), max(opened, close) + reach
            qty = Decimal(draw.randint(10, 500)) / 100
            made.append(
                Candle(
                    end_s - back * MINUTE_S,
                    opened * tick_px,
                    high * tick_px,
                    low * tick_px,
                    close * tick_px,
                    qty,
                    qty * close * tick_px,
                    draw.randint(1, 60),
                    qty / 2,
                    qty * close * tick_px / 2,
                )
            )
            close = opened
        self._minutes.extend(reversed(made))

    def candles(self, start_of: Callable[[int], int], from_s: int, to_s: int) -> list[Candle]:
        """Buckets that begin within ``[from_s, to_s]``, oldest first; ``start_of`` gives the bucket of a second.

        Buckets without a trade are absent.
        """
        found: list[Candle] = []
        for minute in self._minutes:
            start_s = start_of(minute.start_s)
            if start_s < from_s:
                continue
            if start_s > to_s:
                break
            if found and found[-1].start_s == start_s:
                found[-1].extend(minute)
            else:
                found.append(msgspec.structs.replace(minute, start_s=start_s))
        return found

    def day(self, now_ns: int) -> Candle | None:
        """The last 24 hours, to the minute, as one candle; None before anything was traded."""
        last = self._minutes[-1] if self._minutes else None
        since_s = (now_ns // NS - DAY_S) // MINUTE_S * MINUTE_S
        if last is None or last.start_s < since_s:
            return None
        # All but the minute that still grows is the same until the next one begins.
        if self._day_of != (since_s, last.start_s):
            self._day_of, self._day = (since_s, last.start_s), None
            for minute in self._minutes:
                if minute.start_s < since_s or minute is last:
                    continue
                if self._day is None:
                    self._day = msgspec.structs.replace(minute)
                else:
                    self._day.extend(minute)
        if self._day is None:
            return msgspec.structs.replace(last)
        whole = msgspec.structs.replace(self._day)
        whole.extend(last)
        return whole

    def since(self, number: int) -> Iterator[PublicTrade]:
        """Trades from that number on, oldest first."""
        return (trade for trade in self.trades if trade.number >= number)


def filled(candles: Iterable[Candle], step_s: int, to_s: int) -> list[Candle]:
    """With an empty candle, at the price before, in each bucket without a trade up to the one that holds ``to_s``."""
    found: list[Candle] = []
    for candle in candles:
        _fill(found, step_s, candle.start_s)
        found.append(candle)
    _fill(found, step_s, to_s // step_s * step_s + step_s)
    return found


def _fill(found: list[Candle], step_s: int, until_s: int) -> None:
    while found and found[-1].start_s + step_s < until_s:
        px = found[-1].close_px
        found.append(Candle(found[-1].start_s + step_s, px, px, px, px))
