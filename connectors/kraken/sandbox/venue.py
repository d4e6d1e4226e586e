"""The sandbox over HTTP: routes, keys, faults, and the WebSockets.

Owns HTTP and who is told when something changed.  Answers are made by ``queries`` and ``account``.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qsl

import msgspec
from aiohttp import web

from connectors.kraken.sandbox.access import Access
from connectors.kraken.sandbox.account import Account
from connectors.kraken.sandbox.errors import ApiError, invalid
from connectors.kraken.sandbox.params import Params
from connectors.kraken.sandbox.queries import Queries
from connectors.kraken.sandbox.settings import KrakenSettings
from connectors.kraken.sandbox.streams import AUTH_PATH, Streams
from connectors.local.exchange import Exchange
from connectors.local.faults import FaultScript
from connectors.local.keys import SecretKey
from connectors.local.lines import Lines
from connectors.local.operator import OPERATOR_PATH, Door, Operator

_MAX_BODY_BYTES = 1 << 20
_log = logging.getLogger(__name__)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Venue:
    """One exchange, served.  Raises ``ConfigError`` for a key that cannot sign."""

    def __init__(self, settings: KrakenSettings, exchange: Exchange, key: SecretKey, now_ns: Callable[[], int]) -> None:
        self.settings = settings
        self.exchange = exchange
        self._now_ns = now_ns
        self.door = Door()
        self.lines = Lines(settings.outbound_queue)
        self.faults = FaultScript(_bad)
        self.queries = Queries(exchange, self.door)
        self._access = Access(key, self.door, settings)
        self.account = Account(settings, exchange, self.queries, self._access.take_order)
        self.streams = Streams(
            settings, exchange, self.queries, self.account, self._access, self.lines, now_ns=now_ns, pump=self.pump
        )
        self._public = self.queries.table()
        self._private = self.account.table()
        self._operator = Operator(
            exchange,
            self.lines,
            self.faults,
            self.door,
            refuse=_bad,
            now_ns=now_ns,
            pump=self.pump,
            gap=self.streams.lose_message,
        )

    def application(self) -> web.Application:
        app = web.Application(middlewares=[self._guard], client_max_size=_MAX_BODY_BYTES)
        app.router.add_post(OPERATOR_PATH, self._operate)
        for path in ("/0/public/{name}", "/0/private/{name}"):
            app.router.add_get(path, self._answer_public if "public" in path else self._unknown)
            app.router.add_post(path, self._answer_public if "public" in path else self._answer_private)
        for path in ("/v2", AUTH_PATH):
            app.router.add_get(path, self.streams.serve)
        return app

    # --- time ---------------------------------------------------------------------------------------------------------

    def pass_time(self, now_ns: int) -> None:
        self.exchange.step(now_ns)
        self.pump()

    def every_second(self, now_ns: int) -> None:
        self.exchange.expire(now_ns)
        self.account.pass_time(now_ns)
        self.pump()
        self.streams.every_second(now_ns)

    def pump(self) -> None:
        """Streams are told what happened since the last call."""
        self.streams.pump(self.exchange.drain())

    async def close(self) -> None:
        await self.faults.close()
        await self.lines.close()

    # --- requests -----------------------------------------------------------------------------------------------------

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Everything is answered in the venue's shape, refusals with HTTP 200."""
        try:
            if request.path == OPERATOR_PATH:
                return await handler(request)
            if self.door.maintenance and not request.path.endswith("/SystemStatus"):
                raise ApiError("EService:Unavailable")
            fault = self.faults.take(request.method, request.path)
            if fault is None:
                return await handler(request)
            return await self.faults.go_wrong(request, lambda: handler(request), fault)
        except ApiError as error:
            return _reply({"error": [str(error)]}, 400 if request.path == OPERATOR_PATH else 200)
        except web.HTTPException as problem:
            # How it is found out what a client wants that is not built.
            _log.warning("not built: %s %s", request.method, request.path)
            return _reply({"error": ["EGeneral:Unknown method"]}, problem.status)
        except ConnectionError:
            raise  # the reader of a stream is gone
        except Exception:
            # A defect of ours: the client sees the venue's shape, the log keeps the trace.
            _log.exception("sandbox failed on %s %s", request.method, request.path)
            return _reply({"error": ["EGeneral:Internal error"]}, 500)

    async def _answer_public(self, request: web.Request) -> web.Response:
        ask = self._public.get(request.match_info["name"])
        if ask is None:
            raise web.HTTPNotFound
        body = (await request.read()).decode("utf-8", "replace")
        params = dict(parse_qsl(f"{request.rel_url.raw_query_string}&{body}", keep_blank_values=True))
        await self._travel()
        return _reply({"error": [], "result": ask(params, self._now_ns())})

    async def _answer_private(self, request: web.Request) -> web.Response:
        """Key, nonce and signature first, then limits, then what was asked for."""
        body = (await request.read()).decode("utf-8", "replace")
        params = _params(body, request.content_type)
        await self._travel()
        headers = request.headers
        self._access.check(headers.get("API-Key"), headers.get("API-Sign"), request.path, params.get("nonce", ""), body)
        made = self._carry_out(request.match_info["name"], params)
        await self._travel()
        return _reply({"error": [], "result": made})

    def _carry_out(self, name: str, params: Params) -> Any:
        now_ns = self._now_ns()
        if name == "GetWebSocketsToken":
            self._access.take_call(1.0, now_ns)
            return {"token": self._access.new_token(now_ns), "expires": int(self.settings.token_life_s)}
        found = self._private.get(name)
        if found is None:
            raise ApiError("EGeneral:Unknown method")
        ask, cost, trades = found
        if trades:
            self._access.check_trading()
        self._access.take_call(cost, now_ns)
        try:
            return ask(params, now_ns)
        finally:
            self.pump()

    @staticmethod
    async def _unknown(_: web.Request) -> web.Response:
        raise ApiError("EGeneral:Unknown method")

    async def _travel(self) -> None:
        """Half of the configured round trip; no switch to other tasks when there is none."""
        if self.settings.latency_ms:
            await asyncio.sleep(self.settings.latency_ms / 2_000.0)

    async def _operate(self, request: web.Request) -> web.Response:
        return _reply(await self._operator.serve(request))


def _params(body: str, content_type: str) -> Params:
    """Of a form, or of JSON, whose lists are spelt as a form spells them.  Raises ``ApiError``."""
    if content_type != "application/json":
        return dict(parse_qsl(body, keep_blank_values=True))
    try:
        found = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError):
        raise invalid() from None
    if not isinstance(found, dict):
        raise invalid()
    made: Params = {}
    for name, value in found.items():
        if isinstance(value, list):
            made |= {f"{name}[{place}]": f"{each}" for place, each in enumerate(value)}
        elif isinstance(value, bool):
            made[name] = "true" if value else "false"
        elif isinstance(value, str | int | float):
            made[name] = f"{value}"
    return made


def _bad(text: str) -> ApiError:
    return ApiError(f"EGeneral:Invalid arguments:{text}")


def _reply(body: object, status: int = 200) -> web.Response:
    return web.Response(body=msgspec.json.encode(body), status=status, content_type="application/json")
