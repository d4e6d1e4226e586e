"""Scores of class probabilities, from one confusion table and one loss per row.

Owns the formulas, each vectorised over leading axes, so that the same line scores a part and each of its 2,000 draws.
``label (N,)`` holds class numbers 0 to K-1, ``p (N, K)`` probabilities; a table ``(..., K, K)`` has the truth in rows
and what was said in columns.  Where a score is not defined it is 0, as scikit-learn has it, unless said.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from models.evaluation.calibration import expected_calibration_error
from models.evaluation.draws import Draws, Estimate, mean_estimate
from models.evaluation.losses import briers, confusion, direction_hits, log_losses, two_classes
from models.evaluation.ranking import auc_draws, average_precision, roc_auc
from models.manifest import Metric

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]


def _share(part: Float64, whole: Float64) -> Float64:
    """``part / whole``, 0 where there is nothing to share."""
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)


def accuracy(table: Float64) -> Float64:
    return _share(np.trace(table, axis1=-2, axis2=-1), table.sum(axis=(-2, -1)))


def precisions(table: Float64) -> Float64:
    """By class ``(..., K)``: of what was said, the share that was right."""
    return _share(np.diagonal(table, axis1=-2, axis2=-1).copy(), table.sum(axis=-2))


def recalls(table: Float64) -> Float64:
    """By class ``(..., K)``: of what happened, the share that was said."""
    return _share(np.diagonal(table, axis1=-2, axis2=-1).copy(), table.sum(axis=-1))


def f1s(table: Float64) -> Float64:
    """By class ``(..., K)``: the harmonic mean of the two."""
    hit = np.diagonal(table, axis1=-2, axis2=-1).copy()
    return _share(2 * hit, table.sum(axis=-2) + table.sum(axis=-1))


def macro_f1(table: Float64) -> Float64:
    """Mean of F1 over all K classes, an absent one with 0."""
    mean: Float64 = f1s(table).mean(axis=-1)
    return mean


def weighted_f1(table: Float64) -> Float64:
    """Mean of F1, each class by how often it happened."""
    happened = table.sum(axis=-1)
    return _share((f1s(table) * happened).sum(axis=-1), happened.sum(axis=-1))


def balanced_accuracy(table: Float64) -> Float64:
    """Mean recall over the classes that happened."""
    there = table.sum(axis=-1) > 0
    return _share((recalls(table) * there).sum(axis=-1), there.sum(axis=-1).astype(np.float64))


def mcc(table: Float64) -> Float64:
    """Matthews correlation coefficient of K classes (Gorodkin 2004); 0 where one side is constant."""
    hit, rows = np.trace(table, axis1=-2, axis2=-1), table.sum(axis=(-2, -1))
    happened, said = table.sum(axis=-1), table.sum(axis=-2)
    together = hit * rows - (happened * said).sum(axis=-1)
    spread = (rows**2 - (said**2).sum(axis=-1)) * (rows**2 - (happened**2).sum(axis=-1))
    return _share(together, np.sqrt(np.maximum(spread, 0.0)))


TABLE_SCORES = {
    "accuracy": accuracy,
    "balanced_accuracy": balanced_accuracy,
    "macro_f1": macro_f1,
    "weighted_f1": weighted_f1,
    "mcc": mcc,
}


def class_scores(
    label: Int64, p: Float64, said: Int64, draws: Draws, *, down: int = -1, up: int = -1
) -> dict[str, Estimate]:
    """Every score of one forecast.  ``said (N,)``: the class that the forecast stands for; ``down`` and ``up``: the
    classes that are moves, where there are such.

    ROC-AUC and PR-AUC are of the second class of two; of more, the mean of one against the rest over the classes that
    happened, without an interval.
    """
    classes = p.shape[1]
    hits = confusion(label, said, classes)
    whole, drawn = hits.sum(axis=0), draws.drawn(hits)
    scores = {
        "log_loss": mean_estimate(log_losses(label, p), draws),
        "brier": mean_estimate(briers(label, p), draws),
        "ece": Estimate(expected_calibration_error(label, p)),
        **{name: Estimate(float(of(whole)), of(drawn)) for name, of in TABLE_SCORES.items()},
    }
    if classes == 2:
        looked_for = (label == 1).astype(np.float64)
        roc, precision = auc_draws(looked_for, p[:, 1], draws)
        scores["roc_auc"] = Estimate(roc_auc(looked_for, p[:, 1]), roc)
        scores["pr_auc"] = Estimate(average_precision(looked_for, p[:, 1]), precision)
        for name, of in (("precision", precisions), ("recall", recalls), ("f1", f1s)):
            scores[name] = Estimate(float(of(whole)[1]), of(drawn)[:, 1])
    else:
        there = [one for one in range(classes) if 0 < (label == one).sum() < len(label)]
        one_of = [((label == one).astype(np.float64), p[:, one]) for one in there]
        if one_of:
            scores["roc_auc"] = Estimate(float(np.mean([roc_auc(one, q) for one, q in one_of])))
            scores["pr_auc"] = Estimate(float(np.mean([average_precision(one, q) for one, q in one_of])))
    if down >= 0 and up >= 0:
        moved, right = direction_hits(label, p, down, up)
        if moved.any():
            scores["direction_accuracy"] = mean_estimate(right, draws.where(moved))
    return scores


def per_class(label: Int64, said: Int64, names: tuple[str, ...]) -> list[dict[str, float | str]]:
    """A row per class: how often it happened and was said, precision, recall, F1."""
    table = confusion(label, said, len(names)).sum(axis=0)
    columns = (table.sum(axis=1), table.sum(axis=0), precisions(table), recalls(table), f1s(table))
    heads = ("rows", "said", "precision", "recall", "f1")
    return [
        {"class": name, **{head: float(column[number]) for head, column in zip(heads, columns, strict=True)}}
        for number, name in enumerate(names)
    ]


def score_binary(up: Float64, p: Float64, draws: Draws) -> dict[str, Metric]:
    """``log_loss``, ``accuracy``, ``mcc`` and ``roc_auc`` of the probability of a rise; 0.5 or more says up."""
    label, chance = up.astype(np.int64), p.astype(np.float64)
    scores = class_scores(label, two_classes(chance), (chance >= 0.5).astype(np.int64), draws)
    return {name: scores[name].metric for name in ("log_loss", "accuracy", "mcc", "roc_auc")}
