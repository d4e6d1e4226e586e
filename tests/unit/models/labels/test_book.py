"""Labels of the book, in whole half-ticks."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest

from engine.errors import ConfigError
from models.labels.book import half_ticks, point, smoothed, smoothed_both
from models.labels.returns import DOWN, FLAT, UP

MID = np.array([100, 100, 101, 99, 99, 103, 103, 103])


def test_the_mid_is_a_whole_number_of_half_ticks() -> None:
    """Bid 5, ask 6: eleven halves."""
    assert half_ticks(np.array([5]), np.array([6])).tolist() == [11]


def test_point_labels_compare_two_mids() -> None:
    """Two rows ahead; a threshold that is touched exactly is flat."""
    assert point(MID, 2).values[:6].tolist() == [UP, DOWN, DOWN, UP, UP, FLAT]
    assert point(np.array([100, 102]), 1, Decimal("0.02")).values[0] == FLAT
    assert point(np.array([100, 103]), 1, Decimal("0.02")).values[0] == UP


def test_smoothed_labels_are_exact_where_a_float_mean_is_not() -> None:
    """Against fractions, over a long walk; and a flat market is flat, to the last bit."""
    mid = 2_500_000 + np.cumsum(np.random.default_rng(3).integers(-2, 3, 4000))
    for horizon, threshold in ((10, Decimal(0)), (50, Decimal("0.000001"))):
        labels = smoothed(mid, horizon, threshold)
        assert labels.known.sum() == len(mid) - horizon
        for row in range(0, len(mid) - horizon, 97):
            mean = Fraction(sum(mid[row + 1 : row + 1 + horizon].tolist()), horizon)
            change = mean / int(mid[row]) - 1
            bound = Fraction(threshold)
            assert labels.values[row] == (UP if change > bound else DOWN if change < -bound else FLAT)
    assert (smoothed(np.full(100, 999_999), 10, Decimal(0)).values[:90] == FLAT).all()


def test_numbers_that_would_run_over_are_refused() -> None:
    """A threshold of eighteen digits: its product with a mid would be some other number."""
    with pytest.raises(ConfigError, match="fewer digits"):
        point(MID, 2, Decimal("0.123456789012345677"))
    with pytest.raises(ConfigError, match="fewer digits"):
        smoothed(MID * 10**12, 2, Decimal("0.1234567"))


def test_the_two_sided_label_compares_means() -> None:
    """Two before, the row among them, against two after."""
    labels = smoothed_both(MID, 2, Decimal(0))
    assert labels.known.tolist() == [False, True, True, True, True, True, False, False]
    assert labels.values[1:6].tolist() == [FLAT, DOWN, UP, UP, UP]
    assert labels.last[1:6].tolist() == [3, 4, 5, 6, 7]
    assert not smoothed_both(MID[:3], 2, Decimal(0)).known.any()
