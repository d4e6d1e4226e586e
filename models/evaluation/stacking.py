"""A network and the best baselines as one forecast: their plain mean, and a mean whose weights validation rows chose.

D. Wolpert, Stacked generalization (1992).  Owns the weights.  They are above 0 and together 1: of a handful of
forecasts that say nearly the same, free weights would be noise.  The members were calibrated on the same rows and their
epochs and trees chosen there, so that the weights trust what fits those rows best; the plain mean beside them tells
what that is worth.  Both are judged and not served: a bundle is the network alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from models.evaluation.forecasts import qlikes
from models.evaluation.losses import log_losses
from models.evaluation.rows import Rows

Float64 = npt.NDArray[np.float64]
STACKED: Final = "stacked with baselines"
MEAN: Final = "mean with baselines"
PARTNERS: Final = frozenset(
    {"logistic regression", "logistic regression balanced", "ridge HAR-X", "ridge regression", "LightGBM", "zero"}
)
"""Baselines that are stacked with, where a task has them; means of them would be the same twice."""
_TINY = 1e-300


@dataclass(frozen=True)
class Pool:
    """``weights (M,)`` of members ``(M, N, K)``; of variances logarithms are weighed, of the rest what is said."""

    weights: tuple[float, ...]
    log: bool = False

    def of(self, members: Float64) -> Float64:
        """``(N, K)``."""
        weighed: Float64 = np.tensordot(np.array(self.weights), np.log(members) if self.log else members, axes=1)
        return np.exp(weighed) if self.log else weighed


def equal(members: int, *, log: bool) -> Pool:
    return Pool((1.0 / members,) * members, log)


def fit_pool(kind: str, rows: Rows, members: Float64) -> Pool:
    """The weights with the least loss of the ``rows``, validation rows alone: log-loss of ``classes``, QLIKE of a
    ``variance``, squares of a ``return``; ``members (M, N, K)``, K of a quantity 1."""
    from scipy.optimize import minimize

    def loss(logits: Float64) -> float:
        return _loss(kind, rows)(Pool(_softmax(logits), kind == "variance").of(members))

    found = minimize(loss, np.zeros(len(members)), method="L-BFGS-B", bounds=[(-8.0, 8.0)] * len(members))
    return Pool(_softmax(found.x), kind == "variance")


def _loss(kind: str, rows: Rows) -> Callable[[Float64], float]:
    if kind == "classes":
        return lambda said: float(log_losses(rows.classes, said).mean())
    if kind == "variance":
        return lambda said: float(qlikes(rows.label, said[:, 0]).mean())
    scale = max(float(np.mean(rows.label**2)), _TINY)  # squares of returns are too small for a step size
    return lambda said: float(np.mean((rows.label - said[:, 0]) ** 2)) / scale


def _softmax(logits: Float64) -> tuple[float, ...]:
    shares = np.exp(logits - logits.max())
    return tuple((shares / shares.sum()).tolist())
