"""Kraken's futures feeds."""

from __future__ import annotations

from typing import Any

import pytest

from engine.events import BookDelta, BookSnapshot, Gap, Quote, Trade
from tests.support.streams import compact, fresh

PERPETUAL = "PI_XBTUSD/USD@kraken_futures"


def futures_change(seq: int, **more: Any) -> bytes:
    row = {"feed": "book", "product_id": "PI_XBTUSD", "timestamp": 1, "seq": seq, "side": "buy", "price": 1, "qty": 9}
    return compact({**row, **more})


@pytest.mark.fault("C5")
def test_a_hole_in_the_sequence_of_a_futures_book_is_a_gap() -> None:
    parser = fresh("kraken_futures")
    whole = {"feed": "book_snapshot", "product_id": "PI_XBTUSD", "timestamp": 1, "seq": 3}
    levels = {"bids": [{"price": 1, "qty": 2}], "asks": [{"price": 3, "qty": 2}, {"price": 4, "qty": 0}]}
    assert parser.receive_frame(compact({**whole, **levels}), 5) == [
        BookSnapshot(1_000_000, 5, PERPETUAL, ((1.0, 2.0),), ((3.0, 2.0),))
    ]
    assert parser.receive_frame(futures_change(3), 6) == []
    assert parser.receive_frame(futures_change(4), 6) == [BookDelta(1_000_000, 6, PERPETUAL, ((1, 1.0, 9.0),))]
    assert parser.receive_frame(futures_change(6), 7) == [Gap(7, 7, "kraken_futures", PERPETUAL, 5, 6)]
    assert parser.receive_frame(futures_change(7), 8) == []


def test_futures_trades_and_best_prices() -> None:
    parser = fresh("kraken_futures")
    fill = {"feed": "trade", "product_id": "PI_XBTUSD", "uid": "u", "side": "sell", "type": "fill", "time": 2}
    made = parser.receive_frame(compact({**fill, "qty": 5, "price": 100}), 5)
    assert made == [Trade(2_000_000, 5, PERPETUAL, 100.0, 5.0, -1, "u")]
    block = {**fill, "type": "block", "uid": "v", "qty": 5, "price": 50}
    assert parser.receive_frame(compact(block), 5) == []
    assert parser.counters.off_book_trades == 1
    ticker = {"feed": "ticker", "product_id": "PI_XBTUSD", "time": 2, "bid": 1, "ask": 2, "bid_size": 3, "ask_size": 4}
    assert parser.receive_frame(compact(ticker), 5) == [Quote(2_000_000, 5, PERPETUAL, 1.0, 3.0, 2.0, 4.0)]
    parser.receive_frame(compact({"event": "alert", "message": "Bad request"}), 5)
    assert parser.last_error == "Bad request"
