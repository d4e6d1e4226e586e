"""All spectral columns together: any market, within bounds, live as offline, compiled as plain."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from engine.events import Bar
from engine.features import FeatureBuffer
from engine.features.column import lookup
from tests.support.features import SECOND, instrument
from tests.support.spectral import COLUMNS, SPEC, Array, candles_from, digest, recorded, values_of

MARKETS: dict[str, Array] = {
    "constant": np.full(400, 100.0),
    "rising": np.linspace(10.0, 1000.0, 400),
    "growing": 100.0 * 1.001 ** np.arange(400),
    "jumping": np.where(np.arange(400) % 7 == 0, 1e6, 1e-6),
    "alternating": 100.0 + np.arange(400) % 2,
    "one jump": np.where(np.arange(400) < 300, 100.0, 200.0),
    "ticks": 100.0 + np.random.default_rng(8).integers(-1, 2, 400).cumsum() * 0.01,
}


@pytest.mark.parametrize("market", MARKETS)
def test_every_market_has_finite_values_within_bounds(market: str) -> None:
    """From row warm_rows on, and none before."""
    for name, values in values_of(candles_from(MARKETS[market])).items():
        column = lookup(name)
        assert np.isnan(values[: column.warm_rows - 1]).all(), name
        known = values[column.warm_rows - 1 :]
        assert np.isfinite(known).all(), name
        assert column.bounds[0] <= known.min(), name
        assert known.max() <= column.bounds[1], name


def test_a_market_that_does_not_move_has_declared_values() -> None:
    """Constant price: no energy, no cycle, no memory, a line, no surprise."""
    values = values_of(candles_from(MARKETS["constant"]))
    last = {name: column[-1] for name, column in values.items()}
    assert last["wavelet_energy(4,1,128)"] == last["wavelet_rest(4,128)"] == last["line_deviation(64)"] == 0.0
    assert last["fft_magnitude(1,64)"] == last["fft_phase(1,64)"] == 0.0
    assert last["hurst_128"] == 0.5
    assert last["higuchi(128)"] == last["box_dimension(128)"] == 1.0
    assert last["sample_entropy(128)"] == 0.0


def test_real_prices_stay_within_bounds(market_data: Path) -> None:
    """4,000 candles."""
    _, values = recorded(market_data)
    for name, column in ((name, lookup(name)) for name in COLUMNS):
        known = values[name][column.warm_rows - 1 :]
        assert np.isfinite(known).all(), name
        assert column.bounds[0] <= known.min(), name
        assert known.max() <= column.bounds[1], name


def test_an_unknown_price_makes_the_window_not_warm() -> None:
    """A price below 0 has no logarithm: NaN until it has left the window, then the same values as without it."""
    close = 100.0 * np.exp(np.random.default_rng(9).normal(0.0, 1e-3, 400).cumsum())
    buffer = FeatureBuffer(SPEC, instrument(allows_negative_px=True))
    warm = []
    for i, px in enumerate(np.r_[close[:200], -1.0, close[200:]]):
        end = (1000 + i) * 60 * SECOND
        buffer.update(Bar(end, end, "x", 60 * SECOND, px, px, px, px, 1.0))
        warm.append(buffer.warm)
    assert warm[199]
    assert not any(warm[200 : 200 + 128])
    assert warm[-1]


def test_live_equals_offline_and_plain_python_equals_compiled(market_data: Path) -> None:
    """180 recorded candles one by one, in bulk, and with numba switched off in a process of its own."""
    close = recorded(market_data)[0][:180]
    live = digest(close)
    table = np.column_stack(list(values_of(candles_from(close)).values()))
    assert hashlib.sha256(table.tobytes()).hexdigest() == live
    code = (
        "import sys\n"
        "import numpy as np\n"
        "from tests.support.spectral import digest\n"
        "print(digest(np.frombuffer(bytes.fromhex(sys.argv[1]))))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, close.tobytes().hex()],
        env={**os.environ, "KESTREL_NUMBA": "0"},
        cwd=Path(__file__).resolve().parents[5],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == live
