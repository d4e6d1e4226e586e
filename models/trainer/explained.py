"""Which columns a trained network lives on, by its first seed and on validation rows: integrated gradients, and what
its score loses when a column is shuffled.

Owns what is explained: the network behind its normaliser, so that columns are compared in the units that it reads; raw
prices of several instruments have no mean window, and those of one are no window of another.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from models.evaluation.comparison import LESS_IS_BETTER
from models.evaluation.description import Task
from models.evaluation.draws import Draws, Estimate
from models.evaluation.importance import Importance, of_network, permutation, some_rows
from models.evaluation.ranking import best_threshold
from models.evaluation.scoring import LOSS, scores_of
from models.networks.served import Served
from models.trainer.dataset import Dataset, Part
from models.trainer.fit import Fitted
from models.trainer.readings import forecast
from models.trainer.tasks import Target

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
_ROWS: Final = 256
_BATCH: Final = 1024
_DRAWS: Final = 500
_PERMUTED_ROWS: Final = (400, 4096)
_MULTIPLICATIONS: Final = 5e11
"""What shuffling all columns may take: a minute or two of two cores.  Within the bounds of rows, a larger network is
explained on fewer of them."""
_WEIGHTS_LEAST: Final = 50_000
"""What a small network costs beside its weights, as if they were so many."""


class _Output(nn.Module):
    """``(B, W, F)`` normalised windows to one raw output ``(B, 1)``.  An embedding of instruments counts as that of an
    unknown one."""

    def __init__(self, served: Served, number: int) -> None:
        super().__init__()
        self.network, self.number = served.network, number

    def forward(self, x: Tensor) -> Tensor:
        raw: Tensor = self.network(x).flatten(1)
        return raw[:, self.number : self.number + 1]


def explained(rows: Dataset, fitted: Fitted, target: Target) -> list[Importance]:
    """Integrated gradients of each raw output of a forecast: of two classes the second's, of more one each."""
    served = fitted.served.eval()
    read = _read(rows, served, _some(rows.validation, _ROWS))
    outputs = range(target.outputs.start, target.outputs.stop)
    names = [f"network, {name}" for name in target.classes] if len(outputs) > 1 else ["network"]
    return [
        of_network(name, _Output(served, number), read, rows.table.spec.columns, target=0)
        for name, number in zip(names, outputs, strict=True)
    ]


def permuted(
    rows: Dataset, fitted: Fitted, number: int, task: Task, groups: Mapping[str, Sequence[str]] | None = None
) -> Importance:
    """What the score of forecast ``number`` loses with each column, or each of ``groups``; the whole column of a window
    moves together, and the instrument stays.

    The score is the task's primary one; its loss, where the rows that are explained have no such score.
    """
    served, target, reading = fitted.served.eval(), rows.plan.targets[number], fitted.readings[number]
    columns = rows.table.spec.columns
    part = _some(rows.validation, _rows_max(served, rows.window, len(columns)))
    label, asset = rows.targets[part.index, number], torch.from_numpy(rows.numbers[part.index])
    draws = Draws.cut(part.ts_ns, task.horizon_s, draws=_DRAWS)

    def said(read: Float32) -> Float64:
        with torch.no_grad():
            raw = [
                served.network(torch.from_numpy(read[at : at + _BATCH]), None, asset[at : at + _BATCH]).flatten(1)
                for at in range(0, len(read), _BATCH)
            ]
        return forecast(target, reading, torch.cat(raw).numpy().astype(np.float64))

    read = _read(rows, served, part)
    base = said(read)
    threshold = best_threshold((label == 1).astype(np.float64), base[:, 1]) if task.signal else None
    known = scores_of(task, label, base, draws, threshold)
    has_primary = task.primary in known and math.isfinite(known[task.primary].value)
    name = task.primary if has_primary else LOSS[task.kind]
    less = name in LESS_IS_BETTER

    def score(given: Float32) -> Estimate:
        return scores_of(task, label, said(given), draws, threshold)[name]

    return permutation(
        "network",
        read,
        columns,
        score,
        f"{'growth' if less else 'drop'} of {name}",
        less_is_better=less,
        groups=groups,
        of_rows=len(rows.validation),
    )


def _rows_max(served: Served, window: int, columns: int) -> int:
    """How many windows are shuffled: each of them costs at most all weights at each step, and there are three shuffles
    a column."""
    weights = max(sum(one.numel() for one in served.network.parameters()), _WEIGHTS_LEAST)
    low, high = _PERMUTED_ROWS
    return int(np.clip(_MULTIPLICATIONS / max(weights * window * columns * 3, 1), low, high))


def _some(part: Part, rows_max: int) -> Part:
    return Part(part.samples, type(part.part)(part.part.index[some_rows(len(part), rows_max)]))


@torch.no_grad()
def _read(rows: Dataset, served: Served, part: Part) -> Float32:
    """``(N, W, F)`` windows as the network reads them."""
    each = [
        served.normaliser(torch.from_numpy(rows.windows(part.position[at : at + _BATCH]))).numpy()
        for at in range(0, len(part), _BATCH)
    ]
    return np.concatenate(each)
