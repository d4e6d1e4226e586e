"""The parts of a split, as types: what may only be done to training rows is asked of a type that no other part is.

Oversampling, augmentation, weights and everything fitted take a ``TrainingPart``; a ``HeldOutPart`` has neither those
methods nor a way to become one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self, final

import numpy as np
import numpy.typing as npt

from engine.errors import DataError
from models.splits.spans import Spans

Int64 = npt.NDArray[np.int64]


@dataclass(frozen=True)
class _Part:
    """``index (N,)``: numbers of samples, in order of time."""

    index: Int64

    def __len__(self) -> int:
        return len(self.index)

    @classmethod
    def of(cls, spans: Spans, keep: npt.NDArray[np.bool_]) -> Self:
        """The kept samples in order of time; ties stay in the order of the samples."""
        at = np.flatnonzero(keep)
        return cls(at[np.argsort(spans.ts_ns[at], kind="stable")])


@final
@dataclass(frozen=True)
class TrainingPart(_Part):
    """Samples that are learned from."""


@final
@dataclass(frozen=True)
class HeldOutPart(_Part):
    """Samples that choose (validation) or judge (test): read as they are, each once."""


@dataclass(frozen=True)
class Split:
    train: TrainingPart
    validation: HeldOutPart
    test: HeldOutPart


def training_only(part: TrainingPart, what: str) -> TrainingPart:
    """``part`` again.  Raises ``DataError`` when it is another part: ``what`` is done to training rows alone."""
    if type(part) is not TrainingPart:
        raise DataError(f"{what} of a {type(part).__name__}", expected="the training part, and no other")
    return part
