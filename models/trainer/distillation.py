"""A network that learns from what a larger one says, beside the labels.

G. Hinton, O. Vinyals, J. Dean, Distilling the knowledge in a neural network (2015).  Owns the teacher, which is an
ordinary run on the same rows in ``RUN/teacher``, and its word in the units that the losses read.  A teacher of several
seeds says their mean: so the smaller network can be served alone and have learned from all of them.
"""

from __future__ import annotations

from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

from models.evaluation.losses import P_MIN
from models.evaluation.rows import Predictions
from models.trainer.dataset import Dataset
from models.trainer.readings import standard, unit_of
from models.trainer.settings import Tracking, TrainSettings

TEACHER: Final = "teacher"


def teacher_of(settings: TrainSettings) -> TrainSettings | None:
    """Settings of the teacher's run; None where nobody teaches.  Rates of parts are the student's own."""
    told = settings.distillation
    if told is msgspec.UNSET:
        return None
    fit = msgspec.structs.replace(settings.fit, seeds=told.seeds or settings.fit.seeds, learning_rates={})
    return msgspec.structs.replace(
        settings,
        name=f"{settings.name}-{TEACHER}",
        network=told.network,
        fit=fit,
        tracking=Tracking(),
        distillation=msgspec.UNSET,
    )


def taught(rows: Dataset, said: list[Predictions]) -> npt.NDArray[np.float32]:
    """(N, O) the raw outputs of all samples that would say what the teacher says of training rows; NaN of others.

    ``said``: of each target, on exactly the training rows.  Logits of the mean probabilities over the seeds; a return
    or a log variance standardised as the student's own.
    """
    raw = np.full((len(rows.samples), rows.plan.outputs), np.nan, np.float32)
    for number, (target, one) in enumerate(zip(rows.plan.targets, said, strict=True)):
        mean = one.values.mean(axis=0)  # (n, K)
        if target.kind == "classes":
            logs = np.log(np.clip(mean, P_MIN, 1.0))
            own = logs[:, 1:] - logs[:, :1] if len(target.classes) == 2 else logs
        else:
            unit = unit_of(rows, number)
            own = (standard(target, mean) - unit.centre) / unit.scale
        raw[rows.train.index, target.outputs] = own
    return raw
