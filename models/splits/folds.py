"""Purged k-fold: every moment is held out once, and nothing that touches it is learned from.

M. López de Prado, Advances in Financial Machine Learning (2018), chapter 7, with one difference: a training sample is
purged by its whole span, window and label, so that the embargo is at least the window without being set.
"""

from __future__ import annotations

import numpy as np

from engine.errors import ConfigError
from models.splits.parts import HeldOutPart, TrainingPart
from models.splits.spans import Bools, Spans


def purged_folds(spans: Spans, folds: int, embargo_ns: int = 0) -> list[tuple[TrainingPart, HeldOutPart]]:
    """Training and held-out part of each fold; ``embargo_ns`` is kept free behind a held-out stretch beside what its
    labels and the windows after it take.  Raises ``ConfigError`` for fewer than 2 folds or a fold with nothing to
    learn."""
    held = fold_masks(spans, folds)
    made = []
    for number, mask in enumerate(held):
        train = learned_from(spans, mask, embargo_ns)
        if not train.any():
            raise ConfigError(
                f"fold {number + 1} of {folds} leaves nothing to learn from", expected="more data or longer folds"
            )
        made.append((TrainingPart.of(spans, train), HeldOutPart.of(spans, mask)))
    return made


def purged_fold(spans: Spans, before_ns: int, folds: int, fold: int) -> tuple[TrainingPart, HeldOutPart]:
    """Training and held-out part of one fold, 1 to ``folds``, of the samples whose label is known before ``before_ns``.

    Raises ``ConfigError`` as ``purged_folds``.
    """
    early = np.flatnonzero(spans.end_ns < before_ns)
    train, held = purged_folds(spans[early], folds)[fold - 1]
    return TrainingPart(early[train.index]), HeldOutPart(early[held.index])


def fold_masks(spans: Spans, folds: int) -> list[Bools]:
    """(N,) which samples each fold holds out: consecutive stretches with equally many different moments.

    As in scikit-learn's ``KFold`` the first folds have one moment more where they do not divide evenly.
    """
    moments = spans.moments
    if folds < 2 or folds > len(moments):
        raise ConfigError(f"{folds} folds of {len(moments)} moments", expected=f"2 to {len(moments)}")
    number = np.searchsorted(moments, spans.ts_ns)
    pieces = np.array_split(np.arange(len(moments)), folds)
    return [(number >= piece[0]) & (number <= piece[-1]) for piece in pieces]


def learned_from(spans: Spans, held: Bools, embargo_ns: int = 0) -> Bools:
    """(N,) what is not held out and shares no moment with what is."""
    keep = ~held
    keep[keep] = spans[keep].apart_from(spans[held], embargo_ns)
    return keep
