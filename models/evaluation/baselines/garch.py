"""Variances that a series of returns alone foretells: GARCH(1,1) with Student's t, and RiskMetrics' EWMA.

Parameters come from returns up to the end of training; the recursion then walks on with them, a bar at a time, so that
a forecast at ``ts`` knows returns up to ``ts`` and nothing else.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from engine.errors import DataError
from models.evaluation.rows import Rows, Series

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]
EWMA = 0.94  # RiskMetrics (1996), of daily returns
_RETURNS_MIN = 250
_SCALE = 100.0  # the optimiser wants returns in percent


@dataclass(frozen=True)
class Garch:
    """``variance(t+1) = omega + alpha (r(t) - mean)² + beta variance(t)`` of log returns; ``nu``: freedom of t."""

    mean: float
    omega: float
    alpha: float
    beta: float
    nu: float

    def next_variances(self, log_return: Float64, start: float) -> Float64:
        """Variance of the bar after each: ``(T,)``.  ``start``: variance of the first bar."""
        out, variance = np.empty(len(log_return)), start
        for i, value in enumerate(log_return):
            variance = self.omega + self.alpha * (value - self.mean) ** 2 + self.beta * variance
            out[i] = variance
        return out

    def mean_variance(self, next_variance: Float64, horizon: int) -> Float64:
        """Expected variance per bar over the next ``horizon`` bars."""
        total, one = np.zeros_like(next_variance), next_variance
        for _ in range(horizon):
            total = total + one
            one = self.omega + (self.alpha + self.beta) * one
        return total / horizon


def fit_garch(log_return: Float64) -> Garch:
    """By maximum likelihood through ``arch``.  Raises ``DataError`` for too few returns or none that move."""
    from arch import arch_model

    if len(log_return) < _RETURNS_MIN or not log_return.std() > 0:
        raise DataError(f"{len(log_return)} returns for GARCH", expected=f"{_RETURNS_MIN} or more that move")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a fit that hardly moved warns; the forecast is scored like any other
        fitted = arch_model(log_return * _SCALE, mean="Constant", vol="GARCH", p=1, q=1, dist="t").fit(disp="off")
    values = fitted.params
    return Garch(
        float(values["mu"]) / _SCALE,
        float(values["omega"]) / _SCALE**2,
        float(values["alpha[1]"]),
        float(values["beta[1]"]),
        float(values["nu"]),
    )


def lack_of_returns(train: Rows, instruments: int) -> str:
    """Why GARCH cannot be fitted for every one of ``instruments``; empty when it can."""
    if train.series is None:
        return "GARCH and EWMA: the run has no series of returns"
    short = int((np.bincount(train.series.instrument, minlength=instruments) < _RETURNS_MIN).sum())
    return f"GARCH: {short} instrument(s) have fewer than {_RETURNS_MIN} training returns" if short else ""


def garch_forecast(train: Rows, validation: Rows, horizon: int) -> Callable[[Rows], Float64]:
    """Mean variance per bar over the horizon, by row.  One fit for each instrument, on training returns alone; the
    recursion walks through those of validation to get to the test."""
    series = _series(train, "train")
    before = Series.joined([series, _series(validation, "validation")])
    models: dict[int, tuple[Garch, float]] = {}
    for instrument in np.unique(series.instrument):
        own = series.log_return[series.instrument == instrument]
        models[int(instrument)] = fit_garch(own), float(own.var())

    def walk(instrument: int, log_return: Float64) -> Float64:
        if instrument not in models:
            raise DataError(
                f"instrument number {instrument} has no training returns for GARCH", expected="the same in all parts"
            )
        model, start = models[instrument]
        return model.mean_variance(model.next_variances(log_return, start), horizon)

    return lambda rows: _by_row(rows, before, walk)


def ewma_forecast(train: Rows, validation: Rows) -> Callable[[Rows], Float64]:
    """``variance(t+1) = 0.94 variance(t) + 0.06 r(t)²``, the same for each bar of the horizon."""
    before = Series.joined([_series(train, "train"), _series(validation, "validation")])

    def walk(_instrument: int, log_return: Float64) -> Float64:
        from scipy.signal import lfilter

        start = float(log_return[:_RETURNS_MIN].var())
        variances: Float64 = lfilter([1 - EWMA], [1.0, -EWMA], log_return**2, zi=[EWMA * start])[0]
        return variances

    return lambda rows: _by_row(rows, before, walk)


def _series(rows: Rows, part: str) -> Series:
    if rows.series is None:
        raise DataError(f"the {part} part has no series of returns", expected="one, for GARCH and EWMA")
    return rows.series


def _by_row(rows: Rows, before: Series, walk: Callable[[int, Float64], Float64]) -> Float64:
    """What ``walk`` gives at each row's time, over returns ``before`` the test and those of the row's own part."""
    whole = Series.joined([before, _series(rows, "scored")])
    out = np.empty(len(rows))
    for instrument in np.unique(rows.instrument):
        own = whole.instrument == instrument
        times, ours = whole.ts_ns[own], rows.instrument == instrument
        place = np.searchsorted(times, rows.ts_ns[ours], side="right") - 1
        if (place < 0).any() or (times[place] != rows.ts_ns[ours]).any():
            raise DataError("a row has no return of its own time", expected="a series with every bar of the rows")
        out[ours] = walk(int(instrument), whole.log_return[own])[place]
    return out
