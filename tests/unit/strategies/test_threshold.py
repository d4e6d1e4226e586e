"""The threshold strategy across restarts, its determinism, and the parameters that it refuses."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from engine.commands import Intent
from strategies.threshold import ThresholdParams
from tests.support.fake_view import FakeView
from tests.support.limits import NAME
from tests.support.threshold import FREE, MS, SECOND, enter, make, one, predict, tick

D = Decimal


def test_state_round_trips_through_json_and_goes_on_as_if_never_stopped() -> None:
    """Stops in the middle of an exit; the restored one sends the same next intents, at the same times."""
    view, strategy = FakeView(), make()
    enter(strategy, view)
    tick(view, MS, 99.70, 99.72)
    one(strategy.on_quote(NAME, view))
    restored = make()
    restored.restore(json.loads(json.dumps(strategy.state())))
    assert restored.state() == strategy.state()
    for _ in range(40):
        tick(view, 50 * MS, 99.70, 99.72)
        assert restored.on_quote(NAME, view) == strategy.on_quote(NAME, view)


def test_a_position_without_state_is_adopted() -> None:
    """Restarted with nothing: the account's average price, the horizon from now."""
    view, strategy = FakeView(), make()
    view.hold(NAME, D(2), D(100), strategy="s")
    assert strategy.on_quote(NAME, view) == ()
    tick(view, 10 * SECOND)
    assert one(strategy.on_quote(NAME, view)).reason == "horizon"


def test_state_that_is_none_of_ours_is_refused() -> None:
    """A holding whose quantity is no number."""
    with pytest.raises(msgspec.ValidationError):
        make().restore({"holdings": {NAME: {"qty": "much"}}})


def test_same_calls_give_the_same_intents() -> None:
    """Two instances, one history."""
    runs = []
    for _ in range(2):
        view, strategy = FakeView(), make()
        found: list[Intent] = list(strategy.on_prediction(predict(0.7), 3, view))
        tick(view, 300 * MS)
        found += strategy.on_prediction(predict(0.8), 4, view)
        runs.append(found)
    assert runs[0] == runs[1]
    assert len(runs[0]) == 2


@pytest.mark.parametrize(
    "params",
    [
        {"buy": 0.4, "sell": 0.5},
        {"buy": 1.5},
        {"sell": -0.1},
        {"mode": "return_bps", "buy": 0.55, "sell": 0.45},
        {"buy": 0.6, "sell": None},
        {"buy": float("nan")},
        {"stop_bps": -1.0},
        {"horizon_ns": -1},
        {"notional": 0.0},
        {"exit_retry_ns": 0},
        {"vol_floor_bps": 0.0},
        {"sizing": "volatility", "vol_column": "rv_21"},
    ],
)
def test_parameters_that_make_no_sense_are_refused(params: dict[str, Any]) -> None:
    """One each."""
    with pytest.raises(ValueError):
        ThresholdParams(**{**FREE, **params})
