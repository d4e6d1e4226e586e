"""The WebSocket API: the requests of REST over a connection, and the user's stream on it.

Owns their envelope and who is subscribed.  What a request does is ``queries`` and ``account``; which there are is
``routes``.  Source: Binance spot WebSocket API, "Request format", "User data stream requests".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from aiohttp import web

from connectors.binance.sandbox import views
from connectors.binance.sandbox.access import Access
from connectors.binance.sandbox.errors import ApiError, Json
from connectors.binance.sandbox.limits import Limits
from connectors.binance.sandbox.params import Params
from connectors.binance.sandbox.routes import Route
from connectors.local.exchange import ACCOUNT, Exchange
from connectors.local.lines import Line, Lines
from connectors.local.records import Updates

_MS_NS = 1_000_000
_encode = msgspec.json.encode
_SUBSCRIBE = "userDataStream.subscribe.signature"
_UNSUBSCRIBE = "userDataStream.unsubscribe"


class WsApi:
    """``routes`` by the name of their method; ``pump`` tells streams what a request has changed."""

    def __init__(
        self,
        exchange: Exchange,
        lines: Lines,
        access: Access,
        limits: Limits,
        routes: Mapping[str, Route],
        *,
        now_ns: Callable[[], int],
        pump: Callable[[], None],
    ) -> None:
        self._exchange = exchange
        self._lines = lines
        self._access = access
        self._limits = limits
        self._routes = routes
        self._now_ns = now_ns
        self._pump = pump
        self._subscribed: dict[Line, list[int]] = {}
        self._subscriptions = 0

    async def serve(self, request: web.Request) -> web.StreamResponse:
        def closed(line: Line) -> None:
            self._subscribed.pop(line, None)

        return await self._lines.serve(request, self.hear, closed=closed)

    # --- requests -----------------------------------------------------------------------------------------------------

    def hear(self, line: Line, text: str) -> None:
        """``{"id":"1","method":"order.place","params":{...}}``"""
        number: object = None
        try:
            try:
                message = msgspec.json.decode(text)
            except (msgspec.DecodeError, RecursionError):
                raise ApiError(-1135, "JSON request is not valid.") from None
            if not isinstance(message, dict):
                raise ApiError(-1135, "JSON request is not valid.")
            number = message.get("id")
            if number is not None and not isinstance(number, int | str):
                number = None
                raise ApiError(-1100, "Illegal characters found in parameter 'id'.")
            made: Json = {"id": number, "status": 200, "result": self._carry_out(line, message)}
        except ApiError as error:
            made = {"id": number, "status": error.status, "error": error.body()}
        weight, orders = self._limits.used(line.address, self._now_ns() // _MS_NS)
        counts = (("REQUEST_WEIGHT", "MINUTE", 1, weight), ("ORDERS", "SECOND", 10, orders))
        made["rateLimits"] = [
            {"rateLimitType": kind, "interval": interval, "intervalNum": count, "count": used}
            for kind, interval, count, used in counts
        ]
        # The answer first: events of an order follow it.
        self._lines.say(line, _encode(made))
        self._pump()

    def _carry_out(self, line: Line, message: Mapping[str, Any]) -> Any:
        now_ns, method = self._now_ns(), message.get("method")
        params = _texts(message.get("params") or {})
        if method == _SUBSCRIBE:
            self._limits.take(line.address, 2, now_ns // _MS_NS)
            self._check(params, now_ns)
            self._subscriptions += 1
            self._subscribed.setdefault(line, []).append(self._subscriptions - 1)
            return {"subscriptionId": self._subscriptions - 1}
        if method == _UNSUBSCRIBE:
            self._subscribed.pop(line, None)
            return {}
        route = self._routes.get(method) if isinstance(method, str) else None
        if route is None:
            raise ApiError(-1000, "Unknown method.", 404)
        self._limits.take(line.address, route.weight(params), now_ns // _MS_NS)
        if route.signed:
            self._check(params, now_ns, trades=route.trades)
        if route.orders:
            self._limits.take_order(line.address, now_ns // _MS_NS)
        return route.carry_out(params, now_ns)

    def _check(self, params: Params, now_ns: int, *, trades: bool = False) -> None:
        self._access.check_key(params.get("apiKey"), trades=trades)
        payload = "&".join(f"{name}={params[name]}" for name in sorted(params) if name != "signature")
        self._access.check_signature(payload, params, now_ns // _MS_NS)

    # --- the user's stream --------------------------------------------------------------------------------------------

    def pump(self, updates: Updates) -> None:
        """Orders and balances that changed, to every subscription."""
        if not self._subscribed or not updates.orders:
            return
        now_ms, ledger = self._now_ns() // _MS_NS, self._exchange.ledger
        events = views.reports(updates.orders, now_ms)
        balances = [(asset, ledger.balance(ACCOUNT, asset)) for asset in updates.assets]
        events.append(views.position_event(balances, now_ms))
        for line, numbers in list(self._subscribed.items()):
            for number in numbers:
                for event in events:
                    self._lines.say(line, _encode({"subscriptionId": number, "event": event}))

    def terminate(self) -> None:
        """The key is not valid any more: the stream says so, and stops."""
        event = {"e": "eventStreamTerminated", "E": self._now_ns() // _MS_NS}
        for line, numbers in self._subscribed.items():
            for number in numbers:
                self._lines.say(line, _encode({"subscriptionId": number, "event": event}))
        self._subscribed.clear()


def _texts(params: object) -> Params:
    """Values as they are signed: numbers and flags as text.  Raises ``ApiError`` for what is none of these."""
    if not isinstance(params, dict):
        raise ApiError(-1135, "JSON request is not valid.")
    made: Params = {}
    for name, value in params.items():
        if isinstance(value, bool):
            made[name] = "true" if value else "false"
        elif isinstance(value, str | int | float):
            made[name] = f"{value}"
        elif isinstance(value, list):
            made[name] = _encode(value).decode()
        else:
            raise ApiError(-1100, f"Illegal characters found in parameter '{name[:40]}'.")
    return made
