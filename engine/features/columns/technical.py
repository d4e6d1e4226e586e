"""Indicators in units that do not depend on the price, and the sets of technical columns."""

from __future__ import annotations

import math
from typing import Final

from engine.features import layout as at
from engine.features.column import Column, register
from engine.features.columns import momentum as _momentum  # noqa: F401 - registers atr_14
from engine.features.columns import trend as _trend  # noqa: F401 - registers sma_20 and macd_line
from engine.features.jit import kernel
from engine.features.layout import NAN, State


@kernel
def per_close(s: State, value: float) -> float:
    close = at.last(s, at.CLOSE, 0)
    if close > 0.0:
        return value / close
    return NAN


@kernel
def above(s: State, level: float) -> float:
    if level > 0.0:
        return (at.last(s, at.CLOSE, 0) - level) / level
    return NAN


for _name, _used, _warm_rows in (("macd_ratio", "macd_line", 26), ("atr_ratio", "atr_14", 15)):
    register(
        Column(
            name=_name,
            function=per_close,
            uses=(_used,),
            formula=f"{_used} / close; unknown at prices of 0 and below",
            unit="ratio",
            inputs=("price",),
            candle=True,
            warm_rows=_warm_rows,
        )
    )
register(
    Column(
        name="sma_gap_20",
        function=above,
        uses=("sma_20",),
        formula="close / sma_20 - 1; unknown at prices of 0 and below",
        unit="ratio",
        inputs=("price",),
        candle=True,
        warm_rows=20,
        bounds=(-1.0, math.inf),
    )
)

TECHNICAL40: Final = (
    "open",
    "high",
    "low",
    "close",
    "volume",
    "ret_1",
    "sma_10",
    "sma_20",
    "sma_50",
    "ema_12",
    "ema_26",
    "macd_line",
    "macd_signal",
    "macd_histogram",
    "rsi_14",
    "stoch_k",
    "stoch_d",
    "cci_20",
    "roc_10",
    "trix_15",
    "atr_14",
    "bb_upper",
    "bb_middle",
    "bb_lower",
    "bb_width",
    "bb_position",
    "keltner_upper",
    "keltner_middle",
    "keltner_lower",
    "obv",
    "ad_line",
    "mfi_14",
    "vwap",
    "simple_ret_1",
    "high_low_ratio",
    "open_close_ratio",
    "volume_sma_20",
    "volume_ratio",
    "adx_14",
    "willr_14",
)
"""Six columns of a candle and the 34 common indicators."""

HYBRID11: Final = (
    "ret_1",
    "range_ratio",
    "close_open_ratio",
    "volume_z20",
    "rsi_14",
    "macd_ratio",
    "bb_position",
    "atr_ratio",
    "sma_gap_20",
    "rv_20",
    "day_of_week",
)
"""What a candle network for return, volatility and regime reads; nothing in it grows with the price."""
