"""Bitstamp's channels."""

from __future__ import annotations

from typing import Any

from connectors.bitstamp.protocol import BitstampProtocol
from engine.events import BookDelta, BookSnapshot, Trade
from tests.support.streams import compact, fresh

BTC = "BTC/USD@bitstamp"
URL = "https://www.bitstamp.net/api/v2/order_book/btcusd"


def told(channel: str, event: str = "data", **data: Any) -> bytes:
    return compact({"event": event, "channel": channel, "data": data})


def change(stamp: int, bids: list[list[str]], asks: list[list[str]], channel: str = "diff_order_book_btcusd") -> bytes:
    return told(channel, microtimestamp=str(stamp), bids=bids, asks=asks)


def test_a_book_is_the_snapshot_with_the_differences_since() -> None:
    parser = fresh("bitstamp")
    for stamp, level in ((10, ["99", "1"]), (20, ["98", "2"]), (30, ["100", "0"])):
        assert parser.receive_frame(change(stamp, [level], []), 1) == []
    assert parser.snapshots_wanted == {"BTCUSD"}
    answer = compact({"microtimestamp": "15", "bids": [["100", "5"], ["97", "1"]], "asks": [["101", "1"]]})
    assert parser.receive_answer(URL, answer, 2) == [
        BookSnapshot(30_000, 2, BTC, ((98.0, 2.0), (97.0, 1.0)), ((101.0, 1.0),))
    ]
    assert parser.receive_frame(change(25, [["90", "1"]], []), 3) == []  # the book has it
    assert parser.receive_frame(change(40, [], [["101", "0"]]), 4) == [BookDelta(40_000, 4, BTC, ((-1, 101.0, 0.0),))]
    assert parser.counters.out_of_order == 1


def test_whole_books_trades_and_what_the_venue_says_of_itself() -> None:
    parser = fresh("bitstamp")
    whole = change(10, [["100", "1"]], [["101", "2"]], "order_book_btcusd")
    assert parser.receive_frame(whole, 1) == [BookSnapshot(10_000, 1, BTC, ((100.0, 1.0),), ((101.0, 2.0),))]
    trade = {"id": 7, "microtimestamp": "20", "price_str": "100.5", "amount_str": "0.25", "type": 1}
    assert parser.receive_frame(told("live_trades_btcusd", "trade", **trade), 2) == [
        Trade(20_000, 2, BTC, 100.5, 0.25, -1, "7")
    ]
    parser.receive_frame(told("", "bts:error", code=4009, message="Connection is unauthorized."), 3)
    assert parser.last_error == "Connection is unauthorized."
    parser.receive_frame(told("", "bts:request_reconnect"), 4)
    assert isinstance(parser, BitstampProtocol)
    assert parser.reconnect_wanted
    parser.receive_answer("https://www.bitstamp.net/api/v2/ticker/btcusd", b"{}", 5)
    assert parser.counters.unknown_message == 1
