"""Whether another way to compute a network's forecast may take its place: scores of both on validation rows.

Owns the scores and what may be lost, for conversions to another precision and for a state that is carried on.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from models.trainer.dataset import Dataset, Part
from models.trainer.scores import LOSS, score_target

Float64 = npt.NDArray[np.float64]

F1_FALL_MAX: Final = 0.002
"""Of macro-F1: 0.2 points."""
ECE_RISE_MAX: Final = 0.005
LOSS_RISE_MAX: Final = 0.002
"""Of the loss of each forecast, of classes the log-loss, as a share.  Of four networks in three precisions it rose by
0.02 % at most, and what a forecast of direction knows is often less than 1 % of it."""


def compare(
    rows: Dataset, part: Part, before: list[Float64], after: list[Float64]
) -> tuple[float | None, dict[str, float], dict[str, float]]:
    """Share of rows with the same class (None where there are no classes), and the scores before and after, under the
    names of the forecasts where there are several.

    ``before`` and ``after``: for each forecast ``(N, K)``, probabilities of all classes, or the number.
    """
    scores: list[dict[str, float]] = [{}, {}]
    agreed: list[float] = []
    for number, target in enumerate(rows.plan.targets):
        values = rows.targets[part.index, number]
        for found, said in zip(scores, (before, after), strict=True):
            each = score_target(target, values, said[number])
            kept = ("macro_f1", "ece", "log_loss") if target.kind == "classes" else (LOSS[target.kind],)
            name = "" if rows.plan.single else f"{target.name}."
            found.update({name + score: float(f"{each[score]:.6g}") for score in kept})
        if target.kind == "classes":
            agreed.append(float((before[number].argmax(axis=1) == after[number].argmax(axis=1)).mean()))
    return min(agreed, default=None), *scores


def problems_of(
    agreement: float | None, before: dict[str, float], after: dict[str, float], agreement_min: float
) -> list[str]:
    """Every number that is not allowed, in words; none where it may take the place."""
    problems = []
    if agreement is not None and agreement < agreement_min:
        problems.append(f"{100 * agreement:.3f} % of rows have the same class (at least {100 * agreement_min:g} %)")
    for name, was in before.items():
        now, kind = after[name], name.rpartition(".")[2]
        if kind == "macro_f1":
            bad, allowed = not now >= was - F1_FALL_MAX, f"may fall by {F1_FALL_MAX}"
        elif kind == "ece":
            bad, allowed = not now <= was + ECE_RISE_MAX, f"may rise by {ECE_RISE_MAX}"
        else:
            bad, allowed = not now <= was * (1 + LOSS_RISE_MAX), f"may rise by {100 * LOSS_RISE_MAX:g} %"
        if bad:
            problems.append(f"{name} {was:.6g} becomes {now:.6g} ({allowed})")
    return problems
