"""Intensity, variation, impact and toxicity against the papers' formulas on recorded ticks."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from engine.events import Bar, MarketEvent, Quote, Trade
from engine.features import FeatureBuffer, FeatureSpec, GapPolicy, Sampling, jit
from engine.features import column as registry
from engine.features import layout as at
from engine.features.columns.microstructure import MICROSTRUCTURE
from engine.instruments import Instrument
from tests.support.features import (
    NAME,
    START_NS,
    Table,
    assert_same,
    drive,
    instrument,
    quote,
    recorded_events,
    rolling,
    seeded_events,
    trade,
)
from tests.support.plain import digest_of, plain_digest

COLUMNS = (
    *("intensity_20", "intensity_50", "excitation_1s", "excitation_10s", "realised_variance_20"),
    *("realised_variance_50", "bipower_20", "bipower_50", "jump_share_50", "kyle_lambda_50", "vpin_50"),
)
# A column of sizes: each change of the best quote, its sizes included, then makes a row.
TICKS = FeatureSpec("impact", (*COLUMNS, "imbalance"), 1)
BY_VOLUME = FeatureSpec("impact", (*COLUMNS, "imbalance"), 1, Sampling.volume_bar(0.2))


@pytest.fixture(scope="module")
def recorded(market_data: Path) -> tuple[Instrument, list[MarketEvent]]:
    """Quotes and trades of a perpetual in order of receipt."""
    return recorded_events(market_data, "binance_usdm_btcusdt", 12_000)


def naive_series(events: list[MarketEvent], *, volume_bar: float = 0.0) -> Table:
    """Rows of each quote change, or of trades worth that many base units, by plain addition."""
    rows: list[tuple[float, ...]] = []
    quote_now: tuple[float, ...] = ()
    count = flow = volume = 0.0
    previous_ns, previous_px = 0, math.nan
    for event in events:
        if isinstance(event, Trade):
            count, volume, flow = count + 1, volume + event.qty, flow + event.aggressor * event.qty
            if not volume_bar or volume < volume_bar:
                continue
            px = event.px
        else:
            assert isinstance(event, Quote)
            now = (event.bid_px, event.bid_qty, event.ask_px, event.ask_qty)
            if volume_bar or now == quote_now:
                continue
            quote_now, px = now, 0.5 * (event.bid_px + event.ask_px)
        elapsed = max(event.ts_event_ns - previous_ns, 0) / 1e9 if previous_ns else math.nan
        rows.append((count, flow, volume, elapsed, math.log(px / previous_px)))
        previous_ns, previous_px, count, flow, volume = event.ts_event_ns, px, 0.0, 0.0, 0.0
    return dict(zip(("trades", "flow", "volume", "elapsed", "return"), np.array(rows).T.copy(), strict=True))


def check(ours: Table, rows: Table) -> None:
    """Every column of ``COLUMNS`` against its formula, over all rows."""
    returns, flow = rows["return"], rows["flow"]
    for n in (20, 50):
        seconds = np.maximum(rolling(rows["elapsed"], n, np.sum), 1e-3)
        assert_same(ours[f"intensity_{n}"], rolling(rows["trades"], n, np.sum) / seconds, n + 1)
        variance = rolling(returns, n, lambda r: math.fsum(r * r))
        # Times 1e12: the variances themselves would vanish in the absolute part of the tolerance.
        assert_same(1e12 * ours[f"realised_variance_{n}"], 1e12 * variance, n + 1)
        bipower = rolling(returns, n, lambda r: math.pi / 2 * math.fsum(np.abs(r[1:]) * np.abs(r[:-1])))
        assert_same(1e12 * ours[f"bipower_{n}"], 1e12 * bipower, n + 1)
    jump = np.where(variance > 0.0, np.maximum(1.0 - bipower / np.where(variance > 0.0, variance, 1.0), 0.0), 0.0)
    jump[:50] = np.nan
    assert_same(ours["jump_share_50"], jump, 51, scale=1)
    toxicity = rolling(np.abs(flow), 50, np.sum) / np.maximum(rolling(rows["volume"], 50, np.sum), 1e-12)
    assert_same(ours["vpin_50"], toxicity, 50, scale=1)
    slope = np.full(len(flow), np.nan)
    for i in range(50, len(flow)):
        x, y = flow[i - 49 : i + 1], returns[i - 49 : i + 1]
        slope[i] = 1e4 * np.polyfit(x, y, 1)[0] if np.ptp(x) > 0.0 else 0.0
    # Least squares by another way: polyfit solves a scaled system, good to some 1e-14 of the larger terms.
    assert_same(ours["kyle_lambda_50"], slope, 51, scale=1)
    for memory in (1.0, 10.0):
        assert_same(ours[f"excitation_{memory:g}s"], excitation(rows, memory), 2)


def excitation(rows: Table, memory_s: float) -> np.ndarray:
    """The sum over all earlier rows, not a recursion: each row's count, decayed by the time since its end."""
    ages = np.concatenate([[0.0], np.cumsum(rows["elapsed"][1:])])
    out = np.full(len(ages), np.nan)
    for i in range(1, len(ages)):
        weights = np.exp(-(ages[i] - ages[1 : i + 1]) / memory_s)
        counted = max(ages[i], 1e-3)
        out[i] = math.fsum(rows["trades"][1 : i + 1] * weights) / memory_s / -math.expm1(-counted / memory_s)
    return out


def test_each_change_of_the_quote_equals_the_papers(recorded: tuple[Instrument, list[MarketEvent]]) -> None:
    """4,000 recorded events and 1,500 generated ones."""
    real, events = recorded
    check(drive(FeatureBuffer(TICKS, real), events[:4_000]), naive_series(events[:4_000]))
    seeded = seeded_events(1_500)
    check(drive(FeatureBuffer(TICKS, instrument()), seeded), naive_series(seeded))


def test_volume_bars_equal_the_papers(recorded: tuple[Instrument, list[MarketEvent]]) -> None:
    """VPIN on what it was made for: buckets of 0.2 BTC; also everything else."""
    real, events = recorded
    rows = naive_series(events, volume_bar=0.2)
    ours = drive(FeatureBuffer(BY_VOLUME, real), events)
    assert len(rows["flow"]) > 150
    check(ours, rows)
    assert np.ptp(ours["vpin_50"][60:]) > 0.05


def test_flow_of_one_side_is_wholly_toxic_and_a_balanced_one_not_at_all() -> None:
    """60 rows with one seller each; then 60 with a buyer and a seller of the same size."""

    def market(pairs: bool) -> list[MarketEvent]:
        events: list[MarketEvent] = []
        for i in range(60):
            t = START_NS + i * 10**8
            events.append(trade(t, 100.0, 0.1, -1))
            events += [trade(t, 100.0, 0.1, 1)] if pairs else []
            events.append(quote(t, 100.0 - i, 101.0 - i))
        return events

    assert drive(FeatureBuffer(TICKS, instrument()), market(False))["vpin_50"][-1] == 1.0
    assert drive(FeatureBuffer(TICKS, instrument()), market(True))["vpin_50"][-1] == 0.0


def test_price_impact_is_the_slope_that_was_put_in() -> None:
    """Returns of exactly 2 bps a base unit of signed flow."""
    events: list[MarketEvent] = []
    mid = 100.0
    random = np.random.default_rng(2)
    for i in range(80):
        t = START_NS + i * 10**8
        qty, side = float(random.exponential()), 1 if random.random() < 0.5 else -1
        mid *= math.exp(2e-4 * side * qty)
        events += [trade(t, mid, qty, side), quote(t, mid - 0.01, mid + 0.01)]
    ours = drive(FeatureBuffer(TICKS, instrument()), events)
    assert ours["kyle_lambda_50"][-1] == pytest.approx(2.0, rel=1e-9)


def test_one_jump_is_seen_by_variance_and_not_by_bipower_variation() -> None:
    """50 returns of 1 bp and one of 100 bps among them: nearly all of the variance is the jump."""
    mids = np.exp(np.cumsum(np.where(np.arange(80) == 60, 1e-2, 1e-4 * (-1.0) ** np.arange(80))))
    events = [quote(START_NS + i * 10**8, m * 0.999, m * 1.001) for i, m in enumerate(mids)]
    ours = drive(FeatureBuffer(TICKS, instrument()), events)
    assert ours["jump_share_50"][-1] > 0.9
    assert ours["jump_share_50"][59] < 0.1


@pytest.mark.parametrize("market", ["constant", "rising", "jumping", "one stamp", "without trades", "equal trades"])
def test_no_market_leaves_the_declared_bounds(market: str) -> None:
    """Degenerate ones: nothing moves, everything moves, no time passes, nothing or always the same trades."""
    random = np.random.default_rng(4)
    events: list[MarketEvent] = []
    for i in range(180):
        t = START_NS if market == "one stamp" else START_NS + i * 10**8
        mid = {"constant": 100.0, "rising": 100.0 + i, "jumping": float(10.0 ** random.integers(-3, 9))}.get(
            market, 100.0 + random.random()
        )
        if market != "without trades":
            qty = 0.1 if market == "equal trades" else float(10.0 ** random.integers(-6, 6))
            events.append(trade(t, mid, qty, 1 if market == "equal trades" else int(random.integers(-1, 2))))
        events.append(quote(t, mid * 0.999, mid * 1.001, 1.0 + i % 3))
    ours = drive(FeatureBuffer(TICKS, instrument()), events)
    for name, found in ours.items():
        declared = registry.lookup(name)
        assert np.isnan(found[: declared.warm_rows - 1]).all(), name
        warm = found[declared.warm_rows - 1 :]
        assert (np.isfinite(warm) & (warm >= declared.bounds[0]) & (warm <= declared.bounds[1])).all(), name
    if market in ("without trades", "equal trades"):
        assert not ours["kyle_lambda_50"][50:].any()


def test_candles_have_no_trades_and_leave_no_trace_in_the_count() -> None:
    """History, then quotes: the excitation starts where the trades are known, and equals that of the trades alone."""
    second = 10**9
    bars = FeatureSpec("impact", TICKS.columns, 1, Sampling.time_bar(second), gap=GapPolicy(flat_rows_max=0))
    buffer = FeatureBuffer(bars, instrument())
    for i in range(3):
        end = START_NS + i * second
        assert buffer.update(Bar(end, end, NAME, second, 100.0, 101.0, 99.0, 100.0, 5.0))
        assert math.isnan(buffer.latest("excitation_1s"))
    for i in range(3):
        t = START_NS + (2 + i) * second
        buffer.update(quote(t, 100.0 + i, 101.0 + i))
        buffer.update(trade(t + 1, 100.0 + i, 1.0))
    # Two rows are closed, a trade in each; the second one is a second older.
    expected = (1.0 + math.exp(-1.0)) / (1.0 - math.exp(-2.0))
    assert buffer.latest("excitation_1s") == pytest.approx(expected, rel=1e-12)


def digest() -> str:
    return digest_of(TICKS, instrument(), seeded_events(500))


@pytest.mark.skipif(not jit.enabled(), reason="numba is off")
def test_plain_python_gives_the_same_bits() -> None:
    """The same columns in a process without numba."""
    assert plain_digest(__name__) == digest()


def test_the_set_has_what_its_name_promises() -> None:
    """Each column once, all registered, levels among them."""
    assert len(set(MICROSTRUCTURE)) == len(MICROSTRUCTURE)
    assert {"depth", "trades", "sizes"} <= FeatureSpec("x", MICROSTRUCTURE, 1).requires
    assert max(registry.lookup(name).warm_rows for name in MICROSTRUCTURE) < at.HISTORY
