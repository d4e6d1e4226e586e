"""Realised by predicted variance: forecasts that are right raise nothing in long runs, whatever the noise; those that
are not are seen within a declared number of labels, in both directions."""

from __future__ import annotations

import pickle

import numpy as np
import numpy.typing as npt
import pytest

from models.observer.volatility import Volatility

Float64 = npt.NDArray[np.float64]
SPREADS = (0.3, 0.7, 1.0)
"""Deviations of the logarithm of a ratio whose mean is 1: a realised variance of 20, 4 and 2 rows and more."""


def ratios(rng: np.random.Generator, count: int, spread: float) -> Float64:
    return np.exp(spread * rng.normal(size=count) - 0.5 * spread**2)


def seen(volatility: Volatility, predicted: Float64, realised: Float64, start: int = 0) -> int:
    """Labels until an alarm; -1 where there was none."""
    for number, (said, came) in enumerate(zip(predicted.tolist(), realised.tolist(), strict=True)):
        volatility.add(start + number, said, came)
        if volatility.beyond is not None:
            return number + 1
    return -1


@pytest.mark.parametrize("spread", [*SPREADS, 1.5])
@pytest.mark.parametrize("ratio_max", [1.5, 2.0])
def test_forecasts_that_are_right_on_average_raise_nothing_in_long_runs(spread: float, ratio_max: float) -> None:
    rng = np.random.default_rng(21)
    for _ in range(5):
        assert seen(Volatility(ratio_max, 1), np.ones(10_000), ratios(rng, 10_000, spread)) == -1


@pytest.mark.parametrize("reach", [1, 5])
def test_a_plain_forecast_of_a_market_whose_volatility_clusters_raises_nothing(reach: int) -> None:
    """GARCH(1,1) with Student's t of five degrees, forecast by RiskMetrics' EWMA, whose level is that of a first part,
    as training sets it on validation rows.  It is wrong for long, and right on average; labels overlap."""
    for seed in range(4):
        rng = np.random.default_rng(100 + seed)
        noise = rng.standard_t(5, 25_000) / np.sqrt(5.0 / 3.0)
        variance, average = np.empty(25_000), np.empty(25_000)
        now = said = 1e-6
        for row, one in enumerate(noise):
            variance[row], average[row] = now, said
            square = now * one * one
            now = 2e-8 + 0.08 * square + 0.90 * now
            said = 0.94 * said + 0.06 * square
        sums = np.convolve(variance * noise**2, np.ones(reach), "valid")
        predicted, realised = average[: len(sums)], sums
        level = (realised[:5_000] / predicted[:5_000]).mean()
        assert seen(Volatility(2.0, reach), level * predicted[5_000:], realised[5_000:]) == -1


@pytest.mark.fault("E10")
@pytest.mark.parametrize("spread", SPREADS)
@pytest.mark.parametrize(("factor", "labels_max"), [(4.0, 150), (0.25, 200)])
def test_volatility_twice_or_half_of_what_is_said_is_seen_within_so_many_labels(
    spread: float, factor: float, labels_max: int
) -> None:
    """Also after long health, which is no credit."""
    for seed in range(20):
        rng = np.random.default_rng(seed)
        volatility = Volatility(2.0, 1)
        assert seen(volatility, np.ones(2_000), ratios(rng, 2_000, spread)) == -1
        labels = seen(volatility, np.ones(400), factor * ratios(rng, 400, spread), 2_000)
        assert 0 < labels <= labels_max
        since = volatility.beyond
        assert since is not None
        assert since.labels <= labels + 100, "it tells of what is wrong now"
        assert since.came > 2.0 if factor > 1.0 else since.came < 0.5


def test_both_directions_share_what_chance_may_have() -> None:
    """Each wants twice the wealth that one alone would."""
    labels = seen(Volatility(2.0, 1), np.ones(50), np.full(50, 1e6))
    assert labels == np.ceil(np.log(4e6) / np.log1p(0.8 * 7.0))


def test_no_few_prices_that_are_wrong_raise_it() -> None:
    """Five prints a thousand times off within a hundred labels."""
    realised = np.ones(1_000)
    realised[500:600:20] = 1e6
    assert seen(Volatility(2.0, 1), np.ones(1_000), realised) == -1


def test_a_forecast_of_nothing_where_prices_move_is_seen_and_what_did_not_move_has_no_label() -> None:
    assert 0 < seen(Volatility(2.0, 1), np.zeros(50), np.full(50, 1e-8)) < 20
    for predicted, realised in ((1.0, 0.0), (float("nan"), 1.0)):
        assert seen(Volatility(2.0, 1), np.full(500, predicted), np.full(500, realised)) == -1


def test_a_session_of_months_takes_no_more_memory_than_one_of_a_day() -> None:
    volatility, sizes = Volatility(2.0, 1), []
    for row, came in enumerate(ratios(np.random.default_rng(6), 50_000, 0.7).tolist()):
        volatility.add(row, 1.0, came)
        if row in (1_000, 49_999):
            sizes.append(len(pickle.dumps(volatility)))
    assert sizes[1] <= sizes[0] + 50 < 1_000


def test_an_alarm_ends_when_forecasts_are_right_again() -> None:
    rng = np.random.default_rng(5)
    volatility = Volatility(2.0, 1)
    for row in range(2_000):
        volatility.add(row, 1.0, 4.0)
    assert volatility.beyond is not None
    for row, came in enumerate(ratios(rng, 500, 0.7).tolist(), 2_000):
        volatility.add(row, 1.0, came)
    assert volatility.beyond is None
