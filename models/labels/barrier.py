"""The triple-barrier label: target, stop or time-out, whichever comes first.

M. López de Prado, Advances in Financial Machine Learning (2018), chapter 3.  What a bar's high and low cannot tell,
which of two barriers it touched first, is decided against the trade: the stop.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Final

import numpy as np

from engine.errors import ConfigError
from models.labels.labelled import Int64, Labels, Prices, check_horizon, unknown

STOPPED: Final = -1
TIMED_OUT: Final = 0
REACHED: Final = 1


@dataclass(frozen=True)
class Barriers:
    """``labels``: REACHED, STOPPED or TIMED_OUT; ``touched (N,)``: the row that decided it, -1 without a label."""

    labels: Labels
    touched: Int64


def triple_barrier(
    close_px: Prices, high_px: Prices, low_px: Prices, *, target: Decimal, stop: Decimal, horizon: int
) -> Barriers:
    """Entry at ``close[t]``, then bars t + 1 to t + horizon: does ``high`` reach ``entry (1 + target)`` before ``low``
    reaches ``entry (1 - stop)``?  A bar that touches both was stopped.

    Prices are compared as ``high * b >= entry * a`` with the whole numbers a / b of ``1 + target``: exact where the
    prices are int64 ticks (``in_ticks``), while a product of floats may lie one rounding beside a price that touches
    exactly.

    A row with less than ``horizon`` bars behind it has no label, also where a barrier was touched: of the last rows
    only those that moved would be left.  A bar without prices makes the rows that look at it unknown.
    """
    check_horizon(horizon)
    if not (target > 0 and 0 < stop < 1):
        raise ConfigError(f"barriers at +{target} and -{stop}", expected="a target above 0 and a stop between 0 and 1")
    rows = len(close_px)
    found = unknown(rows)
    touched = np.full(rows, -1, np.int64)
    if rows <= horizon:
        return Barriers(found, touched)
    up, down = Fraction(1) + Fraction(target), Fraction(1) - Fraction(stop)
    entry = close_px[: rows - horizon]
    for px in (close_px, high_px, low_px):
        _check_room(px, up, down)
    # One step of the horizon at a time: memory stays that of the rows, whatever the horizon.
    outcome = np.full(len(entry), TIMED_OUT, np.int64)
    decided = np.full(len(entry), horizon, np.int64)
    open_ = np.ones(len(entry), bool)
    usable = np.isfinite(entry) & (entry > 0)
    for step in range(1, horizon + 1):
        high, low = high_px[step : step + len(entry)], low_px[step : step + len(entry)]
        usable &= np.isfinite(high) & np.isfinite(low)
        stopped = open_ & (low * down.denominator <= entry * down.numerator)
        reached = open_ & ~stopped & (high * up.denominator >= entry * up.numerator)
        outcome[stopped], outcome[reached] = STOPPED, REACHED
        decided[stopped | reached] = step
        open_ &= ~(stopped | reached)
    good = np.flatnonzero(usable)
    found.values[good] = outcome[good]
    found.last[good] = good + horizon
    touched[good] = good + decided[good]
    return Barriers(found, touched)


def on_grid(px: Prices, tick_px: Decimal) -> bool:
    """Whether all prices are whole numbers of ticks, to the digits that a quotient of floats of that size has."""
    exact = px[np.isfinite(px)] / float(tick_px)
    return bool((np.abs(exact - np.rint(exact)) <= 0.02).all() and (np.abs(exact) < 2**45).all()) and len(exact) == len(
        px
    )


def in_ticks(px: Prices, tick_px: Decimal, what: str = "prices that are no whole numbers of ticks") -> Int64:
    """Prices as whole numbers of ``tick_px``.  Raises ``ConfigError`` that says ``what`` where they are not on that
    grid (``on_grid``)."""
    if not on_grid(px, tick_px):
        raise ConfigError(f"{what} of {tick_px}", expected="prices on the grid")
    return np.rint(px / float(tick_px)).astype(np.int64)


def ambiguous(
    close_px: Prices, high_px: Prices, low_px: Prices, *, target: Decimal, stop: Decimal, horizon: int
) -> int:
    """Rows whose deciding bar touches both barriers: how often the rule, stop first, made the label."""
    up = Fraction(1) + Fraction(target)
    barriers = triple_barrier(close_px, high_px, low_px, target=target, stop=stop, horizon=horizon)
    rows = np.flatnonzero(barriers.labels.values == STOPPED)
    at = barriers.touched[rows]
    return int((high_px[at] * up.denominator >= close_px[rows] * up.numerator).sum())


def _check_room(px: Prices, up: Fraction, down: Fraction) -> None:
    """Whole numbers must not run over: 63 bits hold prices of a trillion ticks times barriers of six digits."""
    if px.dtype.kind != "i" or not len(px):
        return
    largest = int(np.abs(px).max()) * max(up.numerator, up.denominator, down.numerator, down.denominator)
    if largest >= 2**63:
        raise ConfigError("barriers with more digits than whole-number prices leave room for", expected="fewer digits")
