"""Combinatorial purged cross-validation: every choice of k folds is held out once, and the results make whole paths.

M. López de Prado, Advances in Financial Machine Learning (2018), chapter 12.  The order of the splits and the paths are
those of skfolio's ``CombinatorialPurgedCV``; a test compares them.  It is not called, because it cuts rows and purges a
number of them: here the moments of all instruments are cut at once and samples are purged by what of time they touch.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from math import comb

import numpy as np

from engine.errors import ConfigError
from models.splits.folds import fold_masks, learned_from
from models.splits.parts import HeldOutPart, Int64, Split, TrainingPart
from models.splits.spans import Spans


@dataclass(frozen=True)
class CombinatorialSplit:
    """``tests[i]`` are the samples of fold ``folds[i]``; all of them are held out."""

    train: TrainingPart
    folds: tuple[int, ...]
    tests: tuple[HeldOutPart, ...]


def combinatorial_purged(
    spans: Spans, folds: int = 10, held_out: int = 2, embargo_ns: int = 0
) -> list[CombinatorialSplit]:
    """All ``C(folds, held_out)`` splits, in lexicographic order of the folds held out: 45 of 10 and 2, on 9 paths.

    Raises ``ConfigError`` for numbers that leave nothing to learn from.
    """
    if not 1 <= held_out < folds:
        raise ConfigError(f"{held_out} of {folds} folds held out", expected="at least 1, and not all")
    masks = fold_masks(spans, folds)
    made = []
    for chosen in combinations(range(folds), held_out):
        held = np.logical_or.reduce([masks[fold] for fold in chosen])
        train = learned_from(spans, held, embargo_ns)
        if not train.any():
            raise ConfigError(
                f"holding out folds {', '.join(map(str, chosen))} of {folds} leaves nothing to learn from",
                expected="more data or fewer folds",
            )
        tests = tuple(HeldOutPart.of(spans, masks[fold]) for fold in chosen)
        made.append(CombinatorialSplit(TrainingPart.of(spans, train), chosen, tests))
    return made


def combinatorial_before(
    spans: Spans, before_ns: int, folds: int, held_out: int, validation_share: float
) -> list[tuple[tuple[int, ...], Split, Int64]]:
    """All splits of the samples whose label is known before ``before_ns``: the folds held out, the parts, and the fold
    of each sample of the test part, in its order.

    The test part is what is held out.  The last ``validation_share`` of the moments that are left choose, so that what
    is held out chooses nothing; the rest learn, and share no moment with either.  Raises ``ConfigError`` as
    ``combinatorial_purged``, and where nothing is left to learn from.
    """
    early = np.flatnonzero(spans.end_ns < before_ns)
    own = spans[early]
    made = []
    for split in combinatorial_purged(own, folds, held_out):
        train = split.train.index
        moments = np.unique(own.ts_ns[train])
        chooses = own.ts_ns[train] >= moments[min(int(len(moments) * (1 - validation_share)), len(moments) - 1)]
        learns = ~chooses
        learns[learns] = own[train[learns]].apart_from(own[train[chooses]])
        if not learns.any():
            raise ConfigError(
                f"holding out folds {', '.join(map(str, split.folds))} of {folds} leaves nothing to learn from",
                expected="more data or fewer folds",
            )
        tests = np.concatenate([test.index for test in split.tests])
        fold = np.repeat(split.folds, [len(test) for test in split.tests])
        parts = Split(TrainingPart(early[train[learns]]), HeldOutPart(early[train[chooses]]), HeldOutPart(early[tests]))
        made.append((split.folds, parts, fold))
    return made


def path_count(folds: int, held_out: int) -> int:
    """``C(folds, held_out) held_out / folds``: how often each fold is held out."""
    return comb(folds, held_out) * held_out // folds


def paths(folds: int, held_out: int) -> Int64:
    """``(P, folds)``: which split tests a fold on a path.  A path walks all folds once; the k-th split that holds out a
    fold is on path k, so that every pair of split and fold is on exactly one."""
    table = np.full((path_count(folds, held_out), folds), -1, np.int64)
    used = np.zeros(folds, np.int64)
    for split, chosen in enumerate(combinations(range(folds), held_out)):
        for fold in chosen:
            table[used[fold], fold] = split
            used[fold] += 1
    return table
