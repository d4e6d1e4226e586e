"""Whose an order is that nobody knows, and whether an exit was made at all: asked of a real, scripted server."""

from __future__ import annotations

from decimal import Decimal
from urllib.parse import parse_qs

import pytest

from connectors.coinbase import wire
from connectors.coinbase.inquiry import LISTING_MARGIN_NS
from connectors.coinbase.tracker import NEVER_NS
from engine.events import AttachmentMissing, OrderAttached, OrderCancelled, OrderFilled, OrderFound
from tests.support.coinbase import BTC, TS_NS, fill
from tests.support.coinbase_settle import SettleBench, settling
from tests.support.waiting import until
from tests.unit.connectors.coinbase.test_attached import EXIT, entry

GRACE_NS = 15_000_000_000
DAY_NS = 86_400_000_000_000


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks follow each other without long pauses."""
    monkeypatch.setattr("connectors.coinbase.exits.PAUSES_S", (0.02,))


def enter(b: SettleBench, *, answered: bool = True) -> None:
    """An entry of 0.4 has left, whose answer says nothing of its exit."""
    b.tracker.sent("c1", 1)
    b.tracker.attachments.expect(entry(), "BTC-USD")
    if answered:
        b.log.extend(b.tracker.accepted("c1", "v1", 5))


@pytest.mark.fault("B8")
async def test_an_order_that_names_no_entry_and_that_no_entry_names_is_somebody_elses() -> None:
    async with settling() as b:
        enter(b)
        b.venue.order("v1", "c1")
        b.venue.order("h1", "by-hand", side="SELL", order_configuration={"l": {"base_size": "1", "limit_price": "9"}})
        b.claim("h1", "by-hand", "0")
        await until(lambda: b.tracker.strangers)
        assert await b.settler.find_strangers({"BTC-USD": BTC}) == []
        assert [event.client_order_id for event in b.log.of(OrderFound)] == ["by-hand"]


@pytest.mark.fault("B16")
async def test_an_order_is_nobodys_while_an_entry_has_no_answer() -> None:
    """It is asked about again; the entry's record names it in the end, and it is that entry's."""
    async with settling() as b:
        enter(b, answered=False)
        b.venue.order("x1", "x1", side="SELL")
        b.claim("x1", "x1", "0")
        await until(lambda: len([call for call in b.venue.calls if call.endswith("/x1")]) > 2)
        assert (b.tracker.strangers, b.log.of(OrderFound)) == (False, [])
        b.venue.order("v1", "c1", "FILLED", "0.4", attached_order_id="x1")
        b.venue.fills.append(fill("e1", "v1"))
        b.log.extend(b.tracker.accepted("c1", "v1", 5))
        await until(lambda: b.log.of(OrderAttached))
        names = [event.client_order_id for event in (*b.log.of(OrderFilled), *b.log.of(OrderAttached))]
        assert (names, b.tracker.held_orders()) == (["c1", EXIT], [])


@pytest.mark.fault("B8")
@pytest.mark.fault("B16")
async def test_an_open_order_that_only_the_listing_shows_is_nobodys_while_an_entry_has_no_answer() -> None:
    """The stream told nothing of it, and it names no entry: told as somebody else's, what it fills would be booked
    there, and as the exit's once more."""
    async with settling(start=False) as b:
        enter(b, answered=False)
        size = {"l": {"base_size": "0.4", "limit_price": "9"}}
        b.venue.order("x1", "x1", side="SELL", order_configuration=size)
        assert await b.settler.find_strangers({"BTC-USD": BTC}) == []
        assert ([one.venue_order_id for one in b.tracker.held_orders()], b.log.of(OrderFound)) == (["x1"], [])
        b.venue.order("v1", "c1", "FILLED", "0.4", attached_order_id="x1")
        b.venue.fills = [fill("e1", "v1"), fill("e2", "x1", side="SELL")]
        b.log.extend(b.tracker.accepted("c1", "v1", 5))
        await b.settler.read_fills_since(0)
        await b.settler.exits.round()
        assert [event.client_order_id for event in b.log.of(OrderFilled)] == ["c1", EXIT]
        assert (b.log.of(OrderFound), b.tracker.held_orders()) == ([], [])


@pytest.mark.fault("B16")
async def test_an_order_whose_record_never_comes_is_asked_about_in_its_time_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Rounds come for other reasons, too; who is about to tell balances asks at once."""
    monkeypatch.setattr("connectors.coinbase.exits.PAUSES_S", (0.0, 3600.0))
    async with settling(start=False) as b:
        enter(b, answered=False)
        b.claim("x1", "x1", "0")
        for _ in range(5):
            await b.settler.exits.round()
        assert [call.rpartition("/")[2] for call in b.venue.calls] == ["x1", "x1"]
        await b.settler.exits.identify()
        assert len(b.venue.calls) == 3


@pytest.mark.fault("B16")
@pytest.mark.fault("C14")
async def test_an_exit_that_is_not_there_is_looked_for_until_the_grace_is_over() -> None:
    """Not by its entry, not by its id, not in the list; answers that fail prove nothing.  It comes at last, and is
    told."""
    async with settling() as b:
        enter(b)
        b.venue.order("v1", "c1", "CANCELLED", "0.4", attached_order_id="x1")
        b.venue.fills.append(fill("e1", "v1"))
        b.claim("v1", "c1", "0.4", "CANCELLED")
        await until(lambda: b.log.of(OrderCancelled))
        (awaited,) = b.tracker.awaited_exits()
        b.venue.fail = 3
        await until(lambda: awaited.looks >= 2)
        assert b.log.of(AttachmentMissing) == []
        b.clock.advance(GRACE_NS)
        await until(lambda: b.log.of(AttachmentMissing))
        b.venue.order("x1", "", side="SELL", originating_order_id="v1")
        await b.settler.find_strangers({"BTC-USD": BTC})
        (told,) = b.log.of(OrderAttached)
        assert (told.client_order_id, told.qty, b.log.of(OrderFound)) == (EXIT, Decimal("0.4"), [])


@pytest.mark.fault("B8")
@pytest.mark.fault("B16")
async def test_an_exit_that_was_given_up_and_comes_after_all_is_nobody_elses() -> None:
    """The stream tells of it and of what it fills, and never whose it is: told as somebody else's, its end would be
    told later with nothing filled, as each execution is booked once."""
    async with settling(start=False) as b:
        enter(b)
        b.venue.order("v1", "c1", "FILLED", "0.4")
        b.venue.fills.append(fill("e1", "v1"))
        b.claim("v1", "c1", "0.4", "FILLED")
        await b.settler.read_fills()
        (awaited,) = b.tracker.awaited_exits()
        b.log.extend(b.tracker.miss_exit(awaited, "by test", 6))
        b.venue.order("x1", "x1", "CANCELLED", "0.3", side="SELL", originating_order_id="v1")
        b.venue.fills.append(fill("e2", "x1", side="SELL", size="0.3"))
        b.claim("x1", "x1", "0.3", "CANCELLED")
        assert b.log.of(OrderCancelled) == []
        await b.settler.exits.round()
        await b.settler.read_fills()
        told = [(type(one), one.client_order_id) for one in b.log][-3:]
        assert told == [(OrderAttached, EXIT), (OrderFilled, EXIT), (OrderCancelled, EXIT)]


@pytest.mark.fault("B8")
async def test_after_an_exit_was_given_up_others_orders_are_told_when_the_venue_says_whose_they_are() -> None:
    """Also where the record of that entry is gone by now."""
    async with settling(start=False) as b:
        enter(b)
        b.venue.fills.append(fill("e1", "v1"))
        b.claim("v1", "c1", "0.4", "FILLED")
        await b.settler.read_fills()
        (awaited,) = b.tracker.awaited_exits()
        b.log.extend(b.tracker.miss_exit(awaited, "by test", 6))
        b.venue.order("h1", "by-hand", side="SELL")
        b.claim("h1", "by-hand", "0")
        assert [one.venue_order_id for one in b.tracker.held_orders()] == ["h1"]
        await b.settler.exits.round()
        assert (b.tracker.held_orders(), b.tracker.strangers) == ([], True)
        assert b.log[-1].client_order_id == "by-hand"


@pytest.mark.fault("C18")
async def test_a_fill_of_an_exit_that_its_entry_names_is_told_whenever_it_was() -> None:
    """Before the account was opened, and not yet seen as an order: it is looked up, and what it has done to the
    balances is booked as its own."""
    async with settling(start=False) as b:
        b.tracker.since_ns = NEVER_NS
        enter(b)
        b.venue.order("v1", "c1", "FILLED", "0.4", attached_order_id="x1")
        b.venue.order("x1", "", "FILLED", "0.4", side="SELL", originating_order_id="v1")
        b.log.extend(b.tracker.name_exit("c1", "x1", 5))
        b.venue.fills = [fill("e1", "v1"), fill("e2", "x1", side="SELL")]
        await b.settler.read_fills_since(0)
        assert [event.client_order_id for event in b.log.of(OrderFilled)] == ["c1", EXIT]


@pytest.mark.fault("C18")
async def test_exits_are_asked_for_before_balances_are_told() -> None:
    """Of an entry that has filled something and of no other: whose fills are to be read is returned."""
    async with settling(start=False) as b:
        enter(b)
        assert await b.settler.exits.find_made() == []
        assert b.venue.calls == []
        b.venue.order("v1", "c1", "FILLED", "0.4", attached_order_id="x1")
        b.venue.order("x1", "", "FILLED", "0.4", side="SELL", originating_order_id="v1")
        b.venue.fills = [fill("e1", "v1"), fill("e2", "x1", side="SELL")]
        b.claim("v1", "c1", "0.4", "FILLED")
        await b.settler.read_fills_of(["v1"])
        assert await b.settler.exits.find_made() == ["x1"]
        await b.settler.read_fills_of(["x1"])
        assert [event.client_order_id for event in b.log.of(OrderFilled)] == ["c1", EXIT]
        assert await b.settler.exits.find_made() == []


@pytest.mark.fault("C18")
async def test_what_is_listed_for_an_entry_that_rests_for_days_does_not_grow() -> None:
    """It has filled in part and names no exit: each time what came since the last time is read; what an exit that does
    not come is missed by is read since the entry was sent."""
    async with settling(start=False) as b:
        enter(b)
        b.venue.order("v1", "c1", "OPEN", "0.2")
        b.claim("v1", "c1", "0.2")
        for _ in range(3):
            await b.settler.exits.find_made()
            b.clock.advance(DAY_NS)
        (attachment,) = b.tracker.attachments.unsettled()
        await b.settler.exits._look_for(attachment)
        asked = [parse_qs(call)["start_date"][0] for call in b.venue.calls if "/batch" in call]
        days = [wire.format_time(TS_NS + day * DAY_NS - LISTING_MARGIN_NS) for day in (0, 0, 1, 0)]
        assert asked == days


async def test_an_exit_that_is_known_again_is_looked_up_as_it_may_have_ended_meanwhile() -> None:
    """An earlier session took it for somebody else's, and it was cancelled while nobody looked: told as open, with
    nobody asking, the position had no exit until the account was next confirmed."""
    async with settling() as b:
        b.tracker.adopt("c1", "v1", Decimal("0.4"), ("e1",), ended=True, instrument=BTC)
        b.tracker.adopt("x1", "x1", Decimal(0), (), ended=True, of_others=True, instrument=BTC)
        b.tracker.attachments.expect(entry(), "BTC-USD")
        b.venue.order("v1", "c1", "FILLED", "0.4", attached_order_id="x1")
        b.venue.order("x1", "x1", "CANCELLED", side="SELL")
        b.venue.fills = [fill("e1", "v1")]
        b.settler.checks.check_open()
        await b.settler.read_fills_of(["v1", "x1"])
        await b.settler.read_fills_of(await b.settler.exits.find_made())
        assert [event.client_order_id for event in b.log.of(OrderAttached)] == [EXIT]
        await until(lambda: [event.client_order_id for event in b.log.of(OrderCancelled)] == [EXIT])


async def test_the_end_of_an_exit_that_came_before_it_was_known_again_is_not_forgotten() -> None:
    """It waited for an execution while the entry named it; the stream does not tell it twice."""
    async with settling() as b:
        b.tracker.adopt("c1", "v1", Decimal("0.4"), ("e1",), ended=True, instrument=BTC)
        b.tracker.adopt("x1", "x1", Decimal(0), (), ended=False, of_others=True, instrument=BTC)
        b.tracker.attachments.expect(entry(), "BTC-USD")
        b.venue.order("x1", "x1", "CANCELLED", "0.1", side="SELL")
        b.claim("x1", "x1", "0.1", "CANCELLED")
        b.log.extend(b.tracker.name_exit("c1", "x1", 5))
        b.venue.fills = [fill("e2", "x1", "0.1", side="SELL")]
        await until(lambda: [event.client_order_id for event in b.log.of(OrderFilled)] == [EXIT])
        await until(lambda: EXIT in [event.client_order_id for event in b.log.of(OrderCancelled)])
