"""Settings of features: what fits which kind of rows, and the names of sets."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from config.features_schema import FeaturesSettings, SamplingSettings


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"kind": "tick_bar", "every": 0}, "at least 1 tick"),
        ({"kind": "imbalance_bar"}, "at least 2 for kind imbalance_bar"),
        ({"kind": "tick_bar", "every": "5m"}, "a number of ticks for kind tick_bar"),
        ({"kind": "volume_bar", "size": 1, "every": 5}, "every 1 for kind volume_bar"),
        ({"kind": "volume_bar"}, "a size for kinds volume_bar and dollar_bar"),
        ({"kind": "tick", "size": 1}, "a size for kinds volume_bar and dollar_bar"),
        ({"kind": "dollar_bar", "size": 0}, "greater than 0"),
        ({"kind": "dollar_bar", "size": 5, "price": "mid"}, "price trade for kind dollar_bar"),
        ({"kind": "tick", "span": 5}, "no span"),
        ({"kind": "tick", "hole": "4h"}, "only a time_bar"),
        ({"kind": "time_bar", "every": "1h", "hole": "4"}, "hole as a time such as 4h"),
        ({"kind": "time_bar", "every": 7}, "every as a time such as 500ms"),
        ({"kind": "candle"}, "volume_bar"),
    ],
)
def test_what_does_not_fit_the_kind_is_refused(given: dict[str, Any], expected: str) -> None:
    """Each mistake by itself; the message says what was expected."""
    with pytest.raises(ValidationError, match=expected):
        SamplingSettings(**given)


def test_times_are_nanoseconds() -> None:
    """Units of every and hole."""
    made = SamplingSettings(kind="time_bar", every="500ms", hole="2m")
    assert (made.interval_ns, made.hole_ns) == (500_000_000, 120 * 10**9)
    assert SamplingSettings().hole_ns == 0


def test_a_set_is_known_by_name_and_a_typing_error_gets_the_nearest() -> None:
    """auto, a set, a misspelt one, and nothing like any."""
    assert FeaturesSettings().set == "auto"
    assert FeaturesSettings(set="technical40").set == "technical40"
    with pytest.raises(ValidationError, match="'technical40'"):
        FeaturesSettings(set="tecnical40")
    with pytest.raises(ValidationError, match=r"one of auto, technical13, .*extended"):
        FeaturesSettings(set="xyz")
