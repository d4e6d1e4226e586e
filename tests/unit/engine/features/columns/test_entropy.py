"""Sample entropy against antropy and nolds."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from engine.features.columns.entropy import greatest
from tests.support.oracles import antropy, nolds
from tests.support.spectral import candles_from, recorded, returns, values_of, windows

STEP = 211


@pytest.mark.parametrize("rows", [32, 128])
def test_sample_entropy_equals_antropy_on_real_returns(market_data: Path, rows: int) -> None:
    """Order 2, 0.2 population standard deviations.  Where no three returns come again antropy says infinity or NaN:
    there ours is the most it can be."""
    close, values = recorded(market_data)
    ours = values[f"sample_entropy({rows})"]
    assert np.isnan(ours[:rows]).all()
    expected = np.array([antropy().sample_entropy(row, order=2) for row in windows(returns(close), rows)[::STEP]])
    expected[~np.isfinite(expected)] = greatest(rows)
    np.testing.assert_allclose(ours[rows::STEP], expected, rtol=1e-9)


def test_sample_entropy_equals_nolds_given_the_same_radius(market_data: Path) -> None:
    """nolds takes the sample deviation by itself, so the radius is handed to it."""
    close, values = recorded(market_data)
    rows = windows(returns(close), 128)[::STEP]
    expected = [nolds().sampen(row, emb_dim=2, tolerance=0.2 * row.std()) for row in rows]
    np.testing.assert_allclose(values["sample_entropy(128)"][128::STEP], expected, rtol=1e-9)


def test_the_tenth_row_is_held() -> None:
    """sample_entropy(128,10) is that of rows 129, 139, ... of every row's."""
    close = 100.0 * np.exp(np.random.default_rng(6).normal(0.0, 1e-3, 300).cumsum())
    values = values_of(candles_from(close))
    each, held = values["sample_entropy(128)"], values["sample_entropy(128,10)"]
    for i in range(128, 300):
        assert held[i] == each[i - (i - 128) % 10]


def test_returns_that_repeat_have_little_entropy() -> None:
    """A wave of 16 rows against independent returns; what is most is reached where nothing comes again."""
    wave = values_of(candles_from(100.0 + np.sin(np.arange(300) * 2 * np.pi / 16)))["sample_entropy(128)"][-1]
    noise = np.random.default_rng(7).normal(0.0, 1e-3, 300)
    random = values_of(candles_from(100.0 * np.exp(noise.cumsum())))["sample_entropy(128)"][-1]
    assert wave < 0.3
    assert 1.5 < random < greatest(128)
    growing = values_of(candles_from(100.0 * np.exp((1e-9 * 1.3 ** np.arange(60)).cumsum())))["sample_entropy(32)"]
    assert math.isfinite(growing[-1])
