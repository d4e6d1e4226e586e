"""Which orders are looked up one by one, when, and until when."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

import pytest

from connectors.coinbase import order_checks
from connectors.coinbase.versions import Version
from engine.commands import OrderIntent, OrderType, ReplaceOrder, TimeInForce
from engine.events import (
    OrderAccepted,
    OrderCancelled,
    OrderFilled,
    OrderRejected,
    OrderReplaced,
    ReplaceRejected,
    Side,
)
from tests.support.coinbase import BTC, TS_NS, fill
from tests.support.coinbase_settle import settling
from tests.support.waiting import until

S = 1_000_000_000


@pytest.mark.fault("A6")
async def test_the_version_of_an_earlier_sessions_order_is_asked_for_when_a_listing_has_shown_it() -> None:
    """The listing is behind and shows it as it was sent; the account is not confirmed before its record was asked."""
    intent = OrderIntent(1, "s", BTC, Side.BUY, Decimal(4), OrderType.LIMIT, Decimal(99), TimeInForce.GTC)
    async with settling(start=False) as b:
        b.tracker.adopt("c1", "", Decimal(0), (), ended=False, intent=intent)
        b.venue.order("v1", "c1", order_configuration={"limit_limit_gtc": {"base_size": "4", "limit_price": "99"}})
        b.settler.resolve("c1", "BTC-USD", TS_NS, TS_NS)
        await b.settler.resolve_unknown()
        assert ([type(event) for event in b.log], b.tracker.is_unresolved("c1")) == ([OrderAccepted], True)
        b.venue.orders[0]["order_configuration"] = {"limit_limit_gtc": {"base_size": "3", "limit_price": "97"}}
        await b.settler.checks.look()
        assert [type(event) for event in b.log] == [OrderAccepted, OrderReplaced]
        assert not b.tracker.is_unresolved("c1")


@pytest.mark.fault("A6")
@pytest.mark.fault("B13")
async def test_a_change_of_an_order_that_fills_before_anybody_has_asked_about_it_is_asked_about() -> None:
    """An earlier session has sent the change; the stream shows the order filled before the first look-up of this one:
    its end is told and leaves the change in doubt."""
    async with settling(start=False) as b:
        d = Decimal
        b.tracker.adopt("c1", "v1", d(0), (), ended=False)
        b.tracker.versions.follow("c1", "v1", Version(d("0.4"), d(100)), is_doubtful=True)
        b.tracker.versions.begin(ReplaceOrder(0, "c1", "coinbase", "v1", BTC, d("0.8"), d(99), d("0.4"), d(100)), TS_NS)
        b.tracker.versions.answered("v1", TS_NS, taken=False)
        limit = {"limit_limit_gtc": {"base_size": "0.4", "limit_price": "100"}}
        b.venue.order("v1", "c1", "FILLED", "0.4", order_configuration=limit)
        b.venue.fills = [fill("e1")]
        b.claim("v1", "c1", "0.4", "FILLED")
        b.settler.wake_for_fills()
        await b.settler.read_fills()
        assert (b.tracker.open_orders(), b.tracker.is_unresolved("c1")) == ([], True)
        b.settler.checks.check_open()
        await b.settler.checks.look()
        assert [type(event) for event in b.log] == [OrderAccepted, OrderFilled, ReplaceRejected]
        assert not b.tracker.is_unresolved("c1")


@pytest.mark.fault("A6")
@pytest.mark.fault("B8")
async def test_an_order_that_has_filled_for_an_earlier_session_and_is_larger_lives_on() -> None:
    """Somebody made it larger by hand, and that session ended before it looked: the listing of open orders shows it.
    Its record is believed after the grace, then its executions and its end are followed again."""
    intent = OrderIntent(1, "s", BTC, Side.BUY, Decimal("0.4"), OrderType.LIMIT, Decimal(99), TimeInForce.GTC)
    async with settling(start=False) as b:
        b.tracker.adopt("c1", "v1", Decimal("0.4"), ("e1",), ended=True, intent=intent)
        larger = {"limit_limit_gtc": {"base_size": "0.8", "limit_price": "97"}}
        b.venue.order("v1", "c1", "OPEN", "0.4", order_configuration=larger)
        await b.settler.find_strangers({"BTC-USD": BTC})
        await b.settler.checks.look()
        assert (b.log, b.tracker.is_unresolved("c1"), b.tracker.open_orders()) == ([], True, [])
        b.clock.advance(15 * S)
        b.settler.checks.check_open()
        await b.settler.checks.look()
        assert [(type(event), event.qty) for event in b.log] == [(OrderReplaced, Decimal("0.8"))]
        assert not b.tracker.is_unresolved("c1")
        assert [order.client_order_id for order in b.tracker.open_orders()] == ["c1"]
        b.venue.orders[0] |= {"status": "CANCELLED", "filled_size": "0.6"}
        b.venue.fills = [fill("e1"), fill("e2", size="0.2")]
        b.settler.checks.check_open()
        await b.settler.checks.look()
        await b.settler.read_fills()
        assert [type(event) for event in b.log] == [OrderReplaced, OrderFilled, OrderCancelled]


@pytest.mark.fault("B16")
@pytest.mark.parametrize(("status", "filled"), [("FILLED", "0.4"), ("CANCELLED", "0.4"), ("OPEN", "0.2")])
async def test_an_order_that_has_filled_is_not_revived_by_a_listing_that_is_behind(status: str, filled: str) -> None:
    """It ended right before this session began: its own record says so, at once or when it has caught up."""
    intent = OrderIntent(1, "s", BTC, Side.BUY, Decimal("0.4"), OrderType.LIMIT, Decimal(99), TimeInForce.GTC)
    async with settling(start=False) as b:
        b.tracker.adopt("c1", "v1", Decimal("0.4"), ("e1",), ended=True, intent=intent)
        limit = {"limit_limit_gtc": {"base_size": "0.4", "limit_price": "99"}}
        b.venue.order("v1", "c1", "OPEN", filled, order_configuration=limit)
        await b.settler.find_strangers({"BTC-USD": BTC})
        b.venue.orders[0]["status"] = status
        b.clock.advance(20 * S)
        await b.settler.checks.look()
        assert (b.log, b.tracker.open_orders()) == ([], [])
        assert b.tracker.is_unresolved("c1") is (status == "OPEN")
        b.venue.orders[0]["status"] = "FILLED"
        b.settler.checks.check_open()
        await b.settler.checks.look()
        assert (b.log, b.tracker.is_unresolved("c1"), b.tracker.open_orders()) == ([], False, [])


@pytest.mark.fault("B9")
async def test_after_a_lost_stream_every_open_order_is_looked_up() -> None:
    """One was cancelled meanwhile, one filled, one lives, one is not listed yet."""
    async with settling() as b:
        for index in range(4):
            b.tracker.sent(f"c{index}", 1)
            b.tracker.accepted(f"c{index}", f"v{index}", 1)
        b.venue.order("v0", "c0", "CANCELLED")
        b.venue.order("v1", "c1", "FILLED", "0.4")
        b.venue.order("v2", "c2")
        b.venue.fills = [fill("e1", "v1")]
        b.settler.checks.check_open()
        await until(lambda: b.log.of(OrderFilled) and b.log.of(OrderCancelled))
        assert sorted(o.client_order_id for o in b.tracker.open_orders()) == ["c2", "c3"]


async def test_an_order_that_rests_is_not_looked_up_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a lost stream two look-ups show one alive, and it is left alone; the one whose cancel was refused is asked
    about until it ends."""
    monkeypatch.setattr("connectors.coinbase.order_checks.CHECK_AGAIN_S", 0.0)
    async with settling(start=False) as b:
        for index in range(2):
            b.tracker.sent(f"c{index}", 1)
            b.tracker.accepted(f"c{index}", f"v{index}", 1)
            b.venue.order(f"v{index}", f"c{index}")
        b.settler.checks.check_open()
        b.settler.checks.check_now("c1")
        b.settler.checks.check_open()
        for _ in range(5):
            await b.settler.checks.look()
        calls = [call.partition("?")[0] for call in b.venue.calls]
        assert [sum(call.endswith(name) for call in calls) for name in ("/v0", "/v1")] == [2, 5]


@pytest.mark.fault("B16")
async def test_a_change_without_an_answer_is_asked_about_until_it_is_known_also_after_a_lost_stream(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two look-ups are enough for an order that rests, not for one whose change has no answer: it fills as it was, and
    only its record says which version that was."""
    monkeypatch.setattr("connectors.coinbase.order_checks.CHECK_AGAIN_S", 0.0)
    async with settling(start=False) as b:
        b.tracker.sent("c1", TS_NS)
        b.tracker.accepted("c1", "v1", TS_NS)
        limit = {"limit_limit_gtc": {"base_size": "0.4", "limit_price": "100"}}
        b.venue.order("v1", "c1", order_configuration=limit)
        d = Decimal
        b.tracker.versions.begin(ReplaceOrder(0, "c1", "coinbase", "v1", BTC, d("0.8"), d(99), d("0.4"), d(100)), TS_NS)
        b.tracker.versions.answered("v1", TS_NS, taken=False)
        b.settler.checks.check_change("c1")
        b.settler.checks.check_open()
        for _ in range(3):
            await b.settler.checks.look()
        b.venue.orders[0] |= {"status": "FILLED", "filled_size": "0.4"}
        b.venue.fills = [fill("e1")]
        await b.settler.checks.look()
        await b.settler.read_fills()
        assert [type(e) for e in b.log] == [ReplaceRejected, OrderFilled]
        assert (b.tracker.open_orders(), b.settler.checks._due_s) == ([], {})


@pytest.mark.parametrize(("status", "failures"), [(404, 0), (500, 1), (403, 1)])
async def test_an_order_that_is_not_found_is_asked_again_and_another_failure_is_said(
    status: int, failures: int
) -> None:
    """Listings lag: 404 is no failure and no evidence; any other refusal is a failure of the question."""
    async with settling() as b:
        b.tracker.sent("c1", 1)
        b.tracker.accepted("c1", "v1", 1)
        b.venue.status, b.venue.fail = status, 1
        b.settler.checks.check_now("c1")
        await until(lambda: b.venue.calls)
        b.venue.order("v1", "c1", "CANCELLED")
        await asyncio.sleep(0)
        b.settler.checks.check_now("c1")
        await until(lambda: b.log.of(OrderCancelled))
        assert b.settler.failures == failures


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ({"status": "OPEN"}, True),
        ({"status": "OPEN", "pending_cancel": False}, True),
        ({"status": "OPEN", "pending_cancel": None}, True),
        ({"status": "PENDING"}, True),
        ({"status": "QUEUED"}, True),
        ({"status": "EDIT_QUEUED"}, True),
        ({"status": "OPEN", "pending_cancel": True}, False),
        ({"status": "OPEN", "pending_cancel": "true"}, False),
        ({"status": "CANCEL_QUEUED"}, False),
        ({"status": "UNKNOWN_ORDER_STATUS"}, False),
        ({"status": "CANCELLED"}, False),
    ],
    ids=str,
)
async def test_a_look_up_tells_of_an_order_that_is_open_without_a_cancel_under_way(
    answer: dict[str, Any], told: bool
) -> None:
    """With the moment the question was asked; a status that says a cancel is at work, or nothing, tells nothing."""
    async with settling() as b:
        b.tracker.sent("c1", 1)
        b.tracker.accepted("c1", "v1", 1)
        b.venue.order("v1", "c1", **answer)
        asked_ns = b.clock.now_ns()
        b.venue.on_call = lambda: b.clock.advance(S)
        b.settler.checks.check_now("c1")
        b.tracker.sent("c2", TS_NS)
        b.settler.resolve("c2", "BTC-USD", TS_NS, TS_NS)
        await until(lambda: any("/batch" in call for call in b.venue.calls))  # asked after the look-up was read
        assert b.still_open == ([("c1", asked_ns)] if told else [])


async def test_an_order_that_stays_open_is_looked_up_again_and_told_each_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two rounds of one check, without anybody asking for the second."""
    monkeypatch.setattr(order_checks, "CHECK_AGAIN_S", 0.01)
    async with settling() as b:
        b.tracker.sent("c1", 1)
        b.tracker.accepted("c1", "v1", 1)
        b.venue.order("v1", "c1")
        b.settler.checks.check_now("c1")
        await until(lambda: len(b.still_open) > 1)


@pytest.mark.fault("B11")
@pytest.mark.fault("B16")
@pytest.mark.parametrize("evidence", ["", "it is listed as open", "an execution is listed"])
async def test_an_order_whose_record_is_gone_does_not_hold_its_risk_for_ever(
    evidence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Taken, its end lost, and the record answers 404 for five minutes; not where anything speaks for it, or later."""
    monkeypatch.setattr(order_checks, "CHECK_AGAIN_S", 0.01)
    async with settling() as b:
        b.tracker.sent("c1", 1)
        b.log.extend(b.tracker.accepted("c1", "v1", 1))
        b.settler.checks.check_now("c1")
        await until(lambda: len(b.venue.calls) >= 3)
        b.clock.advance(301 * 10**9)  # a clock that is set says nothing
        await until(lambda: len(b.venue.calls) >= 6)
        assert [o.client_order_id for o in b.tracker.open_orders()] == ["c1"]
        b.clock.advance(-11 * 10**9)
        await until(lambda: len(b.venue.calls) > order_checks.GONE_LOOKS + 6)
        asked = len(b.venue.calls)
        await until(lambda: len(b.venue.calls) > asked + 6)
        assert [o.client_order_id for o in b.tracker.open_orders()] == ["c1"]
        if evidence == "it is listed as open":
            b.venue.order("v1", "c1")
            b.venue.hidden.add("v1")
        elif evidence:
            b.venue.fills = [fill("e1", size="0.1")]
        b.clock.advance(15 * 10**9)
        if evidence:
            asked = len(b.venue.calls)
            await until(lambda: len(b.venue.calls) > asked + 6)
            assert b.log.of(OrderRejected) == []
            return
        await until(lambda: b.log.of(OrderRejected))
        assert [(one.reason, b.tracker.open_orders()) for one in b.log.of(OrderRejected)] == [("never_arrived", [])]
        b.claim("v1", "c1", "0")
        assert type(b.log[-1]) is OrderAccepted
        assert [o.client_order_id for o in b.tracker.open_orders()] == ["c1"]
