"""Market streams: who listens to what, and what they are told when the market moves or a second has passed.

Owns subscriptions, their requests and answers, and the numbers of a book's updates.  Sockets are
``connectors.local.lines``.

Each change of a level is one update of its book.  On spot a message of a stream of changes covers the numbers ``U`` to
``u``, and the next begins at ``u + 1``; on futures numbers run across symbols, and the next names in ``pu`` the ``u``
before.  A snapshot by REST has the number up to which everything is in it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec
from aiohttp import web

from connectors.binance.sandbox import names, wire
from connectors.binance.sandbox.messages import MESSAGES, Diff, FuturesMessages
from connectors.binance.sandbox.names import StreamName
from connectors.binance.sandbox.queries import Queries
from connectors.binance.sandbox.settings import BinanceSettings
from connectors.binance.streams import USDM
from connectors.local.exchange import Exchange
from connectors.local.lines import Line, Lines
from connectors.local.records import Market, Updates
from connectors.local.tape import PublicTrade
from connectors.matching.changes import Change

_MS_NS = 1_000_000
_MOST_STREAMS = 1_024
ROUTES = ("/public", "/market")
"""Where futures serve their streams; spot has them all below no path."""
_encode = msgspec.json.encode


class Streams:
    """``now_ns`` is the clock.  ``pump`` is called after whatever may have changed the market."""

    def __init__(
        self,
        settings: BinanceSettings,
        exchange: Exchange,
        queries: Queries,
        lines: Lines,
        now_ns: Callable[[], int],
    ) -> None:
        self._settings = settings
        self._venue = settings.venue
        self._messages = MESSAGES[settings.venue]
        self._suffixes = names.suffixes(settings.venue)
        self._queries = queries
        self._lines = lines
        self._now_ns = now_ns
        self._markets = {wire.venue_symbol(symbol): market for symbol, market in exchange.markets.items()}
        self._names: dict[Line, dict[str, StreamName]] = {}
        self._paths: dict[Line, str] = {}
        self._combined: set[Line] = set()
        self._heard: dict[Line, tuple[int, int]] = {}
        self._listeners: dict[str, dict[Line, None]] = {}
        self._ids = dict.fromkeys(self._markets, exchange.created_ns // _MS_NS)
        self._newest = exchange.created_ns // _MS_NS
        self._diffs: dict[tuple[str, int], Diff] = {}
        self._due: dict[int, asyncio.TimerHandle] = {}
        self._candle_s: dict[str, int] = {}
        self._partial_ids: dict[str, int] = {}
        self._marked_s = 0
        self._lose = False

    def book_id(self, symbol: str) -> int:
        return self._ids[wire.venue_symbol(symbol)]

    # --- connections --------------------------------------------------------------------------------------------------

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """``/ws`` and ``/stream``, with names of streams in the address or without; futures have them below a path of
        their own, ``/public`` or ``/market``."""
        path = request.path
        routed = next((each for each in ROUTES if path.startswith(f"{each}/")), "")
        path = path.removeprefix(routed)
        if path.startswith("/stream"):
            named, combined = request.query.get("streams", "").split("/"), True
        else:
            named, combined = path.removeprefix("/ws").split("/"), False
        wanted = [name for name in named if "@" in name]
        life: list[asyncio.TimerHandle] = []

        def opened(line: Line) -> None:
            self._names[line] = {}
            self._paths[line] = routed
            if combined:
                self._combined.add(line)
            for name in filter(None, map(self._parse, wanted[:_MOST_STREAMS])):
                self._add(line, name)
            loop = asyncio.get_running_loop()
            life.append(loop.call_later(self._settings.connection_life_s, self._lines.end, line, 1001, "24h"))

        def closed(line: Line) -> None:
            for handle in life:
                handle.cancel()
            for text in self._names.pop(line, {}):
                self._forget(line, text)
            self._paths.pop(line, None)
            self._combined.discard(line)
            self._heard.pop(line, None)

        return await self._lines.serve(request, self.hear, opened=opened, closed=closed)

    def hear(self, line: Line, text: str) -> None:
        """One request of a client: ``{"method":"SUBSCRIBE","params":["btcusdt@trade"],"id":1}``."""
        limits, second = self._settings.rate_limits, self._now_ns() // (1_000 * _MS_NS)
        if limits is not None:
            known, count = self._heard.get(line, (second, 0))
            count = count + 1 if known == second else 1
            self._heard[line] = (second, count)
            if count > limits.ws_messages_per_s:
                self._lines.end(line, 1008, "Too many requests")
                return
        try:
            request = msgspec.json.decode(text)
        except (msgspec.DecodeError, RecursionError):
            self._lines.say(line, _encode({"error": {"code": 3, "msg": "Invalid JSON"}}))
            return
        made = self._answer(line, request) if isinstance(request, dict) else _invalid(None, "not an object")
        self._lines.say(line, _encode(made))

    def _answer(self, line: Line, request: Mapping[str, Any]) -> wire.Json:
        number, method, params = request.get("id"), request.get("method"), request.get("params", [])
        if number is not None and not isinstance(number, int | str):
            return _invalid(None, "id must be a number or a text")
        if method == "LIST_SUBSCRIPTIONS":
            return {"result": list(self._names[line]), "id": number}
        if method in ("SET_PROPERTY", "GET_PROPERTY"):
            if not isinstance(params, list) or params[:1] != ["combined"]:
                return _invalid(number, "unknown property")
            if method == "GET_PROPERTY":
                return {"result": line in self._combined, "id": number}
            (self._combined.add if params[1:] == [True] else self._combined.discard)(line)
            return {"result": None, "id": number}
        if method not in ("SUBSCRIBE", "UNSUBSCRIBE"):
            return _invalid(number, "unknown variant of method")
        if not isinstance(params, list) or not all(isinstance(name, str) for name in params):
            return _invalid(number, "params must be an array of names")
        found = [self._parse(name) for name in params]
        if method == "UNSUBSCRIBE":
            for name in filter(None, found):
                if self._names[line].pop(name.text, None) is not None:
                    self._forget(line, name.text)
            return {"result": None, "id": number}
        if None in found:
            return _invalid(number, "invalid stream")
        if len({*self._names[line], *params}) > _MOST_STREAMS:
            return _invalid(number, f"more than {_MOST_STREAMS} streams")
        for name in filter(None, found):
            self._add(line, name)
        return {"result": None, "id": number}

    def _parse(self, text: str) -> StreamName | None:
        return names.parse(text, self._venue)

    def _add(self, line: Line, name: StreamName) -> None:
        """What futures serve under another path is taken, and stays silent."""
        self._names[line][name.text] = name
        if self._paths.get(line, "") in ("", name.path):
            self._listeners.setdefault(name.text, {})[line] = None

    def _forget(self, line: Line, text: str) -> None:
        listeners = self._listeners.get(text)
        if listeners is None:
            return
        listeners.pop(line, None)
        if not listeners:
            del self._listeners[text]
            self._candle_s.pop(text, None)
            self._partial_ids.pop(text, None)

    def lose_message(self) -> None:
        """The next messages about changes of books get lost."""
        self._lose = True

    # --- what the venue says ------------------------------------------------------------------------------------------

    def pump(self, updates: Updates) -> None:
        """What happened since the last call."""
        now_ms = self._now_ns() // _MS_NS
        for symbol, changes in updates.changes.items():
            self._changes(wire.venue_symbol(symbol), changes)
        if not self._listeners:
            return
        for symbol, trades in updates.trades.items():
            self._trades(wire.venue_symbol(symbol), trades, now_ms)
        for symbol in updates.quotes:
            name = wire.venue_symbol(symbol)
            for stream in (f"{name.lower()}@bookTicker", "!bookTicker"):
                if stream in self._listeners:
                    self._tell(stream, self._messages.quote(self._markets[name], self._ids[name], now_ms))

    def _trades(self, name: str, trades: list[PublicTrade], now_ms: int) -> None:
        market = self._markets[name]
        stream, together = f"{name.lower()}@trade", f"{name.lower()}@aggTrade"
        if stream in self._listeners:
            for trade in trades:
                self._tell(stream, self._messages.trade(market, trade, now_ms))
        if together in self._listeners:
            for group in wire.aggregated(trades):
                self._tell(together, self._messages.agg_trade(market, group, now_ms))

    def _changes(self, name: str, changes: list[Change]) -> None:
        before = self._ids[name]
        first = (self._newest if self._venue == USDM else before) + 1
        self._newest = self._ids[name] = first + len(changes) - 1
        for pace_ms, suffixes in self._suffixes.items():
            if any(f"{name.lower()}@depth{suffix}" in self._listeners for suffix in suffixes):
                diff = self._diffs.get((name, pace_ms))
                if diff is None:
                    diff = self._diffs[name, pace_ms] = Diff(first, before)
                for side, px, qty in changes:
                    diff.levels[side, px] = qty
                self._schedule(pace_ms)
            else:
                self._diffs.pop((name, pace_ms), None)
            if any(stream in self._listeners for stream, _ in self._partials(name, pace_ms)):
                self._schedule(pace_ms)

    def _partials(self, name: str, pace_ms: int) -> list[tuple[str, int]]:
        suffixes = self._suffixes[pace_ms]
        return [(f"{name.lower()}@depth{depth}{suffix}", depth) for depth in (5, 10, 20) for suffix in suffixes]

    def _schedule(self, pace_ms: int) -> None:
        if pace_ms not in self._due:
            self._due[pace_ms] = asyncio.get_running_loop().call_later(pace_ms / 1_000, self._flush, pace_ms)

    def _flush(self, pace_ms: int) -> None:
        """Books are told, those that changed."""
        del self._due[pace_ms]
        now_ms = self._now_ns() // _MS_NS
        due = {name: self._diffs.pop((name, pace)) for name, pace in list(self._diffs) if pace == pace_ms}
        if due and self._lose:
            due, self._lose = {}, False
        for name, diff in due.items():
            told = self._messages.change(self._markets[name], diff, self._ids[name], now_ms)
            for suffix in self._suffixes[pace_ms]:
                self._tell(f"{name.lower()}@depth{suffix}", told)
        for name, market in self._markets.items():
            for stream, depth in self._partials(name, pace_ms):
                if stream in self._listeners:
                    before, self._partial_ids[stream] = self._partial_ids.get(stream, -1), self._ids[name]
                    self._tell(stream, self._messages.partial(market, depth, self._ids[name], before, now_ms))

    def every_second(self, now_ns: int) -> None:
        """Tickers, candles, mark prices."""
        now_ms = now_ns // _MS_NS
        self._marks(now_ns)
        wanted = any("icker" in stream and "book" not in stream for stream in self._listeners)
        days = {name: self._messages.day(market, now_ns) for name, market in self._markets.items() if wanted}
        for stream in list(self._listeners):
            name = self._parse(stream)
            assert name is not None
            market = self._markets.get(name.symbol)
            if name.kind in ("miniTicker", "ticker"):
                mini = name.kind == "miniTicker"
                if not name.symbol:
                    self._tell(stream, [self._messages.ticker(day, now_ms, mini=mini) for day in days.values()])
                elif market is not None:
                    self._tell(stream, self._messages.ticker(days[name.symbol], now_ms, mini=mini))
            elif market is None:
                continue
            elif name.kind == "kline":
                self._candle(name, market, now_ns)
            elif name.kind == "avgPrice":
                told = self._queries.average({"symbol": name.symbol}, now_ns)
                made = {"e": "avgPrice", "E": now_ms, "s": name.symbol, "i": "5m", "w": told["price"], "T": now_ms}
                self._tell(stream, made)

    def _marks(self, now_ns: int) -> None:
        """Each second under ``@1s``, else every third."""
        messages = self._messages
        if not isinstance(messages, FuturesMessages) or not any("markPrice" in stream for stream in self._listeners):
            return
        now_s = now_ns // (1_000 * _MS_NS)
        third = now_s >= self._marked_s + 3
        self._marked_s = now_s if third else self._marked_s
        told = {name: messages.mark(market, now_ns) for name, market in self._markets.items()}
        for suffix in ("@1s", "") if third else ("@1s",):
            for name, mark in told.items():
                self._tell(f"{name.lower()}@markPrice{suffix}", mark)
            self._tell(f"!markPrice@arr{suffix}", list(told.values()))

    def _candle(self, name: StreamName, market: Market, now_ns: int) -> None:
        """The candle as it grows; once, as finished, the one before."""
        now_s = now_ns // (1_000 * _MS_NS)
        current_s = wire.start_of(name.detail, now_s)
        before_s = self._candle_s.get(name.text, current_s)
        self._candle_s[name.text] = current_s
        # From one before what is wanted on, so that a candle without a trade is found at the price before it.
        from_s = wire.start_of(name.detail, min(before_s, current_s) - 1)
        found = self._queries.candles(market, name.detail, from_s, now_s)
        for candle in found:
            if candle.start_s == current_s or (candle.start_s == before_s and before_s < current_s):
                finished = candle.start_s < current_s
                made = wire.kline_event(name.symbol, candle, name.detail, now_ns // _MS_NS, finished=finished)
                self._tell(name.text, made)

    def _tell(self, stream: str, message: wire.Json | list[wire.Json]) -> None:
        """Encoded once for all listeners of a kind."""
        listeners: Iterable[Line] = self._listeners.get(stream, ())
        if not listeners:
            return
        raw = _encode(message)
        wrapped = b'{"stream":"' + stream.encode() + b'","data":' + raw + b"}"
        for line in list(listeners):
            self._lines.say(line, wrapped if line in self._combined else raw)

    def close(self) -> None:
        for due in self._due.values():
            due.cancel()
        self._due.clear()


def _invalid(number: object, text: str) -> wire.Json:
    made = {"error": {"code": 2, "msg": f"Invalid request: {text}"}}
    return made if number is None else {**made, "id": number}
