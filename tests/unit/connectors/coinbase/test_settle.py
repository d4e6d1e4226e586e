"""Unknown outcomes resolved and silent orders looked up, against a real REST server that the test scripts."""

from __future__ import annotations

from decimal import Decimal

import pytest

from engine.commands import OrderIntent, OrderType, TimeInForce
from engine.errors import VenueError
from engine.events import (
    OrderAccepted,
    OrderFilled,
    OrderRejected,
    OrderReplaced,
    Side,
)
from tests.support.coinbase import BTC, TS_NS, fill
from tests.support.coinbase_settle import settling
from tests.support.waiting import until

S = 1_000_000_000


@pytest.mark.fault("B14")
async def test_an_unknown_order_that_is_listed_is_adopted_with_its_fills() -> None:
    """On the second page of the listing, filled."""
    async with settling() as b:
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


@pytest.mark.fault("A6")
@pytest.mark.fault("B8")
@pytest.mark.parametrize("is_carried", [False, True])
@pytest.mark.parametrize(("status", "filled"), [("OPEN", "0"), ("FILLED", "0.4")])
async def test_an_unknown_order_that_is_listed_as_another_than_was_sent_is_told_as_what_it_is(
    is_carried: bool, status: str, filled: str
) -> None:
    """Somebody has changed it by hand before its answer was lost, or after the session that sent it was killed: a
    listing may be behind, its own record is asked."""
    intent = OrderIntent(1, "s", BTC, Side.BUY, Decimal(4), OrderType.LIMIT, Decimal(99), TimeInForce.GTC)
    changed = {"limit_limit_gtc": {"base_size": "0.4", "limit_price": "97"}}
    async with settling() as b:
        b.venue.order("v1", "c1", status, filled, order_configuration=changed)
        b.venue.fills = [fill("e1")] if status == "FILLED" else []
        if is_carried:
            b.tracker.adopt("c1", "", Decimal(0), (), ended=False, intent=intent)
        else:
            b.tracker.sent("c1", TS_NS, intent)
        b.settler.resolve("c1", "BTC-USD", TS_NS, TS_NS)
        await until(lambda: b.log.of(OrderReplaced) and len(b.log.of(OrderFilled)) == len(b.venue.fills))
        (told,) = b.log.of(OrderReplaced)
        assert (told.qty, told.limit_px) == (Decimal("0.4"), Decimal(97))
        await until(lambda: not b.tracker.is_unresolved("c1"))


@pytest.mark.fault("B16")
async def test_absence_counts_only_after_the_grace_and_a_second_listing() -> None:
    """Polled many times before the grace: unknown all along; after it: never arrived, once."""
    async with settling() as b:
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
async def test_an_order_that_was_given_up_is_found_among_those_that_are_open() -> None:
    """No stream has told it; the next round of the account does."""
    async with settling() as b:
        b.tracker.adopt("c1", "", Decimal(0), (), ended=True, rejected=True)
        b.venue.order("v1", "c1")
        await b.settler.find_strangers({"BTC-USD": BTC})
        assert [type(event) for event in b.log] == [OrderAccepted]
        assert [order.client_order_id for order in b.tracker.open_orders()] == ["c1"]


@pytest.mark.fault("A2")
@pytest.mark.fault("B16")
async def test_an_order_that_may_have_traded_is_not_said_to_have_never_arrived() -> None:
    """It filled at once and is over; listings of orders lag and its record answers 404, its execution is listed."""
    async with settling(start=False) as b:
        b.tracker.sent("c1", TS_NS)
        b.venue.is_behind = True
        b.venue.fills = [fill("e1", "v1"), fill("e9", "v9", size="2")]
        b.venue.order("v9", "somebody", "FILLED", "2")
        b.settler.resolve("c1", "BTC-USD", TS_NS, TS_NS)
        b.clock.advance(20 * S)
        await b.settler.resolve_unknown()
        await b.settler.resolve_unknown()
        asked = [call.partition("?")[0].rpartition("/")[2] for call in b.venue.calls]
        assert asked == ["batch", "batch", "fills", "v1", "v9"]
        await b.settler.resolve_unknown()
        assert len(b.venue.calls) == 5  # not before its time
        b.clock.advance(5 * S)
        await b.settler.resolve_unknown()
        assert [call.rpartition("/")[2] for call in b.venue.calls[7:]] == ["v1"]
        assert (b.log, b.tracker.is_unresolved("c1"), len(b.settler._unknown)) == ([], True, 1)
        b.venue.order("v1", "c1", "FILLED", "0.4")
        b.clock.advance(5 * S)
        await b.settler.resolve_unknown()
        await b.settler.read_fills()
        assert [type(e) for e in b.log] == [OrderAccepted, OrderFilled]
        assert (b.tracker.open_orders(), len(b.settler._unknown)) == ([], 0)


@pytest.mark.fault("A1")
async def test_executions_of_others_keep_no_order_unknown() -> None:
    """More of them than are looked up at once."""
    async with settling(start=False) as b:
        b.tracker.sent("c1", TS_NS)
        for number in range(25):
            b.venue.fills.append(fill(f"e{number}", f"w{number}"))
            b.venue.order(f"w{number}", f"somebody-{number}", "FILLED", "0.4")
        b.settler.resolve("c1", "BTC-USD", TS_NS, TS_NS)
        b.clock.advance(20 * S)
        await b.settler.resolve_unknown()
        await b.settler.resolve_unknown()
        assert b.log == []
        b.clock.advance(5 * S)
        await b.settler.resolve_unknown()
        assert [(type(e), e.reason) for e in b.log] == [(OrderRejected, "never_arrived")]


async def test_orders_of_others_are_remembered_as_long_as_they_are_listed() -> None:
    """One order after the other is lost and the account is never without: what the listings have left behind is
    forgotten, and looked up once while it is there."""
    async with settling(start=False) as b:
        known = b.settler._unknown
        for turn in range(4):
            b.tracker.sent(f"c{turn}", TS_NS)
            b.venue.is_behind = True
            b.venue.fills = [fill(f"e{turn}-{number}", f"w{turn}-{number}") for number in range(3)]
            b.venue.fills.append(fill(f"mine{turn}", f"v{turn}"))
            for number in range(3):
                b.venue.order(f"w{turn}-{number}", f"somebody-{turn}-{number}", "FILLED", "0.4")
            b.settler.resolve(f"c{turn}", "BTC-USD", TS_NS, TS_NS)
            for _ in range(3):
                b.clock.advance(20 * S)
                await b.settler.resolve_unknown()
            assert known._others == {"BTC-USD": {f"w{turn}-{number}" for number in range(3)}}
        assert len(known) == 4
        asked = [call.partition("?")[0].rpartition("/")[2] for call in b.venue.calls]
        assert all(asked.count(f"w{turn}-{number}") == 1 for turn in range(4) for number in range(3))


@pytest.mark.fault("B16")
async def test_one_listing_is_not_enough_however_late_it_comes() -> None:
    """The first listing ever succeeds an hour after the loss: still unknown; the second one decides."""
    async with settling(start=False) as b:
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
    async with settling() as b:
        b.venue.fail = 3
        b.tracker.sent("c1", TS_NS)
        b.settler.resolve("c1", "BTC-USD", TS_NS, TS_NS)
        b.clock.advance(3600 * S)
        await until(lambda: b.settler.failures >= 3)
        assert b.log.of(OrderRejected) == []
    async with settling(start=False) as b:
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
    async with settling(start=False) as b:
        b.tracker.sent("c1", TS_NS)
        b.settler.resolve("c1", "BTC-USD", TS_NS, TS_NS)
        b.claim("v1", "c1", "0")
        await b.settler.resolve_unknown()
        assert (len(b.settler._unknown), b.venue.calls) == (0, [])


async def test_a_listing_starts_by_the_venues_clock() -> None:
    """The venue's clock is an hour ahead: the listing that must show an order sent now starts an hour later."""
    async with settling(start=False) as b:
        b.offset_ns = 3600 * S
        b.tracker.sent("c1", TS_NS)
        b.settler.resolve("c1", "BTC-USD", TS_NS, TS_NS)
        await b.settler.resolve_unknown()
        assert "start_date=2026-11-20T15:02:07.123456Z" in b.venue.calls[0]


async def test_one_products_failing_listing_does_not_keep_another_products_order_unknown() -> None:
    """The first listing fails, the second is read; the failure is said."""
    async with settling(start=False) as b:
        b.venue.order("v2", "c2")
        b.venue.fail = 1
        for client, product in (("c1", "ETH-USD"), ("c2", "BTC-USD")):
            b.tracker.sent(client, TS_NS)
            b.settler.resolve(client, product, TS_NS, TS_NS)
        with pytest.raises(VenueError):
            await b.settler.resolve_unknown()
        assert [(type(e), e.client_order_id) for e in b.log] == [(OrderAccepted, "c2")]
