"""Returns and their classes, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from engine.errors import ConfigError
from models.labels.returns import DOWN, FLAT, UP, change_bps, classes, log_return, past_sign


def test_a_return_is_of_the_rows_that_follow() -> None:
    """Four prices, two rows ahead: the last two rows have no label."""
    labels = log_return(np.array([100.0, 101.0, 99.0, 110.0]), 2)
    np.testing.assert_allclose(labels.values[:2], [np.log(0.99), np.log(110 / 101)])
    assert np.isnan(labels.values[2:]).all()
    assert labels.last.tolist() == [2, 3, -1, -1]


def test_prices_without_a_logarithm_give_no_label_and_a_change_all_the_same() -> None:
    """Minus a dollar and nothing at all, as oil once was; a change from nothing has no size."""
    close = np.array([10.0, -1.0, 0.0, 5.0, np.nan, 5.0])
    assert log_return(close).known.tolist() == [False] * 6
    changes = change_bps(close, 1)
    assert changes.known.tolist() == [True, True, False, False, False, False]
    assert changes.values[:2].tolist() == [-11_000.0, -10_000.0]


def test_a_threshold_is_not_reached_by_equality() -> None:
    """Exactly the threshold is flat on both sides; an unknown return has no class."""
    returns = log_return(np.array([1.0, 2.0, 1.0, 1.0]))
    found = classes(returns, float(np.log(2.0)))
    assert found.values[:3].tolist() == [FLAT, FLAT, FLAT]
    found = classes(returns, 0.5)
    assert found.values[:3].tolist() == [UP, DOWN, FLAT]
    assert not found.known[3]


def test_persistence_looks_back_as_far_as_the_label_ahead() -> None:
    """Signs of two-row moves; nothing where there were not two rows."""
    assert past_sign(np.array([3.0, 4.0, 3.0, 4.0, 9.0]), 2).tolist() == [0, 0, 0, 0, 1]
    assert past_sign(np.array([3.0]), 2).tolist() == [0]


def test_a_horizon_beyond_the_data_labels_nothing_and_none_is_refused() -> None:
    """Three rows, three ahead; then a horizon of 0."""
    assert not log_return(np.ones(3), 3).known.any()
    with pytest.raises(ConfigError, match="horizon of 0 rows"):
        log_return(np.ones(3), 0)
