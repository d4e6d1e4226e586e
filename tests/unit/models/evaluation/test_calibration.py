from __future__ import annotations

import numpy as np
import pytest

from models.evaluation.calibration import expected_calibration_error, reliability, temperature_of, tempered
from models.evaluation.losses import log_losses, two_classes

pytest.importorskip("scipy")


def test_bins_hold_equally_many_rows() -> None:
    """150 rows of a rare class in 15 bins of 10, by rising probability."""
    p = np.random.default_rng(1).random(150) ** 4
    bins = reliability(np.zeros(150), p)
    assert [rows for *_, rows in bins] == [10] * 15
    assert [mean for mean, *_ in bins] == sorted(mean for mean, *_ in bins)


def test_what_is_said_once_is_one_bin() -> None:
    """A constant that is right on the whole, of a class that comes in clusters, has no error; neither has it any with
    rows in another order, or with two things to say."""
    label = (np.arange(300) // 30 % 2).astype(int)
    constant = two_classes(np.full(300, 0.5))
    assert reliability(label.astype(float), constant[:, 1]) == [(0.5, 0.5, 300)]
    assert expected_calibration_error(label, constant) == 0.0
    said = two_classes(np.where(np.arange(300) < 100, 0.2, 0.7))
    order = np.random.default_rng(1).permutation(300)
    assert [rows for *_, rows in reliability(label.astype(float), said[:, 1])] == [100, 200]
    assert expected_calibration_error(label[order], said[order]) == pytest.approx(
        expected_calibration_error(label, said)
    )


def test_the_error_by_hand_in_two_bins() -> None:
    """Said 0.2 and happened half the time, said 0.9 and happened always: (0.3 + 0.1) / 2."""
    p = two_classes(np.array([0.2, 0.2, 0.9, 0.9]))
    assert expected_calibration_error(np.array([0, 1, 1, 1]), p, bins=2) == pytest.approx(0.2)


def test_of_three_classes_the_likeliest_is_judged() -> None:
    """Sure with 0.6, right on two rows of four."""
    p = np.tile([0.6, 0.2, 0.2], (4, 1))
    assert expected_calibration_error(np.array([0, 0, 1, 2]), p, bins=1) == pytest.approx(0.1)


def test_true_probabilities_have_almost_no_error_and_exaggerated_ones_have() -> None:
    """20,000 rows drawn from what is said, then said three times as surely."""
    random = np.random.default_rng(2)
    p = two_classes(random.uniform(0.2, 0.8, 20_000))
    label = (random.random(20_000) < p[:, 1]).astype(int)
    assert expected_calibration_error(label, p) < 0.015
    assert expected_calibration_error(label, tempered(p, 1 / 3)) > 0.1


@pytest.mark.parametrize("classes", [2, 3])
def test_the_temperature_that_was_applied_is_found(classes: int) -> None:
    """Probabilities exaggerated by a temperature of a half: a temperature of two brings them back."""
    random = np.random.default_rng(3)
    p = random.dirichlet(np.full(classes, 2.0), 20_000)
    label = (random.random((20_000, 1)) > p.cumsum(axis=1)).sum(axis=1).clip(max=classes - 1)
    sharp = tempered(p, 0.5)
    found = temperature_of(label, sharp)
    assert found == pytest.approx(2.0, rel=0.05)
    assert log_losses(label, tempered(sharp, found)).mean() < log_losses(label, sharp).mean()
    assert tempered(sharp, found).sum(axis=1) == pytest.approx(np.ones(20_000))
