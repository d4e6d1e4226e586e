"""What hourly rows say about the last day and the last week, and the set of columns made of it.

Owns spans of 24 and 168 rows of returns, volatility and range; their functions are those of ``returns``.
"""

from __future__ import annotations

import math
from typing import Final

from engine.features.column import Column, register
from engine.features.columns.returns import high_low_range, log_return, realised_volatility

DAY_ROWS: Final = 24
WEEK_ROWS: Final = 168

for _n in (DAY_ROWS, WEEK_ROWS):
    register(
        Column(
            name=f"ret_{_n}",
            function=log_return,
            params=(_n,),
            formula=f"ln(close / close {_n} rows ago), as the sum of one-row returns",
            unit="return",
            inputs=("price",),
            candle=True,
            warm_rows=_n + 1,
        )
    )
    register(
        Column(
            name=f"rv_{_n}",
            function=realised_volatility,
            params=(_n,),
            formula=f"square root of the sum of squared ret_1 over {_n} rows",
            unit="return",
            bounds=(0.0, math.inf),
            inputs=("price",),
            candle=True,
            warm_rows=_n + 1,
            source="T. Andersen, T. Bollerslev, Answering the skeptics (1998)",
        )
    )
    register(
        Column(
            name=f"range_{_n}_bps",
            function=high_low_range,
            params=(_n,),
            formula=f"1e4 * (highest high - lowest low over {_n} rows) / close",
            unit="bps",
            bounds=(0.0, math.inf),
            inputs=("price",),
            candle=True,
            warm_rows=_n,
        )
    )

HOURLY28: Final = (
    "ret_1",
    "ret_2",
    "ret_5",
    "ret_24",
    "ret_168",
    "range_ratio",
    "close_open_ratio",
    "rv_5",
    "rv_24",
    "rv_168",
    "range_24_bps",
    "range_168_bps",
    "rsi_14",
    "adx_14",
    "willr_14",
    "macd_ratio",
    "bb_position",
    "atr_ratio",
    "sma_gap_20",
    "volume_z20",
    "volume_ratio",
    "volume_flow_20",
    "autocorrelation(1,50)",
    "price_volume_correlation(20)",
    "day_sin",
    "day_cos",
    "week_sin",
    "week_cos",
)
"""What a network of hourly candles reads; nothing in it grows with the price or the coin's volume."""
