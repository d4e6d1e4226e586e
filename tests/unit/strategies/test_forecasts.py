"""Which number of a prediction a strategy reads, by the facts of its model."""

from __future__ import annotations

from math import isnan

import pytest

from engine.events import PredictionStatus
from strategies.forecasts import forecast_of
from tests.support.threshold import predict

TWO_HORIZONS = {
    "output.h5": 0.0,
    "output.h20": 1.0,
    "bps.h5": 1e4,
    "bps.h20": 1e4,
    "horizon_rows": 5.0,
    "horizon_rows.h20": 20.0,
    "conformal_0.1": 0.003,
    "conformal_0.05": 0.004,
    "conformal_0.1.h20": 0.006,
    "spread.h20": 2.0,
}


def test_facts_without_names_are_one_probability() -> None:
    """Bundles and recordings of before outputs had names."""
    forecast = forecast_of({"buy": 0.6, "sell": 0.4, "return_scale_bps": 7.0, "horizon_rows": 5.0}, "probability")
    assert (forecast.buy, forecast.sell, forecast.return_scale_bps, forecast.horizon_rows) == (0.6, 0.4, 7.0, 5)
    assert forecast.value(predict(0.7)) == 0.7
    assert isnan(forecast.spread(predict(0.7)))


def test_a_horizon_is_read_by_its_name_and_in_bps() -> None:
    """Log returns of the bundle become bps; everything said about it has its name behind, but for the first."""
    far, near = (forecast_of(TWO_HORIZONS, "return_bps", name) for name in ("h20", ""))
    said = predict(0.0, values=(0.001, -0.002, 0.0005))
    assert far.value(said) == pytest.approx(-20.0)
    assert far.spread(said) == pytest.approx(5.0)
    assert (far.horizon_rows, far.quantiles) == (20, ((0.1, pytest.approx(60.0)),))
    assert near.value(said) == pytest.approx(10.0)
    assert (near.horizon_rows, [rate for rate, _ in near.quantiles]) == (5, [0.05, 0.1])
    assert isnan(near.spread(said))


@pytest.mark.parametrize(
    ("mode", "output", "said"),
    [
        ("return_bps", "h7", "no output 'h7'; it has h5, h20"),
        ("probability", "h5", "output h5 of the model is not a probability of rising"),
        ("probability", "", "output h5 of the model is not a probability of rising"),
    ],
)
def test_what_cannot_be_traded_on_as_asked_gives_no_number(mode, output, said) -> None:
    """A return of 0.002 is within 0 and 1: as a probability it would be a sure fall."""
    forecast = forecast_of(TWO_HORIZONS, mode, output)
    assert said in forecast.objection
    assert isnan(forecast.value(predict(0.0, values=(0.002, 0.002))))


def test_only_ok_predictions_with_enough_numbers_have_a_value() -> None:
    """Late, failed, or shorter than the facts say."""
    forecast = forecast_of(TWO_HORIZONS, "return_bps", "h20")
    assert isnan(forecast.value(predict(0.0, values=(0.1,))))
    assert isnan(forecast.value(predict(0.0, values=(0.1, 0.1), status=PredictionStatus.LATE)))
    assert isnan(forecast.spread(predict(0.0, values=(0.1, 0.1, -1.0))))
