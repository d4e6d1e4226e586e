"""Weights of a mixture of quantities: those whose mean of the members' forecasts loses the least.

Owns the losses of a pooled return and of a pooled variance, and the search.  They are pooled as a session pools them
(``models.mixture.model.combined``): variances by their mean, too, and not the mean of logarithms.
"""

from __future__ import annotations

from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from models.evaluation.forecasts import qlikes

Float64 = npt.NDArray[np.float64]
Quantity = Literal["return", "variance"]
_TINY: Final = 1e-300
_STILL: Final = 1e-12
_STEPS_MAX: Final = 500


def quantity_losses(kind: Quantity, target: Float64, said: Float64) -> Float64:
    """Per row ``(N,)``, as an evaluation has it: squared error of a ``return``, QLIKE of a ``variance``."""
    squares: Float64 = (target - said) ** 2
    return squares if kind == "return" else qlikes(target, said)


def quantity_weights(kind: Quantity, target: Float64, said: Float64) -> Float64:
    """(M,) weights, 0 or more and of sum 1, with the least mean loss of ``weights @ said``.

    ``target (N,)``, ``said (M, N)``: log returns, or variances above 0.  By SLSQP (D. Kraft 1988) from equal weights;
    squares are convex, QLIKE is not wherever a forecast is over twice what came, hence it is sought from each
    member alone as well.  What is found is never worse than equal weights or any one member.
    """
    from scipy.optimize import minimize

    members = len(said)
    begins = [np.full(members, 1.0 / members), *np.eye(members)]
    # Squares of returns are too small for a step size and a tolerance.
    scale = max(float(np.mean(target**2)), _TINY) if kind == "return" else 1.0

    def loss(weights: Float64) -> float:
        return float(quantity_losses(kind, target, weights @ said).mean()) / scale

    def slope(weights: Float64) -> Float64:
        pooled = weights @ said
        by_row = 2.0 * (pooled - target) if kind == "return" else (1.0 - target / pooled) / pooled
        found: Float64 = said @ by_row / (len(target) * scale)
        return found

    def search(begin: Float64) -> Float64:
        found = minimize(
            loss,
            begin,
            jac=slope,
            method="SLSQP",
            bounds=[(0.0, 1.0)] * members,
            constraints={"type": "eq", "fun": lambda weights: weights.sum() - 1.0, "jac": np.ones_like},
            options={"ftol": _STILL, "maxiter": _STEPS_MAX},
        )
        return _on_simplex(found.x)

    found = [search(begin) for begin in (begins if kind == "variance" else begins[:1])]
    # The first of those that lose the least: equal weights unless others are better.
    return min([begins[0], *found, *begins[1:]], key=loss)


def _on_simplex(weights: Float64) -> Float64:
    """What a search left below 0 or off the sum; equal weights where that is nothing."""
    whole = np.maximum(np.nan_to_num(weights), 0.0)
    total = whole.sum()
    found: Float64 = whole / total if total > 0.0 else np.full(len(whole), 1.0 / len(whole))
    return found
