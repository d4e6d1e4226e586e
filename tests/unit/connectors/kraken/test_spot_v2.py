"""Kraken's spot streams, version 2."""

from __future__ import annotations

from engine.events import Quote, Trade
from tests.support.streams import compact, fresh

XBT = "XBT/USD@kraken"


def test_best_prices_trades_books_and_refusals() -> None:
    parser = fresh("kraken_v2")
    time = "1970-01-01T00:00:01.5Z"
    row = {"symbol": "XBT/USD", "timestamp": time}
    ticker = {**row, "bid": 100, "bid_qty": 1, "ask": 101, "ask_qty": 2}
    made = parser.receive_frame(compact({"channel": "ticker", "type": "update", "data": [ticker]}), 5)
    assert made == [Quote(1_500_000_000, 5, XBT, 100.0, 1.0, 101.0, 2.0)]
    trade = {**row, "side": "sell", "price": 100.5, "qty": 0.25, "trade_id": 7}
    assert (
        parser.receive_frame(compact({"channel": "trade", "type": "snapshot", "data": [{**trade, "trade_id": 6}]}), 5)
        == []
    )
    made = parser.receive_frame(compact({"channel": "trade", "type": "update", "data": [trade]}), 5)
    assert made == [Trade(1_500_000_000, 5, XBT, 100.5, 0.25, -1, "7")]
    update = {"channel": "book", "type": "update", "data": [{**row, "bids": [{"price": 1, "qty": 0}], "asks": []}]}
    assert parser.receive_frame(compact(update), 5) == []
    assert parser.counters.book_not_ready == 1
    parser.receive_frame(compact({"method": "subscribe", "success": False, "error": "Currency pair not supported"}), 5)
    assert parser.last_error == "subscribe: Currency pair not supported"
