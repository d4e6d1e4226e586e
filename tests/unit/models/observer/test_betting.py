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


def regime(rng: np.random.Generator, size: int, phi: float) -> np.ndarray:
    """No difference in the long run, and one of the two better for 1 / (1 - phi) values at a time."""
    values, at = np.empty(size), 0.0
    for number, noise in enumerate(rng.normal(size=size)):
        at = phi * at + math.sqrt(1.0 - phi**2) * float(noise)
        values[number] = 0.1 * at
    return values


@pytest.mark.parametrize("phi", [0.5, 0.9])
def test_values_that_go_together_are_not_taken_for_values_of_their_own(phi: float) -> None:
    """Of a hundred streams; as bets of their own a third and three quarters would be taken for a difference."""
    rng = np.random.default_rng(7)
    shown = alone = 0
    for _ in range(100):
        held, most, most_alone = Evidence(), 0.0, 0.0
        for value in regime(rng, LOOKS, phi).tolist():
            held.add(value)
            most_alone = max(most_alone, held.above)
            if held.above >= -math.log(ALPHA):
                most = max(most, held.for_above)
        shown += most >= 1.0 / ALPHA
        alone += most_alone >= -math.log(ALPHA)
    assert alone >= 20
    assert shown <= 7


def test_where_values_are_of_their_own_hardly_anything_is_taken_away() -> None:
    rng = np.random.default_rng(8)
    held = Evidence()
    for value in (0.02 + 0.1 * rng.normal(size=300)).tolist():
        held.add(value)
    assert 1.0 <= held.swelling < 2.0
    assert held.for_above >= 1.0 / ALPHA


def test_blocks_go_on_behind_those_of_before() -> None:
    first, second, whole = Evidence(), Evidence(), Evidence()
    rng = np.random.default_rng(9)
    for into, values in ((first, 2_048), (second, 2_048)):
        for value in rng.normal(size=values).tolist():
            into.add(0.1 * value)
            whole.add(0.1 * value)
    together = first.followed_by(second)
    assert together.swelling == pytest.approx(whole.swelling)
    assert [one.count for one in together.blocks] == [one.count for one in whole.blocks]


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
