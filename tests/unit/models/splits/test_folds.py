"""Purged folds: sizes as scikit-learn's, purged as they must be."""

from __future__ import annotations

import numpy as np
import pytest

from engine.errors import ConfigError
from models.splits.folds import fold_masks, purged_folds
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
