"""A few messages of each venue's market stream, as the venues write them, with prices of our own."""

from __future__ import annotations

import json
from typing import Any

from connectors.binance.protocol import BinanceMarketProtocol
from connectors.kraken.book import Book
from connectors.market_stream import MarketStream
from connectors.replay.parsers import PARSERS


def compact(message: Any) -> bytes:
    return json.dumps(message, separators=(",", ":")).encode()


def combined(stream: str, data: dict[str, Any]) -> bytes:
    return compact({"stream": stream, "data": data})


def depth(first: int, last: int, *levels: tuple[str, str, str], previous: int | None = None) -> bytes:
    """A change of Binance's BTCUSDT book; a level is side, price, size; with ``previous`` that of futures."""
    data: dict[str, Any] = {"e": "depthUpdate", "E": 1_700_000_000_123, "s": "BTCUSDT", "U": first, "u": last}
    if previous is not None:
        data |= {"T": 1_700_000_000_120, "pu": previous}
    data |= {side[0]: [[px, qty] for which, px, qty in levels if which == side] for side in ("bid", "ask")}
    return combined("btcusdt@depth@100ms", data)


def snapshot(last: int, bids: list[list[str]], asks: list[list[str]]) -> bytes:
    return compact({"lastUpdateId": last, "bids": bids, "asks": asks})


def book_ticker(update_id: int = 7, bid: str = "100.10", ask: str = "100.20", **more: Any) -> bytes:
    data = {"u": update_id, "s": "BTCUSDT", "b": bid, "B": "1.5", "a": ask, "A": "2.5", **more}
    return combined("btcusdt@bookTicker", data)


def trade(trade_id: int = 5, **more: Any) -> bytes:
    data = {"e": "trade", "E": 1_700_000_000_124, "s": "BTCUSDT", "t": trade_id, "p": "100.15", "q": "0.5"}
    return combined("btcusdt@trade", data | {"T": 1_700_000_000_122, "m": True, "M": True, **more})


def _kraken_checksum() -> str:
    book = Book(10)
    book.change(-1, [["100.20", "1.0", "1.1"]])
    book.change(1, [["100.10", "2.5", "1.2"]])
    return str(book.checksum())


MESSAGES: dict[str, list[bytes]] = {
    "binance_spot": [
        compact({"result": None, "id": 1}),
        book_ticker(),
        depth(10, 12, ("bid", "100.10", "2.0"), ("ask", "100.30", "0")),
        snapshot(11, [["100.10", "1.0"], ["100.00", "4.0"]], [["100.20", "3.0"]]),
        depth(13, 13, ("ask", "100.20", "0")),
        trade(),
        combined(
            "btcusdt@aggTrade",
            {"e": "aggTrade", "E": 1, "s": "BTCUSDT", "a": 3, "p": "1", "q": "2", "f": 1, "l": 2, "T": 9, "m": False},
        ),
        combined("btcusdt@depth5", {"lastUpdateId": 9, "bids": [["100.1", "1"]], "asks": [["100.2", "2"]]}),
        combined(
            "btcusdt@kline_1m",
            {
                "e": "kline",
                "E": 1,
                "s": "BTCUSDT",
                "k": {"t": 60_000, "T": 119_999, "o": "1", "h": "3", "l": "1", "c": "2", "v": "7", "x": True},
            },
        ),
    ],
    "binance_usdm": [
        book_ticker(e="bookTicker", T=1_700_000_000_100, E=1_700_000_000_101),
        depth(10, 20, ("bid", "100.10", "2.0"), previous=8),
        snapshot(12, [["100.10", "1.0"]], [["100.20", "3.0"]]),
        depth(25, 30, ("ask", "100.20", "0"), previous=20),
        trade(X="MARKET"),
        combined(
            "btcusdt@markPrice@1s",
            {"e": "markPriceUpdate", "E": 1, "s": "BTCUSDT", "p": "9.5", "i": "9.4", "r": "0.0001", "T": 99},
        ),
    ],
    "bitmex": [
        compact({"info": "Welcome", "version": "1"}),
        compact(
            {
                "table": "orderBookL2",
                "action": "partial",
                "filter": {"symbol": "XBTUSD"},
                "data": [
                    {"symbol": "XBTUSD", "id": 1, "side": "Buy", "size": 5, "price": 100.5},
                    {"symbol": "XBTUSD", "id": 2, "side": "Sell", "size": 6, "price": 101},
                ],
            }
        ),
        compact(
            {
                "table": "orderBookL2",
                "action": "update",
                "data": [{"symbol": "XBTUSD", "id": 1, "side": "Buy", "size": 9}],
            }
        ),
        compact({"table": "orderBookL2", "action": "delete", "data": [{"symbol": "XBTUSD", "id": 2, "side": "Sell"}]}),
        compact(
            {
                "table": "quote",
                "action": "insert",
                "data": [
                    {"timestamp": "2021-07-22T22:36:10.014Z", "symbol": "XBTUSD", "bidSize": 5, "bidPrice": 100.5}
                ],
            }
        ),
    ],
    "bitstamp": [
        compact(
            {
                "event": "data",
                "channel": "diff_order_book_btcusd",
                "data": {"microtimestamp": "1700000000000002", "bids": [["100", "1"]], "asks": []},
            }
        ),
        compact(
            {
                "event": "trade",
                "channel": "live_trades_btcusd",
                "data": {
                    "id": 1,
                    "microtimestamp": "1700000000000003",
                    "price_str": "100",
                    "amount_str": "0.5",
                    "type": 1,
                },
            }
        ),
    ],
    "coinbase_exchange": [
        compact({"type": "snapshot", "product_id": "BTC-USD", "bids": [["100", "1"]], "asks": [["101", "2"]]}),
        compact(
            {
                "type": "l2update",
                "product_id": "BTC-USD",
                "changes": [["buy", "100", "0"]],
                "time": "2021-04-17T16:43:37Z",
            }
        ),
        compact({"type": "ticker", "product_id": "BTC-USD", "best_bid": "100", "best_ask": "101"}),
        compact(
            {
                "type": "match",
                "trade_id": 1,
                "side": "buy",
                "size": "1",
                "price": "100",
                "product_id": "BTC-USD",
                "time": "2021-04-17T16:43:37.1Z",
            }
        ),
    ],
    "deribit": [
        compact(
            {
                "method": "subscription",
                "params": {
                    "channel": "book.BTC-PERPETUAL.raw",
                    "data": {
                        "type": kind,
                        "timestamp": 1,
                        "instrument_name": "BTC-PERPETUAL",
                        "change_id": number,
                        "prev_change_id": number - 1,
                        "bids": [["new", 100.0, 1.0]],
                        "asks": [["new", 100.5, 2.0]],
                    },
                },
            }
        )
        for kind, number in (("snapshot", 5), ("change", 6), ("change", 9))
    ],
    "kraken": [
        compact({"event": "heartbeat"}),
        compact([1, {"as": [["100.20", "1.0", "1.1"]], "bs": [["100.10", "2.0", "1.0"]]}, "book-10", "XBT/USD"]),
        compact([1, {"b": [["100.10", "2.5", "1.2"]], "c": _kraken_checksum()}, "book-10", "XBT/USD"]),
        compact([2, [["100.15", "0.5", "1.3", "s", "l", ""]], "trade", "XBT/USD"]),
    ],
    "kraken_v2": [
        compact(
            {
                "channel": "book",
                "type": "snapshot",
                "data": [{"symbol": "BTC/USD", "bids": [{"price": 1, "qty": 2}], "asks": [{"price": 3, "qty": 2}]}],
            }
        ),
        compact(
            {"channel": "book", "type": "update", "data": [{"symbol": "BTC/USD", "bids": [{"price": 1, "qty": 0}]}]}
        ),
    ],
    "kraken_futures": [
        compact(
            {
                "feed": "book_snapshot",
                "product_id": "PI_XBTUSD",
                "timestamp": 1,
                "seq": 3,
                "bids": [{"price": 1, "qty": 2}],
                "asks": [{"price": 3, "qty": 2}],
            }
        ),
        compact(
            {
                "feed": "book",
                "product_id": "PI_XBTUSD",
                "timestamp": 1,
                "seq": 4,
                "side": "buy",
                "price": 1,
                "qty": 9,
            }
        ),
    ],
}
"""By the names of ``connectors.replay.parsers``; in an order that a connection would tell them."""


def fresh(name: str) -> MarketStream:
    """A parser that tells all that it reads."""
    kind = PARSERS[name]
    return kind.open(kind.products(), quotes=True, books=True)


def binance(venue: str = "binance_spot", *wanted: str, **options: Any) -> BinanceMarketProtocol:
    return BinanceMarketProtocol(venue, {"BTCUSDT": (f"BTC/USDT@{venue}",)}, wanted, **options)


__all__ = ["MESSAGES", "binance", "book_ticker", "combined", "compact", "depth", "fresh", "snapshot", "trade"]
