"""Variances ahead, by their definitions."""

from __future__ import annotations

import math

import numpy as np

from models.labels.volatility import logarithm, parkinson_variance, realised_variance


def test_realised_variance_sums_the_squares_of_the_rows_ahead() -> None:
    """Three returns by hand; the return into the row itself is not among them."""
    close = np.exp(np.array([0.0, 9.0, 9.1, 9.3, 9.0]))
    labels = realised_variance(close, 2)
    np.testing.assert_allclose(labels.values[1], 0.1**2 + 0.2**2)
    np.testing.assert_allclose(labels.values[2], 0.2**2 + 0.3**2)
    assert labels.last.tolist() == [2, 3, 4, -1, -1]


def test_parkinson_variance_is_that_of_a_row() -> None:
    """Ranges of 1 and 2 in logarithms: their mean square over 4 ln 2."""
    high, low = np.exp(np.array([5.0, 1.0, 2.0])), np.ones(3)
    labels = parkinson_variance(high, low, 2)
    np.testing.assert_allclose(labels.values[0], (1 + 4) / 2 / (4 * math.log(2)))
    assert labels.known.tolist() == [True, False, False]


def test_one_bad_row_costs_the_labels_that_read_it_and_no_other() -> None:
    """A low above the high at row 5 of 12: rows 2 to 4 look at it."""
    high, low = np.full(12, 2.0), np.ones(12)
    low[5] = 3.0
    labels = parkinson_variance(high, low, 3)
    assert np.flatnonzero(~labels.known).tolist() == [2, 3, 4, 9, 10, 11]


def test_nothing_that_moved_has_no_logarithm() -> None:
    """A flat stretch is left out of the logarithm, not given a floor."""
    close = np.array([1.0, 1.0, 1.0, 2.0])
    variance = realised_variance(close, 1)
    assert variance.values[:2].tolist() == [0.0, 0.0]
    assert logarithm(variance).known.tolist() == [False, False, True, False]
