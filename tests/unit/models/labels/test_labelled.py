"""What all labels have in common."""

from __future__ import annotations

import numpy as np
import pytest

from models.labels import Labels, unknown
from models.labels.labelled import NEVER_NS


def test_a_label_is_known_when_its_last_row_is() -> None:
    """Times of the last rows; never where there is none."""
    labels = Labels(np.array([1.0, 2.0, np.nan, np.nan]), np.array([2, 3, -1, -1]))
    assert labels.end_ns(np.array([10, 20, 30, 40])).tolist() == [30, 40, NEVER_NS, NEVER_NS]
    assert labels.known.tolist() == [True, True, False, False]


def test_labels_over_too_much_time_or_backwards_are_left_out() -> None:
    """A span of exactly the bound stays; a clock that stepped back measures nothing."""
    labels = Labels(np.arange(4.0), np.array([1, 2, 3, 3]))
    kept = labels.within(np.array([0, 10, 30, 25]), 20)
    assert kept.known.tolist() == [True, True, False, True]
    assert np.isnan(kept.values[2])
    assert labels.values.tolist() == [0.0, 1.0, 2.0, 3.0]


def test_nothing_is_known_of_no_label() -> None:
    """One value a row, or several."""
    assert unknown(3).values.shape == (3,)
    assert unknown(3, 2).values.shape == (3, 2)
    assert not unknown(3).known.any()
    with pytest.raises(AssertionError):
        Labels(np.zeros(2), np.zeros(3, np.int64))
