"""One row as a candle: its prices, its shape, its simple return, its day."""

from __future__ import annotations

import math

from engine.features import layout as at
from engine.features.column import Column, register
from engine.features.jit import kernel
from engine.features.layout import NAN, State

_DAY_S = 86_400
_FIRST_WEEKDAY = 3  # 1970-01-01 was a Thursday


@kernel
def open_px(s: State) -> float:
    return at.last(s, at.OPEN, 0)


@kernel
def high_px(s: State) -> float:
    return at.last(s, at.HIGH, 0)


@kernel
def low_px(s: State) -> float:
    return at.last(s, at.LOW, 0)


@kernel
def change(now: float, before: float) -> float:
    """``now / before - 1`` with the digits that a ratio near 1 would lose; unknown at prices of 0 and below."""
    if before > 0.0:
        return (now - before) / before
    return NAN


@kernel
def simple_return(s: State, n: int) -> float:
    if s[at.ROWS] < n + 1:
        return NAN
    return change(at.last(s, at.CLOSE, 0), at.last(s, at.CLOSE, n))


@kernel
def high_over_low(s: State) -> float:
    return change(at.last(s, at.HIGH, 0), at.last(s, at.LOW, 0))


@kernel
def open_over_close(s: State) -> float:
    return change(at.last(s, at.OPEN, 0), at.last(s, at.CLOSE, 0))


@kernel
def close_over_open(s: State) -> float:
    return change(at.last(s, at.CLOSE, 0), at.last(s, at.OPEN, 0))


@kernel
def range_over_close(s: State) -> float:
    close = at.last(s, at.CLOSE, 0)
    if close > 0.0:
        return (at.last(s, at.HIGH, 0) - at.last(s, at.LOW, 0)) / close
    return NAN


@kernel
def day_of_week(s: State) -> float:
    """Of the last nanosecond before the row's end: a daily candle ends where the next day begins."""
    second = int(s[at.ROW_S])
    if s[at.ROW_NS] == 0.0:
        second -= 1
    return float((second // _DAY_S + _FIRST_WEEKDAY) % 7)


for _name, _function, _formula in (
    ("open", open_px, "first price of the row"),
    ("high", high_px, "highest price of the row"),
    ("low", low_px, "lowest price of the row"),
):
    register(
        Column(
            name=_name,
            function=_function,
            formula=_formula,
            unit="price",
            inputs=("price",),
            candle=True,
            warm_rows=1,
        )
    )
register(
    Column(
        name="simple_ret_1",
        function=simple_return,
        params=(1,),
        formula="close / close 1 row ago - 1; unknown at prices of 0 and below",
        unit="return",
        inputs=("price",),
        candle=True,
        warm_rows=2,
        source="TA-Lib ROCP",
    )
)
for _name, _function, _formula, _least in (
    # Less one: near 1 a float32 has no digits for what moves.
    ("high_low_ratio", high_over_low, "high / low - 1", 0.0),
    ("open_close_ratio", open_over_close, "open / close - 1", -1.0),
    ("close_open_ratio", close_over_open, "close / open - 1", -1.0),
    ("range_ratio", range_over_close, "(high - low) / close", 0.0),
):
    register(
        Column(
            name=_name,
            function=_function,
            formula=f"{_formula}; unknown at prices of 0 and below",
            unit="ratio",
            inputs=("price",),
            candle=True,
            warm_rows=1,
            bounds=(_least, math.inf),
        )
    )
register(
    Column(
        name="day_of_week",
        function=day_of_week,
        formula="0 (Monday) to 6 (Sunday), UTC, of the last nanosecond before the row's end",
        unit="label",
        inputs=("price",),
        candle=True,
        warm_rows=1,
        bounds=(0.0, 6.0),
    )
)
