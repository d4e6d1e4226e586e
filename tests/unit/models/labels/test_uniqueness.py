"""Concurrency and uniqueness by hand."""

from __future__ import annotations

import numpy as np

from models.labels.uniqueness import average_uniqueness, concurrency, episodes

FIRST, LAST = np.array([0, 2, 3, 8]), np.array([2, 4, 4, 9])


def test_labels_are_counted_in_each_row_they_run_in() -> None:
    """Both ends are in."""
    assert concurrency(FIRST, LAST, 10).tolist() == [1, 1, 2, 2, 2, 0, 0, 0, 1, 1]


def test_uniqueness_is_the_mean_share_of_the_rows() -> None:
    """A label alone is 1; two that always run together have half of it each."""
    np.testing.assert_allclose(average_uniqueness(FIRST, LAST, 10), [2.5 / 3, 0.5, 0.5, 1.0])


def test_overlapping_signals_are_one_episode() -> None:
    """The second begins where the first still runs, the last stands alone; what is not chosen does not count."""
    everything = np.ones(4, bool)
    assert episodes(FIRST, LAST, everything) == 2
    assert episodes(FIRST, LAST, np.array([True, False, True, True])) == 3
    assert episodes(FIRST, LAST, ~everything) == 0
