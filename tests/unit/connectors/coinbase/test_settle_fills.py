"""Claimed fills read and booked, and the account that counts as unreadable while they cannot be."""

from __future__ import annotations

from typing import Any

import pytest

from connectors.coinbase import settle
from connectors.coinbase.settle import IDS_PER_CALL
from engine.errors import VenueError
from engine.events import FeedDown, FeedUp, OrderAccepted, OrderCancelled, OrderFilled
from tests.support.coinbase import fill
from tests.support.coinbase_settle import settling
from tests.support.waiting import until


async def test_claimed_fills_are_read_and_told_in_time_order() -> None:
    """Two fills, listed newest first, over two pages."""
    async with settling() as b:
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
    async with settling() as b:
        b.tracker.sent("c1", 1)
        b.venue.order("v1", "c1", "CANCELLED", "0.4")
        b.claim("v1", "c1", "0.4", "CANCELLED")
        await until(lambda: len(b.venue.calls) >= 3)
        assert b.log.of(OrderFilled) == b.log.of(OrderCancelled) == []
        b.venue.fail = 1
        b.venue.fills = [fill("e1")]
        await until(lambda: b.log.of(OrderCancelled))
        assert [type(e) for e in b.log] == [OrderAccepted, OrderFilled, OrderCancelled]
        assert b.settler.failures == 1


@pytest.mark.fault("B5")
@pytest.mark.fault("B12")
async def test_an_end_that_nobody_asked_for_is_told_after_a_reading_that_began_later() -> None:
    """CANCELLED with 0.4 filled while the reading of those is under way; 0.1 more are in the next one."""
    async with settling() as b:
        ends: list[int] = []

        def ends_meanwhile() -> None:
            b.venue.on_call = fills_more
            b.claim("v1", "c1", "0.4", "CANCELLED")

        def fills_more() -> None:
            b.venue.on_call = lambda: None
            b.venue.order("v1", "c1", "CANCELLED", "0.5")
            ends.append(len(b.log.of(OrderCancelled)))
            b.venue.fills.append(fill("e2", size="0.1"))

        b.tracker.sent("c1", 1)
        b.venue.fills = [fill("e1", size="0.4")]
        b.venue.on_call = ends_meanwhile
        b.claim("v1", "c1", "0.4")
        await until(lambda: b.log.of(OrderCancelled))
        assert [type(e) for e in b.log] == [OrderAccepted, OrderFilled, OrderFilled, OrderCancelled]
        assert ends == [0]
        assert [call.partition("?")[0].rpartition("/")[2] for call in b.venue.calls] == ["fills", "fills", "v1"]


@pytest.mark.fault("B5")
@pytest.mark.fault("B16")
@pytest.mark.parametrize("record", [("CANCELLED", "0.4"), ("OPEN", "0")])
async def test_an_end_waits_for_what_the_orders_record_says_where_listings_lag(record: tuple[str, str]) -> None:
    """CANCELLED with nothing filled, and the listing of fills shows none yet: the record says 0.4, or is behind too."""
    async with settling() as b:
        b.tracker.sent("c1", 1)
        b.venue.order("v1", "c1", *record)
        b.claim("v1", "c1", "0", "CANCELLED")
        await until(lambda: sum("/fills" in call for call in b.venue.calls) >= 3)
        assert [type(e) for e in b.log] == [OrderAccepted]
        b.venue.orders[0].update(status="CANCELLED", filled_size="0.4")
        b.venue.fills = [fill("e1", size="0.4")]
        await until(lambda: b.log.of(OrderCancelled))
        assert [type(e) for e in b.log] == [OrderAccepted, OrderFilled, OrderCancelled]


@pytest.mark.fault("B5")
async def test_an_end_that_the_orders_record_never_shows_is_told_after_a_while() -> None:
    async with settling() as b:
        b.tracker.sent("c1", 1)
        b.venue.order("v1", "c1", "OPEN")
        b.claim("v1", "c1", "0", "CANCELLED")
        await until(lambda: sum("/fills" in call for call in b.venue.calls) >= 3)
        assert b.log.of(OrderCancelled) == []
        b.clock.advance(15 * 10**9)
        await until(lambda: b.log.of(OrderCancelled))


@pytest.mark.fault("B5")
@pytest.mark.fault("B16")
@pytest.mark.parametrize("status", ["", "UNKNOWN_ORDER_STATUS"])
async def test_an_end_waits_where_the_orders_record_is_not_there_yet_and_listings_lag(status: str) -> None:
    """CANCELLED with nothing filled; the record answers 404 (or says nothing), the listing of fills is empty.  Then
    the fills are listed, and the record comes after them."""
    async with settling() as b:
        b.tracker.sent("c1", 1)
        if status:
            b.venue.order("v1", "c1", status)
        b.claim("v1", "c1", "0", "CANCELLED")
        await until(lambda: sum("/fills" in call for call in b.venue.calls) >= 3)
        assert (b.log.of(OrderCancelled), b.tracker.is_unresolved("c1")) == ([], True)
        b.venue.fills = [fill("e1", size="0.3")]
        await until(lambda: b.log.of(OrderFilled))
        b.venue.fills.append(fill("e2", size="0.1"))
        b.venue.orders.clear()
        b.venue.order("v1", "c1", "CANCELLED", "0.4")
        await until(lambda: b.log.of(OrderCancelled))
        assert [type(e) for e in b.log] == [OrderAccepted, OrderFilled, OrderFilled, OrderCancelled]


@pytest.mark.fault("B5")
async def test_an_end_whose_record_never_comes_is_told_after_a_while_and_asked_about_no_more() -> None:
    """The venue forgets orders that ended with nothing filled."""
    async with settling() as b:
        b.tracker.sent("c1", 1)
        b.claim("v1", "c1", "0", "CANCELLED")
        await until(lambda: sum("/fills" in call for call in b.venue.calls) >= 3)
        b.clock.advance(15 * 10**9 - 1)
        asked = sum("/fills" in call for call in b.venue.calls)
        await until(lambda: sum("/fills" in call for call in b.venue.calls) >= asked + 2)
        assert b.log.of(OrderCancelled) == []
        b.clock.advance(1)
        await until(lambda: b.log.of(OrderCancelled))
        assert (b.tracker.open_orders(), b.tracker.take_wanted()) == ([], [])


@pytest.mark.fault("B16")
async def test_an_order_that_is_filled_by_its_word_alone_waits_for_its_record() -> None:
    """FILLED without a quantity; the record answers 404 and the listing of fills shows the first of two."""
    async with settling() as b:
        b.tracker.sent("c1", 1)
        b.venue.fills = [fill("e1", size="0.3")]
        b.claim("v1", "c1", "0", "FILLED")
        await until(lambda: sum("/fills" in call for call in b.venue.calls) >= 3)
        assert [o.client_order_id for o in b.tracker.open_orders()] == ["c1"]
        b.venue.order("v1", "c1", "FILLED", "0.4")
        b.venue.fills.append(fill("e2", size="0.1"))
        await until(lambda: b.tracker.open_orders() == [])
        assert [e.trade_id for e in b.log.of(OrderFilled)] == ["e1", "e2"]


@pytest.mark.fault("B5")
async def test_an_order_whose_record_cannot_be_read_holds_up_no_other_end() -> None:
    async with settling() as b:

        def fail_one() -> None:
            b.venue.fail = int(b.venue.calls[-1].endswith("/v1"))

        b.venue.on_call = fail_one
        for number in (1, 2, 3):
            b.tracker.sent(f"c{number}", 1)
            b.venue.order(f"v{number}", f"c{number}", "CANCELLED")
            b.claim(f"v{number}", f"c{number}", "0", "CANCELLED")
        await until(lambda: len(b.log.of(OrderCancelled)) == 2)
        assert [o.client_order_id for o in b.tracker.open_orders()] == ["c1"]
        b.venue.on_call = lambda: None
        await until(lambda: b.tracker.open_orders() == [])


@pytest.mark.fault("B5")
async def test_an_end_whose_fills_cannot_be_read_is_not_told_and_the_account_is_unreadable() -> None:
    """What the order may have filled stays reserved, for as long as the venue says nothing."""
    async with settling() as b:
        b.up()
        b.tracker.sent("c1", 1)
        b.venue.fail = 10**6
        b.venue.order("v1", "c1", "CANCELLED")
        b.claim("v1", "c1", "0", "CANCELLED")
        await until(b.told)
        assert b.told() == [FeedDown]
        assert (b.log.of(OrderCancelled), b.tracker.is_unresolved("c1")) == ([], True)
        b.venue.fail = 0
        await until(lambda: b.log.of(OrderCancelled))
        await until(lambda: b.told() == [FeedDown, FeedUp])


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
    async with settling() as b:
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


@pytest.mark.fault("C13")
@pytest.mark.fault("C18")
async def test_an_account_is_not_taken_for_whole_with_an_execution_that_cannot_be_read() -> None:
    """Seed 820165: the sides of a listing were written otherwise.  The balances had what nobody had booked: it was put
    right as if others had done it, and then booked as well.  Of somebody else's order it is others' doing."""
    async with settling() as b:
        b.up()
        b.tracker.sent("c1", 1)
        b.log.extend(b.tracker.accepted("c1", "v1", 1))
        b.venue.order("v1", "c1", "FILLED", "0.4")
        b.venue.order("v9", "by-hand", "FILLED", "0.4")
        b.venue.fills = [fill("e1", side="buy"), fill("e9", "v9")]
        with pytest.raises(VenueError, match="lists an execution of v1 that cannot be read"):
            await b.settler.read_fills_since(0)
        b.venue.fills = [fill("e1"), fill("e9", "v9", side="buy")]
        await until(lambda: "e1" in [one.trade_id for one in b.log.of(OrderFilled)])  # it was read again by itself
        assert len(await b.settler.read_fills_since(0)) == 2


@pytest.mark.fault("C13")
async def test_an_order_that_has_ended_whole_leaves_its_account_to_be_confirmed() -> None:
    """An entry without a size stays listed beside the one that filled it: the venue counts one, and so do the books."""
    async with settling() as b:
        b.up()
        b.tracker.sent("c1", 1)
        b.venue.order("v1", "c1", "FILLED", "0.4")
        b.venue.fills = [fill("e1"), fill("e2", size="0")]
        b.claim("v1", "c1", "0.4", "FILLED")
        await until(lambda: b.tracker.open_orders() == [])
        assert len(await b.settler.read_fills_since(0)) == 2
        assert [one.trade_id for one in b.log.of(OrderFilled)] == ["e1"]


@pytest.mark.fault("B5")
@pytest.mark.fault("C18")
async def test_an_order_that_had_filled_more_than_its_end_said_has_not_ended_whole() -> None:
    """Cancelled with 0.4, and then the venue counts 0.6: the entry that cannot be read is the rest of it."""
    async with settling() as b:
        b.up()
        b.tracker.sent("c1", 1)
        b.venue.order("v1", "c1", "CANCELLED", "0.4")
        b.venue.fills = [fill("e1")]
        b.claim("v1", "c1", "0.4", "CANCELLED")
        await until(lambda: b.tracker.open_orders() == [])
        b.venue.fills.append(fill("e2", size="NaN"))
        assert len(await b.settler.read_fills_since(0)) == 2
        b.venue.order("v1", "c1", "CANCELLED", "0.6")
        b.claim("v1", "c1", "0.6", "CANCELLED")
        with pytest.raises(VenueError, match="lists an execution of v1 that cannot be read"):
            await b.settler.read_fills_since(0)
        b.venue.fills[1] = fill("e2", size="0.2")
        await until(lambda: [one.trade_id for one in b.log.of(OrderFilled)] == ["e1", "e2"])
        assert len(await b.settler.read_fills_since(0)) == 2


async def test_a_defect_in_a_background_task_stops_entries_and_the_task_goes_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Both tasks raise what they should not, twice each: said, logged, and afterwards the work is done all the same."""
    monkeypatch.setattr(settle, "RESTART_FIRST_S", 0.01)
    monkeypatch.setattr(settle, "IDLE_S", 0.05)
    async with settling() as b:
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
        await until(lambda: b.log.of(OrderFilled) and left["open_orders"] < 0 and b.told()[-1:] == [FeedUp])
        assert b.told()[0] is FeedDown
        assert {"ZeroDivisionError: a defect", "KeyError: 'a defect'"} <= {
            f"{type(r.exc_info[1]).__name__}: {r.exc_info[1]}" for r in caplog.records if r.exc_info
        }


async def test_fills_that_cannot_be_read_for_long_stop_entries() -> None:
    """One failed reading is nothing; a row of them is an account that cannot be read, until one succeeds."""
    async with settling() as b:
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
    async with settling(start=False) as b:
        for index in range(IDS_PER_CALL):
            b.tracker.sent(f"s{index}", 1)
            b.claim(f"stuck{index}", f"s{index}", "1")
        b.tracker.sent("c1", 1)
        b.claim("v1", "c1", "0.4")
        b.venue.fills = [fill("e1")]
        for _ in range(2):
            await b.settler.read_fills()
        assert [e.trade_id for e in b.log.of(OrderFilled)] == ["e1"]
