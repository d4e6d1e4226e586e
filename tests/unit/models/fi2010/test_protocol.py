"""The protocols of FI-2010 on a made-up data set: which rows, which windows, which scores."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import f1_score

from engine.errors import DataError
from models.fi2010.files import read_recording
from models.fi2010.protocol import Part, judge, most_frequent, part_of, splits
from tests.support.fi2010 import write_data_set

ROWS = 60


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data_set(tmp_path_factory.mktemp("fi2010"), rows=ROWS)


def centroids(learned: Part):
    """A classifier of the last row's sizes: enough to learn what the made-up market hides there."""
    rows = learned.windows(slice(None))[:, -1]
    means = np.stack([rows[learned.label == one].mean(axis=0) for one in range(3)])
    return lambda part: ((part.windows(slice(None))[:, -1][:, None] - means) ** 2).sum(axis=2).argmin(axis=1)


def test_anchored_folds_learn_from_all_days_before_the_one_they_are_judged_on(folder: Path) -> None:
    for fold, (learned, test) in enumerate(splits(folder, "anchored", window=5), 1):
        assert (len(learned.book), len(test.book)) == (fold * ROWS, ROWS)
        assert (len(learned), len(test)) == (fold * ROWS - 4, ROWS - 4)
    assert fold == 9


def test_seven_days_are_judged_on_the_last_three_without_a_window_across_files(folder: Path) -> None:
    ((learned, test),) = splits(folder, "seven_days", window=5, horizon_events=50)
    assert (len(learned.book), len(test.book)) == (7 * ROWS, 3 * ROWS)
    assert len(test) == 3 * (ROWS - 4)
    starts = test.ends - 4
    assert (starts // ROWS == test.ends // ROWS).all()
    last = read_recording(next(folder.rglob("Test_Dst_NoAuction_ZScore_CF_9.txt")))
    assert (test.windows(np.array([len(test) - 1]))[0] == last.book[-5:]).all()
    assert (test.label[-(ROWS - 4) :] == last.labels[4:, 3]).all()


def test_scores_are_the_mean_of_the_folds_and_equal_sklearns(folder: Path) -> None:
    """What can be learned is learned: better than the class that is there most."""
    said = [(test.label, centroids(learned)(test)) for learned, test in splits(folder, "anchored", window=3)]
    found = judge(centroids, splits(folder, "anchored", window=3))
    for name, average in (("macro_f1", "macro"), ("weighted_f1", "weighted")):
        wanted = [f1_score(label, one, average=average, labels=[0, 1, 2], zero_division=0) for label, one in said]
        assert found[name].folds == pytest.approx(wanted)
        assert (found[name].mean, found[name].spread) == pytest.approx((np.mean(wanted), np.std(wanted)))
    plain = judge(most_frequent, splits(folder, "anchored", window=3))
    assert found["macro_f1"].mean > plain["macro_f1"].mean + 0.2
    assert plain["mcc"].mean == 0.0


def test_a_network_learns_in_the_protocol_and_the_same_seed_says_the_same(folder: Path) -> None:
    torch = pytest.importorskip("torch", reason="the trainer is not installed: pip install -e '.[train]'")
    from models.fi2010.learner import network_learner

    torch.set_num_threads(1)  # of networks as small as this a second one only waits

    learn = network_learner("mlp", epochs=8, batch=32, rate=3e-3, sizes=(16,))
    first, second = (judge(learn, splits(folder, "seven_days", window=3)) for _ in range(2))
    assert first == second
    plain = judge(most_frequent, splits(folder, "seven_days", window=3))
    assert first["macro_f1"].mean > plain["macro_f1"].mean + 0.1


def test_what_cannot_be_asked_is_refused(folder: Path) -> None:
    path = next(folder.rglob("Test_Dst_NoAuction_ZScore_CF_1.txt"))
    with pytest.raises(DataError, match="no labels for the next 40 events"):
        part_of([path], 40, 5)
    with pytest.raises(DataError, match="has 60 rows"):
        part_of([path], 10, 61)
    with pytest.raises(DataError, match="a window of 0 rows"):
        part_of([path], 10, 0)
    for wrong in (np.zeros(3, dtype=np.int64), np.full(ROWS - 9, 3)):
        with pytest.raises(DataError, match="a prediction of shape"):
            judge(lambda _, wrong=wrong: lambda _part: wrong, splits(folder, "anchored"))
