"""BitMEX's tables."""

from __future__ import annotations

from typing import Any

import pytest

from connectors.bitmex.protocol import split_contract
from engine.events import BookDelta, BookSnapshot, Gap, Quote, Trade
from tests.support.streams import compact, fresh

XBT = "XBT/USD@bitmex"


def table(name: str, action: str, *rows: dict[str, Any], **more: Any) -> bytes:
    return compact({"table": name, "action": action, "data": [{"symbol": "XBTUSD", **row} for row in rows], **more})


BOOK = table(
    "orderBookL2",
    "partial",
    {"id": 1, "side": "Buy", "size": 5, "price": 100.5},
    {"id": 2, "side": "Sell", "size": 6, "price": 101},
    filter={"symbol": "XBTUSD"},
)


@pytest.mark.parametrize(
    ("symbol", "parts"),
    [
        ("XBTUSD", ("XBT", "USD")),
        ("UNIUSDT", ("UNI", "USDT")),
        ("XRPU21", ("XRPU21", "XBT")),
        ("XBTU21", ("XBTU21", "USD")),
    ],
)
def test_contracts_by_name(symbol: str, parts: tuple[str, str]) -> None:
    assert split_contract(symbol) == parts


def test_changes_name_ids_and_become_prices() -> None:
    parser = fresh("bitmex")
    assert parser.receive_frame(table("orderBookL2", "delete", {"id": 1, "side": "Buy"}), 5) == []  # before the book
    assert parser.receive_frame(BOOK, 6) == [BookSnapshot(6, 6, XBT, ((100.5, 5.0),), ((101.0, 6.0),))]
    assert parser.receive_frame(table("orderBookL2", "update", {"id": 1, "side": "Buy", "size": 9}), 7) == [
        BookDelta(7, 7, XBT, ((1, 100.5, 9.0),))
    ]
    inserted = table("orderBookL2", "insert", {"id": 3, "side": "Sell", "size": 1, "price": 102.0})
    assert parser.receive_frame(inserted, 8) == [BookDelta(8, 8, XBT, ((-1, 102.0, 1.0),))]
    assert parser.receive_frame(table("orderBookL2", "delete", {"id": 3, "side": "Sell"}), 9) == [
        BookDelta(9, 9, XBT, ((-1, 102.0, 0.0),))
    ]


@pytest.mark.fault("C5")
def test_a_change_of_an_id_that_nobody_inserted_is_a_gap() -> None:
    parser = fresh("bitmex")
    parser.receive_frame(BOOK, 6)
    assert parser.receive_frame(table("orderBookL2", "update", {"id": 9, "side": "Buy", "size": 9}), 7) == [
        Gap(7, 7, "bitmex", XBT, 0, 9)
    ]
    assert parser.snapshots_wanted == {"XBTUSD"}
    assert parser.receive_frame(table("orderBookL2", "update", {"id": 1, "side": "Buy", "size": 9}), 8) == []
    assert [type(event) for event in parser.receive_frame(BOOK, 9)] == [BookSnapshot]


def test_quotes_trades_and_refusals() -> None:
    parser = fresh("bitmex")
    at = {"timestamp": "2021-07-22T22:36:10.014Z"}
    ns = 1_626_993_370_014_000_000
    quote = {**at, "bidSize": 5, "bidPrice": 100.5, "askSize": 6, "askPrice": 101}
    assert parser.receive_frame(table("quote", "insert", quote), 5) == [Quote(ns, 5, XBT, 100.5, 5.0, 101.0, 6.0)]
    sold = {**at, "side": "Sell", "size": 52, "price": 100.5, "trdMatchID": "a"}
    assert parser.receive_frame(table("trade", "partial", {**sold, "trdMatchID": "0"}), 6) == []
    assert parser.receive_frame(table("trade", "insert", sold), 7) == [Trade(ns, 7, XBT, 100.5, 52.0, -1, "a")]
    parser.receive_frame(compact({"status": 400, "error": "Unknown table", "request": {}}), 8)
    assert parser.last_error == "Unknown table"
