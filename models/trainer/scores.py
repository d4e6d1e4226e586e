"""Scores of an epoch: the same formulas as in the evaluation, without intervals.

Owns their names in ``metrics.jsonl`` and what an epoch is chosen by.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from models.evaluation.calibration import expected_calibration_error
from models.evaluation.comparison import LESS_IS_BETTER
from models.evaluation.forecasts import qlikes, r2
from models.evaluation.losses import briers, confusion, direction_hits, log_losses
from models.evaluation.metrics import TABLE_SCORES, f1s, precisions, recalls
from models.evaluation.ranking import average_precision, best_threshold, roc_auc
from models.trainer.tasks import Plan, Target

Float64 = npt.NDArray[np.float64]

LOSS: Final = {"classes": "log_loss", "variance": "qlike", "return": "mse"}
KNOWN: Final[dict[str, frozenset[str]]] = {
    "classes": frozenset({"log_loss", "brier", "ece", *TABLE_SCORES, "roc_auc", "pr_auc"}),
    "variance": frozenset({"qlike", "r2_log"}),
    "return": frozenset({"mse", "r2_oos"}),
}
"""What an epoch of a single forecast may be chosen by."""
RANKED: Final = frozenset({"roc_auc", "pr_auc"})
"""Scores that need rows of a class and rows of none."""
SCORE: Final = "score"
"""Of several forecasts: the mean of their losses, each as a share of what knowing nothing costs."""


def score_target(target: Target, values: Float64, said: Float64, threshold: float | None = None) -> dict[str, float]:
    """Of forecasts ``said (N, K)`` against ``values (N,)``.  ``threshold``: from which a signal is said."""
    if target.kind == "variance":
        floor = np.maximum(said[:, 0], 1e-300)
        return {
            "qlike": float(qlikes(values, said[:, 0]).mean()),
            "r2_log": r2(np.log(values), np.log(floor)),
        }
    if target.kind == "return":
        moved = values != 0
        right = 0.5 + 0.5 * np.sign(said[moved, 0]) * np.sign(values[moved])
        return {
            "mse": float(((values - said[:, 0]) ** 2).mean()),
            "r2_oos": r2(values, said[:, 0], np.zeros_like(values)),
            "direction_accuracy": float(right.mean()) if moved.any() else 0.5,
        }
    return _score_classes(target, values.astype(np.int64), said, threshold)


def signal_threshold(target: Target, values: Float64, said: Float64) -> float | None:
    """Of a signal, the probability with the greatest F1; only for validation rows."""
    return best_threshold(values, said[:, 1]) if target.task == "signal" else None


def _score_classes(
    target: Target, label: npt.NDArray[np.int64], p: Float64, threshold: float | None
) -> dict[str, float]:
    chosen = p.argmax(axis=1) if threshold is None else (p[:, 1] >= threshold).astype(np.int64)
    table = confusion(label, chosen, len(target.classes)).sum(axis=0)
    scores = {
        "log_loss": float(log_losses(label, p).mean()),
        "brier": float(briers(label, p).mean()),
        "ece": expected_calibration_error(label, p),
        **{name: float(of(table)) for name, of in TABLE_SCORES.items()},
    }
    looked_for = [1] if p.shape[1] == 2 else range(p.shape[1])
    there = [one for one in looked_for if 0 < (label == one).sum() < len(label)]
    if there:
        each = [((label == one).astype(np.float64), p[:, one]) for one in there]
        scores["roc_auc"] = float(np.mean([roc_auc(one, q) for one, q in each]))
        scores["pr_auc"] = float(np.mean([average_precision(one, q) for one, q in each]))
    if "UP" in target.classes and "DOWN" in target.classes and len(target.classes) > 2:
        moved, right = direction_hits(label, p, target.classes.index("DOWN"), target.classes.index("UP"))
        if moved.any():
            scores["direction_accuracy"] = float(right.mean())
    for name, of in (("precision", precisions), ("recall", recalls), ("f1", f1s)):
        scores |= {f"{name}.{each}": float(value) for each, value in zip(target.classes, of(table), strict=True)}
    for truth, row in zip(target.classes, table, strict=True):
        scores |= {f"confusion.{truth}.{each}": float(count) for each, count in zip(target.classes, row, strict=True)}
    return scores


def naive_loss(target: Target, train: Float64, values: Float64) -> float:
    """The loss on ``values`` of whoever knows the training's mean alone (of a return: nothing)."""
    if target.kind == "classes":
        share = np.bincount(train.astype(np.int64), minlength=len(target.classes)) / len(train)
        return float(log_losses(values.astype(np.int64), np.tile(share, (len(values), 1))).mean())
    if target.kind == "variance":
        return float(qlikes(values, np.full(len(values), train.mean())).mean())
    return float((values**2).mean())


def named(plan: Plan, each: list[dict[str, float]], naive: list[float]) -> dict[str, float]:
    """The scores of all targets in one; of several under ``target.score``, with ``SCORE`` of them together."""
    if plan.single:
        return each[0]
    found = {
        f"{target.name}.{name}": value
        for target, scores in zip(plan.targets, each, strict=True)
        for name, value in scores.items()
    }
    shares = [
        scores[LOSS[target.kind]] / max(base, 1e-300)
        for target, scores, base in zip(plan.targets, each, naive, strict=True)
    ]
    return found | {SCORE: float(np.mean(shares))}


def monitored(plan: Plan, monitor: str) -> str:
    """The name of the score that chooses the epoch."""
    return monitor or (LOSS[plan.targets[0].kind] if plan.single else SCORE)


def cost(name: str, scores: dict[str, float]) -> float:
    """The monitored score as something that is to be small."""
    less = name == SCORE or name in LESS_IS_BETTER
    value = scores.get(name, float("nan"))
    return value if less else -value
