"""What a task is: which labels its rows carry, what the raw outputs of the network stand for, and how that is judged.

Owns the plan only, plain data without torch.  A task has one target or several; each target is a run that can be
evaluated by itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from engine.errors import ConfigError, DataError
from models.evaluation.description import Kind
from models.labels import Labels, LabelSpec
from models.labels import regimes as regime_labels
from models.labels.barrier import REACHED
from models.networks.heads import Head, output_count
from models.trainer.settings import TrainSettings

Float64 = npt.NDArray[np.float64]

DIRECTION: Final = ("DOWN", "UP")
MOVES: Final = ("DOWN", "FLAT", "UP")
SIGNAL: Final = ("WAIT", "BUY")
_HEADS: Final[dict[str, Head]] = {
    "direction": "binary",
    "signal": "binary",
    "classes": "three_class",
    "regime": "regime",
    "return": "regression",
    "variance": "regression",
    "multi_task": "multi_task",
    "multi_horizon": "multi_horizon",
}
_CLASSES: Final[dict[str, tuple[str, ...]]] = {
    "direction": DIRECTION,
    "signal": SIGNAL,
    "classes": MOVES,
    "regime": regime_labels.NAMES,
}
EASY: Final = "easy"
"""The curriculum's label among those of the rows."""


@dataclass(frozen=True)
class Target:
    """One forecast.  ``outputs``: the columns of the raw outputs it is made of; ``label``: the name of its labels.

    ``horizon_rows``: how far it reads; ``column``: which of several values a label has, where it is one of them.
    """

    name: str
    task: str
    kind: Kind
    outputs: slice
    label: str
    horizon_rows: int
    column: int | None = None

    @property
    def classes(self) -> tuple[str, ...]:
        return _CLASSES.get(self.task, ())

    def values(self, labels: Float64, volatile_above: float, trend: float) -> Float64:
        """(N,) what is learned, of label values ``(N,)`` or ``(N, H)``: a class number, a variance or a return; NaN for
        a row that has none: a price that did not move has no direction, and no variance to take the logarithm of."""
        if self.task == "direction":
            return np.where(labels == 0.0, np.nan, (labels > 0).astype(np.float64))
        if self.task == "signal":
            return (labels == REACHED).astype(np.float64)
        if self.task == "regime":
            stretch = Labels(labels, np.zeros(len(labels), np.int64))
            return regime_labels.classes(stretch, volatile_above, trend).values
        if self.task == "variance":
            return np.where(labels > 0, labels, np.nan)
        return labels if self.column is None else labels[:, self.column]


@dataclass(frozen=True)
class Plan:
    """``labels``: by name, as the row store keeps them; ``outputs``: how many raw outputs the network has."""

    head: Head
    horizons: int
    targets: tuple[Target, ...]
    labels: dict[str, LabelSpec]

    @property
    def outputs(self) -> int:
        return output_count(self.head, self.horizons)

    @property
    def single(self) -> bool:
        return len(self.targets) == 1


def plan_of(settings: TrainSettings, interval_ns: int) -> Plan:
    """``interval_ns``: length of a row, 0 where it has none.  Raises ``ConfigError`` for horizons that are no rows."""
    head, task = _HEADS[settings.task], settings.task
    labels = {"label": settings.label} if settings.label is not None else dict(settings.labels)
    horizons = 1
    if task == "multi_horizon":
        rows = settings.horizon.horizons_of(interval_ns)
        horizons = len(rows)
        targets = tuple(
            Target(f"h{h}", "return", "return", slice(i, i + 1), "label", h, column=i) for i, h in enumerate(rows)
        )
    elif task == "multi_task":
        # The order of the outputs is that of the head (``models.networks.heads.split_tasks``).
        places = {"return": slice(0, 1), "variance": slice(1, 2), "regime": slice(2, output_count(head))}
        targets = tuple(
            Target(name, name, _kind(name), place, name, _reach(labels[name])) for name, place in places.items()
        )
    else:
        outputs = slice(0, output_count(head))
        targets = (Target(task, task, _kind(task), outputs, "label", _reach(settings.horizon)),)
    if settings.curriculum is not None:
        labels[EASY] = settings.curriculum.label
    return Plan(head, horizons, targets, labels)


def _reach(label: LabelSpec) -> int:
    """How many rows a label looks ahead; the easy regime's stretch lies behind its row but for one."""
    return 1 if label.kind == "regime_ending_next" else label.horizon_rows


def _kind(task: str) -> Kind:
    if task in _CLASSES:
        return "classes"
    return "variance" if task == "variance" else "return"


def joined(labels: dict[str, Labels]) -> Labels:
    """The rows that have all of the labels, each known when the last of them is; the values of the first."""
    first = next(iter(labels.values()))
    known = np.logical_and.reduce([one.known for one in labels.values()])
    last = np.max([one.last for one in labels.values()], axis=0)
    return Labels(first.values, np.where(known, last, -1))


def check_classes(target: Target, values: Float64) -> None:
    """Raises ``DataError`` for a class that no training row is of: nothing could be learned about it."""
    if not target.classes:
        return
    counts = np.bincount(values.astype(np.int64), minlength=len(target.classes))
    absent = [name for name, count in zip(target.classes, counts, strict=True) if not count]
    if absent:
        raise DataError(
            f"no training row is {', '.join(absent)}",
            expected=f"rows of each class ({', '.join(target.classes)})",
            do="take a longer period or another threshold of the label",
        )


def check_monitor(monitor: str, plan: Plan, known: frozenset[str]) -> None:
    """Raises ``ConfigError`` for a score that the task does not have."""
    if monitor and (not plan.single or monitor not in known):
        raise ConfigError(
            f"fit.monitor {monitor!r} of a task with {len(plan.targets)} forecast{'s' * (not plan.single)}",
            expected=f"one of {', '.join(sorted(known))}" if plan.single else "none: several are judged together",
        )
