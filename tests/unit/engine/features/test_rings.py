"""Short private histories against NumPy, across the place where a ring begins anew."""

from __future__ import annotations

import numpy as np
import pytest

from engine.features import layout as at
from engine.features import rings

PLACE = at.SLOTS


@pytest.mark.parametrize("n", [1, 4, 14, 20, rings.RING_ROWS])
def test_readings_are_of_the_last_values(n: int) -> None:
    """100 values through a ring of 32; each reading in NumPy, and nothing beside the ring is written."""
    s = np.full(PLACE + rings.RING_SLOTS + 1, 7.0)
    values = np.random.default_rng(n).normal(0, 1, 100)
    for i, value in enumerate(values):
        s[at.POS] = i % at.HISTORY
        stop = rings.put(s, PLACE, rings.RING_ROWS, value)
        if i >= n - 1:
            last = values[i - n + 1 : i + 1]
            assert s[stop - 1] == value
            np.testing.assert_array_equal(s[stop - n : stop], last)
            assert at.sum_before(s, stop, n) == pytest.approx(np.sum(last), abs=1e-13)
            assert rings.sum_offsets(s, stop, n, 0.5) == pytest.approx(np.sum(last - 0.5), abs=1e-13)
            assert rings.sum_distances(s, stop, n, 0.5) == pytest.approx(np.sum(np.abs(last - 0.5)), abs=1e-13)
    assert s[PLACE - 1] == s[-1] == 7.0


def test_equal_values_have_no_distance_from_each_other() -> None:
    """Exactly 0, where a rounded mean would leave a digit."""
    s = np.zeros(PLACE + rings.RING_SLOTS)
    for i in range(40):
        s[at.POS] = i
        stop = rings.put(s, PLACE, rings.RING_ROWS, 0.1)
    assert rings.sum_offsets(s, stop, 20, 0.1) == 0.0
    assert rings.sum_distances(s, stop, 20, 0.1) == 0.0
