"""Where the price went: returns and classes of them.

``r[t] = ln(close[t + h] / close[t])``; prices of 0 and below have no logarithm and give no label.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from models.labels.labelled import Float64, Int64, Labels, Prices, ahead, check_horizon, unknown

DOWN: Final = 0
FLAT: Final = 1
UP: Final = 2


def log_return(close_px: Float64, horizon: int = 1) -> Labels:
    """``ln(close[t + horizon] / close[t])``."""
    check_horizon(horizon)
    rows = len(close_px)
    if rows <= horizon:
        return unknown(rows)
    with np.errstate(divide="ignore", invalid="ignore"):
        value = np.log(close_px[horizon:] / close_px[:-horizon])
    value[(close_px[horizon:] <= 0.0) | (close_px[:-horizon] <= 0.0)] = np.nan
    return ahead(value, horizon, rows)


def change_bps(close_px: Float64, horizon: int) -> Labels:
    """``1e4 (close[t + horizon] - close[t]) / close[t]``; also of negative prices, which some instruments have."""
    check_horizon(horizon)
    rows = len(close_px)
    if rows <= horizon:
        return unknown(rows)
    with np.errstate(divide="ignore", invalid="ignore"):
        value = (close_px[horizon:] - close_px[:-horizon]) / close_px[:-horizon] * 1e4
    return ahead(value, horizon, rows)


def past_sign(close_px: Prices, horizon: int) -> Int64:
    """(N,) sign of the move over the ``horizon`` rows before each row, 0 where there are not so many: persistence."""
    sign = np.zeros(len(close_px), np.int64)
    if len(close_px) > horizon:
        sign[horizon:] = np.sign(close_px[horizon:] - close_px[:-horizon])
    return sign


def classes(returns: Labels, threshold: float) -> Labels:
    """``UP`` where the return is greater than ``threshold``, ``DOWN`` where less than minus it, else ``FLAT``."""
    value = returns.values
    found = np.where(value > threshold, float(UP), np.where(value < -threshold, float(DOWN), float(FLAT)))
    return Labels(np.where(np.isnan(value), np.nan, found), returns.last)
