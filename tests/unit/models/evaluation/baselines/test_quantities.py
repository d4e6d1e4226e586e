from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from engine.errors import DataError
from models.evaluation.baselines.quantities import Forecaster, fit_returns, fit_variances
from models.evaluation.forecasts import qlikes, r2
from tests.support import made_up_runs as made_up

pytest.importorskip("lightgbm")
pytest.importorskip("arch")


@pytest.fixture(scope="module")
def made() -> made_up.MadeUp:
    return made_up.variance()


@pytest.fixture(scope="module")
def fitted(made: made_up.MadeUp) -> dict[str, Forecaster]:
    train, validation = made.part("train")[0], made.part("validation")[0]
    found = fit_variances(made.task, made.features, train, validation, 0, instruments=3)
    return {one.name: one for one in found}


def test_every_forecast_of_a_variance_beats_a_constant_one(made: made_up.MadeUp, fitted: dict[str, Forecaster]) -> None:
    """On a GARCH market: HAR better than persistence, GARCH itself almost the oracle, nobody below it."""
    test, oracle = made.part("test")
    losses = {name: float(qlikes(test.label, one.predict(test)).mean()) for name, one in fitted.items()}
    assert set(losses) == {
        "constant",
        "persistence",
        "monthly mean",
        "HAR-log",
        "ridge HAR-X",
        "LightGBM",
        "ridge HAR-X and LightGBM",
        "GARCH(1,1)-t",
        "EWMA 0.94",
    }
    best = float(qlikes(test.label, oracle[:, 0]).mean())
    for name in set(losses) - {"constant"}:
        assert best - 0.01 < losses[name] < losses["constant"], name
    assert losses["HAR-log"] < losses["persistence"]
    assert losses["GARCH(1,1)-t"] < best + 0.05


def test_fitted_forecasts_are_of_the_right_size(made: made_up.MadeUp, fitted: dict[str, Forecaster]) -> None:
    """Target over forecast is 1 on average in training: the factor with the least QLIKE."""
    train, _ = made.part("train")
    for name in ("HAR-log", "ridge HAR-X", "GARCH(1,1)-t", "EWMA 0.94"):
        assert (train.label / fitted[name].predict(train)).mean() == pytest.approx(1.0), name


def test_har_is_least_squares_on_logs(made: made_up.MadeUp, fitted: dict[str, Forecaster]) -> None:
    """Against scikit-learn, up to the factor."""
    from sklearn.linear_model import LinearRegression

    train, test = made.part("train")[0], made.part("test")[0]
    model = LinearRegression().fit(train.features[:, :3].astype(float), np.log(train.label))
    ratio = fitted["HAR-log"].predict(test) / np.exp(model.predict(test.features[:, :3].astype(float)))
    assert ratio == pytest.approx(np.full(len(test), ratio[0]))


def test_returns_without_direction_cannot_be_foretold() -> None:
    """Of a GARCH-t walk: no baseline has an R² out of sample worth the name."""
    made = made_up.returns(900)
    test, _ = made.part("test")
    for one in fit_returns(made.part("train")[0], made.part("validation")[0], 0):
        assert r2(test.label, one.predict(test), np.zeros(len(test))) < 0.02, one.name


def test_a_variance_that_is_not_positive_is_told(made: made_up.MadeUp) -> None:
    """One zero in training."""
    train, validation = made.part("train")[0], made.part("validation")[0]
    zero = replace(train, label=np.where(np.arange(len(train)) == 3, 0.0, train.label))
    with pytest.raises(DataError, match="1 variances of the train part are not positive"):
        fit_variances(made.task, made.features, zero, validation, 0, instruments=3)


def test_a_market_that_stood_still_is_given_the_least_variance_of_training(
    made: made_up.MadeUp, fitted: dict[str, Forecaster]
) -> None:
    """A forecast of nothing has no QLIKE; what the scored rows hold besides does not count."""
    train, test = made.part("train")[0], made.part("test")[0]
    past = np.where(np.arange(len(test)) == 0, 0.0, np.where(np.arange(len(test)) == 1, 1e-11, test.past_label))
    said = fitted["persistence"].predict(replace(test, past_label=past))
    assert said[0] == said[1] == train.past_label.min()
    assert (said[2:] == np.maximum(test.past_label, train.past_label.min())[2:]).all()
