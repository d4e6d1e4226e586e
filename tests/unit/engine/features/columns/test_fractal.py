"""Hurst exponent against nolds, Higuchi's dimension against antropy, box counting against a raster."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from engine.features.columns.fractal import expected_range
from tests.support.oracles import antropy, nolds
from tests.support.spectral import Array, candles_from, recorded, returns, values_of, windows

STEP = 37
"""Every so manieth window is compared: the libraries take milliseconds each."""


@pytest.mark.parametrize(("name", "lengths"), [("hurst(32)", [8, 16, 32]), ("hurst_128", [8, 16, 32, 64, 128])])
def test_hurst_equals_nolds_on_real_returns(market_data: Path, name: str, lengths: list[int]) -> None:
    """hurst_rs with these lengths, corrected, unbiased, straight line by least squares."""
    close, values = recorded(market_data)
    ours, rows = values[name], lengths[-1]
    assert np.isnan(ours[:rows]).all()
    series = windows(returns(close), rows)[::STEP]
    expected = [nolds().hurst_rs(row, nvals=lengths, fit="poly") for row in series]
    np.testing.assert_allclose(ours[rows::STEP], expected, rtol=1e-9)


@pytest.mark.parametrize("n", [8, 64, 128])
def test_expected_rescaled_range_is_that_of_nolds(n: int) -> None:
    """The correction's table."""
    assert math.isclose(expected_range(n), nolds().expected_rs(n), rel_tol=1e-14)


def test_hurst_knows_persistence() -> None:
    """Returns that follow the last one, independent ones, and ones that undo it: the exponents come in that order."""
    random = np.random.default_rng(3)
    noise = random.normal(0.0, 1e-3, 3000)
    found = []
    for memory in (0.5, 0.0, -0.5):
        moves = np.zeros(3000)
        for i in range(1, 3000):
            moves[i] = memory * moves[i - 1] + noise[i]
        found.append(np.nanmean(values_of(candles_from(100.0 * np.exp(moves.cumsum())))["hurst_128"]))
    assert found[0] > found[1] + 0.05 > found[2] + 0.1
    assert abs(found[1] - 0.5) < 0.03


def test_pieces_that_do_not_move_are_left_out() -> None:
    """Half of the returns are 0: nolds leaves the pieces without range out too."""
    random = np.random.default_rng(4)
    moves = random.normal(0.0, 1e-3, 128) * np.repeat(random.integers(0, 2, 8), 16)
    close = 100.0 * np.exp(np.r_[0.0, moves].cumsum())
    moves = returns(close)
    assert (np.abs(moves).reshape(-1, 8).sum(axis=1) == 0.0).any()
    expected = nolds().hurst_rs(moves, nvals=[8, 16, 32, 64, 128], fit="poly")
    assert math.isclose(values_of(candles_from(close))["hurst_128"][-1], expected, rel_tol=1e-9)


@pytest.mark.parametrize("rows", [32, 128])
def test_higuchi_equals_antropy_on_real_prices(market_data: Path, rows: int) -> None:
    """higuchi_fd with delays up to 10; it adds 1e-10 to the denominator of its slope."""
    close, values = recorded(market_data)
    ours = values[f"higuchi({rows})"]
    expected = [antropy().higuchi_fd(row, kmax=10) for row in windows(close, rows)[::STEP]]
    np.testing.assert_allclose(ours[rows - 1 :: STEP], expected, rtol=1e-9)
    assert np.isnan(ours[: rows - 1]).all()


def counted_boxes(close: Array, m: int) -> int:
    """Boxes of an m x m raster that the line touches: each step marks all between its ends, in its first row's column
    of boxes."""
    n = len(close)
    height = (close - close.min()) / (close.max() - close.min()) * m
    row = np.minimum(np.floor(height).astype(int), m - 1)
    raster = np.zeros((m, m), bool)
    for i in range(n):
        low, high = sorted((row[i], row[min(i + 1, n - 1)]))
        raster[i * m // n, low : high + 1] = True
    return int(raster.sum())


@pytest.mark.parametrize("rows", [32, 128])
def test_box_dimension_equals_a_raster(market_data: Path, rows: int) -> None:
    """Boxes counted one by one in NumPy, slope by polyfit."""
    close, values = recorded(market_data)
    ours = values[f"box_dimension({rows})"][rows - 1 :]
    sides = [m for m in (2, 4, 8, 16, 32) if m <= rows // 4]
    expected = [
        np.polyfit(np.log(sides), np.log([counted_boxes(row, m) for m in sides]), 1)[0]
        for row in windows(close, rows)[::STEP]
    ]
    np.testing.assert_allclose(ours[::STEP], expected, rtol=1e-9)


def test_dimensions_tell_a_line_from_noise() -> None:
    """A straight line has dimension 1 by both; independent prices have nearly 2 after Higuchi."""
    line = values_of(candles_from(np.linspace(100.0, 200.0, 200)))
    assert math.isclose(line["higuchi(128)"][-1], 1.0, rel_tol=1e-9)
    assert 0.9 < line["box_dimension(128)"][-1] < 1.2
    noise = values_of(candles_from(np.random.default_rng(5).uniform(90.0, 110.0, 200)))
    assert noise["higuchi(128)"][-1] > 1.8
    assert noise["box_dimension(128)"][-1] > line["box_dimension(128)"][-1] + 0.5
