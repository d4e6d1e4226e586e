"""What is gained by answering only when sure: risk by coverage, and the area under it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Float64 = npt.NDArray[np.float64]
_POINTS = 100


@dataclass(frozen=True)
class RiskCoverage:
    """Share of rows answered and the error among them; ``area`` under it (Geifman and El-Yaniv 2017), ``random``: the
    area of a confidence that knows nothing, which is the error itself, ``best``: that of a perfect order."""

    coverage: list[float]
    risk: list[float]
    area: float
    random: float
    best: float


def risk_coverage(confidence: Float64, loss: Float64) -> RiskCoverage:
    """``loss (N,)`` of rows, the surest first; equal confidences count as one step with their mean."""
    order = np.argsort(-confidence, kind="stable")
    risks = _running_means(_tied(confidence[order], loss[order]))
    places = np.unique(np.linspace(0, len(loss) - 1, _POINTS).astype(np.int64))
    return RiskCoverage(
        [float(place + 1) / len(loss) for place in places],
        [float(risks[place]) for place in places],
        float(risks.mean()),
        float(loss.mean()),
        float(_running_means(np.sort(loss)).mean()),
    )


def _tied(confidence: Float64, loss: Float64) -> Float64:
    """Loss by row, the mean of each group of equal confidence."""
    _, group, rows = np.unique(-confidence, return_inverse=True, return_counts=True)
    means: Float64 = (np.bincount(group, weights=loss) / rows)[group]
    return means


def _running_means(values: Float64) -> Float64:
    means: Float64 = np.cumsum(values) / np.arange(1, len(values) + 1)
    return means
