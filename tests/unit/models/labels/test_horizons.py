"""Several horizons of one row."""

from __future__ import annotations

import numpy as np
import pytest

from engine.errors import ConfigError
from models.labels.horizons import log_returns, rows_of
from models.labels.returns import log_return


def test_every_column_is_the_return_over_its_horizon_and_all_or_none_are_known() -> None:
    """5, 10 and 15 minutes of one-minute rows against one horizon at a time."""
    close = np.exp(np.cumsum(np.random.default_rng(1).normal(0, 0.01, 60)))
    labels = log_returns(close, (5, 10, 15))
    assert labels.values.shape == (60, 3)
    assert labels.known.sum() == 45
    assert labels.last[:45].tolist() == list(range(15, 60))
    for column, horizon in enumerate((5, 10, 15)):
        np.testing.assert_array_equal(labels.values[:45, column], log_return(close, horizon).values[:45])
    assert np.isnan(labels.values[45:]).all()


def test_a_span_of_time_must_be_whole_rows() -> None:
    """Five minutes of one-minute rows are five; of two-minute rows they are none, and ticks have no length."""
    minute = 60_000_000_000
    assert rows_of(5 * minute, minute) == 5
    with pytest.raises(ConfigError, match="expected whole rows"):
        rows_of(5 * minute, 2 * minute)
    with pytest.raises(ConfigError, match="expected a horizon in rows"):
        rows_of(5 * minute, 0)


@pytest.mark.parametrize("horizons", [(), (5, 5), (10, 5)])
def test_horizons_are_ascending_and_once_each(horizons: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError, match="ascending, each once"):
        log_returns(np.ones(30), horizons)
