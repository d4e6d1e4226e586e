"""HTTP of the sandbox: hosts, bodies, limits, faults; every answer in the venue's shapes.

Owns HTTP only.  Answers are made by ``api``; what an operator may do is ``operator``.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from email.utils import formatdate
from typing import Any
from urllib.parse import parse_qsl

import msgspec
from aiohttp import web

from connectors.local.faults import FaultScript
from connectors.ratelimit import TokenBucket
from connectors.robin_stocks.sandbox.api import Api
from connectors.robin_stocks.sandbox.errors import ApiError, Json, detail
from connectors.robin_stocks.sandbox.exchange import Exchange
from connectors.robin_stocks.sandbox.operator import OPERATOR_PATH, Operator
from connectors.robin_stocks.sandbox.pages import API_HOST, HOSTS, Request

HOST_HEADER = "X-Forwarded-Host"
"""Which of the venue's hosts a request was for: the client's adapter says it."""
_MAX_BODY_BYTES = 1 << 20
_MAINTENANCE = "<html><body><h1>503 Service Unavailable</h1></body></html>"
_log = logging.getLogger(__name__)


class Rest:
    """One handler for everything."""

    def __init__(self, exchange: Exchange, now_ns: Callable[[], int]) -> None:
        self._exchange = exchange
        self._api = Api(exchange)
        self._now_ns = now_ns
        self.maintenance = False
        self.faults = FaultScript(lambda text: detail(400, text))
        self.operator = Operator(exchange, self.faults, self)
        self.seen: list[tuple[str, str]] = []
        """The newest requests, as method and path."""
        self.offset_ns = int(exchange.settings.clock_offset_s * 1e9)
        limit = exchange.settings.requests_per_min
        self._limit = TokenBucket(limit / 60.0, limit, now_ns=now_ns()) if limit else None

    def now_ns(self) -> int:
        """By the venue's clock."""
        return self._now_ns() + self.offset_ns

    def application(self) -> web.Application:
        app = web.Application(client_max_size=_MAX_BODY_BYTES)
        app.router.add_post(OPERATOR_PATH, self._operate)
        app.router.add_route("*", "/{path:.*}", self._handle)
        return app

    async def close(self) -> None:
        await self.faults.close()

    # --- every request ------------------------------------------------------------------------------------------------

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        raw = await request.read()
        self.seen.append((request.method, request.path))
        del self.seen[:-1_000]
        if self.maintenance:
            return web.Response(status=503, text=_MAINTENANCE, content_type="text/html")
        fault = self.faults.take(request.method, request.path)
        if fault is None:
            return self._answer(request, raw)

        async def carry_out() -> web.StreamResponse:
            return self._answer(request, raw)

        return await self.faults.go_wrong(request, carry_out, fault)

    def _answer(self, request: web.Request, raw: bytes) -> web.Response:
        try:
            self._admit()
            host = request.headers.get(HOST_HEADER, API_HOST)
            if host not in HOSTS:
                raise detail(404, f"{HOST_HEADER} {host[:60]} is none of the venue's hosts.")
            made = Request(
                host,
                request.method,
                request.path,
                dict(request.query),
                _form(request.headers.get("Content-Type", ""), raw) if request.method == "POST" else {},
                request.headers.get("Authorization", ""),
                self.now_ns(),
            )
            status, body = self._api.answer(made)
            return _reply(body, status, self._date())
        except ApiError as error:
            return _reply(error.body, error.status, {**self._date(), **error.headers})
        except Exception:
            # A defect of ours: the client sees a failing venue, the log keeps the trace.
            _log.exception("sandbox failed on %s %s", request.method, request.path)
            return _reply({"detail": "Internal error"}, 500)

    def _date(self) -> dict[str, str]:
        """The header by the venue's clock, which an operator may have moved."""
        return {"Date": formatdate(self.now_ns() // 1_000_000_000, usegmt=True)}

    def _admit(self) -> None:
        """Raises ``ApiError`` 429."""
        if self._limit is None:
            return
        now_ns = self._now_ns()
        if not self._limit.try_take(now_ns):
            wait_s = max(1, round(self._limit.wait_ns(now_ns) / 1e9))
            plural = "" if wait_s == 1 else "s"
            text = f"Request was throttled. Expected available in {wait_s} second{plural}."
            told = {"Retry-After": str(wait_s)} if self._exchange.settings.switches.retry_after else {}
            raise ApiError(429, {"detail": text}, told)

    async def _operate(self, request: web.Request) -> web.Response:
        """What the venue's own people do; from this machine alone."""
        if request.remote not in {"127.0.0.1", "::1"}:
            raise web.HTTPNotFound
        try:
            body = msgspec.json.decode(await request.read(), type=dict[str, Any])
            return _reply(self.operator.act(body, self.now_ns()))
        except (msgspec.DecodeError, RecursionError, ValueError) as error:
            return _reply({"detail": str(error)}, 400)
        except ApiError as error:
            return _reply(error.body, error.status)


def _form(content_type: str, raw: bytes) -> Mapping[str, Any]:
    """The fields of a body, which must be what its header says.  Raises ``ApiError`` 400 and 415."""
    kind = content_type.partition(";")[0].strip().lower()
    if not raw:
        return {}
    if kind == "application/json":
        try:
            return msgspec.json.decode(raw, type=dict[str, Any])
        except (msgspec.DecodeError, RecursionError, ValueError):
            raise detail(400, "JSON parse error") from None
    if kind == "application/x-www-form-urlencoded":
        try:
            return dict(parse_qsl(raw.decode(), keep_blank_values=True, max_num_fields=200))
        except ValueError:
            raise detail(400, "Malformed form.") from None
    raise detail(415, f'Unsupported media type "{kind[:60]}" in request.')


def _reply(body: Json, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    return web.Response(body=msgspec.json.encode(body), status=status, content_type="application/json", headers=headers)
