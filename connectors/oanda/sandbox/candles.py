"""Candles of one instrument: five seconds and one minute are kept, every other granularity is made of them.

Owns the store, a made-up past before the start, and alignment.  Which candles a request means is ``history``.
Prices are kept as whole ticks; memory is bounded by ``_MOST``.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterable, Iterator
from decimal import Decimal

import msgspec

from connectors.oanda.sandbox.settings import SandboxInstrument
from connectors.oanda.sandbox.times import MINUTE_NS, NS, is_open

_S5_NS = 5 * NS
_MOST = {_S5_NS: 8_640, MINUTE_NS: 20_000}


class Candle(msgspec.Struct):
    """Bid and ask as ``[open, high, low, close]`` in ticks; ``volume`` counts quotes."""

    start_ns: int
    bid: list[int]
    ask: list[int]
    volume: int


class CandleStore:
    """``add`` takes quotes in order of time; ``fabricate`` may come once before the first."""

    def __init__(self, rules: SandboxInstrument) -> None:
        self._rules = rules
        self._tick = rules.tick_px
        self._kept: dict[int, deque[Candle]] = {step: deque(maxlen=most) for step, most in _MOST.items()}

    def add(self, ts_ns: int, bid_px: Decimal, ask_px: Decimal) -> None:
        bid, ask = int(bid_px / self._tick), int(ask_px / self._tick)
        for step_ns, kept in self._kept.items():
            start_ns = ts_ns - ts_ns % step_ns
            if kept and kept[-1].start_ns >= start_ns:
                last = kept[-1]
                _extend(last.bid, bid)
                _extend(last.ask, ask)
                last.volume += 1
            else:
                kept.append(Candle(start_ns, [bid] * 4, [ask] * 4, 1))

    def fabricate(self, until_ns: int, days: int, seed: int, *, venue_hours: bool) -> None:
        """A past in minutes that ends at the start price; the same for the same seed and time."""
        draw = random.Random(f"{seed}/{self._rules.name}/past")
        sigma = self._rules.volatility_bps * 1e-4 * 60**0.5
        half = max(1, round(float(self._rules.start_px / self._tick) * self._rules.spread_bps * 1e-4 / 2))
        close = float(self._rules.start_px / self._tick)
        made: list[Candle] = []
        last_ns = until_ns - until_ns % MINUTE_NS - MINUTE_NS
        for back in range(min(days * 1440, _MOST[MINUTE_NS] - 1)):
            start_ns = last_ns - back * MINUTE_NS
            if venue_hours and not is_open(self._rules.hours, start_ns):
                continue
            opened = max(2.0 * half, close * (1.0 - draw.gauss(0.0, sigma)))
            reach = abs(draw.gauss(0.0, sigma)) * close / 2
            mid = [round(opened), round(max(opened, close) + reach), round(min(opened, close) - reach), round(close)]
            mid = [max(half + 1, ticks) for ticks in mid]
            bid, ask = [ticks - half for ticks in mid], [ticks + half for ticks in mid]
            made.append(Candle(start_ns, bid, ask, draw.randint(20, 200)))
            close = opened
        self._kept[MINUTE_NS].extend(reversed(made))

    def between(self, step_ns: int, from_ns: int, to_ns: int) -> Iterator[Candle]:
        """Candles of the kept step that divides ``step_ns``, of ``[from_ns, to_ns)``, oldest first."""
        base_ns = MINUTE_NS if step_ns % MINUTE_NS == 0 else _S5_NS
        return (candle for candle in self._kept[base_ns] if from_ns <= candle.start_ns < to_ns)


def merged(candles: Iterable[Candle], starts: Iterable[int]) -> Iterator[Candle]:
    """Candles put together where neighbours have the same start in ``starts``."""
    whole: Candle | None = None
    for candle, start_ns in zip(candles, starts, strict=True):
        if whole is not None and whole.start_ns == start_ns:
            for mine, other in ((whole.bid, candle.bid), (whole.ask, candle.ask)):
                mine[1], mine[2], mine[3] = max(mine[1], other[1]), min(mine[2], other[2]), other[3]
            whole.volume += candle.volume
            continue
        if whole is not None:
            yield whole
        whole = Candle(start_ns, list(candle.bid), list(candle.ask), candle.volume)
    if whole is not None:
        yield whole


def _extend(ohlc: list[int], ticks: int) -> None:
    ohlc[1], ohlc[2], ohlc[3] = max(ohlc[1], ticks), min(ohlc[2], ticks), ticks
