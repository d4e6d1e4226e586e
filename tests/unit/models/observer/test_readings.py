"""What a prediction's numbers are read as: of a bundle, of its facts, and of facts of returns."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest

from models.bundle import Bundle, load_bundle
from models.facts import facts_of
from models.manifest import Label, Manifest, Tensor
from models.manifest_sections import Forecast, Task
from models.observer.maturing import Reading
from models.observer.readings import Traded, reading_of, reading_of_facts


@pytest.fixture
def bundle(artifacts: Path) -> Bundle:
    return load_bundle(artifacts / "demo-crypto")


def test_facts_are_read_as_the_bundle_that_they_are_of(bundle: Bundle) -> None:
    assert reading_of_facts(facts_of(bundle.manifest)) == reading_of(bundle.manifest)
    old = reading_of_facts((("horizon_rows", 50.0), ("buy", 0.9)))
    assert old is not None
    assert (old.horizon_rows, old.direction, old.buy, old.output) == (50, 0, 0.9, 0)


@pytest.mark.parametrize(
    ("facts", "wanted"),
    [
        ({"output.h5": 0, "bps.h5": 1e4, "output.h20": 1, "bps.h20": 1e4, "horizon_rows.h20": 20}, (5, None, 0)),
        ({"output.regime": 0, "output.p_up": 4, "direction.p_up": 1, "horizon_rows.p_up": 20}, (20, 4, 4)),
        ({"output.h5": 0, "bps.h5": 1e4, "output.p_up": 1, "direction.p_up": 1}, (5, 1, 0)),
        ({"output.variance": 0}, (5, None, None)),
    ],
)
def test_only_a_probability_of_rising_is_read_as_one(facts: dict[str, float], wanted: tuple[int, int, int]) -> None:
    """A return of 1e-4 read as a probability was an error of half of all rows, and a calibration that was out."""
    reading = reading_of_facts((("horizon_rows", 5.0), *facts.items()))
    assert reading is not None
    assert (reading.horizon_rows, reading.direction, reading.output) == wanted
    assert np.isnan(reading.buy)


@pytest.mark.parametrize("kind", ["realised_variance", "parkinson_variance"])
def test_a_variance_is_read_with_its_horizon_and_kind_also_by_its_facts(bundle: Bundle, kind: str) -> None:
    """Of a bundle, and of what the record tells of a mixture; the return before it keeps its place."""
    forecasts = (
        Forecast("return", "number", "a return", 1, "return", ""),
        Forecast("variance", "variance", "a variance", 5, kind, ""),
    )
    manifest = msgspec.structs.replace(
        bundle.manifest,
        label=Label("return", 1, "a return"),
        thresholds=None,
        task=Task("multi_task", "multi_task", forecasts),
        outputs=tuple(Tensor(one.name, (-1, 1), "float32") for one in forecasts),
        conformal={"0.9": 4e-4},
    )
    reading, told = reading_of(manifest), reading_of_facts(facts_of(manifest))
    assert told is not None
    for one in (reading, told):
        assert (one.horizon_rows, one.number, one.reach) == (1, 0, 5)
        assert (one.variance, one.variance_rows, one.variance_kind) == (1, 5, kind)


@pytest.fixture
def returns(bundle: Bundle) -> Manifest:
    """Of two horizons."""
    forecasts = tuple(Forecast(f"h{rows}", "number", "a return", rows, "horizons", "") for rows in (5, 20))
    return msgspec.structs.replace(
        bundle.manifest,
        schema=2,
        label=Label("horizons", 5, "returns"),
        thresholds=None,
        task=Task("multi_horizon", "multi_horizon", forecasts),
        outputs=tuple(Tensor(one.name, (-1, 1), "float32") for one in forecasts),
        conformal={"0.5": 1e-4, "0.9": 4e-4, "0.9.h20": 9e-4},
    )


def both_of(manifest: Manifest, traded: Traded) -> list[Reading]:
    told = reading_of_facts(facts_of(manifest), traded)
    assert told is not None
    return [reading_of(manifest, traded), told]


def test_a_bundle_of_returns_is_read_as_its_facts_are(returns: Manifest) -> None:
    """Two horizons: the first is judged, by its own horizon and what its errors were on validation rows."""
    for one in both_of(returns, Traded()):
        assert (one.horizon_rows, one.direction, one.output, one.number, one.error_max) == (5, None, 0, 0, 4e-4)
        assert (one.place, one.is_return) == (0, True)
        assert np.isnan([one.buy, one.sell]).all()


def test_the_drift_of_a_return_is_watched_also_where_a_bundle_tells_no_quantiles(returns: Manifest) -> None:
    """It is held against the first rows of the session then, as that of a probability and of a mixture is."""
    for one in both_of(msgspec.structs.replace(returns, prediction_quantiles={}), Traded("h20", 15.0, -10.0)):
        assert (one.number, one.output) == (1, 0)


@pytest.mark.parametrize(("output", "lacks"), [("", ""), ("h20", ""), ("h60", "h60"), ("variance", "variance")])
def test_an_output_that_is_traded_on_and_cannot_be_is_told(returns: Manifest, output: str, lacks: str) -> None:
    assert returns.task is not None
    variance = Forecast("variance", "variance", "a variance", 5, "realised_variance", "")
    task = msgspec.structs.replace(returns.task, forecasts=(*returns.task.forecasts, variance))
    outputs = (*returns.outputs, Tensor("variance", (-1, 1), "float32"))
    for one in both_of(msgspec.structs.replace(returns, task=task, outputs=outputs), Traded(output)):
        assert one.lacks == lacks


def test_what_strategies_trade_on_is_judged_by_their_thresholds(returns: Manifest) -> None:
    """The farther horizon, from 15 bps on; a shadow that has no such output is judged by its first one, as it is."""
    for one in both_of(returns, Traded("h20", 15.0, -10.0)):
        assert (one.horizon_rows, one.number, one.error_max) == (20, 1, 9e-4)
        assert (one.buy, one.sell) == (pytest.approx(15e-4), pytest.approx(-10e-4))
        assert one.output == 0, "drift is that of the first output"
    for one in both_of(returns, Traded("h60", 15.0, -10.0)):
        assert (one.horizon_rows, one.number) == (5, 0)
        assert np.isnan(one.buy)


def test_thresholds_of_a_strategy_go_before_those_of_the_bundle(bundle: Bundle) -> None:
    for one in both_of(bundle.manifest, Traded("", 0.7, 0.2)):
        assert (one.buy, one.sell) == (0.7, 0.2)
    for one in both_of(bundle.manifest, Traded("p_up", 0.7, 0.2)):
        assert (one.buy, one.sell) == (0.7, 0.2)
    for one in both_of(bundle.manifest, Traded("h20", 15.0, -15.0)):
        assert (one.direction, one.buy) == (0, bundle.manifest.thresholds.buy)


def test_a_threshold_for_probabilities_is_none_for_a_return(returns: Manifest) -> None:
    """A shadow of returns where the strategy trades on the direction of another task's bundle."""
    for one in both_of(returns, Traded("", 0.7, 0.2)):
        assert one.is_return
        assert np.isnan(one.buy)
