"""Deribit's subscriptions."""

from __future__ import annotations

from math import isnan
from typing import Any

import pytest

from connectors.deribit.protocol import DeribitProtocol, split_contract
from engine.events import BookDelta, BookSnapshot, Gap, Quote, Trade
from tests.support.streams import compact, fresh

PERPETUAL = "BTC-PERPETUAL/USD@deribit"


def told(channel: str, data: Any) -> bytes:
    return compact({"jsonrpc": "2.0", "method": "subscription", "params": {"channel": channel, "data": data}})


def book(change_id: int, previous: int | None, bids: list[Any], asks: list[Any], kind: str = "change") -> bytes:
    data = {"type": kind, "timestamp": 1, "instrument_name": "BTC-PERPETUAL", "change_id": change_id}
    more = {} if previous is None else {"prev_change_id": previous}
    return told("book.BTC-PERPETUAL.raw", {**data, **more, "bids": bids, "asks": asks})


@pytest.mark.parametrize(
    ("symbol", "parts"),
    [
        ("BTC-24SEP21-8000-P", ("BTC-24SEP21-8000-P", "BTC")),
        ("BTC-PERPETUAL", ("BTC-PERPETUAL", "USD")),
        ("SOL_USDC-PERPETUAL", ("SOL_USDC-PERPETUAL", "USDC")),
        ("BTC_USDC", ("BTC", "USDC")),
    ],
)
def test_contracts_by_name(symbol: str, parts: tuple[str, str]) -> None:
    assert split_contract(symbol) == parts


@pytest.mark.fault("C5")
def test_a_chain_of_changes_and_its_break() -> None:
    parser = fresh("deribit")
    assert parser.receive_frame(book(9, 8, [], []), 4) == []
    assert parser.receive_frame(book(5, None, [["new", 100.0, 1.0]], [["new", 101.0, 2.0]], "snapshot"), 5) == [
        BookSnapshot(1_000_000, 5, PERPETUAL, ((100.0, 1.0),), ((101.0, 2.0),))
    ]
    assert parser.receive_frame(book(7, 5, [["delete", 100.0, 0.0]], [["change", 101.0, 3.0]]), 6) == [
        BookDelta(1_000_000, 6, PERPETUAL, ((1, 100.0, 0.0), (-1, 101.0, 3.0)))
    ]
    assert parser.receive_frame(book(9, 8, [], [["new", 102.0, 3.0]]), 7) == [Gap(7, 7, "deribit", PERPETUAL, 7, 8)]
    assert parser.receive_frame(book(10, 9, [], [["new", 102.0, 3.0]]), 8) == []
    assert parser.snapshots_wanted == {"BTC-PERPETUAL"}


def test_whole_books_best_prices_and_trades() -> None:
    parser = fresh("deribit")
    whole = {"timestamp": 1, "instrument_name": "BTC-PERPETUAL", "bids": [[100.0, 1.0]], "asks": [[101.0, 2.0]]}
    (event,) = parser.receive_frame(told("book.BTC-PERPETUAL.none.20.100ms", whole), 5)
    assert isinstance(event, BookSnapshot)
    ticker = {"instrument_name": "BTC-PERPETUAL", "timestamp": 2, "best_bid_price": 100.0, "best_bid_amount": 1.0}
    (quote,) = parser.receive_frame(told("ticker.BTC-PERPETUAL.raw", {**ticker, "best_ask_price": None}), 5)
    assert isinstance(quote, Quote)
    assert (quote.ts_event_ns, quote.bid_px, isnan(quote.ask_px)) == (2_000_000, 100.0, True)
    row = {"instrument_name": "BTC-PERPETUAL", "timestamp": 3, "trade_id": "t", "price": 1.5, "amount": 10.0}
    assert parser.receive_frame(told("trades.BTC-PERPETUAL.raw", [{**row, "direction": "sell"}]), 5) == [
        Trade(3_000_000, 5, PERPETUAL, 1.5, 10.0, -1, "t")
    ]


def test_refusals_and_the_venues_question_whether_we_are_there() -> None:
    parser = fresh("deribit")
    assert isinstance(parser, DeribitProtocol)
    parser.receive_frame(compact({"id": 3, "error": {"code": 11050, "message": "bad_request"}}), 5)
    assert parser.last_error == "bad_request (code 11050)"
    parser.receive_frame(compact({"method": "heartbeat", "params": {"type": "heartbeat"}}), 5)
    assert not parser.test_requested
    parser.receive_frame(compact({"method": "heartbeat", "params": {"type": "test_request"}}), 5)
    assert parser.test_requested
    assert parser.counters.unknown_message == 0
