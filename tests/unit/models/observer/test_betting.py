"""The sequential test keeps its promise however often one looks, and finds what is there."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import count

import numpy as np
import pytest

from models.observer.betting import Evidence

Draw = Callable[[np.random.Generator, int], np.ndarray]
ALPHA = 0.05
LOOKS = 2_000


def normal(rng: np.random.Generator, size: int) -> np.ndarray:
    return 0.1 * rng.normal(size=size)


def coin(rng: np.random.Generator, size: int) -> np.ndarray:
    return rng.choice([-1.0, 1.0], size=size)


def pennies(rng: np.random.Generator, size: int) -> np.ndarray:
    """Wins nearly always, and loses it all at once: what no normal approximation sees in time."""
    return np.where(rng.random(size) < 0.03, -0.97, 0.03)


@pytest.mark.parametrize("draw", [normal, coin, pennies])
def test_where_there_is_no_difference_it_is_hardly_ever_shown_in_thousands_of_looks(draw: Draw) -> None:
    """Looked at after every value: of 150 streams without a mean at most one in twenty is ever taken for one."""
    rng = np.random.default_rng(3)
    above = below = 0
    for _ in range(150):
        held = Evidence()
        most = least = 0.0
        for value in draw(rng, LOOKS).tolist():
            held.add(value)
            most, least = max(most, held.above), max(least, held.below)
        above += most >= -math.log(ALPHA)
        below += least >= -math.log(ALPHA)
    assert above <= 150 * ALPHA
    assert below <= 150 * ALPHA


@pytest.mark.parametrize(
    ("mean", "spread", "spans_max"), [(0.02, 0.1, 600), (0.005, 0.06, 2_500), (0.002, 0.01, 3_000)]
)
def test_a_real_difference_is_found(mean: float, spread: float, spans_max: int) -> None:
    """In nine streams of ten within the spans that are named, and the contrary in none."""
    rng = np.random.default_rng(4)
    found = 0
    for _ in range(20):
        held = Evidence()
        for number in count():
            held.add(mean + spread * float(rng.normal()))
            if held.above >= -math.log(ALPHA) or number == spans_max:
                break
        found += held.above >= -math.log(ALPHA)
        assert held.below < -math.log(ALPHA)
    assert found >= 18


def test_what_is_beyond_the_bounds_counts_as_the_bound() -> None:
    held, cut = Evidence(), Evidence()
    for value in (0.5, -7.0, 0.5, 30.0):
        held.add(value)
        cut.add(min(max(value, -1.0), 1.0))
    assert held == cut
    assert held.count == 4
    assert held.mean == pytest.approx(0.25)


def test_evidence_goes_on_where_another_process_left_it() -> None:
    values = np.random.default_rng(5).normal(size=300) * 0.1 + 0.05
    before, after = Evidence(), Evidence()
    for number, value in enumerate(values.tolist()):
        (before if number < 150 else after).add(value)
    both = before.followed_by(after)
    assert (both.count, both.above) == (300, before.above + after.above)
    assert both.mean == pytest.approx(float(values.mean()))
