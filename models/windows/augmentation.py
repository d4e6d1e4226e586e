"""Training windows made a little different each time they are drawn: jitter and time shift.

What is fitted for it, the size of a column's noise, is of training rows alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
import numpy as np
import numpy.typing as npt

from engine.errors import ConfigError
from engine.features.column import lookup
from models.splits.parts import TrainingPart, training_only
from models.windows.samples import Samples
from models.windows.table import Float32, Int64

_FITTED_ON: int = 8_192
"""Training rows, evenly spread."""


class AugmentationSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``jitter``: standard deviation of the noise, as a share of each column's own over training rows; labels (a
    weekday) get none.  ``shift_rows_max``: a window may end up to that many rows before its row, with the same
    label."""

    jitter: float = 0.0
    shift_rows_max: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.jitter < 1 or self.shift_rows_max < 0:
            raise ConfigError(
                f"augmentation with jitter {self.jitter:g} and shift_rows_max {self.shift_rows_max}",
                expected="jitter from 0 to below 1 and a shift of 0 or more",
            )


@dataclass(frozen=True)
class Augmentation:
    """Made by ``fit``, of a training part."""

    samples: Samples
    noise: Float32
    """(F,) standard deviation of each column's noise."""
    learned: npt.NDArray[np.bool_]
    """(R,) whether a training sample's window ends at that row of the table."""
    shift_rows_max: int

    @classmethod
    def fit(cls, part: TrainingPart, samples: Samples, settings: AugmentationSettings) -> Augmentation:
        """Raises ``DataError`` for any other part than the training's."""
        index = training_only(part, "augmentation").index
        table = samples.table
        if settings.shift_rows_max >= table.window:
            raise ConfigError(
                f"a shift of up to {settings.shift_rows_max} rows of windows of {table.window}",
                expected="fewer rows than the window has",
            )
        rows = table.values[samples.position[index[:: max(1, len(index) // _FITTED_ON)]]]
        moving = np.array([lookup(name).unit != "label" for name in table.spec.columns])
        noise = settings.jitter * rows.astype(np.float64).std(axis=0) * moving
        learned = np.zeros(len(table), bool)
        learned[samples.position[index]] = True
        return cls(samples, noise.astype(np.float32), learned, settings.shift_rows_max)

    def windows(self, index: Int64, random: np.random.Generator) -> Float32:
        """``(B, W, F)`` windows of these samples, shifted and jittered.

        A shift goes back in time only, and only to a window that another training sample has: what was left out around
        a held-out stretch is not seen by shifting either.
        """
        position = self.samples.position[index]
        if self.shift_rows_max:
            # Fewer rows than a window: what ends there is a window of the same instrument, or no training sample's.
            back = random.integers(0, self.shift_rows_max + 1, len(position))
            position = np.where(self.learned[position - back], position - back, position)
        windows = self.samples.table.windows(position)
        if self.noise.any():
            windows += self.noise * random.standard_normal(windows.shape, np.float32)
        return windows
