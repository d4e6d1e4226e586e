"""Two instruments side by side: against NumPy on merged recordings, live as offline, unknown where one is stale."""

from __future__ import annotations

import itertools
import math
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from engine import events as e
from engine.core import TradingCore
from engine.data.parquet import describe_file, read_events
from engine.errors import DataError
from engine.features import FeatureBuffer, FeatureSpec, GapPolicy, Sampling, compute_rows
from engine.features.column import lookup
from engine.features.sets import expand
from engine.instruments import Instrument
from engine.lanes import StrategySlot
from engine.ports import Assignment
from tests.support.core import MemoryRecorder, OpenGate, Scripted
from tests.support.features import SECOND, START_NS, drive, instrument
from tests.support.spectral import candles_from

OWN = "BTC/USDT@binance_usdm"
SPOT = "BTC/USDT@binance_spot"
ETH = "ETH/USDT@binance_usdm"
COLUMNS = (
    "close",
    "volume",
    "ret_1",
    *expand(["cross_asset", f"cross_asset({ETH})", f"cross_venue({SPOT},{ETH})", f"cross_venue({SPOT})"]),
    f"correlation({SPOT},20)",
    f"covariance({ETH},50)",
    f"peer_move({ETH})",
    f"lead_lag({ETH},7)",
)
SPEC = FeatureSpec("beside", tuple(dict.fromkeys(COLUMNS)), 4)
Array = npt.NDArray[np.float64]


def quote(ts_ns: int, mid: float, of: str = OWN) -> e.Quote:
    return e.Quote(ts_ns, ts_ns, of, mid - 0.5, 1.0, mid + 0.5, 1.0)


@cache
def recorded(market_data: Path) -> tuple[dict[str, Instrument], list[e.MarketEvent]]:
    """The first 60,000 events of three recordings in order of receipt, trades of the own instrument among them."""
    stems = ("binance_usdm_btcusdt_20240808_quotes", "binance_usdm_btcusdt_20240808_trades")
    stems += ("binance_usdm_ethusdt_20240808_quotes", "binance_spot_btcusdt_20240808_quotes")
    paths = [market_data / "ticks" / f"{stem}.parquet" for stem in stems]
    instruments = {found.id: found for found in (describe_file(path).instrument for path in paths)}
    return instruments, list(itertools.islice(read_events(paths), 60_000))


def naive(events: list[e.MarketEvent]) -> dict[str, Array]:
    """Own mid and the others' mids at each change of the own quote, from a dictionary."""
    prices = {SPOT: math.nan, ETH: math.nan}
    rows, before = [], None
    for event in events:
        if type(event) is not e.Quote:
            continue
        mid = 0.5 * (event.bid_px + event.ask_px)
        if event.instrument != OWN:
            prices[event.instrument] = mid
        elif (event.bid_px, event.ask_px) != before:
            before = (event.bid_px, event.ask_px)
            rows.append((mid, prices[SPOT], prices[ETH]))
    return dict(zip((OWN, SPOT, ETH), np.array(rows).T, strict=True))


def rolled(n: int, x: Array, y: Array, of: Any) -> Array:
    """``of(x, y)`` for each pair of windows of n; NaN where one is not full."""
    found = np.full(len(x), np.nan)
    for i in range(n - 1, len(x)):
        a, b = x[i - n + 1 : i + 1], y[i - n + 1 : i + 1]
        if np.isfinite(a).all() and np.isfinite(b).all():
            found[i] = of(a, b)
    return found


def pearson(a: Array, b: Array) -> float:
    return 0.0 if np.ptp(a) == 0.0 or np.ptp(b) == 0.0 else float(np.corrcoef(a, b)[0, 1])


def slope(a: Array, b: Array) -> float:
    return 0.0 if np.ptp(b) == 0.0 else float(np.cov(a, b, bias=True)[0, 1] / np.var(b))


def moves(px: Array) -> Array:
    return np.r_[math.nan, np.log(px[1:] / px[:-1])]


@pytest.fixture(scope="module")
def table(market_data: Path) -> tuple[dict[str, Array], dict[str, Array]]:
    """The columns over the recordings, and what NumPy says."""
    instruments, events = recorded(market_data)
    ours = drive(FeatureBuffer(SPEC, instruments[OWN]), events)
    px = naive(events)
    return ours, px


def same(ours: Array, theirs: Array, atol: float = 1e-12) -> None:
    np.testing.assert_array_equal(np.isnan(ours), np.isnan(theirs))
    np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=atol)
    assert np.isfinite(ours).mean() > 0.8


def test_columns_beside_another_equal_numpy(table: tuple[dict[str, Array], dict[str, Array]]) -> None:
    """Recorded BTC beside ETH and the spot market, on each change of the own quote: corrcoef, cov, var."""
    ours, px = table
    np.testing.assert_array_equal(ours["close"], px[OWN])
    own, eth, spot = moves(px[OWN]), moves(px[ETH]), moves(px[SPOT])
    assert len(own) > 500
    same(ours[f"peer_return({ETH},1)"], eth, 1e-15)
    same(ours[f"peer_move({ETH})"], eth, 1e-15)
    same(ours[f"peer_return({ETH},5)"], np.r_[np.full(5, np.nan), np.log(px[ETH][5:] / px[ETH][:-5])], 1e-15)
    for n in (20, 50):
        # np.log of a price has 1e-16 of its own, against returns of 1e-6.
        same(ours[f"correlation({ETH},{n})"], rolled(n, own, eth, pearson), 1e-8)
    same(ours[f"correlation({SPOT},20)"], rolled(20, own, spot, pearson), 1e-8)
    same(ours[f"beta({ETH},50)"], rolled(50, own, eth, slope), 1e-8)
    same(ours[f"covariance({ETH},50)"], rolled(50, own, eth, lambda a, b: np.cov(a, b, bias=True)[0, 1]), 1e-18)
    earlier = np.r_[math.nan, eth[:-1]]
    same(ours[f"lead_lag({ETH},50)"], rolled(50, own, earlier, pearson), 1e-8)
    same(ours[f"lead_lag({ETH},7)"], rolled(7, own, earlier, pearson), 1e-8)


def test_prices_of_venues_are_compared(table: tuple[dict[str, Array], dict[str, Array]]) -> None:
    """Basis and population deviation over the mean, in bps."""
    ours, px = table
    same(ours[f"basis_bps({SPOT})"], 1e4 * (px[SPOT] / px[OWN] - 1.0), 1e-11)
    both = np.vstack([px[OWN], px[SPOT]])
    same(ours[f"dispersion_bps({SPOT})"], 1e4 * both.std(axis=0) / both.mean(axis=0), 1e-11)
    three = np.vstack([px[OWN], px[SPOT], px[ETH]])
    same(ours[f"dispersion_bps({SPOT},{ETH})"], 1e4 * three.std(axis=0) / three.mean(axis=0), 1e-11)


def test_columns_beside_oneself_equal_numpy(table: tuple[dict[str, Array], dict[str, Array]]) -> None:
    """Close beside volume, returns beside earlier returns."""
    ours, px = table
    own = ours["ret_1"]
    for n in (20, 50):
        name = f"price_volume_correlation({n})"
        same(ours[name], rolled(n, px[OWN], ours["volume"], pearson), 1e-9)
    for lag in (1, 2, 5):
        earlier = np.r_[np.full(lag, np.nan), own[:-lag]]
        same(ours[f"autocorrelation({lag},50)"], rolled(50, own, earlier, pearson), 1e-9)


class Sides:
    """An assembly that gives the own instrument its buffer and the others none."""

    def __init__(self) -> None:
        self.buffer: FeatureBuffer | None = None

    def assign(self, of: Instrument, uses_model: bool) -> Assignment:
        return Assignment("", "{}", ())

    def features(self, of: Instrument, assignment: Assignment) -> FeatureBuffer | None:
        if of.id != OWN:
            return None
        self.buffer = FeatureBuffer(SPEC, of)
        return self.buffer

    def model(self, of: Instrument, assignment: Assignment) -> None:
        return None


def core_of(instruments: list[Instrument]) -> tuple[TradingCore, FeatureBuffer]:
    """A core in which a strategy listens to all of them."""
    sides = Sides()
    core = TradingCore(
        recorder=MemoryRecorder(),
        gate=OpenGate(),
        slots=[StrategySlot(Scripted())],
        assembly=sides,
        currency="USDT",
        id_prefix="t",
    )
    for each in instruments:
        core.on_event(e.InstrumentDefined(1, 1, each))
        core.on_event(e.FeedUp(1, 1, each.venue, "market"))
    assert sides.buffer is not None
    return core, sides.buffer


def test_the_core_gives_followers_what_offline_rows_are_made_of(market_data: Path) -> None:
    """The merged recordings through a whole core, and through compute_rows: bit-equal rows, of accepted events."""
    instruments, events = recorded(market_data)
    core, buffer = core_of(list(instruments.values()))
    rows, kept = [], []
    for event in events:
        before, made = core.counters.ticks, buffer.rows
        core.on_event(event)
        if core.counters.ticks > before:
            kept.append(event)
        if buffer.rows > made:
            rows.append(buffer.window()[-1].tobytes())
    assert len(kept) > 0.99 * len(events)
    offline = compute_rows(SPEC, instruments[OWN], kept)
    assert offline.values.tobytes() == b"".join(rows)
    assert offline.warm.sum() > 400


def beside_each_other(buffer: FeatureBuffer, begin: int, n: int, of: str = ETH) -> None:
    """n seconds in which both prices move."""
    for i in range(begin, begin + n):
        for name, px in ((of, 2500.0 + 3.0 * (i % 7)), (SPOT, 60_010.0 + i % 11), (OWN, 60_000.0 + 5.0 * (i % 5))):
            buffer.update(quote(START_NS + i * SECOND, px, name))


def test_a_price_that_is_too_old_is_unknown_and_the_window_not_warm() -> None:
    """ETH is silent for 61 s where 60 are allowed: NaN until the silence has left every span, then warm again."""
    spec = FeatureSpec("x", SPEC.columns, 4, gap=GapPolicy(silence_ns_max=60 * SECOND))
    buffer = FeatureBuffer(spec, instrument())
    beside_each_other(buffer, 0, 120)
    assert buffer.warm
    for i in range(120, 182):
        buffer.update(quote(START_NS + i * SECOND, 60_010.0 + i % 11, SPOT))
        buffer.update(quote(START_NS + i * SECOND, 60_000.0 + 5.0 * (i % 5)))
        assert buffer.warm == (i < 180)
    assert math.isnan(buffer.latest(f"basis_bps({ETH})"))
    assert math.isnan(buffer.latest(f"correlation({ETH},20)"))
    assert math.isfinite(buffer.latest(f"correlation({SPOT},20)"))
    assert f"basis_bps({ETH})" in buffer.reason
    beside_each_other(buffer, 182, 50)
    assert not buffer.warm
    beside_each_other(buffer, 232, 10)
    assert buffer.warm


def test_a_gap_of_the_other_feed_makes_its_price_unknown() -> None:
    """The core reports ETH's gap to the one who follows it: unknown until its next quote, the own rows stand."""
    eth = instrument(id=ETH, base="ETH")
    spot = instrument(id=SPOT, venue="binance_spot")
    core, buffer = core_of([instrument(), eth, spot])
    for i in range(120):
        for name, px in ((ETH, 2500.0 + 0.1 * (i % 7)), (SPOT, 60_010.0 + i % 11), (OWN, 60_000.0 + 5.0 * (i % 5))):
            core.on_event(quote(START_NS + i * SECOND, px, name))
    assert buffer.warm
    rows, restarts = buffer.rows, buffer.restarts
    core.on_event(e.Gap(START_NS + 120 * SECOND, START_NS + 120 * SECOND, eth.venue, ETH, 5, 7))
    core.on_event(quote(START_NS + 120 * SECOND, 60_001.0))
    assert (buffer.rows, buffer.restarts) == (rows + 1, restarts)
    assert math.isnan(buffer.latest(f"basis_bps({ETH})"))
    assert math.isfinite(buffer.latest(f"basis_bps({SPOT})"))
    assert not buffer.warm


@pytest.mark.parametrize("market", ["constant", "jumping", "only one moves"])
def test_degenerate_markets_have_finite_values_within_bounds(market: str) -> None:
    """Equal prices, jumps by twelve orders of magnitude, and a peer that moves beside a price that stands."""
    buffer = FeatureBuffer(SPEC, instrument())
    for i in range(150):
        own = {"constant": 100.0, "jumping": 1e6 if i % 7 else 1.0, "only one moves": 100.0}[market]
        other = {"constant": 50.0, "jumping": 1e6 if i % 5 else 1.0, "only one moves": 50.0 + i % 3}[market]
        for name in (ETH, SPOT):
            buffer.update(quote(START_NS + i * SECOND, other, name))
        half = 0.25 + 0.25 * (i % 2)  # a row is made of a quote that changes
        buffer.update(e.Quote(START_NS + i * SECOND, 0, OWN, own - half, 1.0, own + half, 1.0))
    assert buffer.warm
    for column in SPEC.plan:
        value = buffer.latest(column.name) if column.name in SPEC.columns else 0.0
        assert column.bounds[0] <= value <= column.bounds[1], column.name
    if market != "jumping":
        assert buffer.latest(f"correlation({ETH},50)") == buffer.latest(f"beta({ETH},50)") == 0.0
        assert buffer.latest("autocorrelation(1,50)") == buffer.latest("price_volume_correlation(20)") == 0.0


def test_candles_of_another_instrument_count_as_its_price() -> None:
    """Both as minute candles: the correlation of two closes that move together is 1."""
    spec = FeatureSpec("x", SPEC.columns, 4, Sampling.time_bar(60 * SECOND), gap=GapPolicy(flat_rows_max=3))
    close = 100.0 * np.exp(np.random.default_rng(1).normal(0.0, 1e-3, 60).cumsum())
    events = []
    for end, *numbers in zip(*(part.tolist() for part in candles_from(close)), strict=True):
        events.append(e.Bar(end, end, ETH, 60 * SECOND, *(3.0 * x for x in numbers[:4]), 1.0))
        events.append(e.Bar(end, end, OWN, 60 * SECOND, *numbers))
    values = drive(FeatureBuffer(spec, instrument()), events)[f"correlation({ETH},20)"]
    assert np.isnan(values[:20]).all()
    np.testing.assert_allclose(values[20:], 1.0, rtol=1e-9)


def test_bars_closed_by_timers_know_the_same_prices_as_those_closed_by_the_next_quote() -> None:
    """A quote of ours each 7 s, of the others each 0.3 s, bars of 2 s: live a timer each 100 ms, offline none."""
    spec = FeatureSpec("x", SPEC.columns, 4, Sampling.time_bar(2 * SECOND), gap=GapPolicy(0, 3))
    start_ns = START_NS - START_NS % (2 * SECOND)
    events = [quote(start_ns + i * 7 * SECOND, 60_000.0 + i % 5) for i in range(60)]
    events += [quote(start_ns + i * 300_000_000 + 7, 2_500.0 + i % 13, ETH) for i in range(1400)]
    events += [quote(start_ns + i * 300_000_000 + 9, 60_002.0 + i % 11, SPOT) for i in range(1400)]
    events.sort(key=lambda event: event.ts_event_ns)
    buffer = FeatureBuffer(spec, instrument())
    live: list[bytes] = []
    buffer.on_bar = lambda: live.append(buffer.window()[-1].tobytes())
    timer_ns = start_ns
    for event in events:
        while timer_ns <= event.ts_event_ns:
            buffer.on_timer(timer_ns)
            timer_ns += SECOND // 10
        buffer.update(event)
    offline = compute_rows(spec, instrument(), events)
    assert len(offline.values) > 200
    assert offline.warm.sum() > 100
    assert offline.values.tobytes() == b"".join(live[: len(offline.values)])


@pytest.mark.parametrize(
    "name",
    [
        "correlation(ETHUSDT,20)",
        "correlation(ETH/USDT@x,2)",
        "beta(ETH/USDT@x,254)",
        "dispersion_bps(ETH/USDT@x,7)",
        "peer_return(ETH/USDT@x,0)",
        "autocorrelation(0,50)",
        "basis_bps(5)",
    ],
)
def test_what_is_no_instrument_or_no_span_is_refused(name: str) -> None:
    """One line that says what was expected."""
    with pytest.raises(DataError, match="expected"):
        lookup(name)
