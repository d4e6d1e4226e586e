"""Four regimes, their threshold, and why the easy label is easy."""

from __future__ import annotations

import numpy as np
import pytest

from engine.errors import DataError
from models.labels.regimes import BEAR, BULL, SIDEWAYS, VOLATILE, classes, current, ending_next, future, high_volatility


def closes(*returns: float) -> np.ndarray:
    return np.exp(np.cumsum([0.0, *returns]))


def test_the_stretch_of_record_begins_after_the_row() -> None:
    """Deviation and sum of the three returns that follow row 0, by hand."""
    labels = future(closes(0.01, -0.02, 0.04, 0.5), 3)
    np.testing.assert_allclose(labels.values[0], [np.std([0.01, -0.02, 0.04], ddof=1), 0.03])
    assert labels.last.tolist() == [3, 4, -1, -1, -1]


def test_the_easy_label_shares_all_but_one_row_with_the_inputs() -> None:
    """It ends at t + 1: the stretch of record of a row is the easy one of a row 19 later, and persistence one later."""
    close = np.exp(np.cumsum(np.random.default_rng(2).normal(0, 0.02, 200)))
    record, easy, now = (make(close, 20).values for make in (future, ending_next, current))
    np.testing.assert_array_equal(record[1:180], easy[20:199])
    np.testing.assert_array_equal(record[:180], now[20:])
    assert np.isnan(easy[:19]).all()
    assert np.isfinite(easy[19]).all()


def test_volatility_goes_before_direction() -> None:
    """One row of each class."""
    labels = future(closes(0.01, 0.04, -0.02, -0.025, 0.0, 0.02, 0.5, 0.001), 2)
    found = classes(labels, volatile_above=0.1, trend=0.03)
    assert found.values[:7].tolist() == [BULL, SIDEWAYS, BEAR, SIDEWAYS, SIDEWAYS, VOLATILE, VOLATILE]
    assert not found.known[7:].any()


def test_the_threshold_is_the_quantile_of_what_it_is_given() -> None:
    """Unknown volatilities do not count; none at all is refused."""
    assert high_volatility(np.array([1.0, 2.0, 3.0, 4.0, 5.0, np.nan]), 0.75) == 4.0
    with pytest.raises(DataError, match="no training row"):
        high_volatility(np.array([np.nan]))
