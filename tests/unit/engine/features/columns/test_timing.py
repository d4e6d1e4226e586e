"""Durations against differences of time stamps."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tests.support.features import START_NS, assert_same, column_values, naive_rows, quote, rolling, seeded_events

EVENTS = seeded_events(600)


@pytest.mark.parametrize("n", [1, 5, 20, 50])
def test_duration_is_the_time_the_rows_took(n: int) -> None:
    """Integer nanoseconds, subtracted."""
    expected = np.log1p(rolling(naive_rows(EVENTS)["elapsed"], n, np.sum))
    assert_same(column_values((f"log_duration_{n}",), EVENTS)[f"log_duration_{n}"], expected, n + 1, scale=1)


def test_one_nanosecond_is_not_lost_in_the_size_of_the_date() -> None:
    """A float64 of nanoseconds since 1970 would round to 256 ns."""
    quotes = [quote(START_NS + i, 100.0 + i, 101.0 + i) for i in range(3)]
    ours = column_values(("log_duration_1",), quotes)["log_duration_1"]
    assert ours[1] == math.log(1.0 + 1e-9)


def test_time_that_runs_back_counts_as_none() -> None:
    """Venues deliver out of order: a duration is never negative."""
    quotes = [quote(START_NS, 100.0, 101.0), quote(START_NS - 5_000_000_000, 102.0, 103.0)]
    assert column_values(("log_duration_1",), quotes)["log_duration_1"][1] == 0.0
