"""Baselines of classes on markets where it is known what can be known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from engine.errors import DataError
from models.evaluation.baselines.classifiers import Classifier, fit_classifiers, stand_for
from models.evaluation.losses import log_losses
from models.evaluation.rows import Rows
from tests.support import made_up_runs as made_up

pytest.importorskip("lightgbm")


def fitted(made: made_up.MadeUp, train: Rows | None = None) -> dict[str, Classifier]:
    rows = made.part("train")[0] if train is None else train
    found = fit_classifiers(made.task, made.features, rows, made.part("validation")[0], 0)
    return {one.name: one for one in found}


@pytest.fixture(scope="module")
def classes() -> made_up.MadeUp:
    return made_up.three_classes()


@pytest.fixture(scope="module")
def of_classes(classes: made_up.MadeUp) -> dict[str, Classifier]:
    return fitted(classes)


@pytest.fixture(scope="module")
def of_signal() -> dict[str, Classifier]:
    return fitted(made_up.signal())


def test_what_can_be_known_is_learned(classes: made_up.MadeUp, of_classes: dict[str, Classifier]) -> None:
    """Volatility tells flat from the rest: whoever reads it beats the prior; nobody beats the oracle by much."""
    test, oracle = classes.part("test")
    losses = {name: log_losses(test.classes, one.predict(test)).mean() for name, one in of_classes.items()}
    best = log_losses(test.classes, oracle).mean()
    assert set(losses) == {
        "prior",
        "persistence",
        "volatility table",
        "logistic regression",
        "LightGBM",
        "logistic regression and LightGBM",
    }
    for name in ("volatility table", "logistic regression", "LightGBM", "logistic regression and LightGBM"):
        assert best - 0.02 < losses[name] < losses["prior"] - 0.01, name


def test_the_volatility_table_counts_in_tenths_of_training(
    classes: made_up.MadeUp, of_classes: dict[str, Classifier]
) -> None:
    """By hand: how often each class happened in the tenth that a row's volatility lies in, a row of each class more."""
    train, test = classes.part("train")[0], classes.part("test")[0]
    edges = np.quantile(train.features[:, 0], np.arange(1, 10) / 10)
    ours, theirs = (np.searchsorted(edges, rows.features[:, 0]) for rows in (train, test))
    assert np.bincount(ours, minlength=10) / len(train) == pytest.approx(np.full(10, 0.1), abs=0.01)
    said = of_classes["volatility table"].predict(test)
    for tenth in range(10):
        counts = np.bincount(train.classes[ours == tenth], minlength=3) + 1.0
        assert said[theirs == tenth] == pytest.approx(np.tile(counts / counts.sum(), ((theirs == tenth).sum(), 1)))


def test_probabilities_are_whole(classes: made_up.MadeUp, of_classes: dict[str, Classifier]) -> None:
    """Of each baseline on each row: not negative, with a sum of 1."""
    test, _ = classes.part("test")
    for one in of_classes.values():
        p = one.predict(test)
        assert p.min() >= 0
        assert p.sum(axis=1) == pytest.approx(np.ones(len(test)))


def test_the_prior_is_that_of_training_and_persistence_says_the_past(
    classes: made_up.MadeUp, of_classes: dict[str, Classifier]
) -> None:
    """Counted by hand."""
    train, test = classes.part("train")[0], classes.part("test")[0]
    assert of_classes["prior"].predict(test)[0] == pytest.approx(np.bincount(train.classes) / len(train))
    persistence = of_classes["persistence"]
    assert (persistence.say(test, persistence.predict(test)) == test.past_label).all()
    flat = train.past_label == 1
    expected = (np.bincount(train.classes[flat], minlength=3) + 1) / (flat.sum() + 3)
    assert persistence.predict(test)[test.past_label == 1][0] == pytest.approx(expected)


def test_labels_of_the_test_change_nothing(classes: made_up.MadeUp, of_classes: dict[str, Classifier]) -> None:
    """Predictions of rows whose labels were swapped are the same bits."""
    test, _ = classes.part("test")
    swapped = replace(test, label=2 - test.label)
    for one in of_classes.values():
        assert (one.predict(test) == one.predict(swapped)).all()


def test_a_signal_gets_rules_balance_and_thresholds(of_signal: dict[str, Classifier]) -> None:
    """A rule orders as its column does; a balanced model orders much as the plain one and is no less calibrated."""
    test, oracle = made_up.signal().part("test")
    assert {"rule range24", "logistic regression balanced"} <= set(of_signal)
    assert all(one.threshold is not None for one in of_signal.values())
    rule = of_signal["rule range24"].predict(test)[:, 1]
    assert (np.argsort(rule, kind="stable") == np.argsort(test.features[:, 0], kind="stable")).all()
    balanced = of_signal["logistic regression balanced"].predict(test)
    assert balanced[:, 1].mean() == pytest.approx(oracle[:, 1].mean(), abs=0.02)
    assert np.corrcoef(balanced[:, 1], of_signal["logistic regression"].predict(test)[:, 1])[0, 1] > 0.98


def test_a_threshold_counts_itself() -> None:
    """0.3 from 0.3 up."""
    p = np.array([[0.8, 0.2], [0.7, 0.3]])
    assert stand_for(p, 0.3).tolist() == [0, 1]
    assert stand_for(p, None).tolist() == [0, 0]


def test_a_class_that_is_absent_is_named(classes: made_up.MadeUp) -> None:
    """No UP in training."""
    train, _ = classes.part("train")
    with pytest.raises(DataError, match="no row of the train part is UP; expected rows of each class"):
        fitted(classes, train.where(train.classes != 2))


def test_the_same_rows_give_the_same_baselines(classes: made_up.MadeUp, of_classes: dict[str, Classifier]) -> None:
    """Fitted again, bit for bit."""
    test, _ = classes.part("test")
    for name, one in fitted(classes).items():
        assert (one.predict(test) == of_classes[name].predict(test)).all(), name
