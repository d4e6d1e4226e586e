"""For the tests of technical columns: float64 values of a set over candles, and TA-Lib's on the same rows."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import talib

from engine.features import Candles, FeatureSpec, GapPolicy, Sampling, compute_candles
from engine.features.column import closure
from engine.features.sets import expand
from tests.support.features import SECOND, instrument
from tests.support.recorded_bars import bar_files, candles_of

Array = npt.NDArray[np.float64]
COLUMNS = tuple(column.name for column in closure(expand(("technical40", "hybrid11"))))
"""Both sets and what they use, in one kernel: it is compiled once for all tests."""
MINUTE = 60 * SECOND
NEVER_NS = 2**61


@cache
def spec() -> FeatureSpec:
    return FeatureSpec("technical", COLUMNS, 4, Sampling.time_bar(MINUTE), gap=GapPolicy(3, 3, NEVER_NS))


def values_of(candles: Candles) -> dict[str, Array]:
    """Each column's value after each candle; every candle makes a row."""
    found: list[Array] = []
    compute_candles(spec(), instrument(), candles, lambda chunk: found.append(chunk.copy()))
    table = np.concatenate(found)
    assert len(table) == len(candles.end_ns)
    return {name: table[:, i] for i, name in enumerate(COLUMNS)}


def made(open_px: Array, high_px: Array, low_px: Array, close_px: Array, volume: Array) -> Candles:
    """Minute candles of these numbers."""
    return Candles((np.arange(len(close_px)) + 1000) * MINUTE, open_px, high_px, low_px, close_px, volume)


def recorded(market_data: Path, symbols: int, rows: int) -> Iterator[tuple[str, Candles]]:
    """The first candles of some symbols of every recorded file in time order, as if by the minute."""
    for path in bar_files(market_data):
        for number, (symbol, candles) in enumerate(candles_of(path)):
            if number < symbols:
                _, first = np.unique(candles.end_ns, return_index=True)
                yield f"{path.stem} {symbol}", made(*(column[first[:rows]] for column in candles[1:]))


def ta_lib(candles: Candles) -> dict[str, Array]:
    """The columns whose definition TA-Lib has, by our names."""
    _, high, low, close, volume = candles[1:]
    line, signal, histogram = talib.MACD(close, 12, 26, 9)
    slow_k, slow_d = talib.STOCH(high, low, close, 14, 3, 0, 3, 0)
    upper, middle, lower = talib.BBANDS(close, 20, 2.0, 2.0)
    return {
        "ret_1": np.r_[math.nan, np.log(close[1:] / close[:-1])],
        "sma_10": talib.SMA(close, 10),
        "sma_20": talib.SMA(close, 20),
        "sma_50": talib.SMA(close, 50),
        "ema_12": talib.EMA(close, 12),
        "ema_26": talib.EMA(close, 26),
        "macd_line": line,
        "macd_signal": signal,
        "macd_histogram": histogram,
        "rsi_14": talib.RSI(close, 14),
        "stoch_fast": talib.STOCHF(high, low, close, 14, 1, 0)[0],
        "stoch_k": slow_k,
        "stoch_d": slow_d,
        "cci_20": talib.CCI(high, low, close, 20),
        "roc_10": talib.ROC(close, 10),
        "trix_15": talib.TRIX(close, 15),
        "atr_10": talib.ATR(high, low, close, 10),
        "atr_14": talib.ATR(high, low, close, 14),
        "bb_upper": upper,
        "bb_middle": middle,
        "bb_lower": lower,
        "keltner_middle": talib.EMA(close, 20),
        "obv": talib.OBV(close, volume),
        "ad_line": talib.AD(high, low, close, volume),
        "mfi_14": talib.MFI(high, low, close, volume, 14),
        "simple_ret_1": talib.ROCP(close, 1),
        "volume_sma_20": talib.SMA(volume, 20),
        "adx_14": talib.ADX(high, low, close, 14),
        "willr_14": talib.WILLR(high, low, close, 14),
        "highest_14": talib.MAX(high, 14),
        "lowest_14": talib.MIN(low, 14),
    }
