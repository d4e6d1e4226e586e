"""Oscillators where TA-Lib says something else, against the definition in NumPy (TA-Lib itself: test_technical)."""

from __future__ import annotations

import numpy as np

from tests.support.features import rolling
from tests.support.technical import made, values_of


def test_a_move_of_one_digit_is_a_move() -> None:
    """CCI at a price of 1e9 that alternates by 0.25: as at a price of 100, to a thousandth of a point."""
    moves = 0.25 * np.random.default_rng(2).integers(-2, 3, 200)
    far, near = (values_of(made(px, px, px, px, np.ones(200)))["cci_20"] for px in (1e9 + moves, 100.0 + moves))
    assert np.abs(near[19:]).max() > 50
    np.testing.assert_allclose(far[19:], near[19:], atol=1e-3)


def test_the_directional_index_stays_where_nothing_moves() -> None:
    """A rise, then a price that stands: all that moved was up, so 100, and it keeps that for ever."""
    prices = np.r_[np.linspace(10.0, 20.0, 60), np.full(3000, 20.0)]
    values = values_of(made(prices, prices, prices, prices, np.ones(3060)))["adx_14"]
    np.testing.assert_allclose(values[27:], 100.0, rtol=1e-12)


def test_rate_of_change_and_trix_of_a_growing_price_are_its_growth() -> None:
    """One percent a row: 100 * (1.01^10 - 1), and one for the triple average once its seed is forgotten."""
    prices = 1.01 ** np.arange(400)
    values = values_of(made(prices, prices, prices, prices, np.ones(400)))
    np.testing.assert_allclose(values["roc_10"][10:], 100 * (1.01**10 - 1), rtol=1e-12)
    np.testing.assert_allclose(values["trix_15"][-1], 1.0, rtol=1e-9)


def test_the_fast_stochastic_and_williams_are_one_number() -> None:
    """Their sum is 100 on a seeded walk with flat candles, ends of the span included."""
    random = np.random.default_rng(4)
    close = 50.0 + np.cumsum(random.integers(-1, 2, 500)) * 0.01
    values = values_of(made(close, close + 0.01, close, close, np.ones(500)))
    np.testing.assert_allclose(values["stoch_fast"][13:] - values["willr_14"][13:], 100.0, rtol=1e-12)
    np.testing.assert_array_equal(values["highest_14"][13:], rolling(close + 0.01, 14, np.max)[13:])
    np.testing.assert_array_equal(values["lowest_14"][13:], rolling(close, 14, np.min)[13:])
