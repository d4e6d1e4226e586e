"""What strategies ask for on an instrument."""

from __future__ import annotations

from typing import Any

import pytest

from config.asked import NO_MODEL, asked_model, asked_outputs, listens
from config.schema import StrategySettings
from engine.errors import ConfigError
from engine.venues import CONSOLIDATED
from tests.support.core import BTC, spot


def strategy(**given: Any) -> StrategySettings:
    return StrategySettings(**({"name": "a", "kind": "threshold"} | given))


def test_all_is_what_can_be_traded() -> None:
    """A consolidated price is listened to only where it is named."""
    consolidated = spot(id=f"BTC/USD@{CONSOLIDATED}", venue=CONSOLIDATED)
    assert listens(strategy(), spot())
    assert not listens(strategy(), consolidated)
    assert listens(strategy(instruments=[consolidated.id]), consolidated)
    assert not listens(strategy(instruments=[consolidated.id]), spot())


def test_outputs_are_those_of_strategies_with_a_model_that_listen() -> None:
    """One that names none trades on a model's first; one without a model, or on something else, on none."""
    asked = [
        strategy(params={"output": "up"}),
        strategy(name="b"),
        strategy(name="c", params={"output": "far"}, instruments=["ETH/USD@coinbase"]),
        strategy(name="d", params={"output": "none"}, model=NO_MODEL),
    ]
    assert asked_outputs(asked, spot()) == {"up", ""}
    assert asked_outputs(asked[3:], spot()) == {""}


def test_one_model_an_instrument() -> None:
    asked = [
        strategy(model="one"),
        strategy(name="b", model="two", instruments=[BTC]),
        strategy(name="c", model="none"),
    ]
    with pytest.raises(ConfigError, match="ask for the models one, two; expected one model an instrument"):
        asked_model(asked, spot())
    assert asked_model([asked[0], asked[2]], spot()) == "one"
