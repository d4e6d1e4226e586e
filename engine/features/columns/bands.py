"""Bollinger bands over 20 rows, two population standard deviations wide."""

from __future__ import annotations

import math

from engine.features import layout as at
from engine.features.column import Column, register
from engine.features.columns import trend as _trend  # noqa: F401 - registers sma_20, which the bands use
from engine.features.jit import kernel
from engine.features.layout import NAN, State


@kernel
def deviation(s: State, n: int, mean: float) -> float:
    """Two passes: mean of squares minus squared mean has no digits left at price scale."""
    if s[at.ROWS] < n:
        return NAN
    return math.sqrt(at.sum_squares_last(s, at.CLOSE, n, mean) / n)


@kernel
def offset(_s: State, factor: float, mean: float, std: float) -> float:
    return mean + factor * std


@kernel
def width(_s: State, mean: float, std: float) -> float:
    if mean > 0.0 or mean < 0.0:
        return 4.0 * std / mean
    return NAN


@kernel
def position(s: State, mean: float, std: float) -> float:
    if s[at.ROWS] < 1.0 or not std >= 0.0:
        return NAN
    if std > 0.0:
        return 0.5 + (at.last(s, at.CLOSE, 0) - mean) / (4.0 * std)
    # No width: in the middle.
    return 0.5


register(
    Column(
        name="std_20",
        function=deviation,
        params=(20,),
        uses=("sma_20",),
        formula="population standard deviation of the last 20 closes",
        unit="price",
        inputs=("price",),
        candle=True,
        warm_rows=20,
        source="TA-Lib STDDEV",
    )
)
for _name, _factor, _sign in (("bb_upper", 2.0, "+"), ("bb_lower", -2.0, "-")):
    register(
        Column(
            name=_name,
            function=offset,
            params=(_factor,),
            uses=("sma_20", "std_20"),
            formula=f"sma_20 {_sign} 2 * population standard deviation of the last 20 closes",
            unit="price",
            inputs=("price",),
            candle=True,
            warm_rows=20,
            source="TA-Lib BBANDS; J. Bollinger",
        )
    )
register(
    Column(
        name="bb_width",
        function=width,
        uses=("sma_20", "std_20"),
        formula="(bb_upper - bb_lower) / sma_20",
        unit="ratio",
        inputs=("price",),
        candle=True,
        warm_rows=20,
        source="J. Bollinger, BandWidth",
    )
)
register(
    Column(
        name="bb_position",
        function=position,
        uses=("sma_20", "std_20"),
        formula="(close - bb_lower) / (bb_upper - bb_lower); 0.5 when the bands coincide",
        unit="ratio",
        inputs=("price",),
        candle=True,
        warm_rows=20,
        source="J. Bollinger, %b",
    )
)
