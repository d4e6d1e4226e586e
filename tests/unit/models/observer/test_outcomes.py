"""What is known of predictions whose outcome has come."""

from __future__ import annotations

from math import log

import numpy as np
import pytest

from models.observer.outcomes import Outcomes, calibration_error


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
    outcomes.add_return(1e-4, -1e-4)
    outcomes.add_return(0.0, -1e-4)
    assert outcomes.figures()["hit_rate"] == 0.5, "nor has who says nothing the side"
    assert "ece" not in figures
    still = Outcomes(100)
    still.add_return(1e-4, 0.0)
    assert "return_skill" not in still.figures()


def forecasts_of(slope: float, bias: float = 0.0, *, unit: float = 1e-4, rows: int = 2_000) -> Outcomes:
    """Moves of which what is said is ``slope`` times the part that can be known, and ``bias`` units beside it."""
    rng = np.random.default_rng(4)
    outcomes = Outcomes(4_096, error_max=1.645 * unit)
    for known, rest in zip(rng.normal(size=rows).tolist(), rng.normal(size=rows).tolist(), strict=True):
        outcomes.add_return(unit * (slope * 0.5 * known + bias), unit * (0.5 * known + rest))
    return outcomes


@pytest.mark.parametrize(("slope", "bias"), [(1.0, 0.0), (3.0, 0.0), (0.25, 0.0), (1.0, 0.5), (-1.0, 0.2)])
def test_miscalibration_is_what_a_line_through_what_came_takes_off_the_squared_error(slope: float, bias: float) -> None:
    """By the least squares of numpy; the slope is that of what came over what was said."""
    outcomes = forecasts_of(slope, bias)
    figures = outcomes.figures()
    said, came = outcomes.returns.T
    line = np.polyfit(said, came, 1)
    less = ((came - said) ** 2).mean() - ((came - np.polyval(line, said)) ** 2).mean()
    assert figures["miscalibration"] == pytest.approx(less / (came**2).mean())
    assert figures["calibration_slope"] == pytest.approx(line[0])
    assert figures["calibration_slope"] == pytest.approx(1 / slope, rel=0.2)


def test_a_forecast_that_means_what_it_says_is_hardly_miscalibrated() -> None:
    assert forecasts_of(1.0).figures()["miscalibration"] < 0.005
    assert forecasts_of(3.0).figures()["miscalibration"] > 0.5
    still = Outcomes(200)
    for number in range(200):
        still.add_return(0.0, 1e-4 if number % 2 else -1e-4)
    assert still.figures()["miscalibration"] == pytest.approx(0.0), "who says nothing says nothing wrong"
    assert "calibration_slope" not in still.figures()


@pytest.mark.parametrize("said", [1e-4, 3.3e-5, 7e-6])
def test_who_says_the_same_each_time_has_no_slope(said: float) -> None:
    """The mean of equal numbers is off by a rounding, and so is their variance: over that the slope was any number."""
    same = Outcomes(4_096)
    for came in np.random.default_rng(1).normal(0.0, 1e-4, 1_000).tolist():
        same.add_return(said, came)
    figures, came = same.figures(), same.returns[:, 1]
    assert "calibration_slope" not in figures
    assert figures["miscalibration"] == pytest.approx((said - came.mean()) ** 2 / (came**2).mean())


def test_calibration_is_of_all_instruments_each_in_its_own_unit() -> None:
    """One moves a hundred times as far; the mean of both is not that one's alone."""
    right, wrong = forecasts_of(1.0, unit=1e-2), forecasts_of(3.0, unit=1e-4)
    assert calibration_error([right, wrong]) > 0.1
    assert calibration_error([right]) == pytest.approx(right.figures()["miscalibration"])
    assert calibration_error([forecasts_of(1.0, rows=99)]) is None
    assert calibration_error([forecasts_of(1.0, rows=60), forecasts_of(1.0, rows=60)]) is not None
    assert calibration_error([]) is None


def test_outcomes_within_the_interval_of_validation_rows_are_counted() -> None:
    figures = forecasts_of(1.0).figures()
    assert figures["coverage"] == pytest.approx(0.9, abs=0.02)
    assert "coverage" not in Outcomes(10).figures()
    unknown = Outcomes(10)
    assert unknown.add_return(1e-4, 2e-4) is None
    assert "coverage" not in unknown.figures()
