"""REST side of the sandbox: routes, token, error shapes, limits, faults.

Owns HTTP only.  Answers are made by ``queries``, ``desk`` and ``closing``; streams are ``stream``.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
from collections.abc import Awaitable, Callable
from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec
from aiohttp import web

from connectors.local.faults import FaultScript
from connectors.oanda.sandbox import history, views
from connectors.oanda.sandbox.account import Account
from connectors.oanda.sandbox.errors import ApiError, Json, Rejection, invalid, sentence
from connectors.oanda.sandbox.exchange import Exchange
from connectors.oanda.sandbox.limits import PerSecond
from connectors.oanda.sandbox.market import Market
from connectors.oanda.sandbox.operator import OPERATOR_PATH, Operator
from connectors.oanda.sandbox.queries import Params, Queries
from connectors.oanda.sandbox.settings import SandboxSettings
from connectors.oanda.sandbox.stream import Hub
from connectors.oanda.sandbox.times import as_unix

_MAINTENANCE = "<html><body><h1>503 Service Unavailable</h1></body></html>"
SANDBOX_TAG = "KESTREL_SANDBOX"
_MAX_BODY_BYTES = 1 << 20
_FIRST_REQUEST = 61_700_000_000_000_000
_DIALLED_MAX = 10_000
"""Connections that are remembered as counted."""
_A = "/v3/accounts/{account}"
_ID = web.RequestKey("id", str)
_log = logging.getLogger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_Read = Callable[[Account, Params, int, web.Request], Json]
_Write = Callable[[Account, Json, int, web.Request], Json]


class Rest:
    """Handlers over one exchange.  ``tokens`` may be changed while it runs."""

    def __init__(
        self, settings: SandboxSettings, exchange: Exchange, hub: Hub, token: str, now_ns: Callable[[], int]
    ) -> None:
        self._settings = settings
        self._exchange = exchange
        self._hub = hub
        self._now_ns = now_ns
        self._queries = Queries(exchange.markets, settings.switches)
        self._requests = _FIRST_REQUEST
        self._dialled: dict[object, None] = {}
        limits = settings.rate_limits
        self._rest_limit = None if limits is None else PerSecond(limits.rest_per_s)
        self._dial_limit = None if limits is None else PerSecond(limits.connections_per_s)
        self.token: str | None = token
        self.maintenance = False
        """Every answer is a page of HTML that says so."""
        self.orders_received = 0
        self.faults = FaultScript(lambda text: ApiError(400, text))
        self._operator = Operator(exchange, hub, self.faults, self, token, now_ns)

    def application(self) -> web.Application:
        app = web.Application(middlewares=[self._guard], client_max_size=_MAX_BODY_BYTES)
        app.router.add_post(OPERATOR_PATH, self.operate)
        app.router.add_get("/v3/accounts", self.accounts)
        app.router.add_get("/v3/instruments/{instrument}/candles", self.candles)
        app.router.add_get(f"{_A}/instruments/{{instrument}}/candles", self.account_candles)
        app.router.add_get(f"{_A}/pricing/stream", self.price_stream)
        app.router.add_get(f"{_A}/transactions/stream", self.transaction_stream)
        for path, read in self._reads().items():
            app.router.add_get(_A + path, self._reading(read))
        desk, closing = self._exchange.desk, self._exchange.closing
        app.router.add_patch(f"{_A}/configuration", self._writing(self._configure))
        app.router.add_post(f"{_A}/orders", self._writing(self._place, 201))
        for path, write, status in (
            ("/orders/{spec}", lambda a, b, n, r: desk.replace(a, r.match_info["spec"], b, n), 201),
            ("/orders/{spec}/cancel", lambda a, _, n, r: desk.cancel(a, r.match_info["spec"], n), 200),
            ("/orders/{spec}/clientExtensions", lambda a, b, n, r: desk.extend(a, r.match_info["spec"], b, n), 200),
            ("/trades/{spec}/close", lambda a, b, n, r: closing.trade(a, r.match_info["spec"], b, n), 200),
            (
                "/trades/{spec}/clientExtensions",
                lambda a, b, n, r: closing.extend_trade(a, r.match_info["spec"], b, n),
                200,
            ),
            ("/trades/{spec}/orders", lambda a, b, n, r: closing.exits(a, r.match_info["spec"], b, n), 200),
            ("/positions/{spec}/close", lambda a, b, n, r: closing.position(a, r.match_info["spec"], b, n), 200),
        ):
            app.router.add_put(_A + path, self._writing(write, status))
        return app

    def _reads(self) -> dict[str, _Read]:
        """Paths below an account that only read; the fixed ones before those with a variable part."""
        ask, markets = self._queries, self._exchange.markets
        return {
            "": lambda a, *_: {"account": views.details_json(a, markets), "lastTransactionID": str(a.log.last)},
            "/summary": lambda a, *_: {"account": views.summary_json(a, markets), "lastTransactionID": str(a.log.last)},
            "/instruments": self._instruments,
            "/candles/latest": self._latest_candles,
            "/changes": lambda a, p, *_: ask.changes(a, p),
            "/pricing": lambda a, p, n, _: ask.prices(a, p, n),
            "/orders": lambda a, p, *_: ask.orders(a, p),
            "/pendingOrders": lambda a, *_: ask.pending(a),
            "/orders/{spec}": lambda a, _, __, r: ask.order(a, r.match_info["spec"]),
            "/trades": lambda a, p, *_: ask.trades(a, p),
            "/openTrades": lambda a, *_: ask.open_trades(a),
            "/trades/{spec}": lambda a, _, __, r: ask.trade(a, r.match_info["spec"]),
            "/positions": lambda a, *_: ask.positions(a, open_only=False),
            "/openPositions": lambda a, *_: ask.positions(a, open_only=True),
            "/positions/{spec}": lambda a, _, __, r: ask.position(a, r.match_info["spec"]),
            "/transactions": lambda a, p, n, r: ask.pages(a, p, f"{r.scheme}://{r.host}", n),
            "/transactions/sinceid": lambda a, p, n, _: ask.since(a, p, n),
            "/transactions/idrange": lambda a, p, n, _: ask.id_range(a, p, n),
            "/transactions/{spec}": lambda a, _, n, r: ask.transaction(a, r.match_info["spec"], n),
        }

    def _reading(self, read: _Read) -> Handler:
        async def handler(request: web.Request) -> web.Response:
            account = self._account(request)
            return _reply(request, read(account, request.query, self._now_ns(), request))

        return handler

    def _writing(self, write: _Write, status: int = 200) -> Handler:
        async def handler(request: web.Request) -> web.Response:
            account = self._account(request)
            body = await _body(request)
            await self._travel()
            account.log.begin(request[_ID])
            answer = write(account, body, self._now_ns(), request)
            await self._travel()
            response = _reply(request, answer, status)
            if status == 201:
                number = answer["orderCreateTransaction"]["id"]
                response.headers["Location"] = f"/v3/accounts/{account.id}/orders/{number}"
            return response

        return handler

    # --- what every request passes ------------------------------------------------------------------------------------

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Token first, then limits; everything is answered in the venue's shapes."""
        self._requests += 1
        request[_ID] = str(self._requests)
        try:
            self._admit(request)
            if self.maintenance and request.path != OPERATOR_PATH:
                return web.Response(status=503, text=_MAINTENANCE, content_type="text/html")
            fault = self.faults.take(request.method, request.path)
            if fault is None:
                response = await handler(request)
            else:
                response = await self.faults.go_wrong(request, lambda: handler(request), fault)
        except ApiError as error:
            response = _reply(request, error.body(), error.status)
        except web.HTTPException as problem:
            response = _reply(
                request, {"errorMessage": f"{request.method} {request.path}: {problem.reason}"}, problem.status
            )
        except ConnectionError:
            raise  # the reader of a stream is gone
        except Exception:
            # A defect of ours: the client sees the venue's shape, the log keeps the trace.
            _log.exception("sandbox failed on %s %s", request.method, request.path)
            response = _reply(request, {"errorMessage": "Internal error"}, 500)
        if not response.prepared:
            response.headers["RequestID"] = request[_ID]
        return response

    def _admit(self, request: web.Request) -> None:
        """Raises ``ApiError`` 401 and 429."""
        if request.path == OPERATOR_PATH:
            return
        now_ns, caller = self._now_ns(), request.remote or ""
        # By its address: not every loop's connections can be kept as objects, and a port is not used again so soon.
        peer = None if request.transport is None else request.transport.get_extra_info("peername")
        if self._dial_limit is not None and peer not in self._dialled:
            if not self._dial_limit.take(caller, now_ns):
                raise ApiError(429, "Rate limit violation: too many new connections")
            self._dialled[peer] = None
            if len(self._dialled) > _DIALLED_MAX:
                del self._dialled[next(iter(self._dialled))]
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        known = self.token
        if scheme != "Bearer" or known is None or not hmac.compare_digest(token.strip().encode(), known.encode()):
            raise ApiError(401, "Insufficient authorization to perform request.")
        if self._rest_limit is not None and not self._rest_limit.take(caller, now_ns):
            raise ApiError(429, "Rate limit violation of requests")

    async def close(self) -> None:
        await self.faults.close()

    def _account(self, request: web.Request) -> Account:
        account = self._exchange.accounts.get(request.match_info["account"])
        if account is None:
            status = self._settings.switches.foreign_account_status
            raise ApiError(status, "The provided request was forbidden." if status == 403 else "Account does not exist")
        return account

    async def _travel(self) -> None:
        """Half of the configured round trip; no switch to other tasks when there is none."""
        if self._settings.latency_ms:
            await asyncio.sleep(self._settings.latency_ms / 2_000.0)

    async def operate(self, request: web.Request) -> web.Response:
        """What the venue's own people do; from this machine alone."""
        if request.remote not in {"127.0.0.1", "::1"}:
            raise web.HTTPNotFound
        return _reply(request, self._operator.act(await _body(request)))

    # --- accounts -----------------------------------------------------------------------------------------------------

    async def accounts(self, request: web.Request) -> web.Response:
        # The tag is ours: whoever stores prices of this venue must know that nobody made them.
        listed: list[Json] = [{"id": account_id, "tags": [SANDBOX_TAG]} for account_id in self._exchange.accounts]
        return _reply(request, {"accounts": listed})

    def _instruments(self, account: Account, params: Params, _: int, __: web.Request) -> Json:
        named = self._queries.named(params, required=False)
        made = [views.instrument_json(market.rules) for market in named]
        return {"instruments": made, "lastTransactionID": str(account.log.last)}

    def _configure(self, account: Account, body: Json, now_ns: int, _: web.Request) -> Json:
        alias, rate = body.get("alias"), body.get("marginRate")
        if alias is None and rate is None:
            raise ApiError(400, "alias and marginRate missing", "CLIENT_CONFIGURE_DATA_MISSING")
        members = {name: str(value) for name, value in (("alias", alias), ("marginRate", rate)) if value is not None}
        try:
            if alias is not None and (not isinstance(alias, str) or len(alias) > 255):
                raise Rejection("ALIAS_INVALID")
            if rate is not None:
                account.new_margin_rate(_decimal(rate, "marginRate"))
        except Rejection as rejection:
            reason = rejection.reason
            made = account.log.add("CLIENT_CONFIGURE_REJECT", now_ns, {**members, "rejectReason": reason})
            answer: Json = {"clientConfigureRejectTransaction": made, "lastTransactionID": str(account.log.last)}
            raise ApiError(rejection.status, sentence(reason), reason, **answer) from None
        if alias is not None:
            account.alias = alias
        made = account.log.add("CLIENT_CONFIGURE", now_ns, members)
        return {"clientConfigureTransaction": made, "lastTransactionID": str(account.log.last)}

    def _place(self, account: Account, body: Json, now_ns: int, _: web.Request) -> Json:
        self.orders_received += 1
        return self._exchange.desk.place(account, body, now_ns)

    # --- market data --------------------------------------------------------------------------------------------------

    def _market(self, name: str) -> Market:
        market = self._exchange.markets.by_name.get(name)
        if market is None:
            raise invalid("instrument")
        return market

    async def candles(self, request: web.Request) -> web.Response:
        market = self._market(request.match_info["instrument"])
        return _reply(request, history.candles(market, history.parse_query(request.query), self._now_ns()))

    async def account_candles(self, request: web.Request) -> web.Response:
        self._account(request)
        return await self.candles(request)

    def _latest_candles(self, _: Account, params: Params, now_ns: int, __: web.Request) -> Json:
        """``candleSpecifications=EUR_USD:M1:BM``: the newest two of each."""
        made = []
        for text in params.get("candleSpecifications", "").split(","):
            parts = text.split(":")
            if len(parts) != 3:
                raise invalid("candleSpecifications")
            query = history.parse_query({"granularity": parts[1], "price": parts[2], "count": "2"})
            made.append(history.candles(self._market(parts[0]), query, now_ns))
        return {"latestCandles": made}

    async def price_stream(self, request: web.Request) -> web.StreamResponse:
        self._account(request)
        named = self._queries.named(request.query, required=True)
        snapshot = request.query.get("snapshot", "true").lower() != "false"
        return await self._hub.serve_prices(request, named, snapshot=snapshot, unix=_wants_unix(request))

    async def transaction_stream(self, request: web.Request) -> web.StreamResponse:
        return await self._hub.serve_transactions(request, self._account(request), unix=_wants_unix(request))


def _wants_unix(request: web.Request) -> bool:
    return request.headers.get("Accept-Datetime-Format", "").upper() == "UNIX"


def _decimal(value: object, field: str) -> Decimal:
    try:
        return Decimal(str(value))
    except InvalidOperation:
        raise invalid(field) from None


async def _body(request: web.Request) -> dict[str, Any]:
    """An absent body is an empty one."""
    raw = await request.read()
    if not raw.strip():
        return {}
    try:
        body = msgspec.json.decode(raw)
    except (msgspec.DecodeError, RecursionError, ValueError):
        raise ApiError(400, "Unable to parse the request body as JSON") from None
    if not isinstance(body, dict):
        raise ApiError(400, "The request body must be an object")
    return body


def _reply(request: web.Request, body: Json, status: int = 200) -> web.Response:
    made = as_unix(body) if _wants_unix(request) else body
    return web.Response(body=msgspec.json.encode(made), status=status, content_type="application/json")
