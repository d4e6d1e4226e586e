"""Each factor at its ends and in between, by its formula."""

from __future__ import annotations

import pytest

from engine.consolidated.confidence import age_factor, count_factor, dispersion_factor, quality_factor


def test_factors_are_what_their_formulas_say() -> None:
    """By hand: 3 of 4 venues, a quarter of the stale limit, at and beyond the wild limit, a mean quality."""
    assert count_factor(3, 4) == 0.75
    assert age_factor(250.0, 1_000) == 0.75
    assert dispersion_factor(50.0, 50.0) == 0.5
    assert dispersion_factor(150.0, 50.0) == 0.25
    assert quality_factor(0.9) == 0.9


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (age_factor(0.0, 1_000), 1.0),
        (age_factor(-5.0, 1_000), 1.0),
        (age_factor(1_000.0, 1_000), 0.0),
        (age_factor(5_000.0, 1_000), 0.0),
        (dispersion_factor(0.0, 50.0), 1.0),
        (quality_factor(1.0 + 1e-12), 1.0),
        (count_factor(2, 2), 1.0),
    ],
)
def test_factors_stay_within_zero_and_one(value: float, expected: float) -> None:
    """At and beyond the ends of their causes."""
    assert value == expected
