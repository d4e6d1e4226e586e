"""Settings of what watches models: limits that mean something, and the rules that are made of them."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from config.observer_schema import WatchSettings
from models.observer.rules import SOURCES, WatchRules


@pytest.mark.parametrize(
    "values",
    [
        {"variance_ratio_max": 1.0},
        {"variance_ratio_max": 1.4},
        {"variance_ratio_max": float("nan")},
        {"variance_ratio_max": float("inf")},
        {"hits_short_max": 0.0},
        {"hits_short_max": 0.6},
        {"volatility": "halt"},
        {"hits": "clear"},
    ],
)
def test_a_limit_that_chance_alone_is_beyond_and_an_action_that_is_none_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        WatchSettings.model_validate(values)


def test_what_is_set_are_the_rules_and_each_source_has_an_action() -> None:
    assert WatchSettings().rules() == WatchRules()
    for source in SOURCES:
        rules = WatchSettings.model_validate({source: "stop"}).rules()
        assert rules.action_of(source) == "stop"
