"""How well a score orders rows: ROC and precision-recall, their areas, and thresholds.

``up (N,)`` is 1.0 for the class that is looked for, else 0.0; ``p (N,)`` its score.  Equal scores are one step.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from models.evaluation.draws import Draws

Float64 = npt.NDArray[np.float64]
_CELLS_MAX = 4_000_000  # weights of draws times rows at a time: 32 MB an array
_CURVE_POINTS = 400


def _steps(up: Float64, p: Float64, weight: Float64) -> tuple[Float64, Float64]:
    """Weight of ups and of the others at and above each distinct score, from the greatest down: ``(..., S)`` each."""
    order = np.argsort(-p, kind="stable")
    ends = np.flatnonzero(np.r_[np.diff(p[order]) != 0, True])
    found = np.cumsum((weight * up)[..., order], axis=-1)[..., ends]
    wrong = np.cumsum((weight * (1.0 - up))[..., order], axis=-1)[..., ends]
    return found, wrong


def _roc_area(found: Float64, wrong: Float64) -> Float64:
    """Probability that an up row has the greater score, ties half; 0.5 when one of them is absent."""
    before = np.concatenate([np.zeros_like(found[..., :1]), found[..., :-1]], axis=-1)
    steps = np.diff(wrong, axis=-1, prepend=0.0)
    pairs = found[..., -1] * wrong[..., -1]
    area = ((found + before) / 2 * steps).sum(axis=-1)
    share: Float64 = np.divide(area, pairs, out=np.full_like(area, 0.5), where=pairs > 0)
    return share


def _precision_area(found: Float64, wrong: Float64) -> Float64:
    """Average precision: precision at each score by the recall it adds; 0 when there is no up row."""
    said = found + wrong
    precision = np.divide(found, said, out=np.zeros_like(found), where=said > 0)
    area = (precision * np.diff(found, axis=-1, prepend=0.0)).sum(axis=-1)
    share: Float64 = np.divide(area, found[..., -1], out=np.zeros_like(area), where=found[..., -1] > 0)
    return share


def roc_auc(up: Float64, p: Float64, weight: Float64 | None = None) -> float:
    return float(_roc_area(*_steps(up, p, np.ones(len(up)) if weight is None else weight)))


def average_precision(up: Float64, p: Float64, weight: Float64 | None = None) -> float:
    return float(_precision_area(*_steps(up, p, np.ones(len(up)) if weight is None else weight)))


def auc_draws(up: Float64, p: Float64, draws: Draws) -> tuple[Float64, Float64]:
    """ROC-AUC and average precision in each draw: ``(D,)`` each, in pieces that fit into memory."""
    at_once = max(1, _CELLS_MAX // max(1, len(up)))
    roc, precision = [], []
    for start in range(0, len(draws.counts), at_once):
        found, wrong = _steps(up, p, draws.counts[start : start + at_once][:, draws.of_row])
        roc.append(_roc_area(found, wrong))
        precision.append(_precision_area(found, wrong))
    return np.concatenate(roc), np.concatenate(precision)


def roc_curve(up: Float64, p: Float64) -> tuple[Float64, Float64]:
    """False positive rate and true positive rate, thinned for a chart."""
    found, wrong = _steps(up, p, np.ones(len(up)))
    x, y = np.r_[0.0, wrong / max(wrong[-1], 1.0)], np.r_[0.0, found / max(found[-1], 1.0)]
    return _thinned(x), _thinned(y)


def precision_recall_curve(up: Float64, p: Float64) -> tuple[Float64, Float64]:
    """Recall and precision, thinned for a chart."""
    found, wrong = _steps(up, p, np.ones(len(up)))
    return _thinned(found / max(found[-1], 1.0)), _thinned(found / (found + wrong))


def _thinned(values: Float64) -> Float64:
    if len(values) <= _CURVE_POINTS:
        return values
    return values[np.unique(np.linspace(0, len(values) - 1, _CURVE_POINTS).astype(np.int64))]


def best_threshold(up: Float64, p: Float64) -> float:
    """The score from which saying "up" has the greatest F1; the least said of several.  Only for validation rows."""
    found, wrong = _steps(up, p, np.ones(len(up)))
    f1 = 2 * found / np.maximum(found + wrong + found[-1], 1e-12)
    scores = np.unique(p)[::-1]
    return float(scores[int(np.argmax(f1))])
