"""Orders that somebody changes by hand, asked about at a real, scripted server."""

from __future__ import annotations

from decimal import Decimal

import pytest

from connectors.coinbase.tracker import OrderTracker
from connectors.coinbase.user_protocol import CoinbaseUserProtocol
from connectors.coinbase.versions import Version
from engine.commands import OrderIntent, OrderType, TimeInForce
from engine.events import OrderFilled, OrderFound, OrderReplaced, Side
from tests.support.coinbase import BTC, fill, user, user_order
from tests.support.coinbase_settle import settling
from tests.support.waiting import until

D = Decimal


def sized(qty: str) -> dict[str, dict[str, str]]:
    return {"limit_limit_gtc": {"base_size": qty, "limit_price": "100"}}


async def test_an_order_that_was_changed_back_by_hand_and_filled_as_that_has_ended_in_the_books() -> None:
    """Made larger, then as it was: the stream shows it filled as a version that was known once.  The end of an order of
    ours that has filled is told by its fills alone, and nobody asks about it any more: it stayed open for ever."""
    async with settling() as b:
        intent = OrderIntent(1, "s", BTC, Side.BUY, D("0.4"), OrderType.LIMIT, D(100), TimeInForce.GTC)
        b.tracker.sent("c1", 1, intent)
        b.log.extend(b.tracker.accepted("c1", "v1", 5))
        stream = CoinbaseUserProtocol("coinbase", b.tracker)
        b.venue.order("v1", "c1", order_configuration=sized("0.8"))
        shown = [("0", "0.8", "OPEN"), ("0.4", "0", "FILLED")]
        frames = [
            user(seq, user_order(filled=filled, leaves_quantity=left, status=status, limit_price="100"))
            for seq, (filled, left, status) in enumerate(shown)
        ]
        b.log.extend(stream.receive_frame(frames[0], b.clock.now_ns()))
        b.settler.wake_for_fills()
        await until(lambda: [one.qty for one in b.log.of(OrderReplaced)] == [D("0.8")])
        b.clock.advance(600_000_000_000)
        b.venue.orders[0].update(status="FILLED", filled_size="0.4", order_configuration=sized("0.4"))
        b.venue.fills = [fill("e1")]
        b.log.extend(stream.receive_frame(frames[1], b.clock.now_ns()))
        b.settler.wake_for_fills()
        await until(lambda: b.log.of(OrderFilled))
        await until(lambda: [one.qty for one in b.log.of(OrderReplaced)] == [D("0.8"), D("0.4")])


async def test_a_strangers_order_that_was_changed_before_it_was_found_is_as_large_as_its_history_says() -> None:
    """As each look-up has it: whether its configuration follows a change was never asked of the venue."""
    async with settling(start=False) as b:
        history = [{"price": "100", "size": "4", "replace_accept_timestamp": "2026-11-20T14:03:09Z"}]
        b.venue.order("h1", "by-hand", side="SELL", order_configuration=sized("0.4"), edit_history=history)
        assert await b.settler.find_strangers({"BTC-USD": BTC}) == []
        assert [one.qty for one in b.log.of(OrderFound)] == [D(4)]


async def test_one_look_up_that_is_behind_does_not_settle_as_what_an_order_has_filled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Made smaller by hand and filled as that: the record still shows it open and as it was.  With the doubt gone, and
    the order's end told, nobody asks any more, and it stayed open in the books for ever."""
    monkeypatch.setattr("connectors.coinbase.order_checks.CHECK_AGAIN_S", 0.05)
    async with settling() as b:
        intent = OrderIntent(1, "s", BTC, Side.BUY, D("0.8"), OrderType.LIMIT, D(100), TimeInForce.GTC)
        b.tracker.sent("c1", 1, intent)
        b.log.extend(b.tracker.accepted("c1", "v1", 5))
        b.venue.order("v1", "c1", order_configuration=sized("0.8"))
        b.venue.fills = [fill("e1")]
        told = user_order(filled="0.4", leaves_quantity="0", status="FILLED", limit_price="100")
        b.log.extend(CoinbaseUserProtocol("coinbase", b.tracker).receive_frame(user(0, told), b.clock.now_ns()))
        b.settler.wake_for_fills()
        await until(lambda: b.log.of(OrderFilled) and [call for call in b.venue.calls if call.endswith("/v1")])
        b.venue.orders[0].update(status="FILLED", filled_size="0.4", order_configuration=sized("0.4"))
        await until(lambda: [one.qty for one in b.log.of(OrderReplaced)] == [D("0.4")])


BRACKET = {"trigger_bracket_gtc": {"base_size": "1", "limit_price": "50000", "stop_trigger_price": "62000"}}


async def test_a_bracket_of_others_that_buys_is_no_other_version_on_the_stream_than_in_the_listing() -> None:
    """Its price is what its trigger may cost, the stream tells its target: each message had it looked up."""
    async with settling(start=False) as b:
        b.venue.order("h1", "by-hand", order_configuration=BRACKET)
        assert await b.settler.find_strangers({"BTC-USD": BTC}) == []
        told = user_order("h1", "by-hand", leaves_quantity="1", limit_price="50000", stop_price="62000")
        CoinbaseUserProtocol("coinbase", b.tracker).receive_frame(user(0, told), 7)
        assert b.tracker.take_doubted() == []


async def test_a_bracket_of_others_that_buys_is_worth_the_same_in_the_next_sessions_snapshot() -> None:
    """It was told there as changed by hand, to less than it may cost."""
    async with settling(start=False) as b:
        b.venue.order("h1", "by-hand", order_configuration=BRACKET)
        assert await b.settler.find_strangers({"BTC-USD": BTC}) == []
        (found,) = b.log.of(OrderFound)
        t = OrderTracker("coinbase", {"BTC-USD": BTC})
        t.adopt("by-hand", "h1", D(0), (), ended=False, of_others=True, instrument=BTC)
        t.versions.follow("by-hand", "h1", Version(found.qty, found.limit_px), is_doubtful=True)
        told = user(
            0,
            user_order("h1", "by-hand", leaves_quantity="1", limit_price="50000", stop_price="62000"),
            kind="snapshot",
        )
        events = CoinbaseUserProtocol("coinbase", t).receive_frame(told, 7)
        assert [event for event in events if type(event) is OrderReplaced] == []
