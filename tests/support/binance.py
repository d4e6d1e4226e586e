"""A scripted server with Binance's public interface: what it lists, its clock, books and candles are the test's.

Nothing matches here and nothing moves by itself: the test says each change of a book.
"""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import WSMsgType, web

PREFIX = {"binance_spot": "/api/v3", "binance_usdm": "/fapi/v1"}
WEIGHTS = {"depth": 50, "exchangeInfo": 20, "klines": 2, "time": 1, "aggTrades": 4}


def listed(symbol: str = "BTCUSDT", **more: Any) -> dict[str, Any]:
    filters = [
        {"filterType": "PRICE_FILTER", "tickSize": "0.01000000"},
        {"filterType": "LOT_SIZE", "minQty": "0.00001000", "maxQty": "9000.00000000", "stepSize": "0.00001000"},
        {"filterType": "NOTIONAL", "minNotional": "5.00000000"},
    ]
    row = {"symbol": symbol, "status": "TRADING", "baseAsset": symbol[:-4], "quoteAsset": symbol[-4:]}
    return {**row, "filters": filters, "contractType": "PERPETUAL", "marginAsset": symbol[-4:], **more}


class BinanceServer:
    """``asked`` lists the paths of requests, ``subscribed`` the names of streams by the path of their connection."""

    def __init__(self, venue: str = "binance_spot") -> None:
        self.venue = venue
        self.rows = [listed("BTCUSDT"), listed("ETHUSDT")]
        self.candles: list[list[Any]] = []
        self.trades: list[dict[str, Any]] = []
        self.clock_ahead_s = 0.0
        self.last_id = 100
        self.bids = {"100.00": "2.0", "99.00": "5.0"}
        self.asks = {"101.00": "3.0", "102.00": "5.0"}
        self.depth_refusals: list[tuple[int, dict[str, str]]] = []
        """Status and headers of the answers that the next questions for a book get."""
        self.asked: list[str] = []
        self.queries: list[dict[str, str]] = []
        self.used_weight = 0
        self.subscribed: dict[str, list[str]] = {}
        self.silent_to: frozenset[str] = frozenset()
        """Methods that are not answered."""
        self.sockets: list[tuple[str, web.WebSocketResponse, list[str]]] = []
        """Path, connection and the streams that it has subscribed."""
        self.connections = 0
        self.lists = 0
        """Answers to ``LIST_SUBSCRIPTIONS``."""
        self.url = ""

    @property
    def ws_url(self) -> str:
        return self.url.replace("http", "ws")

    # --- what moves ---------------------------------------------------------------------------------------------------

    async def push(self, stream: str, data: dict[str, Any]) -> None:
        """One message of a stream to everybody who subscribed it."""
        message = json.dumps({"stream": stream, "data": data}, separators=(",", ":"))
        for _, socket, names in list(self.sockets):
            if stream in names and not socket.closed:
                await socket.send_str(message)

    async def change(self, *levels: tuple[str, str, str], skip: int = 0, symbol: str = "BTCUSDT") -> None:
        """A change of the book: ``("bid", price, size)``; ``skip`` numbers are lost before it."""
        self.last_id += skip
        before, self.last_id = self.last_id, self.last_id + 1
        for side, px, qty in levels:
            book = self.bids if side == "bid" else self.asks
            book[px] = qty
            if not float(qty):
                del book[px]
        data: dict[str, Any] = {"e": "depthUpdate", "E": now_ms(), "s": symbol, "U": before + 1, "u": self.last_id}
        if self.venue == "binance_usdm":
            data |= {"T": now_ms(), "pu": before}
        data |= {"b": [[px, qty] for side, px, qty in levels if side == "bid"]}
        data |= {"a": [[px, qty] for side, px, qty in levels if side == "ask"]}
        await self.push(f"{symbol.lower()}@depth@100ms", data)

    async def quote(self, bid: str, ask: str, symbol: str = "BTCUSDT") -> None:
        data: dict[str, Any] = {"u": self.last_id, "s": symbol, "b": bid, "B": "1.5", "a": ask, "A": "2.5"}
        if self.venue == "binance_usdm":
            data |= {"e": "bookTicker", "T": now_ms(), "E": now_ms()}
        await self.push(f"{symbol.lower()}@bookTicker", data)

    async def drop(self, path: str = "") -> None:
        """Reset the connections, those of one path where one is named."""
        for where, socket, _ in list(self.sockets):
            if path in ("", where) and socket._req is not None and socket._req.transport is not None:
                socket._req.transport.abort()

    # --- HTTP -------------------------------------------------------------------------------------------------------

    async def answer(self, request: web.Request) -> web.Response:
        what = request.path.rpartition("/")[2]
        self.asked.append(what)
        self.queries.append(dict(request.query))
        self.used_weight += WEIGHTS.get(what, 1)
        made = getattr(self, f"_{what}")(request.query)
        if isinstance(made, web.Response):
            return made
        return web.json_response(made, headers={"X-MBX-USED-WEIGHT-1M": str(self.used_weight)})

    def _time(self, _query: Any) -> Any:
        return {"serverTime": now_ms() + int(1000 * self.clock_ahead_s)}

    def _exchangeInfo(self, query: Any) -> Any:
        wanted = json.loads(query["symbols"]) if "symbols" in query else [row["symbol"] for row in self.rows]
        if not {*wanted} <= {row["symbol"] for row in self.rows}:
            return web.json_response({"code": -1121, "msg": "Invalid symbol."}, status=400)
        return {"timezone": "UTC", "symbols": [row for row in self.rows if row["symbol"] in wanted]}

    def _depth(self, _query: Any) -> Any:
        if self.depth_refusals:
            status, headers = self.depth_refusals.pop(0)
            return web.json_response({"code": -1003, "msg": "Too many requests."}, status=status, headers=headers)
        sides = {"bids": list(self.bids.items()), "asks": list(self.asks.items())}
        return {"lastUpdateId": self.last_id, **sides}

    def _klines(self, query: Any) -> Any:
        first, last = int(query["startTime"]), int(query.get("endTime", 2**60))
        return [row for row in self.candles if first <= row[0] <= last][: int(query["limit"])]

    def _aggTrades(self, query: Any) -> Any:
        rows = self.trades
        if "fromId" in query:
            rows = [row for row in rows if row["a"] >= int(query["fromId"])]
        else:
            rows = [row for row in rows if int(query["startTime"]) <= row["T"] <= int(query["endTime"])]
        return rows[: int(query["limit"])]

    # --- streams ----------------------------------------------------------------------------------------------------

    async def stream(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        path = request.path.removesuffix("/stream")
        self.connections += 1
        names: list[str] = []
        self.subscribed[path] = names
        self.sockets.append((path, socket, names))
        try:
            async for message in socket:
                if message.type is not WSMsgType.TEXT:
                    continue
                asked = json.loads(message.data)
                if asked["method"] in self.silent_to:
                    continue
                if asked["method"] == "SUBSCRIBE":
                    names.extend(asked["params"])
                result = names if asked["method"] == "LIST_SUBSCRIPTIONS" else None
                self.lists += result is not None
                await socket.send_json({"result": result, "id": asked["id"]})
        finally:
            self.sockets.remove((path, socket, names))
        return socket


def now_ms() -> int:
    return time.time_ns() // 1_000_000


@asynccontextmanager
async def binance_server(venue: str = "binance_spot") -> AsyncIterator[BinanceServer]:
    server = BinanceServer(venue)
    app = web.Application()
    for path in ("/stream", "/public/stream", "/market/stream"):
        app.router.add_get(path, server.stream)
    app.router.add_get(PREFIX[venue] + "/{what}", server.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield server
    finally:
        await runner.cleanup()
