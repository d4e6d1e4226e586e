"""A Coinbase settler on a bench: its REST server is a real one that the test scripts, everything else is real."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from connectors.account_health import AccountHealth
from connectors.coinbase.settle import Settler
from connectors.coinbase.tracker import OrderTracker
from connectors.fakes import EventLog, FakeClock
from connectors.rest import RestClient
from engine.events import FeedDown, FeedUp
from tests.support.coinbase import BTC, TS_NS


class ScriptedRest:
    """What the server answers; ``fail`` makes the next calls answer 503."""

    def __init__(self) -> None:
        self.orders: list[dict[str, Any]] = []
        self.fills: list[dict[str, Any]] = []
        self.fail = 0
        self.status = 503
        self.calls: list[str] = []
        self.page = 100
        self.endless = False
        self.is_behind = False
        """Listings of orders are empty; asked by its id an order is there."""
        self.hidden: set[str] = set()
        """Orders that are listed, and not found by their ids."""
        self.on_call: Callable[[], None] = lambda: None

    def order(self, order_id: str, client: str, status: str = "OPEN", filled: str = "0", **more: Any) -> None:
        self.orders.append(
            more
            | {
                "order_id": order_id,
                "client_order_id": client,
                "product_id": "BTC-USD",
                "status": status,
                "filled_size": filled,
                "side": "BUY",
                "cancel_message": "by test",
            }
        )

    async def handle(self, request: web.Request) -> web.Response:
        self.calls.append(request.path_qs)
        self.on_call()
        if self.fail:
            self.fail -= 1
            return web.Response(status=self.status, text="<html>")
        start = int(request.query.get("cursor") or 0)
        stop = start + self.page
        if request.path.endswith("/fills"):
            wanted = set(request.query.getall("order_ids", []))
            found = [f for f in self.fills if not wanted or f["order_id"] in wanted]
            return web.json_response({"fills": found[start:stop], "cursor": str(stop) if stop < len(found) else ""})
        if request.path.endswith("/batch") and self.is_behind:
            return web.json_response({"orders": [], "has_next": False, "cursor": ""})
        if request.path.endswith("/batch"):
            more = stop < len(self.orders) or self.endless
            return web.json_response(
                {"orders": self.orders[start:stop], "has_next": more, "cursor": str(stop) if more else ""}
            )
        name = request.path.rpartition("/")[2]
        for order in self.orders:
            if order["order_id"] == name and name not in self.hidden:
                return web.json_response({"order": order})
        return web.json_response({"error": "NOT_FOUND"}, status=404)


class SettleBench:
    """``log`` is what the core is told; the clock moves only when the test says so, the tasks' pauses are real."""

    def __init__(self, venue: ScriptedRest, rest: RestClient) -> None:
        self.venue = venue
        self.log = EventLog()
        self.clock = FakeClock(TS_NS)
        self.tracker = OrderTracker("coinbase", {"BTC-USD": BTC})
        self.offset_ns = 0
        self.still_open: list[tuple[str, int]] = []
        self.account = AccountHealth("coinbase", self.log, self.clock)
        self.settler = Settler(
            "coinbase",
            rest=rest,
            tracker=self.tracker,
            clock=self.clock,
            emit=lambda events: self.log.extend(events),
            account=self.account,
            venue_offset_ns=lambda: self.offset_ns,
            still_open=lambda client_id, asked_ns: self.still_open.append((client_id, asked_ns)),
            grace_s=15.0,
            poll_s=0.01,
        )

    def up(self) -> None:
        """The stream is up and the opening balances are told; the log starts empty."""
        self.account.open()
        self.account.on_stream(FeedUp(1, 1, "coinbase", "user"))
        self.log.clear()

    def told(self) -> list[type]:
        """What the core was told of the user stream's state, in order."""
        return [type(event) for event in self.log if type(event) in (FeedDown, FeedUp)]

    def claim(self, order_id: str, client: str, filled: str, status: str = "OPEN") -> None:
        """The user stream tells growth."""
        self.log.extend(
            self.tracker.observe(
                client_order_id=client,
                venue_order_id=order_id,
                product_id="BTC-USD",
                status=status,
                filled_qty=filled,
                reason="",
                ts_event_ns=1,
                ts_recv_ns=self.clock.now_ns(),
            )
        )
        self.settler.wake_for_fills()


@asynccontextmanager
async def settling(*, start: bool = True) -> AsyncIterator[SettleBench]:
    venue = ScriptedRest()
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", venue.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    rest = RestClient(f"http://127.0.0.1:{runner.addresses[0][1]}/api/v3/brokerage")
    await rest.start()
    b = SettleBench(venue, rest)
    if start:
        b.settler.start()
    try:
        yield b
    finally:
        await b.settler.stop()
        await rest.stop()
        await runner.cleanup()
