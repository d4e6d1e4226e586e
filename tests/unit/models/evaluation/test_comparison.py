from __future__ import annotations

import numpy as np
import pytest

from models.evaluation.comparison import (
    across_seeds,
    by_period,
    diebold_mariano,
    horizon_in_periods,
    model_confidence_set,
    verdict,
    verdict_on_figure,
)
from models.evaluation.draws import Draws, Estimate

stats = pytest.importorskip("scipy.stats")


def estimate(value: float, width: float) -> Estimate:
    return Estimate(value, np.linspace(value - width, value + width, 1001))


@pytest.mark.parametrize(
    ("metric", "difference", "expected"),
    [
        ("log_loss", estimate(-0.02, 0.01), "ahead"),
        ("log_loss", estimate(0.02, 0.01), "behind"),
        ("mcc", estimate(0.02, 0.01), "ahead"),
        ("mcc", estimate(-0.02, 0.01), "behind"),
        ("mcc", estimate(0.005, 0.01), "level within noise"),
        ("ece", Estimate(-0.1), "not compared"),
    ],
)
def test_a_verdict_needs_an_interval_that_leaves_nothing_out(metric: str, difference: Estimate, expected: str) -> None:
    """Less is better for losses, more for scores; without an interval nothing is claimed."""
    assert verdict(metric, difference) == expected


def test_a_figure_is_beaten_only_beyond_our_own_noise() -> None:
    """1.06 +- 0.01 against figures above, inside and below."""
    ours = estimate(1.06, 0.01)
    assert [verdict_on_figure("log_loss", ours, figure) for figure in (1.08, 1.065, 1.04)] == [
        "ahead",
        "level within noise",
        "behind",
    ]


def test_one_step_ahead_the_test_is_students() -> None:
    """The correction of Harvey, Leybourne and Newbold makes it the t test of the mean difference, exactly."""
    random = np.random.default_rng(1)
    ours, theirs = random.normal(1.0, 1, 80), random.normal(1.2, 1, 80)
    found, expected = diebold_mariano(ours, theirs, 1), stats.ttest_1samp(ours - theirs, 0.0)
    assert found.statistic == pytest.approx(expected.statistic)
    assert found.p == pytest.approx(expected.pvalue)


def test_three_steps_ahead_by_hand() -> None:
    """Six differences: autocovariances of lags 0 to 2, then the factor (n + 1 - 2h + h(h-1)/n) / n."""
    d = np.array([1.0, 2.0, 0.0, 1.0, 3.0, 2.0])
    c = d - 1.5
    lags = [c @ c / 6, c[1:] @ c[:-1] / 6, c[2:] @ c[:-2] / 6]
    variance = lags[0] + 2 * (lags[1] + lags[2])
    if variance <= 0:
        variance = lags[0] + 2 * (2 / 3 * lags[1] + 1 / 3 * lags[2])
    expected = 1.5 / np.sqrt(variance / 6) * np.sqrt((6 + 1 - 6 + 6 / 6) / 6)
    assert diebold_mariano(d, np.zeros(6), 3).statistic == pytest.approx(expected)


def test_equal_forecasts_are_no_difference() -> None:
    """No variance to divide by."""
    assert diebold_mariano(np.ones(10), np.ones(10), 1).p == 1.0


def test_overlapping_labels_make_the_test_more_careful() -> None:
    """Differences that move in fives: as if one step ahead it would be surer than it may be."""
    random = np.random.default_rng(2)
    difference = np.convolve(random.normal(0.15, 1, 404), np.ones(5) / 5, "valid")
    assert diebold_mariano(difference, np.zeros(400), 5).p > diebold_mariano(difference, np.zeros(400), 1).p


def test_instruments_of_a_day_are_one_observation() -> None:
    """Two rows of one day and one of the next."""
    draws = Draws(np.array([0, 0, 1]), np.ones((1, 2)))
    assert by_period(np.array([1.0, 3.0, 5.0]), draws).tolist() == [2.0, 5.0]


def test_the_horizon_is_told_in_the_periods_that_are_averaged() -> None:
    """Daily rows of two names, five days ahead: 5.  Hourly rows, 8 hours ahead, averaged by day: into the next, 2."""
    days = Draws(np.repeat(np.arange(30), 2), np.ones((1, 30)))
    assert horizon_in_periods(days, np.tile([0, 1], 30), 5) == 5
    hours = Draws(np.repeat(np.arange(30), 24), np.ones((1, 30)))
    assert horizon_in_periods(hours, np.zeros(720, int), 8) == 2
    assert horizon_in_periods(hours, np.zeros(720, int), 30) == 3


def test_seeds_are_told_by_mean_spread_and_worst() -> None:
    """The worst is the greatest loss, or the least score."""
    values = np.array([1.0, 2.0, 4.0])
    assert across_seeds("log_loss", values).worst == 4.0
    assert across_seeds("mcc", values).worst == 1.0
    assert across_seeds("mcc", values).sd == pytest.approx(values.std(ddof=1))
    assert across_seeds("mcc", values[:1]).sd == 0.0


def test_the_confidence_set_keeps_the_good_and_drops_the_bad() -> None:
    """Two equally good forecasts and a worse one; a copy shares the p-value of what it copies."""
    pytest.importorskip("arch")
    random = np.random.default_rng(3)
    common = random.normal(1, 0.3, 300)
    good, other = common + random.normal(0, 0.1, 300), common + random.normal(0, 0.1, 300)
    p = model_confidence_set({"good": good, "other": other, "bad": common + 0.3, "copy": good}, 5)
    assert min(p["good"], p["other"]) > 0.05 > p["bad"]
    assert p["copy"] == p["good"]
    assert model_confidence_set({"one": good, "same": good}, 5) == {"one": 1.0, "same": 1.0}


def test_forecasts_without_any_loss_are_one() -> None:
    """Two that differ in the seventeenth digit beside one that errs: no division by the rest of a rounding."""
    pytest.importorskip("arch")
    nothing = np.zeros(60)
    p = model_confidence_set({"a": nothing, "b": nothing + 1e-17, "bad": np.random.default_rng(1).random(60)}, 3)
    assert (p["a"], p["b"]) == (1.0, 1.0)
    assert p["bad"] < 0.05
