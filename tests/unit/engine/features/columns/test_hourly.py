"""A day and a week of hourly rows, against NumPy; what the sets of daily and hourly candles hold."""

from __future__ import annotations

import numpy as np
import pytest

from engine.features import Sampling
from engine.features.column import lookup
from engine.features.sets import SETS, expand, named_spec
from tests.support.features import assert_same, column_values, naive_rows, rolling, seeded_events

EVENTS = seeded_events(900)


@pytest.mark.parametrize("n", [24, 168])
def test_returns_and_volatility_span_a_day_and_a_week(n: int) -> None:
    """ln(c / c[-n]) and the root of n summed squares."""
    close = naive_rows(EVENTS)["close"]
    expected = np.full(len(close), np.nan)
    expected[n:] = np.log(close[n:] / close[:-n])
    ours = column_values((f"ret_{n}", f"rv_{n}"), EVENTS)
    assert_same(ours[f"ret_{n}"], expected, n + 1, scale=1e-3)
    squares = np.concatenate([[np.nan], np.diff(np.log(close)) ** 2])
    np.testing.assert_allclose(ours[f"rv_{n}"][n:], np.sqrt(rolling(squares, n, np.sum))[n:], rtol=1e-8, atol=1e-14)
    assert np.isnan(ours[f"rv_{n}"][:n]).all()


def test_the_range_of_a_day_spans_its_extremes() -> None:
    """NumPy on bars of four ticks."""
    rows = naive_rows(EVENTS, 4)
    ours = column_values(("range_24_bps",), EVENTS, sampling=Sampling.tick_bar(4))["range_24_bps"]
    expected = 1e4 * (rolling(rows["high"], 24, np.max) - rolling(rows["low"], 24, np.min)) / rows["close"]
    assert_same(ours, expected, 24)


def test_the_sets_of_candles_hold_what_they_are_named_after() -> None:
    """95 and 28 columns that a candle has; nothing of the hourly set grows with the price or the volume."""
    assert len(SETS["daily95"]) == len(set(SETS["daily95"])) == 95
    assert len(SETS["hourly28"]) == len(set(SETS["hourly28"])) == 28
    assert set(SETS["daily95"]) <= {*SETS["extended"], "rv_5"}
    for name in ("daily95", "hourly28"):
        spec = named_spec(name)
        assert not spec.wide
        assert "sessions" not in spec.requires, "what a candle knows of no clock"
    assert {lookup(name).unit for name in SETS["hourly28"]} & {"price", "qty"} == set()
    assert expand(["hourly28"]) == SETS["hourly28"]
