"""What became of a model's predictions, in a window of fixed size: losses, calibration, hits, profit, latency.

Owns the figures.  When an outcome is known is ``models.observer.maturing``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from models.observer.losses import P_MIN, log_loss
from models.reliability import expected_calibration_error

Float64 = npt.NDArray[np.float64]

CALIBRATED_MIN: Final = 100
"""Rows, before anything is said of calibration."""
CONFIDENCES: Final = (0.0, 0.1, 0.2, 0.4, 0.6, 1.0)
"""Edges of ``|2 p - 1|`` by which hits are told."""
_LATENCIES: Final = 2_048


class Ring:
    """The last ``size`` rows of ``width`` numbers."""

    def __init__(self, size: int, width: int = 1) -> None:
        self._rows = np.zeros((size, width))
        self.count = 0
        """Rows ever added."""

    def add(self, *row: float) -> None:
        self._rows[self.count % len(self._rows)] = row
        self.count += 1

    def all(self) -> Float64:
        """``(n, width)``, oldest first."""
        size = len(self._rows)
        if self.count <= size:
            return self._rows[: self.count]
        at = self.count % size
        return np.concatenate([self._rows[at:], self._rows[:at]])

    def __len__(self) -> int:
        return min(self.count, len(self._rows))


def calibration_error(outcomes: Sequence[Outcomes]) -> float | None:
    """Of the rows that several hold together, all probabilities or all returns; None before 100 of them."""
    held = [one.rows for one in outcomes]
    rows = np.concatenate(held) if held else np.zeros((0, 2))
    if len(rows) >= CALIBRATED_MIN:
        chances = np.stack([1.0 - rows[:, 0], rows[:, 0]], axis=1)
        return expected_calibration_error(rows[:, 1].astype(np.int64), chances)
    return miscalibration([one.returns for one in outcomes])


def miscalibration(returns: Sequence[Float64]) -> float | None:
    """By how much the squared error falls, in parts of the mean square of the moves, where what was said is replaced by
    the line ``a + b said`` through what came.  ``returns``: of each instrument ``(n, 2)`` predicted and realised log
    returns, each in its own root mean square; None before 100 rows in all.

    ``(mean(said) - mean(came))^2 + (1 - b)^2 var(said)``: bias and slope in the decomposition of J. Mincer, V.
    Zarnowitz, The Evaluation of Economic Forecasts (NBER 1969); 0 where a is 0 and b is 1.
    """
    moving = [one / rms for one in returns if len(one) and (rms := float(np.sqrt((one[:, 1] ** 2).mean()))) > 0.0]
    rows = np.concatenate(moving) if moving else np.zeros((0, 2))
    if len(rows) < CALIBRATED_MIN:
        return None
    said, came = rows.T
    slope = slope_of(said, came)
    return float((said.mean() - came.mean()) ** 2 + (0.0 if slope is None else (1.0 - slope) ** 2 * said.var()))


def slope_of(said: Float64, came: Float64) -> float | None:
    """Of the line through what came over what was said (Mincer and Zarnowitz): below 1 where moves are said greater
    than they come.  None where the same was said each time."""
    if said.min() == said.max():  # their variance is then what their mean was rounded by
        return None
    return float(((said - said.mean()) * (came - came.mean())).mean() / said.var())


class Outcomes:
    """Of one version on one instrument.  ``rows``: how many matured rows, and signals, are held; ``error_max``: within
    which nine in ten returns came on validation rows (NaN: not known)."""

    def __init__(self, rows: int, error_max: float = math.nan) -> None:
        self._error_max = error_max
        self._rows = Ring(rows, 2)
        self._signals = Ring(rows)
        self._variances = Ring(rows, 2)
        self._returns = Ring(rows, 2)
        self._latencies = Ring(_LATENCIES)
        self.predictions = self.late = self.failed = self.unmatched = 0
        """Unmatched: predictions whose row was not found among those that were rebuilt."""

    @property
    def matured(self) -> int:
        return self._rows.count + self._returns.count

    @property
    def signals(self) -> int:
        return self._signals.count

    def add(self, p: float, rose: bool) -> float:
        """A direction that is known by now; its loss."""
        self._rows.add(p, float(rose))
        return log_loss(p, rose)

    def add_signal(self, profit_bps: float) -> None:
        self._signals.add(profit_bps)

    @property
    def variances(self) -> int:
        return self._variances.count

    def add_variance(self, predicted: float, realised: float) -> None:
        if predicted > 0.0 and realised > 0.0:
            self._variances.add(predicted, realised)

    def add_return(self, predicted: float, realised: float) -> bool | None:
        """Log returns.  Whether it came within ``error_max``; None where that is not known."""
        self._returns.add(predicted, realised)
        return None if math.isnan(self._error_max) else abs(realised - predicted) <= self._error_max

    def add_latency(self, latency_ns: int) -> None:
        self._latencies.add(latency_ns / 1e3)

    def calibration_error(self) -> float | None:
        """Of the held rows; None before 100 of them."""
        return calibration_error([self])

    @property
    def rows(self) -> Float64:
        """``(n, 2)``: probability of a rise, and whether it was one, oldest first."""
        return self._rows.all()

    @property
    def returns(self) -> Float64:
        """``(n, 2)``: predicted and realised log return, oldest first."""
        return self._returns.all()

    def coverage(self) -> float | None:
        """Share of the held returns that came within ``error_max``; None where there are none or it is not known."""
        if math.isnan(self._error_max) or not len(self._returns):
            return None
        predicted, realised = self.returns.T
        return float((np.abs(realised - predicted) <= self._error_max).mean())

    def latency_us(self, quantile: float) -> float | None:
        """Of the predictions that were made in the process that watches; None without any."""
        return float(np.quantile(self._latencies.all(), quantile)) if len(self._latencies) else None

    def hits(self) -> list[tuple[float, int, float]]:
        """By confidence: the lower edge of ``|2 p - 1|``, rows, share whose likelier side was right."""
        rows = self._rows.all()
        sure = np.abs(2.0 * rows[:, 0] - 1.0)
        right = (rows[:, 0] >= 0.5) == (rows[:, 1] == 1.0)
        bins = np.clip(np.searchsorted(CONFIDENCES, sure, side="right") - 1, 0, len(CONFIDENCES) - 2)
        return [
            (CONFIDENCES[one], int((bins == one).sum()), float(right[bins == one].mean()))
            for one in range(len(CONFIDENCES) - 1)
            if (bins == one).any()
        ]

    def figures(self) -> dict[str, Any]:
        """By name, only those that are known; ``hits`` is a list by confidence, the others are numbers."""
        found: dict[str, Any] = {
            "predictions": self.predictions,
            "late": self.late,
            "failed": self.failed,
            "unmatched": self.unmatched,
            "matured": self.matured,
            "signals": self.signals,
        }
        rows = self._rows.all()
        if len(rows):
            given = np.where(rows[:, 1] == 1.0, rows[:, 0], 1.0 - rows[:, 0])
            found["log_loss"] = float(-np.log(np.clip(given, P_MIN, 1.0)).mean())
            found["hit_rate"] = float(((rows[:, 0] >= 0.5) == (rows[:, 1] == 1.0)).mean())
            found["rose_share"] = float(rows[:, 1].mean())
            found["hits"] = [{"from": edge, "rows": count, "hit_rate": rate} for edge, count, rate in self.hits()]
        if len(self._returns):
            found |= self._return_figures()
        elif (error := self.calibration_error()) is not None:
            found["ece"] = error
        if len(self._signals):
            found["profit_bps"] = float(self._signals.all().mean())
        if len(self._variances):
            ratios = self._variances.all()[:, 1] / self._variances.all()[:, 0]
            found["variances"] = self.variances
            found["variance_ratio"] = float(ratios.mean())
            found["qlike"] = float((ratios - np.log(ratios) - 1.0).mean())
        for name, quantile in (("latency_p50_us", 0.5), ("latency_p99_us", 0.99)):
            if (latency_us := self.latency_us(quantile)) is not None:
                found[name] = latency_us
        return found

    def _return_figures(self) -> dict[str, float]:
        """``return_skill``: one less the squared error in parts of that of who forecasts no move (J. Y. Campbell, S. B.
        Thompson, RFS 2008, with nothing for the mean)."""
        predicted, realised = self.returns.T
        errors = ((realised - predicted) ** 2).sum()
        found = {"return_rmse_bps": 1e4 * float(np.sqrt(errors / len(realised)))}
        if (moves := (realised**2).sum()) > 0.0:
            moved = realised != 0.0
            found["return_skill"] = 1.0 - float(errors / moves)
            found["hit_rate"] = float((np.sign(predicted[moved]) == np.sign(realised[moved])).mean())
        if (error := self.calibration_error()) is not None:
            found["miscalibration"] = error
            if (slope := slope_of(predicted, realised)) is not None:
                found["calibration_slope"] = slope
        if (coverage := self.coverage()) is not None:
            found["coverage"] = coverage
        return found
