"""Returns over lags, realised volatility and range over spans."""

from __future__ import annotations

import math

from engine.features import layout as at
from engine.features.column import Column, register
from engine.features.jit import kernel
from engine.features.layout import NAN, State


@kernel
def log_return(s: State, n: int) -> float:
    """Returns add up, and a sum costs a fraction of a logarithm."""
    if s[at.ROWS] < n + 1:
        return NAN
    return at.sum_last(s, at.RETURN, n)


@kernel
def realised_volatility(s: State, n: int) -> float:
    if s[at.ROWS] < n + 1:
        return NAN
    return math.sqrt(at.sum_squares_last(s, at.RETURN, n, 0.0))


@kernel
def volatility_ratio(_s: State, scale: float, short: float, long: float) -> float:
    if long > 0.0:
        return scale * short / long
    return 1.0 if long == 0.0 else NAN


@kernel
def high_low_range(s: State, n: int) -> float:
    if s[at.ROWS] < n:
        return NAN
    newest = at.last(s, at.CLOSE, 0)
    if newest > 0.0:
        return 1e4 * (at.max_last(s, at.HIGH, n) - at.min_last(s, at.LOW, n)) / newest
    return NAN


def return_over(rows: int) -> Column:
    """``ret_N``."""
    return Column(
        name=f"ret_{rows}",
        function=log_return,
        params=(rows,),
        formula=f"ln(close / close {rows} rows ago), as the sum of one-row returns",
        unit="return",
        inputs=("price",),
        candle=True,
        warm_rows=rows + 1,
    )


def volatility_over(rows: int) -> Column:
    """``rv_N``."""
    return Column(
        name=f"rv_{rows}",
        function=realised_volatility,
        params=(rows,),
        formula=f"square root of the sum of squared ret_1 over {rows} rows",
        unit="return",
        bounds=(0.0, math.inf),
        inputs=("price",),
        candle=True,
        warm_rows=rows + 1,
        source="T. Andersen, T. Bollerslev, Answering the skeptics (1998)",
    )


def range_over(rows: int) -> Column:
    """``range_N_bps``."""
    return Column(
        name=f"range_{rows}_bps",
        function=high_low_range,
        params=(rows,),
        formula=f"1e4 * (highest high - lowest low over {rows} rows) / close",
        unit="bps",
        bounds=(0.0, math.inf),
        inputs=("price",),
        candle=True,
        warm_rows=rows,
    )


for _n in (1, 2, 3, 5, 10, 20, 50):
    register(return_over(_n))
for _n in (5, 10, 20, 50):
    register(volatility_over(_n))
register(
    Column(
        name="rv_ratio",
        function=volatility_ratio,
        params=(math.sqrt(10.0),),
        uses=("rv_5", "rv_50"),
        formula="rv_5 / rv_50 * sqrt(50 / 5); 1 when nothing moved",
        unit="ratio",
        bounds=(0.0, math.inf),
        inputs=("price",),
        candle=True,
        warm_rows=51,
    )
)
for _n in (5, 20, 50):
    register(range_over(_n))
