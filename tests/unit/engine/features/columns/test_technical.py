"""The technical sets: what is in them, TA-Lib on every recorded candle file, odd markets, plain Python."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from engine.events import Bar
from engine.features import Candles, FeatureBuffer, Sampling, compute_candles
from engine.features.column import lookup
from engine.features.sets import SETS, expand, named_spec
from tests.support.features import instrument
from tests.support.technical import COLUMNS, MINUTE, Array, made, recorded, spec, ta_lib, values_of

PERCENT = 1e-10
TOLERANCE = {
    # Beyond 1e-9 relative: what TA-Lib's own running sums, and its ratios less one, leave of numbers near zero.
    **dict.fromkeys(("stoch_fast", "willr_14", "rsi_14", "mfi_14", "adx_14", "roc_10", "trix_15"), PERCENT),
    "cci_20": 1e-7,
}
IN_PRICES = {"macd_line", "macd_signal", "macd_histogram", "bb_upper", "bb_lower"}


def test_the_sets_hold_what_they_are_named_after() -> None:
    """Six columns of a candle and 34 indicators; eleven columns; nothing that a candle does not have."""
    assert len(SETS["technical40"]) == len(set(SETS["technical40"])) == 40
    assert SETS["technical40"][:6] == ("open", "high", "low", "close", "volume", "ret_1")
    assert len(SETS["hybrid11"]) == 11
    for name in ("technical40", "hybrid11"):
        assert not named_spec(name).wide
    assert named_spec("technical40").warm_rows == 50


def test_the_state_of_an_instrument_is_small() -> None:
    """Record and window together, bytes."""
    buffer = FeatureBuffer(named_spec("technical40"), instrument())
    assert 0 < buffer.state_bytes <= 64_000


def unclear(name: str, candles: Candles) -> npt.NDArray[np.bool_]:
    """Rows for which the definitions differ: a span of 0 between the extremes, hardly any flow."""
    _, high, low, close, volume = candles[1:]
    out = np.zeros(len(close), bool)
    if name in ("stoch_fast", "willr_14"):
        spans = np.lib.stride_tricks.sliding_window_view(high, 14).max(1)
        out[13:] = spans == np.lib.stride_tricks.sliding_window_view(low, 14).min(1)
    if name == "mfi_14":
        flow = np.lib.stride_tricks.sliding_window_view((high + low + close) / 3 * volume, 14).sum(1)
        # Rows of an unchanged typical price flow nowhere, so that this errs to the side of fewer comparisons.
        out[13:] = flow < 20.0
    return out


def test_every_column_equals_ta_lib_on_every_recorded_file(market_data: Path) -> None:
    """1e-9 relative, three symbols a file; the slow stochastic is compared beside it, with a mean of three in NumPy."""
    compared = dict.fromkeys(ta_lib_columns(), 0)
    for label, candles in recorded(market_data, 3, 20_000):
        ours, theirs = values_of(candles), ta_lib(candles)
        for name in compared:
            asked = np.isfinite(theirs[name]) & ~unclear(name, candles)
            scale = candles.close_px.max() if name in IN_PRICES else 0.0
            np.testing.assert_allclose(
                ours[name][asked],
                theirs[name][asked],
                rtol=1e-9,
                atol=TOLERANCE.get(name, 0.0) + 1e-12 * scale,
                err_msg=f"{label} {name}",
            )
            compared[name] += int(asked.sum())
        for name, of, first in (("stoch_k", "stoch_fast", 16), ("stoch_d", "stoch_k", 18)):
            mean = np.lib.stride_tricks.sliding_window_view(ours[of], 3).mean(1)
            np.testing.assert_allclose(ours[name][first - 1 :], mean[first - 3 :], rtol=1e-12, err_msg=label)
    assert min(compared.values()) > 200_000


def ta_lib_columns() -> list[str]:
    """All but the slow stochastic, which carries a span of 0 on for some rows."""
    some = np.linspace(1.0, 2.0, 100)
    return [name for name in ta_lib(made(some, some, some, some, some)) if name not in ("stoch_k", "stoch_d")]


def test_the_slow_stochastic_equals_ta_lib_where_prices_move() -> None:
    """STOCH(14, 3, 3) on a seeded walk without a span of 0."""
    candles = walk(2000)
    ours, theirs = values_of(candles), ta_lib(candles)
    for name in ("stoch_k", "stoch_d"):
        np.testing.assert_allclose(ours[name][17:], theirs[name][17:], rtol=1e-9, atol=PERCENT)


def walk(n: int, seed: int = 5) -> Candles:
    random = np.random.default_rng(seed)
    close = 100.0 * np.exp(np.cumsum(random.normal(0, 1e-3, n)))
    start = np.r_[100.0, close[:-1]]
    high = np.maximum(start, close) * (1.0 + random.exponential(3e-4, n))
    low = np.minimum(start, close) * (1.0 - random.exponential(3e-4, n))
    return made(start, high, low, close, np.round(random.exponential(3.0, n), 3))


def level(*parts: Array) -> Candles:
    """Candles whose four prices are one."""
    prices = np.concatenate(parts)
    return made(prices, prices, prices, prices, np.where(np.arange(len(prices)) % 3, 1.7, 0.0))


def sized(volume: float) -> Candles:
    return walk(300)._replace(volume_qty=np.full(300, volume))


MARKETS = {
    "still": level(np.full(300, 0.1)),
    "still after a move": level(np.linspace(0.1, 0.3, 100), np.full(2000, 0.3)),
    "rising": level(np.linspace(1e-6, 1e-3, 300)),
    "falling": level(np.linspace(1e9, 1.0, 300)),
    "jumping": level(np.where(np.arange(300) % 7, 1e-8, 1e8)),
    "no volume": sized(0.0),
    "one volume": sized(0.1),
    "huge volume": sized(9e17),
}


@pytest.mark.parametrize("market", MARKETS)
def test_odd_markets_give_numbers_within_bounds(market: str) -> None:
    """Unknown until the declared row, finite from there on, inside the declared bounds."""
    for name, values in values_of(MARKETS[market]).items():
        column = lookup(name)
        assert np.isnan(values[: column.warm_rows - 1]).all(), name
        known = values[column.warm_rows - 1 :]
        assert np.isfinite(known).all(), name
        assert column.bounds[0] <= known.min() <= known.max() <= column.bounds[1], name


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("stoch_k", 50.0),
        ("willr_14", -50.0),
        ("cci_20", 0.0),
        ("mfi_14", 50.0),
        ("adx_14", 0.0),
        ("roc_10", 0.0),
        ("trix_15", 0.0),
        ("rsi_14", 50.0),
        ("simple_ret_1", 0.0),
        ("high_low_ratio", 0.0),
        ("atr_10", 0.0),
    ],
)
def test_a_market_that_never_moves_has_a_defined_value(name: str, value: float) -> None:
    """A price of 0.1, whose sums are not exact: no index is made of the last digit."""
    values = values_of(MARKETS["still"])[name][lookup(name).warm_rows - 1 :]
    np.testing.assert_allclose(values, value, atol=1e-12)


def test_live_candles_give_the_same_bits() -> None:
    """Each of 400 candles through the buffer of a daemon, against the arrays at once."""
    candles = walk(400)
    wanted = named_spec("technical40", sampling=Sampling.time_bar(MINUTE))
    bulk = compute_candles(wanted, instrument(), candles)
    buffer = FeatureBuffer(wanted, instrument())
    for i, (end_ns, *numbers) in enumerate(zip(*(column.tolist() for column in candles), strict=True)):
        assert buffer.update(Bar(end_ns, end_ns, instrument().id, MINUTE, *numbers))
        assert buffer.window()[-1].tobytes() == bulk.values[i].tobytes()
    assert buffer.warm


PLAIN = """
import hashlib, sys
from pathlib import Path
from engine.features import jit
from tests.support.technical import recorded, values_of
digest = hashlib.sha256()
for _, candles in recorded(Path(sys.argv[1]), 1, 200):
    for values in values_of(candles).values():
        digest.update(values.tobytes())
print(jit.enabled(), digest.hexdigest())
"""


def test_plain_python_gives_the_same_bits_on_every_recorded_file(market_data: Path) -> None:
    """The same columns in a process without numba, 200 candles of each file."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", PLAIN, str(market_data)],
        env={**os.environ, "KESTREL_NUMBA": "0"},
        cwd=Path(__file__).resolve().parents[5],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    digest = hashlib.sha256()
    for _, candles in recorded(market_data, 1, 200):
        for values in values_of(candles).values():
            digest.update(values.tobytes())
    assert done.stdout.split() == ["False", digest.hexdigest()]


def test_the_tests_look_at_every_column_of_both_sets() -> None:
    """COLUMNS against the sets."""
    assert set(expand(("technical40", "hybrid11"))) <= set(COLUMNS) == {column.name for column in spec().plan}
