"""What is known of predictions whose outcome has come."""

from __future__ import annotations

from math import log

import pytest

from models.observer.outcomes import Outcomes


def test_hits_are_told_by_confidence() -> None:
    """A model that is right when it is sure and no better than a coin else: one hit rate would hide that."""
    outcomes = Outcomes(100)
    for number in range(20):
        outcomes.add(0.9 if number % 2 else 0.1, rose=bool(number % 2))
        outcomes.add(0.52, rose=bool(number % 2))
    figures = outcomes.figures()
    assert figures["hit_rate"] == pytest.approx(0.75)
    assert figures["hits"] == [
        {"from": 0.0, "rows": 20, "hit_rate": 0.5},
        {"from": 0.6, "rows": 20, "hit_rate": 1.0},
    ]
    assert "hits" not in Outcomes(100).figures()


def test_realised_variances_are_held_against_those_that_were_said() -> None:
    """Half as much as was said, and twice: on average more, and a loss of what was wrong each time (QLIKE)."""
    outcomes = Outcomes(100)
    for realised in (0.5e-4, 2e-4):
        outcomes.add_variance(1e-4, realised)
    outcomes.add_variance(1e-4, 0.0)  # nothing moved: it has no logarithm
    figures = outcomes.figures()
    assert figures["variances"] == 2
    assert figures["variance_ratio"] == pytest.approx(1.25)
    assert figures["qlike"] == pytest.approx(((0.5 - log(0.5) - 1.0) + (2.0 - log(2.0) - 1.0)) / 2.0)
    assert "variance_ratio" not in Outcomes(100).figures()


def test_returns_are_held_against_a_forecast_of_no_move() -> None:
    """By hand: an error of nothing, of 2 and of 4 bps, where prices moved by 2, 2 and nothing."""
    outcomes = Outcomes(100)
    for predicted, realised in ((2e-4, 2e-4), (4e-4, 2e-4), (-4e-4, 0.0)):
        outcomes.add_return(predicted, realised)
    figures = outcomes.figures()
    assert figures["matured"] == 3
    assert figures["return_rmse_bps"] == pytest.approx((20.0 / 3.0) ** 0.5)
    assert figures["return_skill"] == pytest.approx(1.0 - 20.0 / 8.0)
    assert figures["hit_rate"] == 1.0, "of those that moved"
    assert "ece" not in figures
    still = Outcomes(100)
    still.add_return(1e-4, 0.0)
    assert "return_skill" not in still.figures()
