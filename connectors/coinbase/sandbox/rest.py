"""REST side of the sandbox: routes, authentication, error shapes.

Owns HTTP only.  Lists are made by ``queries``, orders are decided by ``exchange``; after each change the hub is pumped,
so that a stream tells about an order before its REST answer can arrive.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from connectors.coinbase.sandbox import editing, listings, portfolios, previews, queries, rest_v2, wire
from connectors.coinbase.sandbox.auth import ApiKey, AuthError, Verifier
from connectors.coinbase.sandbox.exchange import Exchange
from connectors.coinbase.sandbox.limits import PerSecond
from connectors.coinbase.sandbox.operator import OPERATOR_PATH, Operator
from connectors.coinbase.sandbox.replies import NotThere, body_of, params_of, reply
from connectors.coinbase.sandbox.requests import OrderRefused
from connectors.coinbase.sandbox.rest_futures import FuturesRoutes
from connectors.coinbase.sandbox.rest_v2 import OlderRoutes
from connectors.coinbase.sandbox.settings import SandboxSettings
from connectors.coinbase.sandbox.stream import Hub
from connectors.coinbase.sandbox.times import BadRequest, at
from connectors.local.faults import FaultScript

PREFIX = "/api/v3/brokerage"
_MAX_BODY_BYTES = 1 << 20
_MAX_CANCELS = 100
_KEY = web.RequestKey("key", ApiKey)
_log = logging.getLogger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class _Fault(Exception):  # noqa: N818 - an HTTP answer on its way out
    """An answer other than 200, made anywhere in a handler."""

    def __init__(self, status: int, name: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.body = {"error": name, "error_details": message, "message": message}


class Rest:
    """Handlers over one exchange."""

    def __init__(
        self, settings: SandboxSettings, exchange: Exchange, hub: Hub, verifier: Verifier, now_ns: Callable[[], int]
    ) -> None:
        self._settings = settings
        self._exchange = exchange
        self._hub = hub
        self._verifier = verifier
        self._now_ns = now_ns
        limits = settings.rate_limits
        self._private = None if limits is None else PerSecond(limits.private_per_s)
        self._public = None if limits is None else PerSecond(limits.public_per_s)
        self.orders_received = 0
        self._faults = FaultScript(BadRequest)
        self._operator = Operator(exchange, hub, verifier, self._faults, now_ns)

    def application(self) -> web.Application:
        app = web.Application(middlewares=[self._guard], client_max_size=_MAX_BODY_BYTES)
        get, post = app.router.add_get, app.router.add_post
        get(f"{PREFIX}/time", self.time)
        for base in (PREFIX, f"{PREFIX}/market"):
            get(f"{base}/products", self.products)
            get(f"{base}/products/{{product_id}}", self.product)
            get(f"{base}/products/{{product_id}}/candles", self.candles)
            get(f"{base}/products/{{product_id}}/ticker", self.trades)
            get(f"{base}/product_book", self.product_book)
        post(OPERATOR_PATH, self.operate)
        get(f"{PREFIX}/best_bid_ask", self.best_bid_ask)
        get(f"{PREFIX}/accounts", self.accounts)
        get(f"{PREFIX}/accounts/{{uuid}}", self.account)
        get(f"{PREFIX}/key_permissions", self.key_permissions)
        get(f"{PREFIX}/transaction_summary", self.transaction_summary)
        get(f"{PREFIX}/portfolios", self.portfolios)
        get(f"{PREFIX}/portfolios/{{uuid}}", self.portfolio)
        post(f"{PREFIX}/orders", self.create_order)
        post(f"{PREFIX}/orders/preview", self.preview_order)
        post(f"{PREFIX}/orders/edit", self.edit_order)
        post(f"{PREFIX}/orders/edit_preview", self.preview_edit)
        post(f"{PREFIX}/orders/close_position", self.close_position)
        post(f"{PREFIX}/orders/batch_cancel", self.cancel_orders)
        get(f"{PREFIX}/orders/historical/batch", self.list_orders)
        get(f"{PREFIX}/orders/historical/fills", self.list_fills)
        get(f"{PREFIX}/orders/historical/{{order_id}}", self.order)
        FuturesRoutes(self._exchange, self._now_ns).add(app, PREFIX)
        OlderRoutes(self._exchange, self._now_ns).add(app)
        return app

    # --- what every request passes ----------------------------------------------------------------------------------

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Upgrades go to the hub; everything else is authenticated, limited and answered in the venue's shapes."""
        if request.headers.get("Upgrade", "").lower() == "websocket":
            return await self._hub.serve(request)
        headers: dict[str, str] = {}
        try:
            self._admit(request, headers)
            fault = self._faults.take(request.method, request.path)
            if fault is None:
                response = await handler(request)
            else:
                response = await self._faults.go_wrong(request, lambda: handler(request), fault)
        except AuthError as failure:
            _log.info("request refused: %s", failure)
            return web.Response(status=401, text="Unauthorized", headers=headers)
        except BadRequest as problem:
            return reply({"error": "INVALID_ARGUMENT", "error_details": str(problem), "message": str(problem)}, 400)
        except NotThere as problem:
            return reply({"error": "NOT_FOUND", "error_details": str(problem), "message": str(problem)}, 404, headers)
        except _Fault as fault:
            return reply(fault.body, fault.status, headers)
        except web.HTTPException as problem:
            names = {404: "NOT_FOUND", 405: "METHOD_NOT_ALLOWED", 413: "INVALID_ARGUMENT"}
            text = f"{request.method} {request.path}: {problem.reason}"
            name = names.get(problem.status, "UNKNOWN")
            return reply({"error": name, "error_details": text, "message": text}, problem.status, headers)
        except Exception:
            # A defect of ours: the client sees the venue's shape, the log keeps the trace.
            _log.exception("sandbox failed on %s %s", request.method, request.path)
            return reply({"error": "INTERNAL", "error_details": "", "message": "internal error"}, 500, headers)
        response.headers.update(headers)
        return response

    def _admit(self, request: web.Request, headers: dict[str, str]) -> None:
        """Check token, scopes and limits.  Raises ``AuthError`` or ``_Fault``."""
        path, now_ns = request.path, self._now_ns()
        if path == OPERATOR_PATH:
            return
        public = path == f"{PREFIX}/time" or path.startswith(f"{PREFIX}/market/") or path in rest_v2.PUBLIC
        caller = request.remote or ""
        if not public:
            key = self._verifier.request(request.headers.get("Authorization", ""), request.method, path, now_ns / 1e9)
            request[_KEY] = key
            caller = key.name
            if not (key.can_view if request.method == "GET" else key.can_trade):
                raise _Fault(403, "PERMISSION_DENIED", "Missing required scopes")
        limit = self._public if public else self._private
        if limit is None:
            return
        allowed, remaining = limit.take(caller, now_ns)
        headers["x-ratelimit-limit"] = str(limit.limit)
        headers["x-ratelimit-remaining"] = str(remaining)
        headers["x-ratelimit-reset"] = "1"
        if not allowed:
            fault = _Fault(429, "RESOURCE_EXHAUSTED", "Too many requests")
            fault.body = {"errors": [{"id": "rate_limit_exceeded", "message": "Too many requests"}]}  # type: ignore[dict-item]
            raise fault

    async def operate(self, request: web.Request) -> web.Response:
        """What the venue's own people do; from this machine alone."""
        if request.remote not in {"127.0.0.1", "::1"}:
            raise web.HTTPNotFound
        return reply(self._operator.act(await body_of(request)))

    # --- market data ------------------------------------------------------------------------------------------------

    async def time(self, _: web.Request) -> web.Response:
        now_ns = self._now_ns()
        iso = f"{at(now_ns)[:19]}Z"
        millis = now_ns // 1_000_000
        made = {"iso": iso, "epochSeconds": str(millis // 1_000), "epochMillis": str(millis)}
        return reply(made | {"sandbox": True})  # the venue has no such field: its prices are not made up

    async def products(self, request: web.Request) -> web.Response:
        return reply(queries.products(self._exchange, params_of(request)))

    async def product(self, request: web.Request) -> web.Response:
        return reply(listings.product(self._market(request), created_ns=self._exchange.created_ns))

    async def candles(self, request: web.Request) -> web.Response:
        return reply(queries.candles(self._market(request), params_of(request)))

    async def trades(self, request: web.Request) -> web.Response:
        return reply(queries.trades(self._market(request), params_of(request)))

    async def product_book(self, request: web.Request) -> web.Response:
        params = params_of(request)
        product_id = params.one("product_id")
        if product_id is None:
            raise BadRequest("product_id is required")
        self._hub.pump()
        return reply(queries.product_book(self._find(product_id), params, self._now_ns()))

    async def best_bid_ask(self, request: web.Request) -> web.Response:
        return reply(queries.best_bid_ask(self._exchange, params_of(request), self._now_ns()))

    def _market(self, request: web.Request) -> Any:
        return self._find(request.match_info["product_id"])

    def _find(self, product_id: str) -> Any:
        market = queries.market_of(self._exchange, product_id)
        if market is None:
            raise NotThere(f"product {product_id[:40]} not found")
        return market

    # --- account ----------------------------------------------------------------------------------------------------

    async def accounts(self, request: web.Request) -> web.Response:
        return reply(queries.accounts(self._exchange, params_of(request)))

    async def account(self, request: web.Request) -> web.Response:
        found = queries.account(self._exchange, request.match_info["uuid"])
        if found is None:
            raise NotThere("account not found")
        return reply({"account": found})

    async def key_permissions(self, request: web.Request) -> web.Response:
        key = request[_KEY]
        return reply(
            {
                "can_view": key.can_view,
                "can_trade": key.can_trade,
                "can_transfer": key.can_transfer,
                "portfolio_uuid": self._exchange.portfolio_id,
                "portfolio_type": "DEFAULT",
            }
        )

    async def transaction_summary(self, _: web.Request) -> web.Response:
        return reply(queries.transaction_summary(self._exchange))

    async def portfolios(self, request: web.Request) -> web.Response:
        return reply(portfolios.portfolios(self._exchange, params_of(request).one("portfolio_type")))

    async def portfolio(self, request: web.Request) -> web.Response:
        found = portfolios.breakdown(self._exchange, request.match_info["uuid"])
        if found is None:
            raise NotThere("portfolio not found")
        return reply(found)

    # --- orders -----------------------------------------------------------------------------------------------------

    async def create_order(self, request: web.Request) -> web.Response:
        body = await body_of(request)
        await self._travel()
        self.orders_received += 1
        answer = self._exchange.place(body, self._now_ns())
        self._hub.pump()
        await self._travel()
        return reply(answer)

    async def preview_order(self, request: web.Request) -> web.Response:
        made = previews.preview(self._exchange, await body_of(request), self._now_ns(), str(uuid.uuid4()))
        return reply(made)

    async def preview_edit(self, request: web.Request) -> web.Response:
        return reply(previews.preview_edit(self._exchange, await body_of(request)))

    async def edit_order(self, request: web.Request) -> web.Response:
        body = await body_of(request)
        await self._travel()
        answer = editing.edit(self._exchange, body, self._now_ns())
        self._hub.pump()
        await self._travel()
        return reply(answer)

    async def close_position(self, request: web.Request) -> web.Response:
        body = await body_of(request)
        await self._travel()
        try:
            answer = self._exchange.place(self._exchange.futures.close_body(body), self._now_ns())
        except OrderRefused as refusal:
            answer = wire.refused(refusal.error, refusal.preview, refusal.message, {})
        self._hub.pump()
        await self._travel()
        return reply(answer)

    async def cancel_orders(self, request: web.Request) -> web.Response:
        ids = (await body_of(request)).get("order_ids")
        if not isinstance(ids, list) or not ids or not all(isinstance(order_id, str) for order_id in ids):
            raise BadRequest("order_ids must be a list of order ids")
        if len(ids) > _MAX_CANCELS:
            raise BadRequest(f"order_ids has {len(ids)} members, at most {_MAX_CANCELS} are taken")
        await self._travel()
        now_ns = self._now_ns()
        results = [self._exchange.cancel(order_id, now_ns) for order_id in ids]
        self._hub.pump()
        await self._travel()
        return reply({"results": results})

    async def order(self, request: web.Request) -> web.Response:
        record = self._exchange.orders.get(request.match_info["order_id"])
        if record is None:
            raise NotThere("order not found")
        return reply({"order": queries.order(self._exchange, record)})

    async def list_orders(self, request: web.Request) -> web.Response:
        return reply(queries.list_orders(self._exchange, params_of(request), self._now_ns()))

    async def list_fills(self, request: web.Request) -> web.Response:
        return reply(queries.list_fills(self._exchange, params_of(request)))

    async def _travel(self) -> None:
        """Half of the configured round trip; no switch to other tasks when there is none."""
        if self._settings.latency_ms:
            await asyncio.sleep(self._settings.latency_ms / 2_000.0)
