"""Four regimes of the days ahead: bear, sideways, bull, volatile.

A label is made of two numbers, the volatility and the return of a stretch of rows; which volatility counts as high is
learned from training rows (``high_volatility``), so the classes exist only after the split (``classes``).

Two stretches: ``future`` is the one of record, rows t + 1 to t + h, which no input has seen.  ``ending_next`` ends at
t + 1 and shares all but one of its rows with the inputs: whoever repeats the regime of t is right nine times of ten.
It is there to show that, and nothing is to be traded on it.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from engine.errors import DataError
from models.labels.labelled import Float64, Labels, check_horizon, unknown

BEAR: Final = 0
SIDEWAYS: Final = 1
BULL: Final = 2
VOLATILE: Final = 3
NAMES: Final = ("bear", "sideways", "bull", "volatile")


def future(close_px: Float64, rows: int = 20) -> Labels:
    """``(N, 2)``: standard deviation (of a sample) and sum of the log returns of rows t + 1 to t + ``rows``."""
    return _stretch(close_px, rows, ahead_rows=rows)


def ending_next(close_px: Float64, rows: int = 20) -> Labels:
    """``(N, 2)``: the same of the ``rows`` rows that end at t + 1.  It overlaps the inputs: see the module."""
    return _stretch(close_px, rows, ahead_rows=1)


def current(close_px: Float64, rows: int = 20) -> Labels:
    """``(N, 2)``: the same of the ``rows`` rows that end at t; no label but what persistence says."""
    return _stretch(close_px, rows, ahead_rows=0)


def high_volatility(volatility: Float64, share: float = 0.8) -> float:
    """The quantile of training volatilities above which a stretch is volatile.  Give it training rows alone.

    Raises ``DataError`` when there are none.
    """
    known = volatility[np.isfinite(volatility)]
    if not len(known):
        raise DataError("no training row has a volatility ahead", expected="rows with a label", do="add data")
    return float(np.quantile(known, share))


def classes(stretch: Labels, volatile_above: float, trend: float = 0.03) -> Labels:
    """VOLATILE where the deviation exceeds ``volatile_above``; else BULL above ``trend``, BEAR below minus it, in log
    return; else SIDEWAYS."""
    deviation, total = stretch.values[:, 0], stretch.values[:, 1]
    found = np.full(len(stretch), float(SIDEWAYS))
    found[total > trend] = BULL
    found[total < -trend] = BEAR
    found[deviation > volatile_above] = VOLATILE
    return Labels(np.where(stretch.known, found, np.nan), stretch.last)


def _stretch(close_px: Float64, rows: int, ahead_rows: int) -> Labels:
    """Of the ``rows`` returns that end ``ahead_rows`` after each row."""
    check_horizon(rows)
    count = len(close_px)
    found = unknown(count, 2)
    if count <= rows or rows < 2:
        return found
    with np.errstate(divide="ignore", invalid="ignore"):
        returns = np.diff(np.log(np.where(close_px > 0.0, close_px, np.nan)))
    windows = np.lib.stride_tricks.sliding_window_view(
        returns, rows
    )  # window k: the returns into rows k + 1 ... k + rows
    deviation, total = windows.std(axis=1, ddof=1), windows.sum(axis=1)
    ends = np.arange(len(windows)) + rows
    at = ends - ahead_rows
    good = (at >= 0) & np.isfinite(deviation)
    found.values[at[good], 0], found.values[at[good], 1] = deviation[good], total[good]
    found.last[at[good]] = ends[good]
    return found
