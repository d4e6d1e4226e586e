"""What a training step is fed: targets in the units of the losses, batches, and what each row counts.

Owns how settings of weights, oversampling and augmentation become arrays; the tools are in ``models.windows``.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from models.splits import TrainingPart
from models.trainer.dataset import Dataset, Part
from models.trainer.fit_settings import Loss
from models.trainer.readings import Reading, standard
from models.trainer.settings import TrainSettings
from models.trainer.tasks import Target
from models.windows.augmentation import Augmentation
from models.windows.loader import TrainingBatches
from models.windows.sampling import class_weights, oversampled, uniqueness_weights

Float64 = npt.NDArray[np.float64]


def loss_of(settings: TrainSettings, target: Target) -> Loss:
    """Of the target by its name, or the one of all."""
    return settings.losses.get(target.name, settings.loss)


def standardised(data: Dataset, targets: Float64, units: list[Reading]) -> npt.NDArray[np.float32]:
    """(N, T) as the losses read them: class numbers, the rest in units of the training's deviation."""
    columns = []
    for at, (target, unit) in enumerate(zip(data.plan.targets, units, strict=True)):
        values = targets[:, at]
        if target.kind != "classes":
            with np.errstate(divide="ignore", invalid="ignore"):
                values = (standard(target, values) - unit.centre) / unit.scale
        columns.append(values)
    return np.stack(columns, axis=1).astype(np.float32)


def training_batches(
    data: Dataset, settings: TrainSettings, part: Part, seed: int
) -> tuple[npt.NDArray[np.float32] | None, TrainingBatches]:
    """The weight of each sample in the loss (None: all alike), and the batches."""
    fit, train = settings.fit, part.part
    assert isinstance(train, TrainingPart)
    samples = replace(data.samples, values=data.targets[:, 0])
    if settings.oversampling:
        train = TrainingPart(oversampled(train, samples, seed))
    weights = np.ones(len(train))
    if settings.weights.uniqueness:
        weights = weights * uniqueness_weights(train, samples)
    if settings.weights.classes:
        weights = weights * class_weights(train, samples)
    weighed = settings.weights.uniqueness or settings.weights.classes
    draws = weighed and settings.weights.as_ == "draws"
    augmentation = None
    if settings.augmentation.jitter or settings.augmentation.shift_rows_max:
        augmentation = Augmentation.fit(train, data.samples, settings.augmentation)
    loader = TrainingBatches(
        train,
        data.samples,
        batch=int(fit.batch),
        seed=seed,
        per_epoch=min(fit.rows_per_epoch, len(train)),
        weights=weights if draws else None,
        augmentation=augmentation,
    )
    if not weighed or draws:
        return None, loader
    of_sample = np.ones(len(data.samples), np.float32)
    of_sample[train.index] = (weights / weights.mean()).astype(np.float32)
    return of_sample, loader
