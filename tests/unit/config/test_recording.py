"""A recording played through the paper exchange."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from config.load import load
from config.recording import Recording, describe_recordings, split_recordings
from config.schema import Settings
from connectors.fakes import EventLog
from engine.data.catalogue import Catalogue, Source
from engine.data.parquet import describe_files
from engine.errors import DataError
from engine.events import BalanceReported, FeedDown, FeedUp, InstrumentDefined, Observation, Quote, Timer
from engine.runtime.clocks import ManualClock
from tests.support.core import D
from tests.support.published import published_file
from tests.support.recordings import START_NS, quotes_file


def settings_with(**overrides: Any) -> Settings:
    return load(env={}, overrides={key.replace("__", "."): value for key, value in overrides.items()})


def frames_file(folder: Path, count: int = 20) -> Path:
    """Raw messages of a stream, each with a level that trades and one that is quoted."""
    path = folder / "binance_spot_made.jsonl"
    lines = [
        {
            "recv_ns": START_NS + n * 1_000_000,
            "dir": "recv",
            "url": "wss://stream.binance.com:9443/stream?streams=btcusdt@bookTicker",
            "msg": {
                "stream": "btcusdt@bookTicker",
                "data": {"u": 100 + n, "s": "BTCUSDT", "b": f"{100 + n / 100:.2f}", "B": "1", "a": "101.00", "A": "2"},
            },
        }
        for n in range(count)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


async def test_raw_messages_are_a_recording_too(tmp_path: Path) -> None:
    """Best prices of a recorded stream through the venue's parser, with own fees; rows beside them are refused."""
    path = frames_file(tmp_path)
    log = EventLog()
    settings = settings_with(paper__taker_fee_bps=25)
    (info,) = describe_recordings([path], settings)
    venue = Recording(settings, [path], "max", log, ManualClock(), lambda line: None, "t")
    await venue.start()
    (defined,) = log.of(InstrumentDefined)
    assert (defined.definition.id, defined.definition.taker_fee_rate) == (info.instrument.id, D("0.0025"))
    assert defined.definition.id == "BTC/USDT@binance_spot"
    await venue.finished()
    assert [quote.bid_px for quote in log.of(Quote)] == [100 + n / 100 for n in range(20)]
    with pytest.raises(DataError, match="rows"):
        split_recordings([path, quotes_file(tmp_path, rows=3)])


async def test_a_recording_defines_funds_plays_and_ends(tmp_path: Path) -> None:
    """A small file of quotes: what is published first, what then, with configured fees, and both streams down."""
    path = quotes_file(tmp_path, rows=20)
    log = EventLog()
    venue = Recording(settings_with(paper__taker_fee_bps=25), [path], "max", log, ManualClock(), lambda line: None, "t")
    (instrument,) = {info.instrument.id for info in describe_files([path])}
    await venue.start()
    (defined,) = log.of(InstrumentDefined)
    assert (defined.definition.id, defined.definition.taker_fee_rate) == (instrument, D("0.0025"))
    assert [(b.currency, b.total) for b in log.of(BalanceReported)] == [(defined.definition.quote, D(100_000))]
    assert [gateway.venue for gateway in venue.gateways] == [venue.name]
    await venue.finished()
    venue.settle()
    assert len(log.of(Quote)) == 20
    assert log.of(Timer)
    await venue.stop()
    assert {event.stream for event in log.of(FeedDown)} == {"market", "user"} == {e.stream for e in log.of(FeedUp)}
    assert venue.counts().conflated == 0


async def test_configured_series_play_with_a_recording(tmp_path: Path) -> None:
    """A catalogue with two series, one of them configured, and one more that was named with the recording."""
    day_ns = 86_400_000_000_000
    rows = [(START_NS - day_ns, START_NS - 9 * day_ns, "CPI", 1.0), (START_NS - day_ns, START_NS, "GDP", 2.0)]
    table = pq.read_table(published_file(tmp_path / "series.parquet", rows))
    with Catalogue(tmp_path / "stored").writer("exogenous", "ALL", "exogenous", source=Source("test")) as writer:
        writer.write(table)
    settings = settings_with(data__catalogue=str(tmp_path / "stored"), exogenous__series=["CPI"])
    named = [Observation(START_NS + 7, START_NS + 7, "PMI", 3.0, START_NS)]
    log = EventLog()
    path = quotes_file(tmp_path)
    venue = Recording(settings, [path], "max", log, ManualClock(), lambda line: None, "t", published=named)
    await venue.start()
    await venue.finished()
    await venue.stop()
    assert [(one.series, one.ts_recv_ns) for one in log.of(Observation)] == [("CPI", START_NS), ("PMI", START_NS + 7)]
    wrong = settings_with(data__catalogue=str(tmp_path / "stored"), exogenous__series=["XYZ"])
    with pytest.raises(DataError, match="no published series XYZ"):
        Recording(wrong, [path], "max", log, ManualClock(), lambda line: None, "t")


async def test_own_paper_balances_replace_the_default(tmp_path: Path) -> None:
    """A balance in the user's settings: exactly that."""
    log = EventLog()
    settings = settings_with(paper__balances={"USD": 50, "EUR": 7})
    venue = Recording(settings, [quotes_file(tmp_path)], "max", log, ManualClock(), lambda line: None, "t")
    await venue.start()
    assert {(b.currency, b.total) for b in log.of(BalanceReported)} >= {("USD", D(50)), ("EUR", D(7))}
    await venue.stop()
