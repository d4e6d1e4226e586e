"""Where the middle of the book went, in half-ticks as whole numbers.

The mid is half the sum of best bid and best ask; their sum in ticks is a whole number, and so are sums of it.  A label
made of float means differs from its neighbour by rounding where nothing moved, and a tree learns that.

Point and smoothed labels: Z. Zhang, S. Zohren, S. Roberts, DeepLOB (2019), equations 2 to 4; A. Ntakaris et al.,
Benchmark dataset for mid-price forecasting (2018).
"""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import numpy as np

from engine.errors import ConfigError
from models.labels.labelled import Int64, Labels, check_horizon, unknown
from models.labels.returns import DOWN, FLAT, UP


def half_ticks(bid_ticks: Int64, ask_ticks: Int64) -> Int64:
    """(N,) twice the mid, in ticks."""
    return bid_ticks + ask_ticks


def point(mid_half_ticks: Int64, horizon: int, threshold: Decimal = Decimal(0)) -> Labels:
    """UP where ``mid[t + h] > mid[t] (1 + threshold)``, DOWN where below ``(1 - threshold)``, else FLAT."""
    check_horizon(horizon)
    count = len(mid_half_ticks)
    if count <= horizon:
        return unknown(count)
    now, then = mid_half_ticks[:-horizon], mid_half_ticks[horizon:]
    return _compared(then - now, now, Fraction(threshold), horizon, count)


def smoothed(mid_half_ticks: Int64, horizon: int, threshold: Decimal) -> Labels:
    """The mean mid of rows t + 1 to t + h against the mid of t (DeepLOB's equation 3), as classes.

    ``sum(mid[t + 1 .. t + h]) - h mid[t]`` against ``threshold h mid[t]``: all whole numbers, multiplied out.
    """
    check_horizon(horizon)
    count = len(mid_half_ticks)
    if count <= horizon:
        return unknown(count)
    now = mid_half_ticks[:-horizon] * horizon
    later = _sums(mid_half_ticks[1:], horizon)
    return _compared(later - now, now, Fraction(threshold), horizon, count)


def smoothed_both(mid_half_ticks: Int64, horizon: int, threshold: Decimal) -> Labels:
    """The mean mid of rows t + 1 to t + h against that of rows t - h + 1 to t (equation 4), as classes.

    Its past half is inputs; what it says of the future alone is less than it seems.
    """
    check_horizon(horizon)
    count = len(mid_half_ticks)
    if count < 2 * horizon:
        return unknown(count)
    sums = _sums(mid_half_ticks, horizon)
    before, later = sums[:-horizon], sums[horizon:]
    return _compared(later - before, before, Fraction(threshold), horizon, count, first=horizon - 1)


def _compared(moved: Int64, base: Int64, threshold: Fraction, horizon: int, count: int, first: int = 0) -> Labels:
    """Classes of ``moved`` against ``threshold * base``, of the rows from ``first`` on."""
    _check_room(moved, threshold.denominator)
    _check_room(base, threshold.numerator)
    scaled, bound = moved * threshold.denominator, np.abs(base) * threshold.numerator
    at = np.arange(len(moved)) + first
    found = unknown(count)
    found.values[at] = np.where(scaled > bound, float(UP), np.where(scaled < -bound, float(DOWN), float(FLAT)))
    found.last[at] = at + horizon
    return found


def _check_room(values: Int64, factor: int) -> None:
    """Whole numbers must not run over: a sum that did would be a class like any other."""
    if len(values) and int(np.abs(values).max()) * factor >= 2**63:
        raise ConfigError(
            "a label's threshold with more digits than its prices leave room for", expected="fewer digits"
        )


def _sums(values: Int64, count: int) -> Int64:
    """``(N - count + 1,)`` sums of neighbours; of whole numbers a running total is exact."""
    total = np.concatenate([[0], np.cumsum(values)])
    sums: Int64 = total[count:] - total[:-count]
    return sums
