"""Bollinger bands against TA-Lib and two-pass NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import talib

from tests.support.features import assert_same, column_values, naive_rows, quote, rolling, seeded_events

EVENTS = seeded_events(900)
BANDS = ("bb_upper", "bb_lower", "bb_width", "bb_position")


def test_bands_equal_ta_lib() -> None:
    """Upper and lower band; the tolerance is that of TA-Lib's mean of squares at this price."""
    upper, _, lower = talib.BBANDS(naive_rows(EVENTS)["close"], 20, 2.0, 2.0)
    ours = column_values(BANDS, EVENTS)
    assert_same(ours["bb_upper"], upper, 20)
    assert_same(ours["bb_lower"], lower, 20)


def test_width_and_position_equal_numpy() -> None:
    """Two passes in NumPy, population deviation."""
    close = naive_rows(EVENTS)["close"]
    mean, std = rolling(close, 20, np.mean), rolling(close, 20, np.std)
    ours = column_values(BANDS, EVENTS)
    assert_same(ours["bb_width"], 4 * std / mean, 20)
    assert_same(ours["bb_position"], 0.5 + (close - mean) / (4 * std), 20, scale=100)


def test_deviation_keeps_its_digits_at_a_high_price() -> None:
    """Moves of 0.1 at a price of 1e9: the mean of squares minus the squared mean would be noise."""
    quotes = [quote(i, 1e9 + 0.1 * (i % 2), 1e9 + 1.0 + 0.1 * (i % 2)) for i in range(1, 60)]
    ours = column_values(("std_20",), quotes)["std_20"]
    closes = np.array([0.5 * (q.bid_px + q.ask_px) for q in quotes])
    assert abs(ours[-1] - 0.05) < 1e-6
    naive = np.sqrt(np.abs(np.mean(closes[-20:] ** 2) - np.mean(closes[-20:]) ** 2))
    assert abs(naive - 0.05) > 1


def test_bands_without_width_put_the_price_in_the_middle() -> None:
    """The mid stands still: width 0, position 0.5, no division by zero."""
    ours = column_values(BANDS, [quote(i, 100.0, 101.0, bid_qty=float(i)) for i in range(1, 40)])
    assert ours["bb_width"][-1] == 0.0
    assert ours["bb_position"][-1] == 0.5


@pytest.mark.parametrize("px", [(61_000.1, 61_000.2), (4.769e-08, 4.769e-08), (2.7569482662157632e17,) * 2])
def test_a_price_that_stands_is_in_the_middle_of_its_bands(px: tuple[float, float]) -> None:
    """Its mean is off by a last digit, and so is the deviation: that is no place in the bands (a quarter or three)."""
    quotes = [quote(i, *px, bid_qty=float(i)) for i in range(1, 40)]
    ours = column_values(("std_20", "bb_position"), quotes)
    assert 0.0 < ours["std_20"][-1] < 1e-15 * px[0]
    assert (ours["bb_position"][19:] == 0.5).all()


def test_the_smallest_move_of_a_price_is_seen() -> None:
    """The last digit but three of a price of 100,000: the mean is between, the price above it."""
    quotes = [quote(i, 1e5 + 1e-7 * (i % 2), 1e5 + 1e-7 * (i % 2), bid_qty=float(i)) for i in range(1, 40)]
    assert column_values(("bb_position",), quotes)["bb_position"][-1] == pytest.approx(0.75, abs=1e-3)
