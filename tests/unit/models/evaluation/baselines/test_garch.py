from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from engine.errors import DataError
from models.evaluation.baselines.garch import (
    EWMA,
    Garch,
    ewma_forecast,
    fit_garch,
    garch_forecast,
    lack_of_returns,
)
from models.evaluation.rows import Rows, Series
from tests.support import made_up_runs as made_up

arch = pytest.importorskip("arch")


def test_the_recursion_is_archs() -> None:
    """Next variances and five steps ahead of arch's own fit on 800 returns, at the last bar."""
    returns = made_up.market(800, 5)[1][:, 0]
    ours = fit_garch(returns)
    fitted = arch.arch_model(returns * 100, mean="Constant", vol="GARCH", p=1, q=1, dist="t").fit(disp="off")
    variances = fitted.conditional_volatility**2 / 1e4
    walked = ours.next_variances(returns, float(variances[0]))
    assert walked[:-1] == pytest.approx(variances[1:], rel=0.02)
    ahead = fitted.forecast(horizon=5).variance.to_numpy()[-1] / 1e4
    assert ours.mean_variance(walked[-1:], 5)[0] == pytest.approx(ahead.mean(), rel=0.02)


def test_parameters_of_a_market_that_has_some_are_found() -> None:
    """4,000 days of omega 2e-6, alpha 0.12, beta 0.86, five degrees of freedom."""
    found = fit_garch(made_up.market(4000, 6)[1][:, 0])
    assert found.alpha == pytest.approx(0.12, abs=0.05)
    assert found.beta == pytest.approx(0.86, abs=0.05)
    assert found.nu == pytest.approx(5, abs=1.5)


def test_steps_ahead_go_to_the_long_run_by_hand() -> None:
    """Two steps from 4 with omega 1, alpha 0.2, beta 0.3: 4, then 3; constant where persistence is 1."""
    model = Garch(0.0, 1.0, 0.2, 0.3, 5.0)
    assert model.mean_variance(np.array([4.0]), 2)[0] == pytest.approx(3.5)
    assert Garch(0.0, 0.0, 0.1, 0.9, 5.0).mean_variance(np.array([4.0]), 9)[0] == pytest.approx(4.0)


def test_ewma_by_hand() -> None:
    """Three returns after the start."""
    values = np.array([0.01, -0.02, 0.03])
    series = Series(np.zeros(3, int), np.arange(3), values)
    rows = Rows(np.zeros(3, int), np.arange(3), np.ones(3), np.zeros((3, 1), np.float32), series=series)
    variance, expected = float(values.var()), []
    for value in values:
        variance = EWMA * variance + (1 - EWMA) * value**2
        expected.append(variance)
    assert ewma_forecast(rows, rows)(rows) == pytest.approx(expected)


@pytest.mark.parametrize("kind", ["garch", "ewma"])
def test_the_walk_to_the_test_goes_through_validation(kind: str) -> None:
    """One name of three in four bars of validation moved ten times as much: its first forecasts of the test know."""
    made = made_up.variance(500)
    train, validation, test = (made.part(name)[0] for name in ("train", "validation", "test"))
    forecast = garch_forecast if kind == "garch" else lambda *parts: ewma_forecast(*parts[:2])
    late = (validation.series.instrument == 0) & (validation.series.ts_ns >= np.unique(validation.series.ts_ns)[-4])
    shocked = np.where(late, 10 * validation.series.log_return, validation.series.log_return)
    wild = replace(validation, series=replace(validation.series, log_return=shocked))
    ratio = forecast(train, wild, 5)(test) / forecast(train, validation, 5)(test)
    first = test.ts_ns == test.ts_ns.min()
    assert ratio[first & (test.instrument == 0)][0] > 2
    assert (ratio[test.instrument != 0] == 1).all()


@pytest.mark.parametrize("kind", ["garch", "ewma"])
def test_a_forecast_knows_nothing_of_later_returns(kind: str) -> None:
    """Returns after the middle of the test replaced: rows before are the same bits, rows after are not."""
    made = made_up.variance(500)
    train, validation, test = (made.part(name)[0] for name in ("train", "validation", "test"))
    forecast = garch_forecast(train, validation, 5) if kind == "garch" else ewma_forecast(train, validation)
    middle = int(np.median(test.ts_ns))
    late = test.series.ts_ns > middle
    changed = replace(test.series, log_return=np.where(late, 0.5, test.series.log_return))
    before, after = forecast(test), forecast(replace(test, series=changed))
    assert (before[test.ts_ns <= middle] == after[test.ts_ns <= middle]).all()
    assert (before[test.ts_ns > middle] != after[test.ts_ns > middle]).all()


def test_what_lacks_is_told() -> None:
    """No series, too few returns, an instrument without any in training, a row without its own bar."""
    made = made_up.variance(400)
    train, validation, test = (made.part(name)[0] for name in ("train", "validation", "test"))
    with pytest.raises(DataError, match="no series of returns"):
        garch_forecast(replace(train, series=None), validation, 1)
    assert lack_of_returns(train, 3) == "GARCH: 3 instrument(s) have fewer than 250 training returns"
    longer = made_up.variance(500).part("train")[0]
    assert lack_of_returns(longer, 3) == ""
    assert lack_of_returns(longer, 4) == "GARCH: 1 instrument(s) have fewer than 250 training returns"
    with pytest.raises(DataError, match="expected 250 or more"):
        fit_garch(np.zeros(100))
    with pytest.raises(DataError, match="no return of its own time"):
        ewma_forecast(train, validation)(replace(test, ts_ns=test.ts_ns + 1))
