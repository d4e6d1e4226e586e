"""Bollinger bands over 20 rows, two population standard deviations wide; Keltner channels of two true ranges."""

from __future__ import annotations

import math

from engine.features import layout as at
from engine.features.column import Column, register
from engine.features.columns import momentum, trend
from engine.features.jit import kernel
from engine.features.layout import NAN, State
from engine.features.rings import LEAST_CHANGE


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
def same(_s: State, value: float) -> float:
    return value


@kernel
def width(_s: State, mean: float, std: float) -> float:
    if mean > 0.0 or mean < 0.0:
        return 4.0 * std / mean
    return NAN


@kernel
def position(s: State, mean: float, std: float) -> float:
    """A market that stands still deviates from its rounded mean by a last digit: no place in the bands is made of that.

    No smaller change of a price can be told from that digit.
    """
    if s[at.ROWS] < 1.0 or not std >= 0.0:
        return NAN
    if std > LEAST_CHANGE * abs(mean):
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
        bounds=(0.0, math.inf),
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
        version=2,
        function=position,
        uses=("sma_20", "std_20"),
        formula="(close - bb_lower) / (bb_upper - bb_lower); 0.5 when the bands coincide, as they do where "
        "std_20 is at most 1e-13 of sma_20",
        unit="ratio",
        inputs=("price",),
        candle=True,
        warm_rows=20,
        source="J. Bollinger, %b",
    )
)
register(
    Column(
        name="bb_middle",
        function=same,
        uses=("sma_20",),
        formula="sma_20",
        unit="price",
        inputs=("price",),
        candle=True,
        warm_rows=20,
        source="TA-Lib BBANDS; J. Bollinger",
    )
)
register(
    Column(
        name="atr_10",
        function=momentum.atr,
        params=(10,),
        private_slots=1,
        formula="true range smoothed a += (x - a)/10 from the mean of the first 10",
        unit="price",
        inputs=("price",),
        candle=True,
        warm_rows=11,
        source="TA-Lib ATR; J. W. Wilder (1978)",
    )
)
register(
    Column(
        name="keltner_middle",
        function=trend.ema,
        params=(20,),
        private_slots=1,
        formula="e += (close - e) * 2/21, seeded with the mean of the first 20 closes",
        unit="price",
        inputs=("price",),
        candle=True,
        warm_rows=20,
        source="L. Raschke's form of C. Keltner's channels",
    )
)
for _name, _factor, _sign in (("keltner_upper", 2.0, "+"), ("keltner_lower", -2.0, "-")):
    register(
        Column(
            name=_name,
            function=offset,
            params=(_factor,),
            uses=("keltner_middle", "atr_10"),
            formula=f"keltner_middle {_sign} 2 * atr_10",
            unit="price",
            inputs=("price",),
            candle=True,
            warm_rows=20,
            source="L. Raschke's form of C. Keltner's channels",
        )
    )
