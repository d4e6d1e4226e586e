"""Offline, features are given what the core gives them live: recorded streams and all that can be wrong with one."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from engine import events as e
from engine.data.parquet import describe_files, read_events
from engine.events import BookDelta, BookSnapshot, MarketEvent, Quote, Trade
from engine.instruments import Instrument
from engine.quality.sieve import believed
from tests.support.core import BTC, EveryQuote, MemoryRecorder, Scripted, build_core, spot

SECOND = 1_000_000_000


class Told(EveryQuote):
    """Features that remember what they were given."""

    def __init__(self, told: list[MarketEvent]) -> None:
        super().__init__()
        self.told = told

    def update(self, event: MarketEvent) -> bool:
        self.told.append(event)
        return False


def told_live(events: list[MarketEvent], instruments: list[Instrument]) -> list[MarketEvent]:
    told: list[MarketEvent] = []
    core = build_core(MemoryRecorder(), Scripted(), features=lambda: Told(told))
    for instrument in instruments:
        core.on_event(e.InstrumentDefined(1, 1, instrument))
    for event in events:
        core.on_event(event)
    return told


def check(events: list[MarketEvent], instruments: list[Instrument]) -> list[MarketEvent]:
    told = told_live(events, instruments)
    assert list(believed(events, {instrument.id: instrument for instrument in instruments})) == told
    return told


@pytest.mark.parametrize(
    "names",
    [
        ["binance_usdm_btcusdt_20240808_quotes", "binance_usdm_btcusdt_20240808_trades"],
        ["fxcm_eurusd_quotes_20140501_20140516"],
        ["binance_spot_btcusdt_20240808_quotes", "binance_usdm_ethusdt_20240808_quotes"],
    ],
)
def test_recorded_events_reach_features_as_they_do_live(market_data: Path, names: list[str]) -> None:
    """40,000 events through a core and through the sieve; crossed quotes and outliers are in them."""
    infos = describe_files([market_data / "ticks" / f"{name}.parquet" for name in names])
    events = list(islice(read_events([info.path for info in infos]), 40_000))
    instruments = list({info.instrument.id: info.instrument for info in infos}.values())
    told = check(list(events), instruments)
    assert len(told) > 30_000


@pytest.mark.fault("D1")
@pytest.mark.fault("D5")
def test_everything_that_is_wrong_is_left_out_alike() -> None:
    """Random quotes, trades, candles and books, one in ten damaged: the same events, in the same order."""
    random = np.random.default_rng(5)
    events: list[MarketEvent] = []
    for i in range(6000):
        ts = (1000 + i) * SECOND // 10
        mid = 100.0 + float(np.round(random.normal(0, 0.05), 2))
        damage = random.random()
        if damage < 0.02:
            mid *= 3.0
        elif damage < 0.04:
            mid = float("nan")
        elif damage < 0.06:
            ts -= 60 * SECOND
        spread = -0.5 if 0.06 < damage < 0.08 else 0.02
        qty = -1.0 if 0.08 < damage < 0.1 else 1.5
        kind = int(random.integers(0, 5))
        if kind == 0:
            events.append(Quote(ts, ts, BTC, mid, qty, mid + spread, 1.0))
        elif kind == 1:
            events.append(Trade(ts, ts, BTC, mid, qty, 1, str(i)))
        elif kind == 2:
            events.append(e.Bar(ts, ts, BTC, SECOND, mid, mid + 0.1, mid - 0.1, mid, qty))
        elif kind == 3:
            events.append(BookSnapshot(ts, ts, BTC, ((mid, qty), (mid - 1, 1.0)), ((mid + spread, 1.0),)))
        else:
            side = int(random.choice([-1, 1]))
            events.append(BookDelta(ts, ts, BTC, ((side, mid - side * 0.01, abs(qty)), (side, mid + 1, qty))))
    events.insert(3000, e.Observation(events[2999].ts_event_ns, events[2999].ts_recv_ns, "cpi", 3.1, 5))
    told = check(events, [spot()])
    assert len(told) < len(events) * 1.5
    assert any(type(event) is BookSnapshot and not event.bids for event in told), "a book broke"
    assert {type(event) for event in told} == {Quote, Trade, e.Bar, BookSnapshot, BookDelta, e.Observation}


@pytest.mark.fault("D5")
@pytest.mark.parametrize("as_book", [True, False])
def test_prices_of_refused_times_are_followed_alike(as_book: bool) -> None:
    """A venue's clock is 30 s behind for a while, in which the market moves by 6 %: what comes with good times again is
    near what was shown to exits, far from the last row."""
    start = 1_700_000_000 * SECOND

    def told(ts: int, recv: int, mid: float) -> MarketEvent:
        bid, ask = round(mid - 0.01, 2), round(mid + 0.01, 2)
        if as_book:
            return BookSnapshot(ts, recv, BTC, ((bid, 1.0),), ((ask, 1.0),))
        return Quote(ts, recv, BTC, bid, 1.0, ask, 1.0)

    calm = [told(at, at, 100 + 0.01 * (n % 2)) for n in range(60) for at in [start + n * SECOND // 10]]
    behind = [
        told(at - 30 * SECOND, at, 100 + 0.015 * n)
        for n in range(400)
        for at in [start + 10 * SECOND + n * SECOND // 20]
    ]
    again = [told(at, at, 106 + 0.01 * n) for n in range(5) for at in [start + 31 * SECOND + n * SECOND // 10]]
    given = check([*calm, *behind, *again], [spot()])
    assert [event.ts_recv_ns for event in given if type(event) is Quote][-5:] == [event.ts_recv_ns for event in again]


def test_events_of_others_are_left_out() -> None:
    """Nobody described that instrument."""
    assert list(believed([Quote(1, 1, "ETH/USD@x", 1.0, 1.0, 2.0, 1.0)], {BTC: spot()})) == []
