"""What is known of predictions whose outcome has come."""

from __future__ import annotations

import pytest

from models.observer.outcomes import Outcomes


def test_hits_are_told_by_confidence() -> None:
    """A model that is right when it is sure and no better than a coin else: one hit rate would hide that."""
    outcomes = Outcomes(100)
    for number in range(20):
        outcomes.add(0.9 if number % 2 else 0.1, rose=bool(number % 2))
        outcomes.add(0.52, rose=bool(number % 2))
    figures = outcomes.figures()
    assert figures["hit_rate"] == pytest.approx(0.75)
    assert figures["hits"] == [
        {"from": 0.0, "rows": 20, "hit_rate": 0.5},
        {"from": 0.6, "rows": 20, "hit_rate": 1.0},
    ]
    assert "hits" not in Outcomes(100).figures()
