"""REST of the futures account: summary, positions, sweeps, margin settings.

Owns HTTP only; what is said is ``futures``.  The international perpetuals of the old gateway (``/intx``) have left this
API: those paths are refused.
"""

from __future__ import annotations

from collections.abc import Callable

from aiohttp import web

from connectors.coinbase.sandbox.exchange import Exchange
from connectors.coinbase.sandbox.replies import NotThere, body_of, reply


class FuturesRoutes:
    """Handlers over one exchange."""

    def __init__(self, exchange: Exchange, now_ns: Callable[[], int]) -> None:
        self._futures = exchange.futures
        self._now_ns = now_ns

    def add(self, app: web.Application, prefix: str) -> None:
        get, post = app.router.add_get, app.router.add_post
        get(f"{prefix}/cfm/balance_summary", self.summary)
        get(f"{prefix}/cfm/positions", self.positions)
        get(f"{prefix}/cfm/positions/{{product_id}}", self.position)
        get(f"{prefix}/cfm/sweeps", self.sweeps)
        app.router.add_delete(f"{prefix}/cfm/sweeps", self.cancel_sweeps)
        post(f"{prefix}/cfm/sweeps/schedule", self.schedule_sweep)
        get(f"{prefix}/cfm/intraday/margin_setting", self.setting)
        post(f"{prefix}/cfm/intraday/margin_setting", self.choose)
        get(f"{prefix}/cfm/intraday/current_margin_window", self.window)

    async def summary(self, _: web.Request) -> web.Response:
        return reply({"balance_summary": self._futures.rest_summary()})

    async def positions(self, _: web.Request) -> web.Response:
        return reply({"positions": self._futures.positions()})

    async def position(self, request: web.Request) -> web.Response:
        found = self._futures.find(request.match_info["product_id"])
        if found is None:
            raise NotThere("position not found")
        return reply({"position": found})

    async def sweeps(self, _: web.Request) -> web.Response:
        return reply({"sweeps": self._futures.sweeps})

    async def schedule_sweep(self, request: web.Request) -> web.Response:
        self._futures.schedule_sweep(await body_of(request), self._now_ns())
        return reply({"success": True})

    async def cancel_sweeps(self, _: web.Request) -> web.Response:
        self._futures.sweeps.clear()
        return reply({"success": True})

    async def setting(self, _: web.Request) -> web.Response:
        return reply({"setting": self._futures.setting})

    async def choose(self, request: web.Request) -> web.Response:
        self._futures.choose(await body_of(request))
        return reply({})

    async def window(self, _: web.Request) -> web.Response:
        return reply(self._futures.window(self._now_ns()))
