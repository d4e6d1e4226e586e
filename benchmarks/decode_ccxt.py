"""The same Binance messages through the library for many exchanges, as its own client hands them on.

Runs by itself, in an interpreter that has the library (``requirements/clients.txt``): ``python decode_ccxt.py`` reads a
snapshot and then messages, one a line, and writes the median microseconds of decoding and handling one as JSON,
separately for best prices and for changes of the book.  Nothing is connected to: the client only takes what is
resolved.
"""

from __future__ import annotations

import json
import sys
import time
from statistics import median
from typing import Any

_LOCAL = "http://127.0.0.1:1"


class _Client:
    """What the library's handlers touch of a connection."""

    url = "wss://stream.binance.com/stream"

    def __init__(self) -> None:
        self.subscriptions: dict[str, Any] = {}
        self.futures: dict[str, Any] = {}

    def resolve(self, result: Any, _name: str) -> Any:
        return result


def main() -> None:
    import ccxt.pro as ccxtpro  # type: ignore[import-not-found]
    from ccxt.async_support.base.ws.client import json_parser  # type: ignore[import-not-found]

    snapshot, *frames = sys.stdin.read().splitlines()
    exchange = ccxtpro.binance({"urls": {"api": {"public": _LOCAL}}})
    market = exchange.safe_market_structure(
        {"id": "BTCUSDT", "symbol": "BTC/USDT", "base": "BTC", "quote": "USDT", "type": "spot", "spot": True}
    )
    exchange.set_markets([market], {})
    book = exchange.order_book({})
    whole = json.loads(snapshot)
    book.reset(exchange.parse_order_book(whole, "BTC/USDT"))
    book["nonce"] = whole["lastUpdateId"]
    exchange.orderbooks["BTC/USDT"] = book
    client = _Client()
    handle, loads, read = exchange.handle_message, json_parser.loads, time.perf_counter_ns
    took: dict[str, list[int]] = {"bookTicker": [], "depth": []}
    for text in frames:
        frame = text.encode()
        kind = "bookTicker" if b"@bookTicker" in frame else "depth"
        before = read()
        handle(client, loads(frame))
        took[kind].append(read() - before)
    last = json.loads(frames[-1])["data"]
    if book["nonce"] != last["u"] or "BTC/USDT" not in exchange.bidsasks:
        raise SystemExit("the library did not take the messages")
    print(json.dumps({kind: median(samples) / 1e3 for kind, samples in took.items()}))


if __name__ == "__main__":
    main()
