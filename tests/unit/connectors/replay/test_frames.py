"""Files of raw messages: which parser reads them, their order, what they are about, and how they are played."""

from __future__ import annotations

import asyncio
import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from connectors.replay.frames import FramesFile, describe_frames
from connectors.replay.frames_feed import FramesVenue
from connectors.replay.parsers import PARSERS, parser_of
from engine.data.instruments import known_instrument
from engine.errors import DataError
from engine.events import (
    BookDelta,
    BookSnapshot,
    FeedUp,
    Gap,
    InstrumentDefined,
    OrderFilled,
    Quote,
    Side,
    Timer,
    Trade,
)
from tests.support.matching import D, new
from tests.support.streams import MESSAGES, book_ticker, depth, snapshot, trade

START = 1_700_000_000_123_000_000
MS = 1_000_000
BTC = known_instrument("binance_spot", "BTCUSDT")
assert BTC is not None
SPOT = BTC.id
URL = "wss://stream.binance.com:9443/stream"
BIDS, ASKS = [["100.10", "1.0"], ["100.00", "4.0"]], [["100.20", "3.0"], ["100.30", "1.0"]]


class Clock:
    def now_ns(self) -> int:
        return 0

    wall_ns = now_ns


def line(at_ms: int, message: bytes | None, **more: Any) -> str:
    head = json.dumps({"recv_ns": START + at_ms * MS, **more})
    return head if message is None else f'{head[:-1]},"msg":{message.decode()}}}'


def write(path: Path, *lines: str) -> Path:
    text = "\n".join(lines).encode()
    path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)
    return path


async def played(
    venue: type[FramesVenue], path: Path, on_event: Any = None, **options: Any
) -> tuple[list[Any], Any, list[str]]:
    events: list[Any] = []
    notes: list[str] = []

    def publish(event: Any) -> None:
        events.append(event)
        if on_event is not None:
            on_event(feed, event)

    feed = venue([path], publish, clock=Clock(), report=notes.append, **options)
    return events, await feed.run(asyncio.Event()), notes


# --- which parser ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "name", "parser"),
    [
        ("wss://stream.binance.com:9443/stream?streams=x", "recording", "binance_spot"),
        ("wss://fstream.binance.com/public/stream", "recording", "binance_usdm"),
        ("wss://ws.kraken.com", "recording", "kraken"),
        ("wss://ws.kraken.com/v2", "recording", "kraken_v2"),
        ("https://www.bitstamp.net/api/v2/order_book/btcusd", "recording", "bitstamp"),
        ("", "binance_usdm_btcusdt_20240808.jsonl.gz", "binance_usdm"),
        ("#KRAKEN.ws.1", "kraken_futures_20210722.jsonl", "kraken_futures"),
    ],
)
def test_the_address_says_the_venue_and_else_the_files_name(url: str, name: str, parser: str) -> None:
    assert parser_of(url, name) is PARSERS[parser]


def test_messages_of_nobody_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "frames.jsonl", line(0, book_ticker()))
    with pytest.raises(DataError, match="nothing says which venue these messages are of"):
        FramesFile(path).describe()
    assert [info.instrument.id for info in FramesFile(path, venue="binance_spot").describe()] == [SPOT]


def test_samples_without_a_time_cannot_be_played(tmp_path: Path) -> None:
    path = write(tmp_path / "binance_spot.jsonl", '{"name":"ticker","msg":{}}')
    with pytest.raises(DataError, match="messages without a time"):
        FramesFile(path).describe()


# --- reading --------------------------------------------------------------------------------------------------------


def test_connections_one_after_the_other_are_played_by_the_recorders_clock(tmp_path: Path) -> None:
    """The answer to a request lies first in the file and came second: the change before it waited, and is in it."""
    path = write(
        tmp_path / "two.jsonl.gz",
        line(
            5, snapshot(11, BIDS, ASKS), dir="http", url="https://api.binance.com/api/v3/depth?symbol=BTCUSDT", file="h"
        ),
        line(0, None, dir="open", url=URL, file="w"),
        line(1, b'{"method":"SUBSCRIBE","params":[],"id":1}', dir="sent", url=URL, file="w"),
        line(2, depth(11, 12, ("bid", "100.10", "7")), dir="recv", file="w"),
        line(9, depth(13, 13, ("ask", "100.20", "0")), dir="recv", file="w"),
    )
    file = FramesFile(path, books=True)
    book, delta = file.events()
    assert isinstance(book, BookSnapshot)
    assert book.bids[0] == (100.1, 7.0)
    assert book.ts_recv_ns == START + 5 * MS
    assert isinstance(delta, BookDelta)
    assert delta.changes == ((-1, 100.2, 0.0),)
    assert file.counters.frames == 2
    assert [type(event) for event in file.events()] == [BookSnapshot, BookDelta]  # as often as one likes


def test_a_connection_that_is_opened_again_begins_without_a_book(tmp_path: Path) -> None:
    path = write(
        tmp_path / "binance_spot.jsonl",
        line(0, depth(11, 12)),
        line(1, snapshot(12, BIDS, ASKS)),
        line(2, depth(13, 13)),
        line(3, None, dir="open", url="", file=""),
        line(4, depth(20, 20)),
    )
    assert [type(event) for event in FramesFile(path, books=True).events()] == [BookSnapshot, BookDelta]


def test_rules_of_what_nobody_described_are_inferred_and_noted(tmp_path: Path) -> None:
    lines = [line(i, message) for i, message in enumerate(MESSAGES["kraken_futures"])]
    path = write(tmp_path / "kraken_futures_x.jsonl", *lines)
    with pytest.raises(DataError, match="no quotes or trades; "):
        FramesFile(path).describe()
    (info,) = describe_frames([FramesFile(path, books=True)])
    assert info.instrument.id == "PI_XBTUSD/USD@kraken_futures"
    assert (info.instrument.base, info.instrument.venue_symbol, info.books) == ("PI_XBTUSD", "PI_XBTUSD", 2)
    assert "fees assumed 10 bps" in info.note
    with pytest.raises(DataError, match="none of the files is about A/B@c"):
        describe_frames([FramesFile(path, books=True)], {"A/B@c"})


# --- playing --------------------------------------------------------------------------------------------------------


async def test_best_prices_and_trades_are_played_and_orders_meet_them(tmp_path: Path) -> None:
    """Bought for what the recorded best price asks; timers come from data time."""
    frames = [line(i * 50, book_ticker(i, bid=f"{61000 + i % 3}.00", ask="61010.00")) for i in range(40)]
    frames.insert(20, line(960, trade(p="61005.00")))
    path = write(tmp_path / "binance_spot.jsonl", *frames)

    def order(feed: FramesVenue, event: Any) -> None:
        if isinstance(event, Quote) and event.ts_recv_ns == START + 500 * MS:
            feed.gateway.submit(new("o1", Side.BUY, "0.5", of=BTC))

    events, result, notes = await played(FramesVenue, path, order)
    assert (result.events, result.finished, notes) == (41, True, [])
    assert [type(event) for event in events[:1]] == [InstrumentDefined]
    assert {event.stream for event in events if isinstance(event, FeedUp)} == {"market", "user"}
    assert sum(isinstance(event, Timer) for event in events) == result.timers > 15
    assert [(e.px, e.qty) for e in events if isinstance(e, OrderFilled)] == [(D("61010"), D("0.5"))]
    assert [e.px for e in events if isinstance(e, Trade)] == [61005.0]


async def test_books_are_played_instead_and_their_best_levels_meet_orders(tmp_path: Path) -> None:
    """No quotes of the venue's own: the book's best ask, once a change has moved it, is what a buyer pays.  A hole in
    the recording is a gap, and what the parser could not read is told at the end."""
    path = write(
        tmp_path / "binance_spot.jsonl",
        line(0, depth(11, 12)),
        line(1, snapshot(12, [["61000.00", "1.0"]], [["61001.00", "3.0"], ["61002.00", "1.0"]])),
        line(2, depth(13, 13, ("ask", "61001.00", "0"))),
        line(3, book_ticker(bid="1.00", ask="2.00")),
        line(100, depth(14, 14, ("bid", "61000.00", "2"))),
        line(101, b'{"stream":"x","data":{"e":"news"}}'),
        line(102, depth(19, 19)),
    )

    def order(feed: FramesVenue, event: Any) -> None:
        if isinstance(event, BookDelta) and event.ts_recv_ns == START + 2 * MS:
            feed.gateway.submit(new("o1", Side.BUY, "0.5", of=BTC))

    events, _, notes = await played(FramesVenue, path, order, books=True)
    assert [type(e) for e in events if isinstance(e, BookSnapshot | BookDelta | Gap | Quote)] == [
        *(BookSnapshot, BookDelta, BookDelta, Gap),
    ]
    assert [(e.px, e.qty) for e in events if isinstance(e, OrderFilled)] == [(D("61002"), D("0.5"))]
    assert len(notes) == 1
    assert "0 messages could not be read, 1 are of no known kind" in notes[0]
