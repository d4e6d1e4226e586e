"""Wavelet energies against PyWavelets on the same right-aligned window."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import pywt

from engine.errors import DataError
from engine.features.column import lookup
from engine.features.columns.wavelets import ORDERS, ROWS, deepest, filters
from tests.support.spectral import COLUMNS, recorded, returns, windows

ENERGIES = [name for name in COLUMNS if name.startswith("wavelet_energy")]
RESTS = [name for name in COLUMNS if name.startswith("wavelet_rest")]


def arguments(name: str) -> list[int]:
    return [int(text) for text in name[name.index("(") + 1 : -1].split(",")]


@pytest.mark.parametrize("order", range(1, ORDERS + 1))
def test_filters_are_those_of_pywavelets(order: int) -> None:
    """Both filters, to the last bits."""
    wavelet = pywt.Wavelet(f"db{order}")
    for ours, theirs in zip(filters(), (wavelet.dec_lo, wavelet.dec_hi), strict=True):
        mine = ours.reshape(ORDERS, -1)[order - 1]
        np.testing.assert_allclose(mine[: 2 * order], theirs, rtol=1e-15, atol=1e-17)
        assert not mine[2 * order :].any()


@pytest.mark.parametrize("order", range(1, ORDERS + 1))
def test_levels_end_where_pywavelets_says(order: int) -> None:
    """dwt_max_level for each span."""
    for rows in ROWS:
        assert deepest(order, rows) == pywt.dwt_max_level(rows, 2 * order)


def test_energies_equal_pywavelets_on_real_returns(market_data: Path) -> None:
    """Every window of 4,000 recorded candles, mode periodization, all orders and levels of the kernel."""
    close, values = recorded(market_data)
    for name in ENERGIES:
        order, level, rows = arguments(name)
        details = pywt.wavedec(windows(returns(close), rows), f"db{order}", "periodization", deepest(order, rows))
        expected = (details[-level] ** 2).sum(axis=1)
        np.testing.assert_allclose(values[name][rows:], expected, rtol=1e-9, err_msg=name)
        assert np.isnan(values[name][:rows]).all()


def test_what_the_levels_leave_equals_pywavelets(market_data: Path) -> None:
    """The approximation after the last level, same windows."""
    close, values = recorded(market_data)
    for name in RESTS:
        order, rows = arguments(name)
        parts = pywt.wavedec(windows(returns(close), rows), f"db{order}", "periodization", deepest(order, rows))
        np.testing.assert_allclose(values[name][rows:], (parts[0] ** 2).sum(axis=1), rtol=1e-9, err_msg=name)


def test_energies_split_the_realised_variance(market_data: Path) -> None:
    """All four levels of db4 and the rest add up to the sum of squared returns."""
    close, values = recorded(market_data)
    parts = [values[f"wavelet_energy(4,{level},128)"] for level in range(1, 5)] + [values["wavelet_rest(4,128)"]]
    whole = (windows(returns(close), 128) ** 2).sum(axis=1)
    np.testing.assert_allclose(sum(parts)[128:], whole, rtol=1e-9)


@pytest.mark.parametrize("name", ["wavelet_energy(4,5,128)", "wavelet_energy(9,1,128)", "wavelet_rest(4,100)"])
def test_a_transform_that_does_not_fit_is_refused(name: str) -> None:
    """A level too deep, an order without coefficients, a span that cannot be halved."""
    with pytest.raises(DataError, match="expected"):
        lookup(name)
