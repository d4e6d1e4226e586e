"""What hourly rows say about the last day and the last week, and the set of columns made of it.

Owns spans of 24 and 168 rows of returns, volatility and range; the columns are those of ``returns``.
"""

from __future__ import annotations

from typing import Final

from engine.features.column import register
from engine.features.columns.returns import range_over, return_over, volatility_over

DAY_ROWS: Final = 24
WEEK_ROWS: Final = 168

for _n in (DAY_ROWS, WEEK_ROWS):
    register(return_over(_n))
    register(volatility_over(_n))
    register(range_over(_n))

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
