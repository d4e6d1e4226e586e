"""Kraken's spot streams, version 1."""

from __future__ import annotations

from typing import Any

import pytest

from connectors.kraken.book import Book
from engine.events import BookDelta, BookSnapshot, Gap, Quote, Trade
from tests.support.streams import compact, fresh

XBT = "XBT/USD@kraken"


def v1_book(part: dict[str, Any]) -> bytes:
    return compact([1, part, "book-10", "XBT/USD"])


@pytest.mark.fault("C5")
def test_a_checksum_that_does_not_match_is_a_gap() -> None:
    parser = fresh("kraken")
    whole = v1_book({"as": [["101.0", "1.0", "2.5"]], "bs": [["100.0", "2.0", "2.25"]]})
    assert parser.receive_frame(whole, 5) == [BookSnapshot(2_500_000_000, 5, XBT, ((100.0, 2.0),), ((101.0, 1.0),))]
    book = Book(10)
    book.change(-1, [["101.0", "1.0", ""]])
    book.change(1, [["100.0", "3.0", ""]])
    good = v1_book({"b": [["100.0", "3.0", "3.000001"]], "c": str(book.checksum())})
    assert parser.receive_frame(good, 6) == [BookDelta(3_000_001_000, 6, XBT, ((1, 100.0, 3.0),))]
    (gap,) = parser.receive_frame(v1_book({"b": [["100.0", "4.0", "4"]], "c": "1"}), 7)
    assert isinstance(gap, Gap)
    assert parser.receive_frame(good, 8) == []
    assert parser.snapshots_wanted == {"XBT/USD"}


def test_trades_spreads_and_refusals_of_spot() -> None:
    parser = fresh("kraken")
    assert parser.receive_frame(compact([2, [["100.5", "0.25", "1.5", "b", "m", ""]], "trade", "XBT/USD"]), 5) == [
        Trade(1_500_000_000, 5, XBT, 100.5, 0.25, 1, "")
    ]
    assert parser.receive_frame(compact([3, ["100", "101", "1.5", "1", "2"], "spread", "XBT/USD"]), 5) == [
        Quote(1_500_000_000, 5, XBT, 100.0, 1.0, 101.0, 2.0)
    ]
    refusal = {"event": "subscriptionStatus", "status": "error", "errorMessage": "Currency pair not supported"}
    parser.receive_frame(compact(refusal), 5)
    assert parser.last_error == "Currency pair not supported"
    parser.receive_frame(compact([2, [["100.5"]], "trade", "XBT/USD"]), 5)
    assert parser.counters.malformed == 1
