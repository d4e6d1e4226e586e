"""Scores of forecasts of a quantity: variances by QLIKE, returns by R² out of sample.

A variance forecast and its target are positive and of one unit (squared log returns); returns are log returns.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from models.evaluation.draws import Draws, Estimate, mean_estimate

Float64 = npt.NDArray[np.float64]
_VARIANCE_MIN = 1e-12


def qlikes(target: Float64, forecast: Float64) -> Float64:
    """Per row: ``t/f - ln(t/f) - 1`` (Patton 2011), 0 when equal; robust to noise in the target."""
    ratio = np.maximum(target, _VARIANCE_MIN) / np.maximum(forecast, _VARIANCE_MIN)
    losses: Float64 = ratio - np.log(ratio) - 1.0
    return losses


def r2(target: Float64, forecast: Float64, benchmark: Float64 | None = None) -> float:
    """``1 - SSE / SSE(benchmark)``; the benchmark is the mean of ``target`` where none is given.

    With the training mean or 0 as benchmark this is R² out of sample (Campbell and Thompson 2008).
    """
    reference = float(target.mean()) if benchmark is None else benchmark
    whole = float(((target - reference) ** 2).sum())
    return 1.0 - float(((target - forecast) ** 2).sum()) / whole if whole > 0 else 0.0


def r2_draws(target: Float64, forecast: Float64, benchmark: Float64, draws: Draws) -> Float64:
    """R² against a given benchmark in each draw ``(D,)``."""
    sums = draws.drawn(np.stack([(target - forecast) ** 2, (target - benchmark) ** 2], axis=1))
    return 1.0 - sums[:, 0] / np.maximum(sums[:, 1], 1e-300)


def r2_log_draws(target: Float64, forecast: Float64, draws: Draws) -> Float64:
    """R² of logarithms about the mean of each draw ``(D,)``."""
    logs = np.log(np.maximum(target, _VARIANCE_MIN))
    error = logs - np.log(np.maximum(forecast, _VARIANCE_MIN))
    sums = draws.drawn(np.stack([error**2, logs, logs**2, np.ones_like(logs)], axis=1))
    spread = sums[:, 2] - sums[:, 1] ** 2 / np.maximum(sums[:, 3], 1.0)
    return 1.0 - sums[:, 0] / np.maximum(spread, 1e-300)


def variance_scores(target: Float64, forecast: Float64, draws: Draws) -> dict[str, Estimate]:
    """``qlike`` and ``r2_log``."""
    logs = np.log(np.maximum(target, _VARIANCE_MIN)), np.log(np.maximum(forecast, _VARIANCE_MIN))
    return {
        "qlike": mean_estimate(qlikes(target, forecast), draws),
        "r2_log": Estimate(r2(*logs), r2_log_draws(target, forecast, draws)),
    }


def return_scores(target: Float64, forecast: Float64, draws: Draws) -> dict[str, Estimate]:
    """``r2_oos`` against a forecast of nothing, ``mse``, and ``direction_accuracy`` where there was a move."""
    nothing = np.zeros_like(target)
    moved = target != 0
    hits = 0.5 + 0.5 * np.sign(forecast[moved]) * np.sign(target[moved])
    scores = {
        "r2_oos": Estimate(r2(target, forecast, nothing), r2_draws(target, forecast, nothing, draws)),
        "mse": mean_estimate((target - forecast) ** 2, draws),
    }
    return scores | ({"direction_accuracy": mean_estimate(hits, draws.where(moved))} if moved.any() else {})
