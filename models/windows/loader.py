"""Batches of windows: of training samples in an order that a seed decides, of held-out ones as they are.

Owns order and resumption.  A batch is copied out of the mapped rows when it is asked for; nothing else is held.  Epoch
and step decide a batch together with the seed, and so a run that goes on after a kill has the batches it would have
had.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import msgspec
import numpy as np

from engine.errors import ConfigError
from models.splits.parts import HeldOutPart, TrainingPart, training_only
from models.windows.augmentation import Augmentation
from models.windows.samples import Samples
from models.windows.table import Float32, Float64, Int64


@dataclass(frozen=True)
class Batch:
    """``index (B,)`` names the samples: labels, weights and assets of them are looked up by it."""

    index: Int64
    windows: Float32
    """(B, W, F) float32, C-contiguous, of its own: ``torch.from_numpy`` takes it without a copy."""


class Place(msgspec.Struct, frozen=True):
    """Where a run is, for its checkpoint; the other fields say of what."""

    epoch: int
    step: int
    seed: int
    batch: int
    samples: int
    rows: str
    """Fingerprint of the rows; empty where they are in memory alone."""


class TrainingBatches:
    """Endless epochs of training batches.

    ``per_epoch`` samples an epoch (default: all), each at most once; with ``weights (n,)`` drawn by them, with
    repetition.  The last batch of an epoch is left out where it is not full, as BatchNorm cannot take one sample.
    """

    def __init__(
        self,
        part: TrainingPart,
        samples: Samples,
        *,
        batch: int,
        seed: int,
        per_epoch: int | None = None,
        weights: Float64 | None = None,
        augmentation: Augmentation | None = None,
    ) -> None:
        self._part = training_only(part, "training batches")
        self._samples = samples
        self._seed = seed
        self._augmentation = augmentation
        self._per_epoch = len(part) if per_epoch is None else per_epoch
        if weights is None:
            self._per_epoch = min(self._per_epoch, len(part))
            self._share = None
        else:
            if len(weights) != len(part) or not (np.isfinite(weights).all() and (weights >= 0).all() and weights.any()):
                raise ConfigError("sampling weights", expected=f"{len(part)} numbers of 0 or more, not all 0")
            self._share = weights / weights.sum()
        if not 1 <= batch <= self._per_epoch:
            raise ConfigError(f"batches of {batch} of {self._per_epoch} samples an epoch", expected="a batch or more")
        self.batch = batch
        self.steps = self._per_epoch // batch
        """Batches an epoch."""
        self._epoch, self._step = 0, 0
        self._order: tuple[int, Int64] | None = None

    @property
    def place(self) -> Place:
        """Of the batch that comes next."""
        return Place(self._epoch, self._step, self._seed, self.batch, len(self._part), self._samples.table.fingerprint)

    def resume(self, place: Place) -> None:
        """Go on there.  Raises ``ConfigError`` for the place of another run."""
        mine = self.place
        theirs, ours = ((one.seed, one.batch, one.samples, one.rows[:12]) for one in (place, mine))
        if theirs != ours or not 0 <= place.step < self.steps or place.epoch < 0:
            raise ConfigError(
                f"a checkpoint at epoch {place.epoch}, step {place.step} of seed, batch, samples and rows {theirs}",
                expected=f"one of {ours}, with {self.steps} steps an epoch",
                do="resume with the settings and data it was made with",
            )
        self._epoch, self._step = place.epoch, place.step

    def epoch(self) -> Iterator[Batch]:
        """What is left of the epoch it is in; the next call gives the next epoch."""
        epoch = self._epoch
        while self._epoch == epoch:
            yield self.next()

    def next(self) -> Batch:
        """The next batch, of the next epoch where this one is over."""
        index = self._part.index[self._ordered()[self._step * self.batch : (self._step + 1) * self.batch]]
        if self._augmentation is None:
            windows = self._samples.windows(index)
        else:
            windows = self._augmentation.windows(index, np.random.default_rng([self._seed, self._epoch, self._step]))
        self._step += 1
        if self._step == self.steps:
            self._epoch, self._step = self._epoch + 1, 0
        return Batch(index, windows)

    def _ordered(self) -> Int64:
        if self._order is None or self._order[0] != self._epoch:
            random = np.random.default_rng([self._seed, self._epoch])
            count = len(self._part)
            if self._share is None:
                order = random.permutation(count)[: self._per_epoch]
            else:
                order = random.choice(count, self._per_epoch, p=self._share)
            self._order = self._epoch, order
        return self._order[1]


def batches(part: TrainingPart | HeldOutPart, samples: Samples, batch: int = 1024) -> Iterator[Batch]:
    """Every sample of a part once, in order of time."""
    for start in range(0, len(part), batch):
        index = part.index[start : start + batch]
        yield Batch(index, samples.windows(index))
