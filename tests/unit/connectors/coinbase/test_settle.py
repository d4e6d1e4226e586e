"""Fills read, unknown outcomes resolved, against a real REST server that the test scripts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from connectors.coinbase import settle
from connectors.coinbase.account import AccountHealth
from connectors.coinbase.settle import IDS_PER_CALL, Settler
from connectors.coinbase.tracker import OrderTracker
from connectors.fakes import EventLog, FakeClock
from connectors.rest import RestClient
from engine.errors import VenueError
from engine.events import FeedDown, FeedUp, OrderAccepted, OrderCancelled, OrderFilled, OrderRejected
from tests.support.coinbase import BTC, TS_NS, fill

S = 1_000_000_000


class Venue:
    """What the server answers; ``fail`` makes the next calls answer 503."""

    def __init__(self) -> None:
        self.orders: list[dict[str, Any]] = []
        self.fills: list[dict[str, Any]] = []
        self.fail = 0
        self.status = 503
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
            return web.Response(status=self.status, text="<html>")
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
        self.offset_ns = 0
        self.account = AccountHealth("coinbase", self.log, self.clock)
        self.settler = Settler(
            "coinbase",
            rest=rest,
            tracker=self.tracker,
            clock=self.clock,
            emit=lambda events: self.log.extend(events),
            account=self.account,
            venue_offset_ns=lambda: self.offset_ns,
            grace_s=15.0,
            poll_s=0.01,
        )

    def up(self) -> None:
        """The stream is up and the opening balances are told; the log starts empty."""
        self.account.open()
        self.account.on_stream(FeedUp(1, 1, "coinbase", "user"))
        self.log.clear()

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
        assert len(b.settler._unknown) == 0
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
        assert (b.log, len(b.settler._unknown)) == ([], 1)
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
        assert (b.log, len(b.settler._unknown)) == ([], 1)


@pytest.mark.fault("B17")
async def test_what_the_stream_tells_meanwhile_ends_the_question() -> None:
    """Accepted on the user stream before any listing."""
    async with bench(start=False) as b:
        b.tracker.sent("c1", TS_NS)
        b.settler.resolve("c1", "BTC-USD", TS_NS, TS_NS)
        b.claim("v1", "c1", "0")
        await b.settler.resolve_unknown()
        assert (len(b.settler._unknown), b.venue.calls) == (0, [])


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


BAD_FILLS: dict[str, dict[str, Any]] = {
    "size NaN": {"size": "NaN"},
    "size infinite": {"size": "Infinity"},
    "size 0": {"size": "0"},
    "size negative": {"size": "-0.4"},
    "price NaN": {"price": "NaN"},
    "price sNaN": {"price": "sNaN"},
    "price 0": {"price": "0"},
    "price 0 in quote": {"price": "0", "size_in_quote": True},
    "price NaN in quote": {"price": "NaN", "size_in_quote": True},
    "quotient too large": {"size": "1E+999999", "price": "1E-999999", "size_in_quote": True},
    "commission NaN": {"commission": "NaN"},
    "no side": {"side": "UNKNOWN_ORDER_SIDE"},
}


@pytest.mark.parametrize("name", BAD_FILLS)
async def test_a_fill_without_sense_is_never_booked_and_stops_entries_until_it_is_mended(name: str) -> None:
    """The user stream counts as down, other orders' fills are booked; mended, it is booked and the stream is up."""
    async with bench() as b:
        b.up()
        b.tracker.sent("c1", 1)
        b.tracker.sent("c2", 1)
        b.venue.fills = [fill("bad", "v1", **BAD_FILLS[name]), fill("good", "v2")]
        b.claim("v1", "c1", "0.4", "FILLED")
        b.claim("v2", "c2", "0.4", "FILLED")
        await until(lambda: b.log.of(FeedDown) and b.log.of(OrderFilled))
        assert [(e.stream, "account not readable: fill bad" in e.reason) for e in b.log.of(FeedDown)] == [
            ("user", True)
        ]
        assert [e.trade_id for e in b.log.of(OrderFilled)] == ["good"]
        assert b.tracker.unreadable_fills > 0
        assert [o.client_order_id for o in b.tracker.open_orders()] == ["c1"]
        b.venue.fills[0] = fill("bad", "v1")
        await until(lambda: b.log.of(FeedUp))
        assert [e.trade_id for e in b.log.of(OrderFilled)] == ["good", "bad"]
        assert b.tracker.open_orders() == []
        assert not any(task.done() for task in b.settler._tasks)


async def test_a_defect_in_a_background_task_stops_entries_and_the_task_goes_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Both tasks raise what they should not, twice each: said, logged, and afterwards the work is done all the same."""
    monkeypatch.setattr(settle, "RESTART_FIRST_S", 0.01)
    async with bench() as b:
        b.up()
        left = {"book": 2, "open_orders": 2}
        book, resolve = b.tracker.book, b.settler.resolve_unknown

        def failing_book(*args: Any) -> Any:
            left["book"] -= 1
            if left["book"] >= 0:
                raise ZeroDivisionError("a defect")
            return book(*args)

        async def failing_resolve() -> None:
            left["open_orders"] -= 1
            if left["open_orders"] >= 0:
                raise KeyError("a defect")
            await resolve()

        monkeypatch.setattr(b.tracker, "book", failing_book)
        monkeypatch.setattr(b.settler, "resolve_unknown", failing_resolve)
        b.venue.fills = [fill("e1")]
        b.tracker.sent("c1", 1)
        b.claim("v1", "c1", "0.4", "FILLED")
        await until(lambda: b.log.of(OrderFilled) and left["open_orders"] < 0 and not b.account.troubles)
        kinds = [type(e) for e in b.log if type(e) in (FeedDown, FeedUp)]
        assert kinds[0] is FeedDown
        assert kinds[-1] is FeedUp
        assert {"ZeroDivisionError: a defect", "KeyError: 'a defect'"} <= {
            f"{type(r.exc_info[1]).__name__}: {r.exc_info[1]}" for r in caplog.records if r.exc_info
        }


async def test_fills_that_cannot_be_read_for_long_stop_entries() -> None:
    """One failed reading is nothing; a row of them is an account that cannot be read, until one succeeds."""
    async with bench() as b:
        b.up()
        b.venue.fail = settle.FAILURES_TOLERATED + 1
        b.tracker.sent("c1", 1)
        b.claim("v1", "c1", "0.4", "FILLED")
        await until(lambda: b.log.of(FeedDown))
        assert b.settler.failures == settle.FAILURES_TOLERATED + 1
        b.venue.fills = [fill("e1")]
        await until(lambda: b.log.of(OrderFilled) and b.log.of(FeedUp))


async def test_orders_whose_fills_never_come_do_not_keep_others_from_theirs() -> None:
    """As many stuck orders as one call takes; one more is read in its turn."""
    async with bench(start=False) as b:
        for index in range(IDS_PER_CALL):
            b.tracker.sent(f"s{index}", 1)
            b.claim(f"stuck{index}", f"s{index}", "1")
        b.tracker.sent("c1", 1)
        b.claim("v1", "c1", "0.4")
        b.venue.fills = [fill("e1")]
        for _ in range(2):
            await b.settler.read_fills()
        assert [e.trade_id for e in b.log.of(OrderFilled)] == ["e1"]


async def test_a_listing_starts_by_the_venues_clock() -> None:
    """The venue's clock is an hour ahead: the listing that must show an order sent now starts an hour later."""
    async with bench(start=False) as b:
        b.offset_ns = 3600 * S
        b.tracker.sent("c1", TS_NS)
        b.settler.resolve("c1", "BTC-USD", TS_NS, TS_NS)
        await b.settler.resolve_unknown()
        assert "start_date=2026-11-20T15:02:07.123456Z" in b.venue.calls[0]


async def test_one_products_failing_listing_does_not_keep_another_products_order_unknown() -> None:
    """The first listing fails, the second is read; the failure is said."""
    async with bench(start=False) as b:
        b.venue.order("v2", "c2")
        b.venue.fail = 1
        for client, product in (("c1", "ETH-USD"), ("c2", "BTC-USD")):
            b.tracker.sent(client, TS_NS)
            b.settler.resolve(client, product, TS_NS, TS_NS)
        with pytest.raises(VenueError):
            await b.settler.resolve_unknown()
        assert [(type(e), e.client_order_id) for e in b.log] == [(OrderAccepted, "c2")]


@pytest.mark.parametrize(("status", "failures"), [(404, 0), (500, 1), (403, 1)])
async def test_an_order_that_is_not_found_is_asked_again_and_another_failure_is_said(
    status: int, failures: int
) -> None:
    """Listings lag: 404 is no failure and no evidence; any other refusal is a failure of the question."""
    async with bench() as b:
        b.tracker.sent("c1", 1)
        b.tracker.accepted("c1", "v1", 1)
        b.venue.status, b.venue.fail = status, 1
        b.settler.check_now("c1")
        await until(lambda: b.venue.calls)
        b.venue.order("v1", "c1", "CANCELLED")
        await asyncio.sleep(0)
        b.settler.check_now("c1")
        await until(lambda: b.log.of(OrderCancelled))
        assert b.settler.failures == failures
