"""Fills read, unknown outcomes resolved, against a real REST server that the test scripts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from connectors.coinbase.settle import Settler
from connectors.coinbase.tracker import OrderTracker
from connectors.fakes import EventLog, FakeClock
from connectors.rest import RestClient
from engine.events import OrderAccepted, OrderCancelled, OrderFilled, OrderRejected
from tests.support.coinbase import BTC, TS_NS, fill

S = 1_000_000_000


class Venue:
    """What the server answers; ``fail`` makes the next calls answer 503."""

    def __init__(self) -> None:
        self.orders: list[dict[str, Any]] = []
        self.fills: list[dict[str, Any]] = []
        self.fail = 0
        self.calls: list[str] = []
        self.page = 100
        self.endless = False

    def order(self, order_id: str, client: str, status: str = "OPEN", filled: str = "0") -> None:
        self.orders.append(
            {
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
        if self.fail:
            self.fail -= 1
            return web.Response(status=503, text="<html>")
        start = int(request.query.get("cursor") or 0)
        stop = start + self.page
        if request.path.endswith("/fills"):
            wanted = set(request.query.getall("order_ids", []))
            found = [f for f in self.fills if f["order_id"] in wanted]
            return web.json_response({"fills": found[start:stop], "cursor": str(stop) if stop < len(found) else ""})
        if request.path.endswith("/batch"):
            more = stop < len(self.orders) or self.endless
            return web.json_response(
                {"orders": self.orders[start:stop], "has_next": more, "cursor": str(stop) if more else ""}
            )
        name = request.path.rpartition("/")[2]
        for order in self.orders:
            if order["order_id"] == name:
                return web.json_response({"order": order})
        return web.json_response({"error": "NOT_FOUND"}, status=404)


class Bench:
    def __init__(self, venue: Venue, rest: RestClient) -> None:
        self.venue = venue
        self.log = EventLog()
        self.clock = FakeClock(TS_NS)
        self.tracker = OrderTracker("coinbase", {"BTC-USD": BTC})
        self.settler = Settler(
            "coinbase",
            rest=rest,
            tracker=self.tracker,
            clock=self.clock,
            emit=lambda events: self.log.extend(events),
            venue_offset_ns=lambda: 0,
            grace_s=15.0,
            poll_s=0.01,
        )

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
                ts_recv_ns=1,
            )
        )
        self.settler.wake_for_fills()


@asynccontextmanager
async def bench(*, start: bool = True) -> AsyncIterator[Bench]:
    venue = Venue()
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", venue.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    rest = RestClient(f"http://127.0.0.1:{runner.addresses[0][1]}/api/v3/brokerage")
    await rest.start()
    b = Bench(venue, rest)
    if start:
        b.settler.start()
    try:
        yield b
    finally:
        await b.settler.stop()
        await rest.stop()
        await runner.cleanup()


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.005)


async def test_claimed_fills_are_read_and_told_in_time_order() -> None:
    """Two fills, listed newest first, over two pages."""
    async with bench() as b:
        b.venue.page = 1
        b.venue.fills = [
            fill("e2", size="0.3", trade_time="2026-11-20T14:03:09Z"),
            fill("e1", size="0.4", trade_time="2026-11-20T14:03:08Z"),
        ]
        b.tracker.sent("c1", 1)
        b.claim("v1", "c1", "0.7")
        await until(lambda: len(b.log.of(OrderFilled)) == 2)
        assert [e.trade_id for e in b.log.of(OrderFilled)] == ["e1", "e2"]


@pytest.mark.fault("B16")
async def test_a_fill_that_the_listing_shows_late_is_waited_for_and_the_end_with_it() -> None:
    """CANCELLED with 0.4 claimed; the listing is empty for a while, then fails once, then has it."""
    async with bench() as b:
        b.tracker.sent("c1", 1)
        b.claim("v1", "c1", "0.4", "CANCELLED")
        await until(lambda: len(b.venue.calls) >= 3)
        assert b.log.of(OrderFilled) == b.log.of(OrderCancelled) == []
        b.venue.fail = 1
        b.venue.fills = [fill("e1")]
        await until(lambda: b.log.of(OrderCancelled))
        assert [type(e) for e in b.log] == [OrderAccepted, OrderFilled, OrderCancelled]
        assert b.settler.failures == 1


@pytest.mark.fault("B14")
async def test_an_unknown_order_that_is_listed_is_adopted_with_its_fills() -> None:
    """On the second page of the listing, filled."""
    async with bench() as b:
        b.venue.page = 1
        b.venue.order("v0", "other")
        b.venue.order("v1", "c1", "FILLED", "0.4")
        b.venue.fills = [fill("e1")]
        b.tracker.sent("c1", TS_NS)
        b.settler.resolve("c1", "BTC-USD", TS_NS, TS_NS)
        await until(lambda: b.log.of(OrderFilled))
        assert [type(e) for e in b.log if e.client_order_id == "c1"] == [OrderAccepted, OrderFilled]
        assert b.settler.unknown_orders == 0
        assert "start_date=2026-11-20T14:02:07.123456Z" in b.venue.calls[0]


@pytest.mark.fault("B16")
async def test_absence_counts_only_after_the_grace_and_a_second_listing() -> None:
    """Polled many times before the grace: unknown all along; after it: never arrived, once."""
    async with bench() as b:
        b.tracker.sent("c1", TS_NS)
        b.settler.resolve("c1", "BTC-USD", TS_NS, TS_NS)
        await until(lambda: len(b.venue.calls) >= 5)
        b.clock.advance(14 * S)
        seen = len(b.venue.calls)
        await until(lambda: len(b.venue.calls) >= seen + 3)
        assert (b.log, b.settler.unknown_orders) == ([], 1)
        b.clock.advance(2 * S)
        await until(lambda: b.log)
        assert [(type(e), e.reason) for e in b.log] == [(OrderRejected, "never_arrived")]
        assert b.tracker.open_orders() == []


@pytest.mark.fault("B16")
async def test_one_listing_is_not_enough_however_late_it_comes() -> None:
    """The first listing ever succeeds an hour after the loss: still unknown; the second one decides."""
    async with bench(start=False) as b:
        b.tracker.sent("c1", TS_NS)
        b.settler.resolve("c1", "BTC-USD", TS_NS, TS_NS)
        b.clock.advance(3600 * S)
        await b.settler.resolve_unknown()
        assert b.log == []
        await b.settler.resolve_unknown()
        assert [type(e) for e in b.log] == [OrderRejected]


@pytest.mark.fault("C14")
async def test_a_failing_or_endless_listing_proves_nothing() -> None:
    """503s and a listing that never ends, far beyond the grace: the order stays unknown until a good listing."""
    async with bench() as b:
        b.venue.fail = 3
        b.tracker.sent("c1", TS_NS)
        b.settler.resolve("c1", "BTC-USD", TS_NS, TS_NS)
        b.clock.advance(3600 * S)
        await until(lambda: b.settler.failures >= 3)
        assert b.log.of(OrderRejected) == []
    async with bench(start=False) as b:
        b.venue.endless = True
        b.tracker.sent("c1", TS_NS)
        b.settler.resolve("c1", "BTC-USD", TS_NS, TS_NS)
        b.clock.advance(3600 * S)
        for _ in range(2):
            with pytest.raises(Exception, match="did not end"):
                await b.settler.resolve_unknown()
        assert (b.log, b.settler.unknown_orders) == ([], 1)


@pytest.mark.fault("B17")
async def test_what_the_stream_tells_meanwhile_ends_the_question() -> None:
    """Accepted on the user stream before any listing."""
    async with bench(start=False) as b:
        b.tracker.sent("c1", TS_NS)
        b.settler.resolve("c1", "BTC-USD", TS_NS, TS_NS)
        b.claim("v1", "c1", "0")
        await b.settler.resolve_unknown()
        assert (b.settler.unknown_orders, b.venue.calls) == (0, [])


@pytest.mark.fault("B9")
async def test_after_a_lost_stream_every_open_order_is_looked_up() -> None:
    """One was cancelled meanwhile, one filled, one lives, one is not listed yet."""
    async with bench() as b:
        for index in range(4):
            b.tracker.sent(f"c{index}", 1)
            b.tracker.accepted(f"c{index}", f"v{index}", 1)
        b.venue.order("v0", "c0", "CANCELLED")
        b.venue.order("v1", "c1", "FILLED", "0.4")
        b.venue.order("v2", "c2")
        b.venue.fills = [fill("e1", "v1")]
        b.settler.reconcile()
        await until(lambda: b.log.of(OrderFilled) and b.log.of(OrderCancelled))
        assert sorted(o.client_order_id for o in b.tracker.open_orders()) == ["c2", "c3"]
