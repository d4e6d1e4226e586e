"""Overlaps of what samples touch."""

from __future__ import annotations

import numpy as np
import pytest

from engine.errors import DataError
from models.splits.spans import Spans


def spans(*each: tuple[int, int, int]) -> Spans:
    return Spans(*(np.array(column, np.int64) for column in zip(*each, strict=True)))


def test_samples_that_share_a_moment_are_not_apart() -> None:
    """Before, inside, around, behind; ends that meet share nothing."""
    other = spans((10, 12, 14), (13, 15, 20), (40, 41, 42))
    mine = spans((0, 5, 10), (0, 5, 11), (15, 15, 16), (5, 15, 50), (19, 21, 22), (20, 21, 40), (42, 43, 44))
    assert mine.apart_from(other).tolist() == [True, False, False, False, False, True, True]
    assert mine.apart_from(other, embargo_ns=1).tolist() == [True, False, False, False, False, False, False]


def test_nothing_is_apart_from_everything_and_everything_from_nothing() -> None:
    """No samples on either side."""
    some, none = spans((1, 2, 3)), spans((1, 2, 3))[:0]
    assert some.apart_from(none).tolist() == [True]
    assert none.apart_from(some).tolist() == []


def test_times_in_the_wrong_order_are_refused() -> None:
    """A label that is known before its row."""
    with pytest.raises(DataError, match="ends before it begins"):
        spans((1, 5, 4))
    with pytest.raises(DataError, match="different lengths"):
        Spans(np.zeros(1, np.int64), np.zeros(2, np.int64), np.zeros(2, np.int64))
