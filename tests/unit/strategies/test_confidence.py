"""Gates of the threshold strategy: conformal sets, spread, and the edge that is left when uncertainty is taken off."""

from __future__ import annotations

import json
from math import isnan
from typing import Any

import pytest

from engine.events import Prediction, PredictionStatus, Timer
from strategies.confidence import objection_to
from strategies.threshold import ThresholdParams, ThresholdStrategy
from tests.support.fake_view import FakeFeatures, FakeView
from tests.support.limits import NAME
from tests.support.threshold import FREE, SECOND

FACTS = {
    "output.p_up": 0.0,
    "direction.p_up": 1.0,
    "spread.p_up": 1.0,
    "horizon_rows": 1.0,
    "conformal_0.1": 0.7,
    "conformal_0.5": 0.4,
}


def make(facts: dict[str, float] | None = None, **params: Any) -> ThresholdStrategy:
    strategy = ThresholdStrategy("s", [NAME], ThresholdParams(**{**FREE, **params}))
    strategy.on_model(NAME, FACTS if facts is None else facts)
    return strategy


def say(strategy: ThresholdStrategy, view: FakeView, *values: float, model: str = "m@1") -> int:
    """A prediction of now, inline; how many intents it made."""
    said = Prediction(view.now_ns, view.now_ns, NAME, model, PredictionStatus.OK, values)
    return len(strategy.on_prediction(said, 1, view))


def row(strategy: ThresholdStrategy, view: FakeView, mid: float) -> None:
    view.quote(NAME, mid - 0.01, mid + 0.01)
    assert strategy.on_row(NAME, view) == ()
    view.now_ns += SECOND


@pytest.mark.parametrize(("p_up", "enters"), [(0.72, 1), (0.69, 0), (0.29, 0), (0.31, 0)])
def test_entries_need_a_set_of_one_side(p_up, enters) -> None:
    """Quantile 0.7 at an error rate of 0.1: up alone from 0.7 on.  Down alone is no entry where nothing is borrowed."""
    assert say(make(gates=("conformal",)), FakeView(), p_up, 0.0) == enters
    assert say(make(), FakeView(), 0.69, 0.0) == 1


def test_a_set_of_one_side_is_no_permission_for_the_other() -> None:
    """A quantile below a half can leave the less likely side out only; thresholds may still be anywhere."""
    facts = FACTS | {"conformal_0.1": 0.4}
    assert say(make(facts, gates=("conformal",), buy=0.3, sell=0.1), FakeView(), 0.35, 0.0) == 0


def test_returns_need_an_interval_on_one_side_of_zero() -> None:
    """Log returns of a horizon by its name, with the quantile in the same unit."""
    facts = {"output.h5": 0.0, "bps.h5": 1e4, "horizon_rows": 5.0, "conformal_0.1": 0.002}
    params = {"mode": "return_bps", "output": "h5", "buy": 5.0, "sell": -5.0, "gates": ("conformal",)}
    assert say(make(facts, **params), FakeView(), 0.0019) == 0
    assert say(make(facts, **params), FakeView(), 0.0021) == 1


@pytest.mark.parametrize(("spread", "enters"), [(0.05, 1), (0.051, 0), (float("nan"), 0), (-0.01, 0)])
def test_entries_need_a_spread_within_its_bound(spread, enters) -> None:
    """One that is not known is no permission."""
    assert say(make(gates=("spread",), spread_max=0.05), FakeView(), 0.9, spread) == enters


@pytest.mark.parametrize(("multiple", "enters"), [(0.0, 1), (2.0, 1), (2.2, 0)])
def test_the_edge_is_held_against_costs_less_its_uncertainty(multiple, enters) -> None:
    """Expected 0.8 * 60 = 48 bps, a spread of 0.1 is 12 bps; spread of the book and fees are 22 bps."""
    strategy = make(cost_multiple=1.0, return_scale_bps=60.0, edge_spreads=multiple)
    assert say(strategy, FakeView(), 0.9, 0.1) == enters


@pytest.mark.parametrize(
    ("params", "facts", "said"),
    [
        ({"gates": ("conformal",)}, {"buy": 0.6, "sell": 0.4, "horizon_rows": 5.0}, "no conformal quantiles"),
        ({"gates": ("spread",)}, {"output.p_up": 0.0, "direction.p_up": 1.0}, "models.uncertainty"),
        ({"edge_spreads": 1.0}, {}, "models.uncertainty"),
        ({"output": "h5"}, FACTS, "no output 'h5'"),
        ({"gates": ("conformal", "spread")}, FACTS, ""),
        ({}, {}, ""),
    ],
)
def test_a_gate_that_no_model_of_these_facts_could_pass_is_told(params, facts, said) -> None:
    """Before a session: in one, it would wait for ever."""
    found = objection_to(ThresholdParams(**{**FREE, **params}), facts)
    assert said in found
    assert bool(found) == bool(said)


def test_sets_grow_after_errors_and_shrink_while_there_are_none() -> None:
    """Always sure of a rise, and wrong: with each error the rate falls, and the third set holds both sides."""
    strategy, view = make(gates=("conformal",), adaptation=0.05), FakeView()
    for number in range(4):
        say(strategy, view, 0.8, 0.0)
        row(strategy, view, 100.0 - number)
    coverage = strategy.conformal_coverage(NAME)
    assert coverage is not None
    assert (coverage.matured, coverage.covered, coverage.singletons, coverage.singletons_right) == (3, 1, 2, 0)
    assert coverage.alpha == pytest.approx(0.1 - 2 * 0.05 * 0.9 + 0.05 * 0.1)
    assert say(strategy, view, 0.8, 0.0) == 0
    for number in range(30):
        say(strategy, view, 0.8, 0.0)
        row(strategy, view, 100.0 + number)
    assert coverage.share == pytest.approx(31 / 33)
    assert say(strategy, view, 0.8, 0.0) == 1


def test_rows_whose_price_did_not_move_count_as_no_outcome() -> None:
    """They are in no label either."""
    strategy, view = make(gates=("conformal",)), FakeView()
    for _ in range(3):
        say(strategy, view, 0.8, 0.0)
        row(strategy, view, 100.0)
    coverage = strategy.conformal_coverage(NAME)
    assert coverage is not None
    assert coverage.matured == 0
    assert isnan(coverage.share)


def test_the_close_of_the_row_counts_where_features_have_one() -> None:
    """The label is of it, whatever the book shows by now."""
    strategy, view = make(gates=("conformal",)), FakeView()
    for close in (100.0, 101.0):
        view.feature_views[NAME] = FakeFeatures({"close": close})
        say(strategy, view, 0.8, 0.0)
        row(strategy, view, 100.0)
    coverage = strategy.conformal_coverage(NAME)
    assert coverage is not None
    assert (coverage.matured, coverage.covered) == (1, 1)


def test_after_a_hole_in_the_rows_nothing_is_held_against_the_wrong_price() -> None:
    """Features that are not warm, seen at a timer."""
    strategy, view = make(gates=("conformal",)), FakeView()
    view.feature_views[NAME] = FakeFeatures({}, warm=False)
    say(strategy, view, 0.8, 0.0)
    row(strategy, view, 100.0)
    strategy.on_timer(Timer(view.now_ns, view.now_ns, "beat"), view)
    say(strategy, view, 0.8, 0.0)
    row(strategy, view, 90.0)
    coverage = strategy.conformal_coverage(NAME)
    assert coverage is not None
    assert coverage.matured == 0


def test_what_was_learned_goes_on_after_a_restart_and_ends_with_the_version() -> None:
    """State through JSON; another version of the model begins at the rate that was asked for."""
    strategy, view = make(gates=("conformal",)), FakeView()
    for number in range(3):
        say(strategy, view, 0.8, 0.0)
        row(strategy, view, 100.0 - number)
    restored = make(gates=("conformal",))
    restored.restore(json.loads(json.dumps(strategy.state())))
    assert restored.state() == strategy.state()
    say(restored, view, 0.8, 0.0)
    before, after = strategy.conformal_coverage(NAME), restored.conformal_coverage(NAME)
    assert before is not None
    assert before == after
    say(restored, view, 0.8, 0.0, model="m@2")
    fresh = restored.conformal_coverage(NAME)
    assert fresh is not None
    assert (fresh.model, fresh.alpha, fresh.matured) == ("m@2", 0.1, 0)


def test_a_strategy_without_the_gate_is_not_asked_at_rows() -> None:
    """The core leaves out calls that do nothing, and its state is what it was."""
    assert getattr(make().on_row, "never_acts", False)
    assert not getattr(make(gates=("conformal",)).on_row, "never_acts", False)
    assert make().state() == {"holdings": {}}
