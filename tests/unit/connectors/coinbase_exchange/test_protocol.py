"""Coinbase Exchange's channels."""

from __future__ import annotations

from math import isnan
from typing import Any

import pytest

from engine.events import BookDelta, BookSnapshot, Gap, Quote, Trade
from tests.support.streams import compact, fresh

BTC = "BTC/USD@coinbase"
BOOK = compact({"type": "snapshot", "product_id": "BTC-USD", "bids": [["100", "1"]], "asks": [["101", "2"]]})


def match(trade_id: int, **more: Any) -> bytes:
    row = {"type": "match", "trade_id": trade_id, "side": "buy", "size": "1", "price": "100", "product_id": "BTC-USD"}
    return compact({**row, "time": "1970-01-01T00:00:01.5Z", **more})


def changes(*levels: list[str]) -> bytes:
    return compact({"type": "l2update", "product_id": "BTC-USD", "changes": levels, "time": "1970-01-01T00:00:01Z"})


def test_a_book_and_its_changes() -> None:
    parser = fresh("coinbase_exchange")
    assert parser.receive_frame(changes(["buy", "100", "3"]), 4) == []
    assert parser.receive_frame(BOOK, 5) == [BookSnapshot(5, 5, BTC, ((100.0, 1.0),), ((101.0, 2.0),))]
    assert parser.receive_frame(changes(["buy", "100", "3"], ["sell", "101", "0"]), 6) == [
        BookDelta(1_000_000_000, 6, BTC, ((1, 100.0, 3.0), (-1, 101.0, 0.0)))
    ]
    assert parser.receive_frame(changes(["hold", "100", "3"]), 7) == []
    assert parser.counters.malformed == 1


@pytest.mark.fault("C5")
def test_a_hole_in_the_trades_voids_the_book() -> None:
    """The side told is the maker's; the trade before the subscription is where counting begins."""
    parser = fresh("coinbase_exchange")
    parser.receive_frame(BOOK, 5)
    assert parser.receive_frame(match(6, type="last_match"), 5) == []
    assert parser.receive_frame(match(7), 6) == [Trade(1_500_000_000, 6, BTC, 100.0, 1.0, -1, "7")]
    made = parser.receive_frame(match(9, side="sell"), 7)
    assert made == [Gap(7, 7, "coinbase", BTC, 8, 9), Trade(1_500_000_000, 7, BTC, 100.0, 1.0, 1, "9")]
    assert parser.receive_frame(changes(["buy", "100", "3"]), 8) == []
    assert parser.snapshots_wanted == {"BTC-USD"}


def test_best_prices_without_sizes_and_refusals() -> None:
    parser = fresh("coinbase_exchange")
    (quote,) = parser.receive_frame(
        compact({"type": "ticker", "product_id": "BTC-USD", "best_bid": "100", "best_ask": "101"}), 5
    )
    assert isinstance(quote, Quote)
    assert (quote.bid_px, quote.ask_px, isnan(quote.bid_qty)) == (100.0, 101.0, True)
    parser.receive_frame(compact({"type": "error", "message": "Failed to subscribe", "reason": "no such product"}), 6)
    assert parser.last_error == "Failed to subscribe no such product"
