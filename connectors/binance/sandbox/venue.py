"""The sandbox over HTTP: routes, keys, weights, faults, and the two kinds of WebSockets.

Owns HTTP and who is told when something changed.  Answers are made by ``queries`` and ``account``.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable

import msgspec
from aiohttp import web

from connectors.binance.sandbox.access import Access
from connectors.binance.sandbox.account import Account
from connectors.binance.sandbox.errors import ApiError
from connectors.binance.sandbox.futures_queries import FuturesQueries
from connectors.binance.sandbox.limits import Limits
from connectors.binance.sandbox.params import params_of, payload_of
from connectors.binance.sandbox.queries import Queries
from connectors.binance.sandbox.routes import Route, futures_table, tables
from connectors.binance.sandbox.settings import BinanceSettings
from connectors.binance.sandbox.streams import ROUTES, Streams
from connectors.binance.sandbox.ws_api import WsApi
from connectors.binance.streams import USDM
from connectors.local.exchange import Exchange
from connectors.local.faults import FaultScript
from connectors.local.keys import SecretKey
from connectors.local.lines import Lines
from connectors.local.operator import OPERATOR_PATH, Door, Operator

_MAX_BODY_BYTES = 1 << 20
_MS_NS = 1_000_000
_MAINTENANCE = "<html><body><h1>503 Service Unavailable</h1></body></html>"
_log = logging.getLogger(__name__)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Venue:
    """One exchange, served."""

    def __init__(
        self, settings: BinanceSettings, exchange: Exchange, key: SecretKey, now_ns: Callable[[], int]
    ) -> None:
        self.settings = settings
        self.exchange = exchange
        self._now_ns = now_ns
        self.door = Door()
        self.lines = Lines(settings.outbound_queue, ping_s=settings.ping_s)
        self.limits = Limits(settings.rate_limits)
        self.faults = FaultScript(_bad)
        self._is_futures = settings.venue == USDM
        self._access = Access(key, self.door)
        ws: dict[str, Route] = {}
        if self._is_futures:
            self.queries: Queries = (market := FuturesQueries(exchange, settings.rate_limits, self._book_id))
            self._rest = futures_table(market)
        else:
            self.queries = Queries(exchange, settings.rate_limits, self._book_id)
            self.account = Account(settings, exchange, self.queries, lambda: secrets.token_urlsafe(16))
            self._rest, ws = tables(self.queries, self.account)
        self.streams = Streams(settings, exchange, self.queries, self.lines, now_ns)
        self.user = WsApi(exchange, self.lines, self._access, self.limits, ws, now_ns=now_ns, pump=self.pump)
        self._operator = Operator(
            exchange,
            self.lines,
            self.faults,
            self.door,
            refuse=_bad,
            now_ns=now_ns,
            pump=self._after_act,
            gap=self.streams.lose_message,
        )

    def application(self) -> web.Application:
        app = web.Application(middlewares=[self._guard], client_max_size=_MAX_BODY_BYTES)
        app.router.add_post(OPERATOR_PATH, self._operate)
        for method, path in self._rest:
            app.router.add_route(method, path, self._answer)
        for below in ROUTES if self._is_futures else ("",):
            for path in ("/ws", "/ws/{streams:.*}", "/stream"):
                app.router.add_get(below + path, self._dialled(self.streams.serve))
        if not self._is_futures:
            app.router.add_get("/ws-api/v3", self._dialled(self.user.serve))
        return app

    # --- time ---------------------------------------------------------------------------------------------------------

    def pass_time(self, now_ns: int) -> None:
        self.exchange.step(now_ns)
        self.pump()

    def every_second(self, now_ns: int) -> None:
        self.exchange.expire(now_ns)
        self.pump()
        self.streams.every_second(now_ns)

    def pump(self) -> None:
        """Streams are told what happened since the last call."""
        updates = self.exchange.drain()
        self.streams.pump(updates)
        self.user.pump(updates)

    async def close(self) -> None:
        self.streams.close()
        await self.faults.close()
        await self.lines.close()

    def _book_id(self, symbol: str) -> int:
        self.pump()
        return self.streams.book_id(symbol)

    def _after_act(self) -> None:
        self.pump()
        if not self.door.known:
            self.user.terminate()

    # --- requests -----------------------------------------------------------------------------------------------------

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Everything is answered in the venue's shapes."""
        try:
            if request.path == OPERATOR_PATH:
                return await handler(request)
            if self.door.maintenance:
                return web.Response(status=503, text=_MAINTENANCE, content_type="text/html")
            fault = self.faults.take(request.method, request.path)
            if fault is None:
                return await handler(request)
            return await self.faults.go_wrong(request, lambda: handler(request), fault)
        except ApiError as error:
            return _reply(error.body(), error.status, error.headers)
        except web.HTTPException as problem:
            # How it is found out what a client wants that is not built.
            _log.warning("not built: %s %s", request.method, request.path)
            return _reply({"code": -1000, "msg": f"{request.method} {request.path}: {problem.reason}"}, problem.status)
        except ConnectionError:
            raise  # the reader of a stream is gone
        except Exception:
            # A defect of ours: the client sees the venue's shape, the log keeps the trace.
            _log.exception("sandbox failed on %s %s", request.method, request.path)
            return _reply({"code": -1000, "msg": "An unknown error occurred while processing the request."}, 500)

    async def _answer(self, request: web.Request) -> web.Response:
        """A request of the table: limits first, then key and signature, then what was asked for."""
        method = "GET" if request.method == "HEAD" else request.method
        route = self._rest[method, request.path]
        query, body = request.rel_url.raw_query_string, (await request.read()).decode("utf-8", "replace")
        await self._travel()
        now_ms, address = self._now_ns() // _MS_NS, request.remote or ""
        params = params_of(query, body)
        self.limits.take(address, route.weight(params), now_ms)
        if route.signed:
            self._access.check_key(request.headers.get("X-MBX-APIKEY"), trades=route.trades)
            self._access.check_signature(payload_of(query, body), params, now_ms)
        if route.orders:
            self.limits.take_order(address, now_ms)
        made = self._carry_out(route, params)
        await self._travel()
        weight, orders = self.limits.used(address, now_ms)
        headers = {"X-MBX-USED-WEIGHT": f"{weight}", "X-MBX-USED-WEIGHT-1M": f"{weight}"}
        if route.trades:
            headers["X-MBX-ORDER-COUNT-10S"] = f"{orders}"
        return _reply(made, headers=headers)

    def _dialled(self, serve: Handler) -> Handler:
        """Connections are counted before they are opened."""

        async def handler(request: web.Request) -> web.StreamResponse:
            self.limits.take_dial(request.remote or "", self._now_ns() // _MS_NS)
            return await serve(request)

        return handler

    def _carry_out(self, route: Route, params: dict[str, str]) -> object:
        try:
            return route.carry_out(params, self._now_ns())
        finally:
            self.pump()

    async def _travel(self) -> None:
        """Half of the configured round trip; no switch to other tasks when there is none."""
        if self.settings.latency_ms:
            await asyncio.sleep(self.settings.latency_ms / 2_000.0)

    async def _operate(self, request: web.Request) -> web.Response:
        return _reply(await self._operator.serve(request))


def _bad(text: str) -> ApiError:
    return ApiError(-1100, text)


def _reply(body: object, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(body=msgspec.json.encode(body), status=status, content_type="application/json", headers=headers)
