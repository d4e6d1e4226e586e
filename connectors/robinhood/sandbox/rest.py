"""HTTP of the sandbox: routes, signatures, error shapes, limits, faults.

Owns HTTP only.  Answers are made by ``queries`` and ``exchange``.  What is signed is what was sent: path and query are
taken from the request line, the body as bytes.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from aiohttp import web

from connectors.local.faults import FaultScript
from connectors.robinhood.sandbox.auth import Verifier
from connectors.robinhood.sandbox.errors import ApiError, Json
from connectors.robinhood.sandbox.exchange import Exchange
from connectors.robinhood.sandbox.limits import Buckets
from connectors.robinhood.sandbox.operator import OPERATOR_PATH, Operator
from connectors.robinhood.sandbox.queries import Queries, Query
from connectors.robinhood.sandbox.settings import SandboxSettings
from connectors.robinhood.sandbox.times import NS

SANDBOX_HEADER = "X-Kestrel-Sandbox"
"""Ours: whoever keeps prices of this venue, or trades on it, must be able to know that nobody made them."""
_MAINTENANCE = "<html><body><h1>503 Service Unavailable</h1></body></html>"
_MAX_BODY_BYTES = 1 << 18
_log = logging.getLogger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_Read = Callable[[str, Query, int, web.Request], Json]


class Rest:
    """Handlers over one exchange."""

    def __init__(
        self, settings: SandboxSettings, exchange: Exchange, verifier: Verifier, now_ns: Callable[[], int]
    ) -> None:
        self._settings = settings
        self._exchange = exchange
        self._verifier = verifier
        self._now_ns = now_ns
        self._queries = Queries(exchange)
        self._limit = None if settings.rate_limits is None else Buckets(settings.rate_limits)
        self.maintenance = False
        """Every answer is a page of HTML that says so."""
        self.requests = 0
        """With a key, refused ones included."""
        self.orders_received = 0
        self.faults = FaultScript(lambda text: ApiError(400, text))
        self._operator = Operator(exchange, verifier, self.faults, self, now_ns)

    def application(self) -> web.Application:
        app = web.Application(middlewares=[self._guard], client_max_size=_MAX_BODY_BYTES)
        app.router.add_post(OPERATOR_PATH, self.operate)
        ask = self._queries
        reads: dict[str, dict[str, _Read]] = {
            "v1": {"marketdata/estimated_price": lambda api, query, now_ns, _: ask.estimated_price(api, query, now_ns)},
            "v2": {"trading/estimated_price": lambda api, query, now_ns, _: ask.estimated_price(api, query, now_ns)},
        }
        for api, own in reads.items():
            root = f"/api/{api}/crypto"
            common: dict[str, _Read] = {
                "trading/accounts": lambda api, query, *_: ask.account(api, query),
                "trading/trading_pairs": lambda api, query, *_: ask.pairs(api, query),
                "trading/holdings": lambda api, query, *_: ask.holdings(api, query),
                "trading/orders": lambda api, query, now_ns, _: ask.orders(api, query, now_ns),
                "trading/orders/{id}": lambda api, query, _, request: ask.order(api, request.match_info["id"], query),
                "marketdata/best_bid_ask": lambda api, query, now_ns, _: ask.best_bid_ask(api, query, now_ns),
            }
            for path, read in (common | own).items():
                app.router.add_get(f"{root}/{path}/", self._reading(api, read))
            app.router.add_post(f"{root}/trading/orders/", self._placing(api))
            app.router.add_post(f"{root}/trading/orders/{{id}}/cancel/", self._cancelling(api))
        return app

    def drain_limits(self) -> None:
        if self._limit is not None:
            self._limit.drain()

    async def close(self) -> None:
        await self.faults.close()

    # --- kinds of requests --------------------------------------------------------------------------------------------

    def _reading(self, api: str, read: _Read) -> Handler:
        async def handler(request: web.Request) -> web.Response:
            query, now_ns = self._query(request), self._now_ns()
            self._exchange.settle(now_ns)
            return _reply(read(api, query, now_ns, request))

        return handler

    def _placing(self, api: str) -> Handler:
        async def handler(request: web.Request) -> web.Response:
            self.orders_received += 1
            self._queries.check_account(api, self._query(request))
            body = _parsed(await request.read())
            await self._travel()
            record, is_new = self._exchange.place(body, api, self._now_ns())
            made = self._queries.order_json(api, record, as_arrived=is_new)
            await self._travel()
            return _reply(made, 201 if is_new else self._settings.switches.duplicate_status)

        return handler

    def _cancelling(self, api: str) -> Handler:
        async def handler(request: web.Request) -> web.Response:
            self._queries.check_account(api, self._query(request))
            order_id = request.match_info["id"]
            await self._travel()
            self._exchange.cancel(order_id, self._now_ns())
            await self._travel()
            text = f"Cancel request was submitted for order {order_id}"
            if self._settings.switches.cancel_reply == "plain":
                return web.Response(text=text)
            return _reply(text)

        return handler

    async def _travel(self) -> None:
        """Half of the configured round trip; no switch to other tasks when there is none."""
        if self._settings.latency_ms:
            await asyncio.sleep(self._settings.latency_ms / 2_000.0)

    @staticmethod
    def _query(request: web.Request) -> Query:
        return Query(request.raw_path, f"{request.scheme}://{request.host}")

    async def operate(self, request: web.Request) -> web.Response:
        """What the venue's own people do; from this machine alone."""
        if request.remote not in {"127.0.0.1", "::1"}:
            raise web.HTTPNotFound
        return _reply(self._operator.act(_parsed(await request.read())))

    # --- what every request passes ------------------------------------------------------------------------------------

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Signature first, then limits, then what the key may do; everything is answered in the venue's shapes."""
        try:
            if request.path == OPERATOR_PATH:
                return await handler(request)
            if self.maintenance:
                return web.Response(status=503, text=_MAINTENANCE, content_type="text/html")
            await self._admit(request)
            fault = self.faults.take(request.method, request.path)
            if fault is None:
                response = await handler(request)
            else:
                response = await self.faults.go_wrong(request, lambda: handler(request), fault)
        except ApiError as error:
            response = _reply(error.body(), error.status)
            if error.status == 429 and self._settings.switches.retry_after_s is not None:
                response.headers["Retry-After"] = str(self._settings.switches.retry_after_s)
        except web.HTTPException as problem:
            response = _reply(ApiError(problem.status, problem.reason).body(), problem.status)
        except Exception:
            # A defect of ours: the client sees the venue's shape, the log keeps the trace.
            _log.exception("sandbox failed on %s %s", request.method, request.path)
            response = _reply(ApiError(500, "Internal error").body(), 500)
        response.headers[SANDBOX_HEADER] = "robinhood"
        return response

    async def _admit(self, request: web.Request) -> None:
        """Raises ``ApiError`` 400, 401, 403, 429."""
        now_ns, body = self._now_ns(), await request.read()
        self.requests += 1
        key = self._verifier.check(request.headers, request.method, request.raw_path, body, now_ns / NS)
        if self._limit is not None and not self._limit.take(key.api_key, now_ns):
            raise ApiError(429, "Request was throttled.")
        access = self._settings.switches.v2_access
        if access != "open" and request.path.startswith("/api/v2/"):
            raise ApiError(403, "You are not entitled to this version.") if access == "forbidden" else web.HTTPNotFound
        if not (key.can_read if request.method == "GET" else key.can_trade):
            raise ApiError(403, "This API key does not have permission to perform this action.")
        if body and "json" not in request.content_type:
            raise ApiError(415, f'Unsupported media type "{request.content_type}" in request.')


def _parsed(raw: bytes) -> dict[str, Any]:
    try:
        body = msgspec.json.decode(raw)
    except (msgspec.DecodeError, RecursionError, ValueError):
        raise ApiError(400, "JSON parse error") from None
    if not isinstance(body, dict):
        raise ApiError(400, "Invalid data. Expected a dictionary.", "non_field_errors")
    return body


def _reply(body: Json | str, status: int = 200) -> web.Response:
    return web.Response(body=msgspec.json.encode(body), status=status, content_type="application/json")
