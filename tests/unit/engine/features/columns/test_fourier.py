"""The strongest cycles against numpy.fft on the detrended window."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from engine.errors import DataError
from engine.features.column import lookup
from tests.support.spectral import Array, candles_from, recorded, values_of, windows


def cycles(close: Array, rows: int) -> tuple[Array, Array, Array, Array]:
    """Magnitude, phase, frequency of all cycles, strongest first, and the deviation from the line; by NumPy."""
    series = windows(np.log(close), rows)
    time = np.arange(rows)
    slope, start = np.polynomial.polynomial.polyfit(time, series.T, 1)[::-1]
    off = series - start[:, None] - slope[:, None] * time
    found = np.fft.rfft(off)[:, 1:]
    size = np.abs(found) * np.r_[np.full(rows // 2 - 1, 2.0), 1.0] / rows
    order = np.argsort(-size, axis=1, kind="stable")
    phase = np.take_along_axis(np.angle(found), order, 1)
    return np.take_along_axis(size, order, 1), phase, (order + 1) / rows, np.sqrt((off**2).mean(axis=1))


def test_cycles_equal_numpy_on_real_prices(market_data: Path) -> None:
    """Every window of 4,000 candles: ranks 1 and 5 of 64 rows.  Where two cycles are equally strong to 1e-9 their
    order is decided by rounding, so those windows are left out."""
    close, values = recorded(market_data)
    size, phase, frequency, deviation = cycles(close, 64)
    # np.log(close) of 60,000 has 1e-15 of its own, against moves of 1e-3.
    np.testing.assert_allclose(values["line_deviation(64)"][63:], deviation, rtol=1e-9, atol=1e-14)
    clear = (np.diff(-size[:, :7], axis=1) > 1e-9 * size[:, :1]).all(axis=1)
    assert clear.mean() > 0.99
    for rank in (1, 5):
        part = {name: values[f"fft_{name}({rank},64)"][63:] for name in ("magnitude", "phase", "frequency")}
        np.testing.assert_allclose(part["magnitude"], size[:, rank - 1], rtol=1e-9, atol=1e-14)
        np.testing.assert_array_equal(part["frequency"][clear], frequency[clear, rank - 1])
        turn = part["phase"][clear] - phase[clear, rank - 1]
        # Half a turn this way or that is the same; the error of a phase is that of its wave over its size.
        turn = np.angle(np.exp(1j * turn))
        assert (np.abs(turn) * size[clear, rank - 1] < 1e-13).all()
        assert np.isnan(values[f"fft_phase({rank},64)"][:63]).all()


def test_a_wave_is_found_with_its_size_and_phase() -> None:
    """Two pure waves on a rising price: 5 and 12 turns in 64 rows, amplitudes 0.02 and 0.01."""
    t = np.arange(64)
    pure = 0.02 * np.cos(2 * np.pi * 5 * t / 64 + 0.7) + 0.01 * np.cos(2 * np.pi * 12 * t / 64 - 1.2)
    values = values_of(candles_from(100.0 * np.exp(pure)))
    assert values["fft_frequency(1,64)"][-1] == 5 / 64
    # The straight line takes a little of a wave.
    assert abs(values["fft_magnitude(1,64)"][-1] - 0.02) < 1e-3
    assert abs(values["fft_phase(1,64)"][-1] - 0.7) < 0.05


def test_the_stride_holds_the_value_of_its_row(market_data: Path) -> None:
    """fft(...,5) equals NumPy on rows 128, 133, ... and stands still between."""
    close, values = recorded(market_data)
    size = cycles(close, 128)[0]
    held = values["fft_magnitude(2,128,5)"][127:]
    np.testing.assert_allclose(held[::5], size[::5, 1], rtol=1e-9, atol=1e-14)
    for later in range(1, 5):
        np.testing.assert_array_equal(held[later::5], held[: len(held) - later : 5])


@pytest.mark.parametrize("name", ["fft_phase(6,64)", "fft_magnitude(1,100)", "fft_magnitude(1,128,65)"])
def test_what_the_transform_does_not_have_is_refused(name: str) -> None:
    """A rank beyond the kept ones, a span that is no power of two, a stride beyond the longest."""
    with pytest.raises(DataError, match="expected"):
        lookup(name)
