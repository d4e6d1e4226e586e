"""Returns, realised volatility and range against NumPy."""

from __future__ import annotations

import numpy as np
import pytest

from engine.features import Sampling
from tests.support.features import assert_same, column_values, naive_rows, quote, rolling, seeded_events

EVENTS = seeded_events(900)


@pytest.mark.parametrize("n", [1, 2, 3, 5, 10, 20, 50])
def test_returns_are_log_ratios_of_closes(n: int) -> None:
    """ln(c / c[-n]) directly, where ours is a sum."""
    close = naive_rows(EVENTS)["close"]
    expected = np.full(len(close), np.nan)
    expected[n:] = np.log(close[n:] / close[:-n])
    assert_same(column_values((f"ret_{n}",), EVENTS)[f"ret_{n}"], expected, n + 1, scale=1e-3)


@pytest.mark.parametrize("n", [5, 10, 20, 50])
def test_realised_volatility_is_the_root_of_summed_squares(n: int) -> None:
    """NumPy on log returns."""
    close = naive_rows(EVENTS)["close"]
    squares = np.concatenate([[np.nan], np.diff(np.log(close)) ** 2])
    expected = np.sqrt(rolling(squares, n, np.sum))
    ours = column_values((f"rv_{n}",), EVENTS)[f"rv_{n}"]
    # np.log of the closes and their difference has about 1e-15 of its own, against returns of 1e-6.
    np.testing.assert_allclose(ours[n:], expected[n:], rtol=1e-8, atol=1e-14)
    assert np.isnan(ours[:n]).all()


def test_volatility_ratio_compares_equal_time() -> None:
    """rv_5 / rv_50 scaled by the root of 10; 1 when nothing moved."""
    ours = column_values(("rv_5", "rv_50", "rv_ratio"), EVENTS)
    assert_same(ours["rv_ratio"], ours["rv_5"] / ours["rv_50"] * np.sqrt(10), 51)
    still = column_values(("rv_ratio",), [quote(i, 100.0, 101.0, float(i)) for i in range(1, 60)])
    assert still["rv_ratio"][-1] == 1.0


@pytest.mark.parametrize("n", [5, 20, 50])
def test_range_spans_highest_high_and_lowest_low(n: int) -> None:
    """NumPy on bars of four ticks."""
    rows = naive_rows(EVENTS, 4)
    ours = column_values((f"range_{n}_bps",), EVENTS, sampling=Sampling.tick_bar(4))
    expected = 1e4 * (rolling(rows["high"], n, np.max) - rolling(rows["low"], n, np.min)) / rows["close"]
    assert_same(ours[f"range_{n}_bps"], expected, n)
