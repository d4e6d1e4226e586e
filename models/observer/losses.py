"""What a forecast costs when its outcome is known, nats a row: of a probability of rising, and of a return.

Owns the formulas, for whoever compares two models and for whoever weighs members.  A probability costs its logarithmic
loss.  A return costs that of a normal around it with the deviation of the moves of late (``models.observer.scale``),
less what is the same for every forecast: ``(outcome - said)^2 / (2 scale^2)``.  Squared error is what a forecast of a
mean is to be judged by (T. Gneiting, Making and evaluating point forecasts, JASA 2011); in parts of a scale that was
known before, calm hours count as wild ones do.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np

P_MIN: Final = 1e-6
"""As ``models.evaluation.losses`` has it: a certain error costs 13.8 nats, not infinity."""
P_EDGE: Final = 0.05
"""Probabilities are cut to 5 to 95 % before their losses are compared, so that a loss has a bound."""
OUTCOME_EDGE: Final = 3.0
SAID_EDGE: Final = 1.0
"""Scales that a return, and a forecast of one, are cut at for the same reason."""
LOSS_GAP_MAX: Final = float(np.log((1.0 - P_EDGE) / P_EDGE))
"""Of one row, nats: by how much two compared losses of probabilities may differ."""
RETURN_GAP_MAX: Final = 2.0 * OUTCOME_EDGE * SAID_EDGE
"""And two of returns: ``(a - b)(2 z - a - b) / 2`` is greatest with both cuts reached."""


def log_loss(p: float, rose: float) -> float:
    """Of the probability of a rise, as ``models.evaluation.losses.log_losses``; ``rose``: 1 or 0."""
    return float(-np.log(max(p if rose else 1.0 - p, P_MIN)))


def return_loss(said: float, outcome: float, scale: float) -> float:
    """Of a log return; NaN where the scale is not known."""
    if math.isnan(scale):
        return math.nan
    came = min(max(outcome / scale, -OUTCOME_EDGE), OUTCOME_EDGE)
    return 0.5 * (came - min(max(said / scale, -SAID_EDGE), SAID_EDGE)) ** 2


def compared_loss(said: float, outcome: float, scale: float | None = None) -> float:
    """Of one row beside another model's on the same: two differ by ``LOSS_GAP_MAX`` at most where ``scale`` is None (a
    probability), else by ``RETURN_GAP_MAX``."""
    if scale is not None:
        return return_loss(said, outcome, scale)
    p = min(max(said, P_EDGE), 1.0 - P_EDGE)
    return float(-np.log(p if outcome else 1.0 - p))
