"""Scores of classes: against scikit-learn on random rows, and by hand where it says nothing."""

from __future__ import annotations

import numpy as np
import pytest

from models.evaluation.draws import Draws
from models.evaluation.losses import confusion, two_classes
from models.evaluation.metrics import (
    accuracy,
    balanced_accuracy,
    class_scores,
    f1s,
    macro_f1,
    mcc,
    per_class,
    precisions,
    recalls,
    score_binary,
    weighted_f1,
)

sk = pytest.importorskip("sklearn.metrics")


def table(label: np.ndarray, said: np.ndarray, classes: int) -> np.ndarray:
    return confusion(label, said, classes).sum(axis=0)


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_scores_of_a_table_equal_scikit_learns(classes: int) -> None:
    """500 rows whose classes are not equally frequent, half of them right."""
    random = np.random.default_rng(classes)
    label = random.choice(classes, 500, p=np.arange(1, classes + 1) / np.arange(1, classes + 1).sum())
    said = np.where(random.random(500) < 0.5, label, random.integers(0, classes, 500))
    counts = table(label, said, classes)
    assert accuracy(counts) == pytest.approx(sk.accuracy_score(label, said))
    assert balanced_accuracy(counts) == pytest.approx(sk.balanced_accuracy_score(label, said))
    assert macro_f1(counts) == pytest.approx(sk.f1_score(label, said, average="macro"))
    assert weighted_f1(counts) == pytest.approx(sk.f1_score(label, said, average="weighted"))
    assert mcc(counts) == pytest.approx(sk.matthews_corrcoef(label, said))
    each = sk.precision_recall_fscore_support(label, said)
    for ours, theirs in zip((precisions(counts), recalls(counts), f1s(counts)), each, strict=False):
        assert ours == pytest.approx(theirs)


def test_a_class_that_is_never_said_or_never_happens_scores_nothing() -> None:
    """Class 2 happens and is never said, class 3 neither: no division by zero, macro-F1 counts both as 0."""
    label, said = np.array([0, 1, 2, 2]), np.array([0, 1, 0, 1])
    counts = table(label, said, 4)
    assert list(recalls(counts)) == [1.0, 1.0, 0.0, 0.0]
    assert macro_f1(counts) == pytest.approx(
        sk.f1_score(label, said, average="macro", labels=range(4), zero_division=0)
    )
    assert balanced_accuracy(counts) == pytest.approx(2 / 3)
    assert mcc(table(label, np.zeros(4, int), 4)) == 0.0


def test_one_line_scores_all_draws_at_once() -> None:
    """A stack of three tables gives the three scores of each alone."""
    random = np.random.default_rng(1)
    stack = random.integers(0, 50, (3, 4, 4)).astype(float)
    for score in (accuracy, balanced_accuracy, macro_f1, weighted_f1, mcc):
        assert score(stack) == pytest.approx([float(score(one)) for one in stack])


@pytest.mark.parametrize("classes", [2, 3])
def test_probability_scores_equal_scikit_learns(classes: int) -> None:
    """Log-loss, Brier and both areas of 400 rows on 40 dates."""
    random = np.random.default_rng(10 + classes)
    label = random.integers(0, classes, 400)
    p = random.dirichlet(np.ones(classes), 400)
    draws = Draws.by_span(np.arange(400) * 10**9, 1.0, draws=20)
    scores = class_scores(label, p, p.argmax(axis=1), draws)
    assert scores["log_loss"].value == pytest.approx(sk.log_loss(label, p))
    if classes == 2:
        assert scores["brier"].value == pytest.approx(sk.brier_score_loss(label, p[:, 1]))
        assert scores["roc_auc"].value == pytest.approx(sk.roc_auc_score(label, p[:, 1]))
        assert scores["pr_auc"].value == pytest.approx(sk.average_precision_score(label, p[:, 1]))
    else:
        assert scores["brier"].value == pytest.approx(float(((p - np.eye(3)[label]) ** 2).sum(axis=1).mean()))
        assert scores["roc_auc"].value == pytest.approx(sk.roc_auc_score(label, p, multi_class="ovr"))
        assert scores["pr_auc"].value == pytest.approx(sk.average_precision_score(np.eye(3)[label], p))


def test_every_score_lies_inside_its_interval() -> None:
    """A forecast with some skill on 60 spans of time."""
    random = np.random.default_rng(4)
    label = random.integers(0, 2, 3000)
    p = np.clip(0.5 + 0.2 * (label - 0.5) + random.normal(0, 0.2, 3000), 0.01, 0.99)
    draws = Draws.by_span(np.arange(3000) * 10**9, 5.0, draws=300)
    for name, estimate in class_scores(label, two_classes(p), (p > 0.5).astype(int), draws).items():
        metric = estimate.metric
        if name != "ece":
            assert metric.low < metric.value < metric.high, name


def test_direction_is_scored_where_there_was_a_move() -> None:
    """Two rows that moved, one leaned on rightly and one not at all; flat rows do not count."""
    label = np.array([0, 1, 1, 2])
    p = np.array([[0.5, 0.3, 0.2], [0.1, 0.8, 0.1], [0.3, 0.5, 0.2], [0.4, 0.2, 0.4]])
    draws = Draws.by_span(np.arange(4) * 10**9, 0.1, draws=10)
    assert class_scores(label, p, p.argmax(axis=1), draws, down=0, up=2)["direction_accuracy"].value == 0.75


def test_a_row_per_class_tells_how_often_each_was_said() -> None:
    """By hand."""
    rows = per_class(np.array([0, 0, 1]), np.array([0, 1, 1]), ("down", "up"))
    assert rows[0] == {"class": "down", "rows": 2.0, "said": 1.0, "precision": 1.0, "recall": 0.5, "f1": 2 / 3}
    assert (rows[1]["precision"], rows[1]["recall"]) == (0.5, 1.0)


def test_a_binary_forecast_without_skill_has_intervals_around_no_skill() -> None:
    """Independent labels and forecasts: 0.5 of AUC and 0 of MCC lie inside."""
    random = np.random.default_rng(2)
    up = (random.random(4000) < 0.5).astype(float)
    scores = score_binary(up, random.random(4000), Draws.by_span(np.arange(4000) * 10**9, 5.0, draws=300))
    assert scores["roc_auc"].low < 0.5 < scores["roc_auc"].high
    assert scores["mcc"].low < 0.0 < scores["mcc"].high


def test_a_perfect_forecast_scores_perfectly() -> None:
    """The label as forecast."""
    up = np.tile([0.0, 1.0], 500)
    scores = score_binary(up, up, Draws.by_span(np.arange(1000) * 10**9, 1.0, draws=50))
    assert (scores["accuracy"].value, scores["mcc"].value, scores["roc_auc"].value) == (1.0, 1.0, 1.0)
