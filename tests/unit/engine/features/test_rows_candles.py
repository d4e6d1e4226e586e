"""Candles through the compiled loop are those through the live buffer: every recorded file, every irregularity."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from engine.errors import DataError
from engine.events import Bar
from engine.features import (
    Candles,
    FeatureBuffer,
    FeatureSpec,
    GapPolicy,
    Rows,
    Sampling,
    compute_candles,
    compute_rows,
    core40_spec,
)
from engine.features.sets import expand
from tests.support.features import SECOND, instrument
from tests.support.recorded_bars import bar_files, candles_of, interval_ns

MINUTE = 60 * SECOND
COLUMNS = expand(("technical40",))
EXTENDED = expand(("extended",))


def spec(step_ns: int = MINUTE, columns: tuple[str, ...] = COLUMNS, window: int = 4, hole_ns: int = 0) -> FeatureSpec:
    gap = GapPolicy(flat_rows_max=window - 1, hole_ns_max=hole_ns)
    return FeatureSpec("candles", columns, window, Sampling.time_bar(step_ns, price="trade"), gap=gap)


def walk(n: int, seed: int = 3) -> Candles:
    random = np.random.default_rng(seed)
    close = np.round(100 * np.exp(np.cumsum(random.normal(0, 1e-3, n))), 2)
    start = np.r_[100.0, close][:n]
    high, low = np.maximum(start, close) + 0.05, np.minimum(start, close) - 0.05
    return Candles((np.arange(n) + 1000) * MINUTE, start, high, low, close, np.round(random.exponential(5, n), 3))


def as_events(candles: Candles, step_ns: int) -> list[Bar]:
    times, *columns = (column.tolist() for column in candles)
    return [Bar(t, t, instrument().id, step_ns, *row) for t, *row in zip(times, *columns, strict=True)]


def assert_equal(left: Rows, right: Rows) -> None:
    for ours, theirs in zip(left, right, strict=True):
        assert ours.dtype == theirs.dtype
        assert ours.tobytes() == theirs.tobytes()


def assert_live_equals_bulk(wanted: FeatureSpec, candles: Candles) -> int:
    """Each row in float64, and whether it was warm; the number of rows."""
    chunks: list[np.ndarray] = []
    bulk = compute_candles(wanted, instrument(), candles, on_chunk=lambda values: chunks.append(values.copy()))
    buffer = FeatureBuffer(wanted, instrument())
    live = np.empty((len(bulk.values), len(wanted.columns)))
    warm = []
    newest = buffer.newest_values()
    for bar in as_events(candles, wanted.sampling.interval_ns):
        if buffer.update(bar):
            live[len(warm)] = newest
            warm.append(buffer.warm)
    assert len(warm) == len(bulk.values)
    assert live.tobytes() == np.concatenate(chunks).tobytes()
    assert warm == bulk.warm.tolist()
    return len(warm)


@pytest.mark.fault("E9")
def test_every_recorded_candle_gives_the_same_bits_live_and_in_bulk(market_data: Path) -> None:
    """All files, all symbols, each row: live events on one side, the loop on the other."""
    rows = 0
    for path in bar_files(market_data):
        step_ns = interval_ns(path)
        wanted = spec(step_ns, hole_ns=4 * 86_400 * SECOND)
        for _, candles in candles_of(path):
            rows += assert_live_equals_bulk(wanted, candles)
    assert rows > 1_000_000


def test_every_column_of_candles_gives_the_same_bits_live_and_in_bulk(market_data: Path) -> None:
    """The whole set on the first 1,500 candles of each file."""
    for path in bar_files(market_data):
        step_ns = interval_ns(path)
        wanted = spec(step_ns, EXTENDED, hole_ns=4 * 86_400 * SECOND)
        _, candles = next(candles_of(path))
        first = Candles(*(column[:1500] for column in candles))
        assert assert_live_equals_bulk(wanted, first) > 1000, path.name


@pytest.mark.fault("D5")
@pytest.mark.fault("D6")
@pytest.mark.fault("D7")
@pytest.mark.parametrize("hole_ns", [0, 10 * MINUTE])
def test_irregular_candles_mean_the_same_in_bulk(hole_ns: int) -> None:
    """Holes, repeats, a step back, a revision and bad numbers, at random places of 2,000 candles."""
    candles = walk(2000)
    random = np.random.default_rng(11)
    order = np.sort(random.choice(2000, 1900, replace=False))
    order = np.delete(order, np.s_[1600:1615])
    order = np.insert(order, [200, 900], [order[150], order[900]])
    columns = [np.array(column[order]) for column in candles]
    columns[4][902] += 0.01
    columns[1][1200], columns[2][1300], columns[5][1400], columns[3][1500] = np.nan, 1.0, -1.0, 1e300
    odd = Candles(*columns)
    bulk = compute_candles(spec(hole_ns=hole_ns), instrument(), odd)
    live = FeatureBuffer(spec(hole_ns=hole_ns), instrument())
    for bar in as_events(odd, MINUTE):
        live.update(bar)
    assert live.rejected == 4
    assert live.late >= 1
    assert live.restarts > 0
    assert_equal(bulk, compute_rows(spec(hole_ns=hole_ns), instrument(), as_events(odd, MINUTE)))
    assert bulk.warm.any()
    assert not bulk.warm.all()


@pytest.mark.fault("D7")
def test_a_candle_that_comes_again_changes_nothing_and_a_revised_one_is_counted() -> None:
    """The first version stands, because the model has seen it: counts after the same end came thrice."""
    candles = as_events(walk(30), MINUTE)
    buffer = FeatureBuffer(spec(), instrument())
    for bar in candles:
        buffer.update(bar)
    before = buffer.window().copy()
    last = candles[-1]
    assert not buffer.update(last)
    assert (buffer.late, buffer.revised) == (1, 0)
    revised = Bar(*(getattr(last, name) for name in last.__struct_fields__[:-1]), last.volume_qty + 1.0)
    assert not buffer.update(revised)
    assert (buffer.late, buffer.revised, buffer.rows) == (1, 1, 30)
    np.testing.assert_array_equal(before, buffer.window())


@pytest.mark.fault("D6")
def test_a_market_that_closes_keeps_its_rows_and_a_longer_hole_restarts() -> None:
    """Hole of exactly the declared length, then one candle more."""
    for missing, restarts in ((10, 0), (11, 1)):
        candles = walk(120)
        keep = np.r_[0:60, 60 + missing : 120]
        buffer = FeatureBuffer(spec(hole_ns=10 * MINUTE), instrument())
        for bar in as_events(Candles(*(column[keep] for column in candles)), MINUTE):
            buffer.update(bar)
        assert buffer.restarts == restarts
        assert ("no bar for 660 s, longer than the 600 s declared" in buffer._gap_reason) == bool(restarts)


def test_the_future_does_not_reach_back() -> None:
    """Every candle after the 700th is nonsense: all columns until then are bit-equal, the next row is not."""
    candles = walk(900)
    wanted = spec(columns=EXTENDED)
    poisoned = Candles(*(column.copy() for column in candles))
    for column, value in zip(poisoned[1:], (1e9, 1e12, 1e-9, 7.0, 1e15), strict=True):
        column[700:] = value
    before, after = (compute_candles(wanted, instrument(), bars) for bars in (candles, poisoned))
    assert before.values[:700].tobytes() == after.values[:700].tobytes()
    assert before.values[700].tobytes() != after.values[700].tobytes()


@pytest.mark.fault("D6")
def test_a_nan_makes_the_window_cold_and_is_never_filled() -> None:
    """One candle without a close: no warm window holds it or spans it."""
    candles = walk(400)
    candles.close_px[200] = np.nan
    rows = compute_candles(spec(window=30), instrument(), candles)
    assert len(rows.values) == 399
    again = np.flatnonzero(rows.ts_event_ns > candles.end_ns[200])
    assert rows.warm[199]
    assert not rows.warm[again[: spec(window=30).rows_to_warm - 1]].any()
    assert rows.warm[again[spec(window=30).rows_to_warm - 1]]


def test_the_values_in_float64_are_those_that_latest_gives() -> None:
    """``on_chunk`` over 300 candles against the live buffer's ``latest`` after each."""
    candles = walk(300)
    chunks: list[np.ndarray] = []
    compute_candles(spec(), instrument(), candles, on_chunk=lambda values: chunks.append(values.copy()))
    buffer = FeatureBuffer(spec(), instrument())
    live = []
    for bar in as_events(candles, MINUTE):
        buffer.update(bar)
        live.append([buffer.latest(name) for name in COLUMNS])
    assert np.concatenate(chunks).tobytes() == np.array(live).tobytes()


def test_specs_that_no_candle_can_feed_are_refused() -> None:
    """Ticks, and a column that reads the book."""
    with pytest.raises(DataError, match="expected time bars for candles"):
        compute_candles(core40_spec(), instrument(), walk(3))


def test_no_candles_make_no_rows() -> None:
    """Shapes of nothing."""
    rows = compute_candles(spec(), instrument(), walk(0))
    assert rows.values.shape == (0, len(COLUMNS))
    assert rows.ts_event_ns.dtype == np.int64
