"""How much the price will move: variances of the rows ahead, and their logarithms.

All are of rows t + 1 to t + h, so that none of them is in a window that ends at t.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from models.labels.labelled import Float64, Labels, ahead, check_horizon, unknown

_PARKINSON: Final = 1.0 / (4.0 * math.log(2.0))


def realised_variance(close_px: Float64, horizon: int) -> Labels:
    """Sum of squared log returns of the ``horizon`` rows ahead.

    T. Andersen, T. Bollerslev, Answering the skeptics (1998).
    """
    check_horizon(horizon)
    if len(close_px) <= horizon:
        return unknown(len(close_px))
    with np.errstate(divide="ignore", invalid="ignore"):
        squared = np.diff(np.log(np.where(close_px > 0.0, close_px, np.nan))) ** 2
    return ahead(_sums(squared, horizon), horizon, len(close_px))


def parkinson_variance(high_px: Float64, low_px: Float64, horizon: int) -> Labels:
    """Mean over the ``horizon`` rows ahead of ``ln(high / low)^2 / (4 ln 2)``: the variance of one row.

    M. Parkinson, The extreme value method for estimating the variance of the rate of return (1980).
    """
    check_horizon(horizon)
    if len(high_px) <= horizon:
        return unknown(len(high_px))
    good = (low_px > 0.0) & (high_px >= low_px)
    with np.errstate(divide="ignore", invalid="ignore"):
        squared = np.where(good, np.log(np.where(good, high_px, 1.0) / np.where(good, low_px, 1.0)) ** 2, np.nan)
    return ahead(_PARKINSON / horizon * _sums(squared[1:], horizon), horizon, len(high_px))


def logarithm(variance: Labels) -> Labels:
    """The natural logarithm; a variance of 0, where nothing moved, has none and is left out."""
    positive = variance.known & (np.nan_to_num(variance.values) > 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        values = np.log(np.where(positive, variance.values, np.nan))
    return Labels(values, variance.last).only(positive)


def _sums(values: Float64, count: int) -> Float64:
    """``(N - count + 1,)`` sums of ``count`` neighbours, each added anew: a running total carries its errors along, and
    one value that is no number would be in all that follow."""
    sums: Float64 = np.lib.stride_tricks.sliding_window_view(values, count).sum(axis=1)
    return sums
