"""What a forecast is held against: validation rows where the bundle tells of them, else what a session says first."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from engine.events import Prediction, PredictionStatus
from models.bundle import Bundle, load_bundle
from models.observer.maturing import Reading
from models.observer.rules import WatchRules
from models.observer.track import CHAMPION, Track

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


class Walk:
    """Closes of a random walk, as far as they were looked at: steps of 1 bp, of ``by`` from ``wilder_from`` to before
    ``until``."""

    instrument, begun = "X", 0

    def __init__(self, rows: int, wilder_from: int, by: float = 3.0, until: int | None = None) -> None:
        steps = np.random.default_rng(9).normal(0.0, 1e-4, rows)
        steps[wilder_from:until] *= by
        self._px = 100.0 * np.exp(np.cumsum(steps))
        self.count = 0

    def px(self, row: int) -> float:
        return float(self._px[row])

    def pxs(self, first: int, last: int) -> np.ndarray:
        return self._px[first : last + 1]

    def recv_ns(self, row: int) -> int:
        return row


@pytest.mark.fault("E10")
@pytest.mark.parametrize(
    ("wilder_from", "alarms"), [(3_000, ["adwin", "calibration"]), (0, ["calibration"]), (5_000, [])]
)
def test_returns_whose_errors_grow_are_an_alarm(wilder_from: int, alarms: list[str]) -> None:
    """One in ten was beyond the bundle's quantile on validation rows, and then far more are; from the first row on that
    is no change, and what the bundle says of its errors is as wrong."""
    rows: Any = Walk(5_000, wilder_from)
    reading = Reading(4, None, number=0, error_max=1.645 * 2e-4)
    track = Track("m@1", CHAMPION, rows, reading, WatchRules(output="none"), fee_bps=0.0, bundle=None)
    for row in range(5_000):
        rows.count = row + 1
        track.mature()
        track.on_prediction(Prediction(row, row, "X", "m@1", PredictionStatus.OK, (0.0,)), row, row)
    told = track.alarm_changes()
    assert [source for source, _, _ in told] == alarms
    texts = {source: text for source, _, text in told}
    assert "errors of its returns grew" in texts.get("adwin", "errors of its returns grew")
    assert "of late came within what nine in ten did" in texts.get(
        "calibration", "of late came within what nine in ten did"
    )


class Watched:
    """A track of a model that says ``said(row)`` of each row, looked at as often as the process does."""

    def __init__(self, walk: Any, reading: Reading, said: Callable[[int], float], **rules: Any) -> None:
        self.walk = walk
        self.said = said
        watched = WatchRules(**{"output": "none", "adwin": "none", **rules})
        self.track = Track("m@1", CHAMPION, walk, reading, watched, fee_bps=0.0, bundle=None)

    def rows(self, first: int, last: int) -> list[tuple[str, str]]:
        """The alarms that are told of these rows."""
        told = []
        for row in range(first, last):
            self.walk.count = row + 1
            self.track.mature()
            said = (self.said(row),)
            self.track.on_prediction(Prediction(row, row, "X", "m@1", PredictionStatus.OK, said), row, row)
            if row % 10 == 0:
                told += [(source, action) for source, action, _ in self.track.alarm_changes()]
        return told


def forecaster(walk: Walk, action: str = "size_down") -> Watched:
    """Of the variance of the next four rows, as if steps were of 1 bp."""
    return Watched(walk, Reading(4, None, variance=0, variance_rows=4), lambda _: 4e-8, volatility=action)


@pytest.mark.fault("E10")
@pytest.mark.parametrize(("by", "is_beyond"), [(1.0, False), (2.0, True), (0.5, True)])
def test_realised_volatility_that_is_not_what_was_said_is_an_alarm_with_its_action(by: float, is_beyond: bool) -> None:
    """Twice and half of it, after long health; where it is as said 5,000 independent labels raise nothing."""
    found = forecaster(Walk(20_000, 18_500, by))
    assert found.rows(0, 18_500) == []
    assert found.rows(18_500, 20_000) == ([("volatility", "size_down")] if is_beyond else [])
    figures = found.track.figures()
    assert figures["variances"] > 19_000
    assert ("variance_recent" in figures) is is_beyond


def test_an_alert_about_volatility_ends_when_it_is_as_said_again() -> None:
    found = forecaster(Walk(5_000, 1_000, until=1_600), "alert")
    assert found.rows(0, 1_600) == [("volatility", "alert")]
    assert found.rows(1_600, 5_000) == [("volatility", "clear")]


def test_an_alarm_about_volatility_of_before_a_restart_is_not_told_again_and_counts_anew_when_cleared() -> None:
    """The record is read from its begin: what was told there counts as told."""
    again = forecaster(Walk(8_000, 1_000))
    again.track.on_alarm("volatility", "size_down")
    assert again.rows(0, 3_000) == []
    again.track.on_alarm("volatility", "clear")
    assert again.rows(3_000, 3_021) == []
    assert again.rows(3_021, 4_000) == [("volatility", "size_down")], "it goes on, and that is seen anew"


@pytest.mark.fault("E10")
def test_sure_predictions_that_are_no_better_than_a_coin_are_an_alarm_until_it_is_cleared() -> None:
    """One row in twenty says 95 %, and the walk goes where it will; calibration is within its limit."""
    found = Watched(Walk(8_000, 8_000), Reading(1), lambda row: 0.5 if row % 20 else 0.95, hits="stop")
    assert found.rows(0, 4_000) == [("hits", "stop")]
    (short,) = found.track.figures()["hits_short"]
    assert (short["from"], short["said"]) == (0.6, pytest.approx(0.95))
    assert short["hit_rate"] < 0.7
    found.track.on_alarm("hits", "clear")
    assert "hits_short" not in found.track.figures()
    assert found.rows(4_000, 8_000) == [("hits", "stop")]


def test_one_move_that_many_labels_share_is_one_prediction_that_was_wrong() -> None:
    """It says 95 % of a rise through a fall of 90 rows, and each label is 50 rows long: a few outcomes, not 138."""
    walk = Walk(1_000, 1_000)
    walk._px = np.concatenate([np.full(400, 110.0), np.linspace(110.0, 100.0, 90), np.full(510, 100.0)])
    found = Watched(walk, Reading(50), lambda _: 0.95, hits="stop")
    assert found.rows(0, 1_000) == []
    assert found.track.figures()["hits"] == [{"from": 0.6, "rows": 138, "hit_rate": 0.0}]
