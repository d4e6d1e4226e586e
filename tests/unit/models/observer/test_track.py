"""What a forecast is held against: validation rows where the bundle tells of them, else what a session says first."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from engine.events import Prediction, PredictionStatus
from models.bundle import Bundle, load_bundle
from models.facts import facts_of
from models.observer.maturing import Reading
from models.observer.rules import WatchRules
from models.observer.track import CHAMPION, Track, reading_of, reading_of_facts

DIRECTION = Reading(50, 0, 0.9, 0.1)
RETURN = Reading(50, None)
FIRST_ROWS = "the first rows of this session"


@dataclass
class Rows:
    """As a track asks for them: no prices are looked at here."""

    instrument: str = "X"
    begun: int = 0
    count: int = 0


@pytest.fixture
def bundle(artifacts: Path) -> Bundle:
    return load_bundle(artifacts / "demo-crypto")


def with_quantiles(bundle: Bundle, quantiles: dict[str, float]) -> Bundle:
    bundle.manifest = msgspec.structs.replace(bundle.manifest, prediction_quantiles=quantiles)
    return bundle


def watched(said: list[float], bundle: Bundle | None, reading: Reading = DIRECTION) -> dict[str, Any]:
    """The figures of a model that has said that from its first row on."""
    rows: Any = Rows()
    rules = WatchRules(window_rows=500, reference_rows=500)
    track = Track("m@1", CHAMPION, rows, reading, rules, fee_bps=0.0, bundle=bundle)
    for number, value in enumerate(said):
        track.on_prediction(Prediction(number, number, "X", "m@1", PredictionStatus.OK, (value,)), -1, number)
    return {**track.figures(), "alarms": [source for source, _, _ in track.alarm_changes()]}


def between(low: float, high: float, count: int = 1_000) -> list[float]:
    return np.random.default_rng(5).uniform(low, high, count).tolist()


@pytest.mark.fault("E10")
def test_a_forecast_that_is_another_one_from_the_first_row_on_is_seen(bundle: Bundle) -> None:
    """Nothing changes in the session: held against its own first rows it had no drift."""
    found = watched(between(0.45, 0.55), with_quantiles(bundle, {"p05": 0.02, "p50": 0.5, "p95": 0.98}))
    assert (found["output_against"], found["alarms"]) == ("validation rows", ["output"])
    found = watched(between(0.45, 0.55), None)
    assert (found["output_against"], found["alarms"]) == (FIRST_ROWS, [])
    assert found["output_psi"] < 0.1


def test_a_forecast_as_on_validation_rows_is_no_drift_whatever_came_first(bundle: Bundle) -> None:
    with_quantiles(bundle, {"p05": 0.05, "p50": 0.5, "p95": 0.95})
    found = watched([*between(0.2, 0.3, 500), *between(0.0, 1.0, 500)], bundle)
    assert found["output_psi"] < 0.05
    assert found["alarms"] == []


def test_a_return_is_watched_as_a_probability_is(bundle: Bundle) -> None:
    """It has no direction, and its quantiles are in the unit of what is said."""
    with_quantiles(bundle, {"p05": -2e-4, "p50": 1e-6, "p95": 2e-4})
    assert watched(between(5e-4, 9e-4), bundle, RETURN)["alarms"] == ["output"]
    assert watched(np.random.default_rng(6).normal(1e-6, 1.22e-4, 1_000).tolist(), bundle, RETURN)["output_psi"] < 0.05


@pytest.mark.parametrize("quantiles", [{}, {"p05": 0.5, "p50": 0.5, "p95": 0.9}])
def test_where_the_bundle_does_not_tell_it_the_first_rows_of_the_session_are_the_measure(
    bundle: Bundle, quantiles: dict[str, float]
) -> None:
    with_quantiles(bundle, quantiles)
    found = watched([*between(0.2, 0.3, 500), *between(0.7, 0.8, 500)], bundle)
    assert (found["output_against"], found["alarms"]) == (FIRST_ROWS, ["output"])


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
