"""WebSocket v2: requests, subscriptions, and what their channels are told.

Owns the protocol of a connection.  Data of public channels is ``channels``, of private ones ``views``; orders are
``account``.  Sockets are ``connectors.local.lines``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

import msgspec
from aiohttp import web

from connectors.kraken.sandbox import views
from connectors.kraken.sandbox.access import Access
from connectors.kraken.sandbox.account import Account
from connectors.kraken.sandbox.books import DEPTHS
from connectors.kraken.sandbox.channels import Channels
from connectors.kraken.sandbox.errors import ApiError
from connectors.kraken.sandbox.queries import INTERVALS_MIN, Queries, start_of
from connectors.kraken.sandbox.settings import KrakenSettings
from connectors.kraken.sandbox.wire import Json
from connectors.local.exchange import ACCOUNT, Exchange
from connectors.local.lines import Line, Lines
from connectors.local.records import Act, OrderEvent, Updates

_NS = 1_000_000_000
_PAST_FILLS = 50
_encode = msgspec.json.encode
_PUBLIC = ("ticker", "trade", "book", "ohlc")
_PRIVATE = ("executions", "balances")
_ORDERS = ("add_order", "amend_order", "cancel_order", "cancel_all")
AUTH_PATH = "/auth/v2"


class Subscription(msgspec.Struct, frozen=True):
    """One channel of one symbol; ``detail`` is a book's depth, a candle's minutes, or how a ticker is triggered."""

    channel: str
    symbol: str = ""
    detail: int | str = ""


class _Refused(Exception):  # noqa: N818 - what the venue answers
    """The text of a request's refusal, and the symbol that it is about."""

    def __init__(self, text: str, symbol: str = "") -> None:
        super().__init__(text)
        self.symbol = symbol


class Streams:
    """``now_ns`` is the clock; ``pump`` is called after whatever may have changed the market."""

    def __init__(
        self,
        settings: KrakenSettings,
        exchange: Exchange,
        queries: Queries,
        account: Account,
        access: Access,
        lines: Lines,
        *,
        now_ns: Callable[[], int],
        pump: Callable[[], None],
    ) -> None:
        self._settings = settings
        self._exchange = exchange
        self._queries = queries
        self._account = account
        self._access = access
        self._lines = lines
        self._now_ns = now_ns
        self._pump = pump
        self._channels = Channels(exchange, queries)
        self._subscribed: dict[Line, dict[Subscription, None]] = {}
        self._sequence: dict[tuple[Line, str], int] = {}
        self._spoke_s: dict[Line, int] = {}
        self._candle_s: dict[Subscription, int] = {}
        self._lose = False

    async def serve(self, request: web.Request) -> web.StreamResponse:
        def closed(line: Line) -> None:
            for subscription in list(self._subscribed.pop(line, {})):
                self._left(subscription)
            self._spoke_s.pop(line, None)
            for channel in _PRIVATE:
                self._sequence.pop((line, channel), None)

        return await self._lines.serve(request, self.hear, opened=self._welcome, closed=closed)

    def _welcome(self, line: Line) -> None:
        self._subscribed[line] = {}
        row = {"version": "2.0.10", "system": "online", "api_version": "v2", "connection_id": self._lines.opened}
        self._tell(line, {"channel": "status", "type": "update", "data": [row]})

    # --- requests -----------------------------------------------------------------------------------------------------

    def hear(self, line: Line, text: str) -> None:
        """``{"method":"subscribe","params":{"channel":"ticker","symbol":["BTC/USD"]},"req_id":1}``"""
        came_ns = self._now_ns()
        try:
            message = msgspec.json.decode(text)
        except (msgspec.DecodeError, RecursionError):
            message = None
        if not isinstance(message, dict) or not isinstance(message.get("method"), str):
            self._answer(line, {}, came_ns, error="Malformed request")
            return
        params = message.get("params", {})
        if not isinstance(params, dict):
            self._answer(line, message, came_ns, error="Malformed request")
            return
        try:
            self._carry_out(line, message, params, came_ns)
        except _Refused as why:
            self._answer(line, message, came_ns, error=str(why), symbol=why.symbol)
        except ApiError as error:
            self._answer(line, message, came_ns, error=str(error))
        self._pump()

    def _carry_out(self, line: Line, message: Mapping[str, Any], params: Mapping[str, Any], came_ns: int) -> None:
        method = message["method"]
        if method == "ping":
            self._answer(line, message, came_ns, pong=True)
        elif method in ("subscribe", "unsubscribe"):
            self._pump()  # what happened before must not follow the snapshot
            for wanted in self._read(line, params):
                self._answer(line, message, came_ns, result=_echo(wanted))
                if method == "subscribe":
                    self._subscribed[line][wanted] = None
                    if params.get("snapshot") is not False:
                        self._snapshot(line, wanted, params)
                elif self._subscribed[line].pop(wanted, 0) is None:
                    self._left(wanted)
        elif method in _ORDERS:
            self._check_private(line, params)
            self._access.check_trading()
            self._answer(line, message, came_ns, result=self._order(method, params, came_ns))
        else:
            raise _Refused("Unsupported method")

    def _read(self, line: Line, params: Mapping[str, Any]) -> list[Subscription]:
        """Which subscriptions are meant, one a symbol.  Raises ``_Refused`` or ``ApiError``."""
        channel = params.get("channel")
        if channel in _PRIVATE:
            self._check_private(line, params)
            return [Subscription(str(channel))]
        if channel == "instrument":
            return [Subscription("instrument")]
        if channel not in _PUBLIC:
            raise _Refused("Subscription name invalid")
        symbols = params.get("symbol")
        if not isinstance(symbols, list) or not symbols or not all(isinstance(each, str) for each in symbols):
            raise _Refused("Symbol field must be an array")
        for symbol in symbols:
            if symbol not in self._queries.names:
                raise _Refused(f"Currency pair not supported {symbol[:20]}", symbol[:20])
        detail: int | str = ""
        if channel == "book":
            detail = _choice(params, "depth", 10, DEPTHS, "Subscription depth not supported")
        elif channel == "ohlc":
            detail = _choice(params, "interval", 1, INTERVALS_MIN, "Subscription ohlc interval not supported")
        elif channel == "ticker":
            detail = "bbo" if params.get("event_trigger") == "bbo" else "trades"
        return [Subscription(str(channel), symbol, detail) for symbol in dict.fromkeys(symbols)]

    def _check_private(self, line: Line, params: Mapping[str, Any]) -> None:
        if line.path != AUTH_PATH:
            raise _Refused("Private data and trading are unavailable on this endpoint. Try ws-auth.kraken.com")
        self._access.check_token(params.get("token"), self._now_ns())

    def _order(self, method: str, params: Mapping[str, Any], now_ns: int) -> Json:
        """The request in REST's words.  Raises ``ApiError``."""
        if method == "cancel_all":
            return self._account.cancel_all({}, now_ns)
        if method == "cancel_order":
            for name in ("order_id", "cl_ord_id"):
                given = params.get(name)
                if isinstance(given, list) and len(given) == 1 and isinstance(given[0], str):
                    self._account.cancel({"txid" if name == "order_id" else name: given[0]}, now_ns)
                    return {name: given[0]}
            raise ApiError("EGeneral:Invalid arguments:order_id")
        words = {"symbol": "pair", "side": "type", "order_type": "ordertype", "order_qty": "volume",
                 "limit_price": "price", "time_in_force": "timeinforce", "order_userref": "userref"}  # fmt: skip
        made = {
            (words.get(name, name) if method == "add_order" else name): _text(value)
            for name, value in params.items()
            if isinstance(value, str | int | float)
        }
        if method == "amend_order":
            return {**self._account.amend(made, now_ns), "order_id": made.get("order_id", "")}
        trigger = params.get("triggers")
        if isinstance(trigger, dict):
            made |= {"price2": made.get("price", ""), "price": _text(trigger.get("price", ""))}
        if params.get("post_only") is True:
            made["oflags"] = "post"
        if "cash_order_qty" in params:
            made |= {"oflags": "viqc", "volume": _text(params["cash_order_qty"])}
        placed = self._account.add(made, now_ns)
        told = {"order_id": placed["txid"][0]} if "txid" in placed else {}
        return told | ({"cl_ord_id": made["cl_ord_id"]} if "cl_ord_id" in made else {})

    def _answer(
        self,
        line: Line,
        message: Mapping[str, Any],
        came_ns: int,
        *,
        result: Json | None = None,
        error: str = "",
        symbol: str = "",
        pong: bool = False,
    ) -> None:
        made: Json = {"method": "pong" if pong else message.get("method", "")}
        if isinstance(message.get("req_id"), int):
            made["req_id"] = message["req_id"]
        if not pong:
            made["success"] = not error
        if error:
            made["error"] = error
        if symbol:
            made["symbol"] = symbol
        if result is not None:
            made["result"] = result
        self._tell(line, made | {"time_in": views.at(came_ns), "time_out": views.at(self._now_ns())})

    # --- what the venue says ------------------------------------------------------------------------------------------

    def _snapshot(self, line: Line, wanted: Subscription, params: Mapping[str, Any]) -> None:
        symbol, now_ns, channels = wanted.symbol, self._now_ns(), self._channels
        data: list[Json] | Json
        if wanted.channel == "ticker":
            data = channels.ticker(symbol, now_ns)
        elif wanted.channel == "trade":
            data = channels.past_trades(symbol)
        elif wanted.channel == "book":
            data = [channels.book(symbol, int(wanted.detail)).snapshot(now_ns)]
        elif wanted.channel == "ohlc":
            data = channels.candles(symbol, int(wanted.detail), 0, now_ns)[-720:]
        elif wanted.channel == "instrument":
            data = channels.instruments()
        elif wanted.channel == "balances":
            found = self._exchange.ledger.balances(ACCOUNT)
            data = [views.balance_row(asset, balance.total) for asset, balance in found.items() if balance.total]
        else:
            data = []
            if params.get("snap_orders", True) is not False:
                mine = self._exchange.open_orders.values()
                data += [views.open_report(each, self._queries.names[each.spec.symbol]) for each in mine]
            if params.get("snap_trades") is True:
                for fill in list(self._exchange.fills)[-_PAST_FILLS:]:
                    data.append(views.trade_report(fill, fill.order, self._queries.names[fill.order.spec.symbol]))
        self._message(line, wanted.channel, "snapshot", data)

    def _message(self, line: Line, channel: str, kind: str, data: list[Json] | Json) -> None:
        message: Json = {"channel": channel, "type": kind, "data": data}
        if channel in _PRIVATE:
            sequence = self._sequence[line, channel] = self._sequence.get((line, channel), 0) + 1
            message["sequence"] = sequence
        self._tell(line, message)

    def _publish(self, wanted: Subscription, data: list[Json]) -> None:
        """Encoded once for all listeners."""
        text = _encode({"channel": wanted.channel, "type": "update", "data": data})
        for line, mine in self._subscribed.items():
            if wanted in mine:
                self._say(line, text)

    def pump(self, updates: Updates) -> None:
        """What happened since the last call."""
        now_ns = self._now_ns()
        wanted = {each for mine in self._subscribed.values() for each in mine}
        for subscription in sorted(wanted, key=lambda each: (each.channel, each.symbol, f"{each.detail}")):
            channel, symbol = subscription.channel, subscription.symbol
            if channel == "trade" and symbol in updates.trades:
                self._publish(subscription, self._channels.trades(symbol, updates.trades[symbol]))
            elif channel == "ticker":
                source = updates.quotes if subscription.detail == "bbo" else updates.trades
                if symbol in source:
                    self._publish(subscription, self._channels.ticker(symbol, now_ns))
            elif channel == "book" and symbol in updates.changes:
                change = self._channels.book_update(symbol, int(subscription.detail), now_ns)
                if change is not None and not self._lose:
                    self._publish(subscription, [change])
                elif change is not None:
                    self._lose = False
        for event in updates.orders:
            self._execution(event)

    def _execution(self, event: OrderEvent) -> None:
        names = self._queries.names[event.order.spec.symbol]
        for report in views.reports(event, names, full=self._settings.full_reports):
            self._private("executions", [report])
        if event.act is Act.FILL and event.fill is not None:
            assets = names.symbol.split("/")
            totals: dict[str, Decimal] = {a: self._exchange.ledger.balance(ACCOUNT, a).total for a in assets}
            self._private("balances", views.balance_changes(event.fill, names, totals))

    def _private(self, channel: str, data: list[Json]) -> None:
        for line, mine in list(self._subscribed.items()):
            if Subscription(channel) in mine:
                self._message(line, channel, "update", data)

    def every_second(self, now_ns: int) -> None:
        """Candles, and a heartbeat where nothing else was said."""
        wanted = {each for mine in self._subscribed.values() for each in mine if each.channel == "ohlc"}
        for subscription in wanted:
            minutes = int(subscription.detail)
            current_s = start_of(minutes, now_ns // _NS)
            since_s = self._candle_s.get(subscription, current_s)
            self._candle_s[subscription] = current_s
            found = self._channels.candles(subscription.symbol, minutes, since_s, now_ns)
            if found:
                self._publish(subscription, found)
        second = now_ns // _NS
        for line, mine in list(self._subscribed.items()):
            if mine and self._spoke_s.get(line, 0) < second:
                self._tell(line, {"channel": "heartbeat"})

    def lose_message(self) -> None:
        """The next update of a book gets lost."""
        self._lose = True

    def _left(self, wanted: Subscription) -> None:
        """Somebody does not listen any more."""
        if any(wanted in mine for mine in self._subscribed.values()):
            return
        if wanted.channel == "book":
            self._channels.forget_book(wanted.symbol, int(wanted.detail))
        self._candle_s.pop(wanted, None)

    def _tell(self, line: Line, message: Json) -> None:
        self._say(line, _encode(message))

    def _say(self, line: Line, text: bytes) -> None:
        self._spoke_s[line] = self._now_ns() // _NS
        self._lines.say(line, text)


def _choice(params: Mapping[str, Any], name: str, default: int, legal: tuple[int, ...], text: str) -> int:
    value = params.get(name, default)
    if type(value) is not int or value not in legal:
        raise _Refused(text)
    return value


def _echo(wanted: Subscription) -> Json:
    made: Json = {"channel": wanted.channel}
    if wanted.symbol:
        made["symbol"] = wanted.symbol
    name = {"book": "depth", "ohlc": "interval", "ticker": "event_trigger"}.get(wanted.channel)
    return made if name is None else {**made, name: wanted.detail}


def _text(value: object) -> str:
    """A number or a flag of JSON as REST spells it: never with an exponent."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        text = f"{value:.10f}".rstrip("0")
        return text.removesuffix(".")
    return f"{value}"
