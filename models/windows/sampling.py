"""How often a training sample is drawn: by its class, by what its label shares with others.

Everything here asks for a ``TrainingPart`` and refuses any other: a validation or test sample counts once, as it came.
"""

from __future__ import annotations

import numpy as np

from engine.errors import DataError
from models.labels.uniqueness import average_uniqueness
from models.splits.parts import TrainingPart, training_only
from models.windows.samples import Samples
from models.windows.table import Float64, Int64


def class_weights(part: TrainingPart, samples: Samples) -> Float64:
    """(n,) weights with a mean of 1 by which every class is drawn equally often."""
    labels = samples.values[training_only(part, "class weights").index]
    if labels.ndim != 1:
        raise DataError("class weights of labels with several values", expected="one class a sample")
    _, of_sample, counts = np.unique(labels, return_inverse=True, return_counts=True)
    return len(labels) / (len(counts) * counts[of_sample].astype(np.float64))


def uniqueness_weights(part: TrainingPart, samples: Samples) -> Float64:
    """(n,) average uniqueness of each label among the training labels of its instrument, with a mean of 1.

    See ``models.labels.uniqueness``; labels of other instruments run at the same time and are not counted.
    """
    index = training_only(part, "uniqueness weights").index
    first, last = samples.position[index] + 1, samples.last[index]
    # Rows of instruments lie one after another, so that no label runs into another instrument's rows.
    unique = average_uniqueness(first, last, len(samples.table))
    weights: Float64 = unique / unique.mean()
    return weights


def oversampled(part: TrainingPart, samples: Samples, seed: int) -> Int64:
    """Numbers of training samples, every class as often as the largest: all of them, and repeats of the rarer ones
    drawn at random; in random order."""
    index = training_only(part, "oversampling").index
    labels = samples.values[index]
    random = np.random.default_rng(seed)
    classes, counts = np.unique(labels, return_counts=True)
    drawn = [
        random.choice(index[labels == each], int(counts.max() - count), replace=True)
        for each, count in zip(classes, counts, strict=True)
    ]
    return random.permutation(np.concatenate([index, *drawn]))
