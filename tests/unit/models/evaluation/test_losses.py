from __future__ import annotations

import numpy as np
import pytest

from models.evaluation.losses import briers, direction_hits, log_losses, two_classes


def test_log_loss_is_minus_log_of_the_probability_of_what_happened() -> None:
    """Two rows by hand."""
    losses = log_losses(np.array([1, 0]), two_classes(np.array([0.8, 0.25])))
    assert losses == pytest.approx([-np.log(0.8), -np.log(0.75)])


def test_a_certain_and_wrong_forecast_costs_much_but_not_infinity() -> None:
    """Probability 1 of what did not happen."""
    assert log_losses(np.array([0]), two_classes(np.array([1.0]))) == pytest.approx(-np.log(1e-6))


def test_brier_of_two_classes_is_of_the_second_and_of_more_is_of_all() -> None:
    """By hand: 0.7 said of what happened, then half on the wrong class."""
    assert briers(np.array([1]), np.array([[0.3, 0.7]])) == pytest.approx([0.09])
    assert briers(np.array([0]), np.array([[0.5, 0.5, 0.0]])) == pytest.approx([0.5])


def test_a_lean_to_neither_side_is_half_a_hit() -> None:
    """Up and down equally likely, on a row that moved; a flat row is left out."""
    moved, hits = direction_hits(np.array([1, 2]), np.array([[0.2, 0.6, 0.2], [0.4, 0.2, 0.4]]), down=0, up=2)
    assert moved.tolist() == [False, True]
    assert hits.tolist() == [0.5]
