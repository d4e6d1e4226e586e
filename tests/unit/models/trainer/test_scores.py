from __future__ import annotations

import numpy as np
import pytest

from models.trainer.scores import SCORE, cost, monitored, naive_loss, named, score_target
from models.trainer.tasks import Plan, Target

THREE = Target("classes", "classes", "classes", slice(0, 3), "label", 1)
SIGNAL = Target("signal", "signal", "classes", slice(0, 1), "label", 8)
VARIANCE = Target("variance", "variance", "variance", slice(1, 2), "variance", 5)
RETURN = Target("return", "return", "return", slice(0, 1), "return", 1)


@pytest.fixture
def said() -> tuple[np.ndarray, np.ndarray]:
    """Labels and probabilities that know something of them."""
    random = np.random.default_rng(3)
    label = random.integers(0, 3, 400)
    p = random.dirichlet([1.0, 1.0, 1.0], 400) + 0.4 * np.eye(3)[label]
    return label.astype(np.float64), p / p.sum(axis=1, keepdims=True)


def test_scores_of_classes_are_scikit_learns(said) -> None:
    """Each by its name, the confusion by its cells."""
    metrics = pytest.importorskip("sklearn.metrics", reason="the trainer is not installed")
    label, p = said
    found = score_target(THREE, label, p)
    truth, chosen = label.astype(int), p.argmax(axis=1)
    assert found["log_loss"] == pytest.approx(metrics.log_loss(truth, p))
    assert found["accuracy"] == pytest.approx(metrics.accuracy_score(truth, chosen))
    assert found["balanced_accuracy"] == pytest.approx(metrics.balanced_accuracy_score(truth, chosen))
    assert found["mcc"] == pytest.approx(metrics.matthews_corrcoef(truth, chosen))
    for name in ("macro", "weighted"):
        assert found[f"{name}_f1"] == pytest.approx(metrics.f1_score(truth, chosen, average=name))
    precision, recall, f1, _ = metrics.precision_recall_fscore_support(truth, chosen)
    for at, name in enumerate(("DOWN", "FLAT", "UP")):
        assert found[f"precision.{name}"] == pytest.approx(precision[at])
        assert found[f"recall.{name}"] == pytest.approx(recall[at])
        assert found[f"f1.{name}"] == pytest.approx(f1[at])
    assert found["roc_auc"] == pytest.approx(metrics.roc_auc_score(truth, p, multi_class="ovr"))
    each = [metrics.average_precision_score(truth == one, p[:, one]) for one in range(3)]
    assert found["pr_auc"] == pytest.approx(np.mean(each))
    table = metrics.confusion_matrix(truth, chosen)
    assert [found[f"confusion.UP.{name}"] for name in ("DOWN", "FLAT", "UP")] == table[2].tolist()


def test_a_signal_is_said_from_its_threshold() -> None:
    """Three of four above 0.2 are; the likeliest class would never say it."""
    p = np.array([0.1, 0.25, 0.3, 0.4, 0.22, 0.05])
    label = np.array([0.0, 1, 1, 1, 0, 0])
    found = score_target(SIGNAL, label, np.stack([1 - p, p], axis=1), 0.2)
    assert (found["precision.BUY"], found["recall.BUY"]) == (0.75, 1.0)
    assert score_target(SIGNAL, label, np.stack([1 - p, p], axis=1))["recall.BUY"] == 0.0


def test_several_forecasts_have_one_score_in_units_of_knowing_nothing() -> None:
    """Means of the training: their score is 1; a forecast that halves one loss has less."""
    plan = Plan("multi_task", 1, (RETURN, VARIANCE), {})
    values = [np.array([0.01, -0.02, 0.03]), np.array([1e-4, 2e-4, 3e-4])]
    naive = [naive_loss(target, one, one) for target, one in zip(plan.targets, values, strict=True)]
    nothing = [np.zeros((3, 1)), np.full((3, 1), 2e-4)]
    each = [score_target(target, one, said) for target, one, said in zip(plan.targets, values, nothing, strict=True)]
    found = named(plan, each, naive)
    assert found[SCORE] == pytest.approx(1.0)
    assert found["return.r2_oos"] == pytest.approx(0.0)
    assert monitored(plan, "") == SCORE
    each[0]["mse"] /= 2
    assert named(plan, each, naive)[SCORE] == pytest.approx(0.75)


def test_what_is_to_be_great_costs_its_negative() -> None:
    """By the name of the score; one that is missing is no number."""
    assert cost("log_loss", {"log_loss": 0.7}) == 0.7
    assert cost("pr_auc", {"pr_auc": 0.2}) == -0.2
    assert np.isnan(cost("pr_auc", {}))
