"""For the tests of spectral columns: their values over candles, and the windows they must have been made of."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from engine.events import Bar
from engine.features import Candles, FeatureBuffer, FeatureSpec, GapPolicy, Sampling, compute_candles
from engine.features.columns.spectral import SPECTRAL
from tests.support.features import SECOND, instrument
from tests.support.recorded_bars import candles_of

Array = npt.NDArray[np.float64]
EVERY_ROW = (
    *(f"wavelet_energy({order},{level},64)" for order, level in ((1, 1), (1, 6), (2, 4), (8, 2))),
    "wavelet_rest(8,64)",
    *(f"fft_{part}({rank},64)" for part in ("magnitude", "phase", "frequency") for rank in (1, 5)),
    "line_deviation(64)",
    *(f"{name}(32)" for name in ("hurst", "higuchi", "box_dimension", "sample_entropy")),
    *(f"{name}(128)" for name in ("higuchi", "sample_entropy")),
)
COLUMNS = tuple(dict.fromkeys((*SPECTRAL, *EVERY_ROW)))
"""The set and the same measures over other spans: one kernel, compiled once for all tests."""
SPEC = FeatureSpec("spectral", COLUMNS, 4, Sampling.time_bar(60 * SECOND), gap=GapPolicy(3, 3, 2**61))


def values_of(candles: Candles) -> dict[str, Array]:
    """Each column's float64 value after each candle."""
    found: list[Array] = []
    compute_candles(SPEC, instrument(), candles, lambda chunk: found.append(chunk.copy()))
    table = np.concatenate(found)
    assert len(table) == len(candles.end_ns)
    return {name: table[:, i] for i, name in enumerate(COLUMNS)}


def candles_from(close: Array) -> Candles:
    """Minute candles with these closes."""
    before = np.r_[close[0], close[:-1]]
    ends = (np.arange(len(close)) + 1000) * 60 * SECOND
    return Candles(ends, before, np.maximum(before, close), np.minimum(before, close), close, np.ones(len(close)))


@cache
def recorded(market_data: Path, rows: int = 4000) -> tuple[Array, dict[str, Array]]:
    """Closes of recorded 5-minute candles, as if by the minute, and the columns over them."""
    _, candles = next(candles_of(market_data / "bars" / "crypto_5m_binance_btcusdt_2024.parquet"))
    close = candles.close_px[:rows]
    return close, values_of(candles_from(close))


def returns(close: Array) -> Array:
    """ln(close / close before), one fewer."""
    return np.log(close[1:] / close[:-1])


def windows(series: Array, rows: int) -> Array:
    """(N, rows): the last ``rows`` numbers at each place that has as many; a view."""
    return np.lib.stride_tricks.sliding_window_view(series, rows)


def digest(close: Array) -> str:
    """Of all values, candle by candle through the live buffer."""
    buffer = FeatureBuffer(SPEC, instrument())
    found = hashlib.sha256()
    candles = candles_from(close)
    for end, *numbers in zip(*(part.tolist() for part in candles), strict=True):
        assert buffer.update(Bar(end, end, "x", 60 * SECOND, *numbers))
        found.update(buffer.newest_values().tobytes())
    return found.hexdigest()
