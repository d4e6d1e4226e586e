from __future__ import annotations

from models.evaluation.suspicion import suspicions


def test_what_is_too_good_is_named_with_its_value() -> None:
    """Only beyond the limits, each forecast by name."""
    found = suspicions({"network": 0.61, "LightGBM": 0.6, "prior": 0.5}, 3.2)
    assert [(one.what, one.value) for one in found] == [
        ("the direction accuracy of network", 0.61),
        ("the Sharpe ratio", 3.2),
    ]
    assert "look for leakage" in str(found[0])
    assert "\n" not in str(found[0])


def test_ordinary_results_are_not_suspected() -> None:
    """No strategy, no skill; and a loss is no wonder."""
    assert suspicions({"network": 0.53}, None) == []
    assert suspicions({}, 3.0) == []
    assert suspicions({"network": 0.1}, -5.0) == []
