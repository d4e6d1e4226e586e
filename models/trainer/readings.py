"""What the raw outputs of a network stand for: probabilities, a variance, a return.

Owns the numbers between the two, and what they are fitted on: the unit of a target on training rows, temperature and
level on validation rows.
"""

from __future__ import annotations

import msgspec
import numpy as np
import numpy.typing as npt

from models.evaluation.calibration import temperature_of
from models.evaluation.losses import two_classes
from models.trainer.dataset import Dataset
from models.trainer.tasks import Target

Float64 = npt.NDArray[np.float64]
_LEVELS = (0.1, 10.0)


class Reading(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Of one target.  A return is ``centre + scale * raw``, a variance ``level * exp(centre + scale * raw)``;
    probabilities are those of ``raw / temperature``."""

    centre: float = 0.0
    scale: float = 1.0
    temperature: float = 1.0
    level: float = 1.0


def unit_of(data: Dataset, number: int) -> Reading:
    """Mean and deviation of a target on training rows, of the logarithm where it is a variance: networks begin near 0
    and 1."""
    target = data.plan.targets[number]
    if target.kind == "classes":
        return Reading()
    values = standard(target, data.targets[data.train.index, number])
    return Reading(centre=float(values.mean()), scale=max(float(values.std()), 1e-12))


def standard(target: Target, values: Float64) -> Float64:
    """What is standardised: the logarithm of a variance, a return as it is."""
    return np.log(values) if target.kind == "variance" else values


def forecast(target: Target, reading: Reading, raw: Float64) -> Float64:
    """``(N, K)`` probabilities, or ``(N, 1)`` in the unit of the label, of raw outputs ``(N, O)`` of all targets."""
    own = raw[:, target.outputs].astype(np.float64)
    if target.kind == "classes":
        logits = own / reading.temperature
        if len(target.classes) == 2:
            return two_classes(np.exp(-np.logaddexp(0.0, -logits[:, 0])))
        likely = np.exp(logits - logits.max(axis=1, keepdims=True))
        probabilities: Float64 = likely / likely.sum(axis=1, keepdims=True)
        return probabilities
    told = reading.centre + reading.scale * own
    return reading.level * np.exp(np.clip(told, -60.0, 20.0)) if target.kind == "variance" else told


def calibrated(target: Target, reading: Reading, raw: Float64, values: Float64) -> Reading:
    """With the temperature that has the least log-loss, or the level that has the least QLIKE, on validation rows."""
    begun = msgspec.structs.replace(reading, temperature=1.0, level=1.0)
    if target.kind == "classes":
        return msgspec.structs.replace(
            begun, temperature=temperature_of(values.astype(np.int64), forecast(target, begun, raw))
        )
    if target.kind == "variance":
        level = float((values / forecast(target, begun, raw)[:, 0]).mean())
        return msgspec.structs.replace(begun, level=float(np.clip(level, *_LEVELS)))
    return begun
