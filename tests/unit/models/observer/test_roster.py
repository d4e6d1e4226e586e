"""Who is watched: a model on a price of several venues as any other."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import pytest

from config.feature_specs import own_spec
from config.load import load
from config.observing import build_observer
from config.wiring import resolve
from engine import events as e
from engine.data.parquet import describe_files, read_events
from models.observer.observer import Observer
from models.observer.track import Track

NAME = "BTC/USDT@consolidated"


@pytest.fixture(scope="module")
def watched(market_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Track:
    """A model that says at each row of Binance's spot and futures price together that it will rise."""
    ticks = market_data / "ticks"
    files = [ticks / f"binance_{venue}_btcusdt_20240808_quotes.parquet" for venue in ("spot", "usdm")]
    known = {info.instrument.id: info.instrument for info in describe_files(files)}
    given = {
        "venue.feed": "replay",
        "models.registry": str(tmp_path_factory.mktemp("none") / "registry"),
        "features.columns": ["ret_1"],
        "features.window": 2,
        "consolidated": [{"instrument": "BTC/USDT", "members": list(known)}],
    }
    settings = resolve(load((), overrides=given), list(known))
    observer: Observer = build_observer(settings, None)
    market = islice(read_events(files, known), 6_000)
    first = next(market)
    at_ns = first.ts_recv_ns
    for instrument in known.values():
        observer.take(e.InstrumentDefined(at_ns, at_ns, instrument))
        observer.take(e.FeedUp(at_ns, at_ns, instrument.venue, "market"))
    spec = own_spec(settings.features, has_trades=False).to_json().decode()
    facts = (("horizon_rows", 20.0), ("buy", 0.6), ("sell", 0.4))
    observer.take(e.ModelAssigned(at_ns, at_ns, NAME, "m@1", spec, facts))
    track = observer._roster.get(NAME, "m@1")
    assert track is not None
    rows = track.rows
    for event in (first, *market):
        before = rows.count
        observer.take(event)
        if rows.count > before:
            times = rows.ts_event_ns, rows.ts_recv_ns
            observer.take(e.Prediction(*times, NAME, "m@1", e.PredictionStatus.OK, (0.9,)))
    return track


def test_a_signal_on_a_consolidated_price_has_an_outcome(watched: Track) -> None:
    """Its prices come with its members' events; without them a challenger there was never judged."""
    figures = watched.outcomes.figures()
    assert figures["matured"] > 100
    assert figures["signals"] > 3


def test_who_would_trade_on_a_consolidated_price_pays_the_dearest_members_fee(watched: Track) -> None:
    """It has none itself: nobody trades at it."""
    assert watched._maturing._fee_bps == pytest.approx(10.0)
