"""What two models are compared by: least where a forecast is right, and with a bound on how far two may differ."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.observer.losses import LOSS_GAP_MAX, RETURN_GAP_MAX, compared_loss, log_loss, return_loss

SCALE = 2e-4
returns = st.floats(-1.0, 1.0)


def test_a_return_costs_half_its_squared_error_in_parts_of_the_mean_square() -> None:
    """By hand: a forecast of 1 bp where the price went 3 bps, and moves are 2 bps of late."""
    assert return_loss(1e-4, 3e-4, SCALE) == pytest.approx(0.5 * (1.5 - 0.5) ** 2)
    assert compared_loss(1e-4, 3e-4, SCALE) == return_loss(1e-4, 3e-4, SCALE)
    assert math.isnan(return_loss(1e-4, 3e-4, math.nan))


def test_it_is_the_log_loss_of_a_normal_but_for_what_every_forecast_has() -> None:
    def nats(said: float, outcome: float) -> float:
        density = math.exp(-((outcome - said) ** 2) / (2 * SCALE**2)) / (SCALE * math.sqrt(2 * math.pi))
        return -math.log(density)

    one, other = (return_loss(said, 2.5e-4, SCALE) for said in (1e-4, -0.5e-4))
    assert one - other == pytest.approx(nats(1e-4, 2.5e-4) - nats(-0.5e-4, 2.5e-4))


def test_nothing_is_cheaper_on_average_than_the_mean() -> None:
    """Of moves that are skewed, and nothing most of the time: the median would be nothing, and absolute errors go by
    that."""
    rng = np.random.default_rng(3)
    came = np.where(rng.random(4_000) < 0.7, 0.0, rng.normal(1e-4, 2e-4, 4_000))
    said = np.linspace(-1e-4, 1.5e-4, 51)
    costs = [np.mean([return_loss(one, outcome, SCALE) for outcome in came.tolist()]) for one in said.tolist()]
    assert np.median(came) == 0.0
    assert said[int(np.argmin(costs))] == pytest.approx(came.mean(), abs=1e-5)


@given(returns, returns, returns, st.floats(1e-6, 1.0))
def test_two_forecasts_of_a_return_differ_by_so_much_at_most(one: float, other: float, came: float, rms: float) -> None:
    assert abs(return_loss(one, came, rms) - return_loss(other, came, rms)) <= RETURN_GAP_MAX + 1e-9


def test_the_bounds_are_reached() -> None:
    assert return_loss(-1.0, 1.0, SCALE) - return_loss(1.0, 1.0, SCALE) == pytest.approx(RETURN_GAP_MAX)
    assert compared_loss(0.0, 1.0) - compared_loss(1.0, 1.0) == pytest.approx(LOSS_GAP_MAX)


def test_a_probability_has_its_log_loss_also_where_it_is_certain() -> None:
    assert log_loss(0.25, 1.0) == pytest.approx(math.log(4))
    assert log_loss(0.25, 0.0) == pytest.approx(-math.log(0.75))
    assert log_loss(0.0, 1.0) == pytest.approx(13.8, abs=0.1)
    assert compared_loss(0.3, 1.0) == log_loss(0.3, 1.0)
