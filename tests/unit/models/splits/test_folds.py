"""Purged folds: sizes as scikit-learn's, purged as they must be."""

from __future__ import annotations

import numpy as np
import pytest

from engine.errors import ConfigError
from models.labels.regimes import classes, future
from models.splits.folds import fold_masks, purged_folds
from models.splits.spans import Spans
from tests.support.panels import panel


def test_folds_of_one_instrument_are_scikit_learns() -> None:
    """The held-out rows of ``KFold`` on the same number of rows."""
    selection = pytest.importorskip("sklearn.model_selection", reason="the trainer is not installed")
    spans = panel({"A": range(103)}, window=1, horizon=1).spans
    wanted = [test.tolist() for _, test in selection.KFold(7).split(np.zeros(len(spans)))]
    assert [np.flatnonzero(mask).tolist() for mask in fold_masks(spans, 7)] == wanted


def test_every_sample_is_held_out_once_and_its_neighbours_are_not_learned_from() -> None:
    """Around a fold in the middle a window and a horizon are missing on both sides."""
    samples = panel({"A": range(200), "B": range(200)}, window=6, horizon=4)
    folds = purged_folds(samples.spans, 5)
    assert sorted(np.concatenate([held.index for _, held in folds]).tolist()) == list(range(len(samples.spans)))
    train, held = folds[2]
    learned, judged = (np.unique(samples.spans.ts_ns[part.index]) for part in (train, held))
    before, after = learned[learned < judged.min()], learned[learned > judged.max()]
    assert judged.min() - before.max() == 10
    assert after.min() - judged.max() == 10
    wider, _ = purged_folds(samples.spans, 5, embargo_ns=3)[2]
    assert samples.spans.ts_ns[wider.index][samples.spans.ts_ns[wider.index] > judged.max()].min() == after.min() + 3


def test_folds_that_cannot_be_are_refused() -> None:
    """One fold, more folds than moments, labels as long as everything."""
    spans = panel({"A": range(20)}, window=1, horizon=1).spans
    for folds in (1, 30):
        with pytest.raises(ConfigError, match=f"{folds} folds"):
            purged_folds(spans, folds)
    with pytest.raises(ConfigError, match="nothing to learn"):
        purged_folds(panel({"A": range(40)}, window=30, horizon=5).spans, 2)


def test_a_random_split_of_overlapping_labels_scores_higher() -> None:
    """Of a random walk nothing can be told, and a nearest neighbour does tell it as long as rows with nearly the same
    label are learned from: what the purge takes away is that."""
    neighbours = pytest.importorskip("sklearn.neighbors", reason="the trainer is not installed")
    random = np.random.default_rng(11)
    close = np.exp(np.cumsum(random.normal(0, 0.01, 1500)))
    labels = classes(future(close, 20), volatile_above=1.0)
    position = np.arange(160, 1480)
    seen = np.stack([np.log(close[position] / close[position - back]) for back in (20, 40, 80, 160)], axis=1)
    told = labels.values[position]
    spans = Spans(position - 160, position, position + 20)
    model = neighbours.KNeighborsClassifier(1)

    def accuracy(parts: list[tuple[np.ndarray, np.ndarray]]) -> float:
        right = [
            model.fit(seen[learned], told[learned]).predict(seen[judged]) == told[judged] for learned, judged in parts
        ]
        return float(np.concatenate(right).mean())

    purged = accuracy([(train.index, held.index) for train, held in purged_folds(spans, 5)])
    mixed = random.permutation(len(position))
    leaking = accuracy([(np.setdiff1d(mixed, part), part) for part in np.array_split(mixed, 5)])
    most = np.bincount(told.astype(int)).max() / len(told)
    assert leaking > purged + 0.2
    assert purged < most < leaking
