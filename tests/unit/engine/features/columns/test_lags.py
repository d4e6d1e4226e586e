"""Lags of any column, volume against its past, the label of the market's memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from engine.errors import DataError
from engine.events import Quote
from engine.features import FeatureBuffer, FeatureSpec, GapPolicy, Sampling, compute_candles, jit
from engine.features import column as registry
from engine.features.column import Column, lookup
from engine.features.columns import lags
from engine.features.rows import Candles
from tests.support.features import (
    START_NS,
    assert_same,
    drive,
    instrument,
    naive_rows,
    quote,
    rolling,
    seeded_events,
    trade,
)
from tests.support.plain import digest_of, plain_digest
from tests.support.recorded_bars import candles_of

VOLUMES = ("volume_momentum_1", "volume_momentum_5", "volume_momentum_10", "volume_flow_5", "volume_flow_20")
NESTED = ("lag(ret_1,1)", "lag(rsi_14,5)", "lag(lag(rsi_14,5),2)", "lag(imbalance,255)", "lag(volume_flow_20,10)")
COLUMNS = ("ret_1", "rsi_14", "imbalance", "volume", "close", *VOLUMES, *NESTED)
SPEC = FeatureSpec("lags", COLUMNS, 1)
MINUTE_NS = 60 * 10**9


def lagged(values: np.ndarray, rows: int) -> np.ndarray:
    return np.concatenate([np.full(rows, np.nan), values[:-rows]])


def test_a_lag_is_the_column_as_it_was() -> None:
    """Each lag against the column itself, moved; a lag of a lag adds up."""
    ours = drive(FeatureBuffer(SPEC, instrument()), seeded_events(700))
    for name, of, rows in (
        ("lag(ret_1,1)", "ret_1", 1),
        ("lag(rsi_14,5)", "rsi_14", 5),
        ("lag(lag(rsi_14,5),2)", "rsi_14", 7),
        ("lag(imbalance,255)", "imbalance", 255),
        ("lag(volume_flow_20,10)", "volume_flow_20", 10),
    ):
        np.testing.assert_array_equal(ours[name], lagged(ours[of], rows))
        warm = lookup(name).warm_rows
        assert np.isnan(ours[name][: warm - 1]).all()
        assert np.isfinite(ours[name][warm - 1 :]).all()


def test_a_restart_leaves_nothing_of_the_past() -> None:
    """After a gap a lag is unknown for as long as after the start."""
    buffer = FeatureBuffer(SPEC, instrument())
    first = drive(buffer, seeded_events(300))
    buffer.mark_gap("test")
    second = drive(buffer, seeded_events(300))
    for name in COLUMNS:
        np.testing.assert_array_equal(first[name], second[name])


def test_a_lag_says_what_its_column_says() -> None:
    """Unit, inputs, bounds and the kind of record are the column's; the version is in the fingerprint through it."""
    of, made = lookup("rsi_14"), lookup("lag(rsi_14,5)")
    assert (made.unit, made.inputs, made.bounds, made.candle) == (of.unit, of.inputs, of.bounds, of.candle)
    assert made.warm_rows == of.warm_rows + 5
    assert not FeatureSpec("x", ("lag(close,3)",), 1).wide
    assert FeatureSpec("x", ("lag(flow_5,3)",), 1).requires == {"quotes", "trades"}


@pytest.mark.parametrize("name", ["lag(close,0)", "lag(close,256)", "lag(close,1.5)", "lag(close,x)", "lag(close)"])
def test_a_lag_that_cannot_be_is_refused(name: str) -> None:
    """Rows that the record does not hold; in one line that shows the form."""
    with pytest.raises(DataError, match=r"lag\(column,rows\)|looks back") as caught:
        lookup(name)
    assert "\n" not in str(caught.value)


def expected_volumes(volume: np.ndarray, close: np.ndarray) -> dict[str, np.ndarray]:
    """By their formulas, over arrays."""
    found = {}
    for n in (1, 5, 10):
        before = lagged(volume, n)
        with np.errstate(all="ignore"):
            growth = np.minimum(volume / before - 1.0, 99.0)
        growth[(before == 0.0) & (volume > 0.0)] = 99.0
        growth[(before == 0.0) & (volume == 0.0)] = 0.0
        found[f"volume_momentum_{n}"] = growth
    signed = np.concatenate([[np.nan], np.sign(np.diff(close)) * volume[1:]])
    for n in (5, 20):
        total = rolling(volume, n, np.sum)
        share = rolling(signed, n, np.sum) / np.where(total > 0.0, total, 1.0)
        found[f"volume_flow_{n}"] = share
    return found


def test_volume_columns_equal_numpy_on_recorded_candles(market_data: Path) -> None:
    """Two files of hours, one with hours without volume."""
    checked = 0
    for stem in ("crypto_1h_coinbase_btcusd_2017_2019", "us_1h_spy"):
        for path in sorted((market_data / "bars").glob(f"{stem}*.parquet")):
            _, candles = next(candles_of(path))
            candles = Candles(*(part[-6_000:] for part in candles))
            order = np.argsort(candles.end_ns, kind="stable")
            candles = Candles(*(part[order] for part in candles))
            spec = FeatureSpec("v", VOLUMES, 1, Sampling.time_bar(60 * MINUTE_NS), gap=GapPolicy(0, 0, 10**17))
            chunks: list[np.ndarray] = []
            compute_candles(spec, instrument(), candles, lambda part, to=chunks: to.append(part.copy()))
            ours = np.concatenate(chunks)
            for i, (name, theirs) in enumerate(expected_volumes(candles.volume_qty, candles.close_px).items()):
                assert name == VOLUMES[i]
                assert_same(ours[:, i], theirs, lookup(name).warm_rows, scale=1)
            checked += 1
    assert checked == 2


def test_volume_columns_equal_numpy_on_ticks() -> None:
    """Rows of which most have no trade."""
    events = seeded_events(900)
    rows = naive_rows(events)
    ours = drive(FeatureBuffer(SPEC, instrument()), events)
    for name, theirs in expected_volumes(rows["volume"], rows["close"]).items():
        assert_same(ours[name], theirs, lookup(name).warm_rows, scale=1)


@pytest.mark.parametrize("market", ["constant", "falling", "jumping", "no volume", "huge volume"])
def test_no_market_leaves_the_declared_bounds(market: str) -> None:
    """Degenerate ones: every value is finite from its declared row on and within its range."""
    random = np.random.default_rng(1)
    events = []
    for i in range(300):
        jump = float(10.0 ** random.integers(-3, 9))
        mid = {"constant": 100.0, "falling": 1000.0 - i, "jumping": jump}.get(market, 9.0)
        if market != "no volume" and i % 3:
            events.append(trade(START_NS + i, mid, 1e17 if market == "huge volume" else float(i)))
        events.append(quote(START_NS + i, mid, mid, 1.0 + i % 2))
    ours = drive(FeatureBuffer(SPEC, instrument()), events)
    for name in (*VOLUMES, *NESTED):
        declared = registry.lookup(name)
        warm = ours[name][declared.warm_rows - 1 :]
        assert len(warm)
        assert (np.isfinite(warm) & (warm >= declared.bounds[0]) & (warm <= declared.bounds[1])).all(), name


def digest() -> str:
    return digest_of(SPEC, instrument(), seeded_events(500))


@pytest.mark.skipif(not jit.enabled(), reason="numba is off")
def test_plain_python_gives_the_same_bits() -> None:
    """The same columns in a process without numba."""
    assert plain_digest(__name__) == digest()


@pytest.mark.parametrize(
    ("hurst", "label"), [(0.0, -1.0), (0.4499, -1.0), (0.45, 0.0), (0.5, 0.0), (0.55, 0.0), (0.5501, 1.0), (1.3, 1.0)]
)
def test_the_regime_follows_the_bands_of_the_hurst_exponent(hurst: float, label: float) -> None:
    """The borders belong to the random walk."""
    assert lags.fractal_regime(np.zeros(4), hurst) == label
    assert np.isnan(lags.fractal_regime(np.zeros(4), np.nan))


def test_the_regime_is_of_the_column_it_names() -> None:
    """Through the compiled kernel, on a column of which all values are known: the efficiency ratio stands in."""
    spec = FeatureSpec("r", ("efficiency_20", "fractal_regime(efficiency_20)"), 1)
    ours = drive(FeatureBuffer(spec, instrument()), [e for e in seeded_events(400) if isinstance(e, Quote)])
    ratio, label = ours["efficiency_20"], ours["fractal_regime(efficiency_20)"]
    known = ~np.isnan(ratio)
    np.testing.assert_array_equal(label[known], np.where(ratio > 0.55, 1.0, np.where(ratio < 0.45, -1.0, 0.0))[known])
    assert np.isnan(label[~known]).all()
    assert {-1.0, 0.0} <= set(label[known].tolist())


def test_the_set_is_made_of_columns_that_exist() -> None:
    """All of its names, the Hurst exponent's label included, are columns; none twice."""
    assert len(set(lags.LAGS)) == len(lags.LAGS)
    assert all(isinstance(lookup(name), Column) for name in lags.LAGS)
