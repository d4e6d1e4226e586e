"""User frames: readiness and resynchronisation; what an order's update means is tested in test_tracker."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from connectors.coinbase import wire
from connectors.coinbase.tracker import OrderTracker
from connectors.coinbase.user_protocol import SNAPSHOT_BATCH, CoinbaseUserProtocol
from engine.commands import OrderIntent, OrderType, TimeInForce
from engine.events import FeedUp, Gap, OrderAccepted, OrderCancelled, OrderReplaced, Side
from tests.support.coinbase import BTC, TS_NS, ack, fill, frame, user, user_order


def protocol() -> CoinbaseUserProtocol:
    return CoinbaseUserProtocol("coinbase", OrderTracker("coinbase", {"BTC-USD": BTC}))


ACK = {"heartbeats": ["heartbeats"], "user": ["some-user-id"]}


@pytest.mark.parametrize("snapshot_first", [True, False])
def test_up_needs_the_acknowledgement_and_the_end_of_the_snapshot(snapshot_first: bool) -> None:
    """In either order; the venue acknowledges the user channel with a user id."""
    p = protocol()
    frames = [user(0, kind="snapshot"), ack(1, **ACK)] if snapshot_first else [ack(0, **ACK), user(1, kind="snapshot")]
    assert p.receive_frame(frames[0], 7) == []
    assert p.receive_frame(frames[1], 8) == [FeedUp(8, 8, "coinbase", "user")]


def test_a_full_batch_is_not_the_end_of_the_snapshot() -> None:
    """50 orders, then 1: up after the second batch, all orders told before."""
    p = protocol()
    p.receive_frame(ack(0, **ACK), 7)
    batch = [user_order(f"v{i}", f"c{i}") for i in range(SNAPSHOT_BATCH)]
    assert {type(e) for e in p.receive_frame(user(1, *batch, kind="snapshot"), 7)} == {OrderAccepted}
    events = p.receive_frame(user(2, user_order("v50", "c50"), kind="snapshot"), 8)
    assert [type(e) for e in events] == [OrderAccepted, FeedUp]


def test_an_update_carries_both_times() -> None:
    """The envelope's time and ours."""
    p = protocol()
    assert p.receive_frame(user(0, user_order()), 9) == [OrderAccepted(TS_NS, 9, "coinbase", "c1", "v1")]


@pytest.mark.fault("B9")
def test_a_gap_asks_for_the_orders_to_be_read_again() -> None:
    """A lost message may have been a fill."""
    p = protocol()
    p.receive_frame(ack(0, **ACK), 7)
    assert p.receive_frame(ack(3, **ACK), 8) == [Gap(8, 8, "coinbase", "", 1, 3)]
    assert p.resync_wanted
    p.reset()
    assert not p.resync_wanted


@pytest.mark.fault("B5")
@pytest.mark.fault("C5")
@pytest.mark.parametrize("loss", ["gap", "new connection"])
def test_an_end_that_was_asked_for_waits_where_messages_were_lost(loss: str) -> None:
    """What the order had filled was in one of them, and its end says nothing of it: the next exit would close as much
    again.  An order that is sent later ends at once."""
    tracker = OrderTracker("coinbase", {"BTC-USD": BTC})
    p = CoinbaseUserProtocol("coinbase", tracker)
    send(tracker, "c1")
    p.receive_frame(user(0, user_order("v1", "c1")), 7)
    if loss == "new connection":
        p.reset()
    told = p.receive_frame(user(2, user_order("v1", "c1", "CANCELLED")), 8)
    assert OrderCancelled not in [type(event) for event in told]
    assert (tracker.take_wanted(), tracker.hides_fills("v1")) == (["v1"], True)
    assert [type(event) for event in tracker.fills_read("v1", 9, after_end=True)] == [OrderCancelled]
    send(tracker, "c2")
    told = p.receive_frame(user(3, user_order("v2", "c2", "CANCELLED")), 10)
    assert [type(event) for event in told] == [OrderAccepted, OrderCancelled]


@pytest.mark.fault("C13")
def test_what_comes_under_another_name_may_be_about_orders() -> None:
    """It is in sequence and nobody here can read it: orders are read again, and ends wait; a heartbeat is nothing."""
    tracker = OrderTracker("coinbase", {"BTC-USD": BTC})
    p = CoinbaseUserProtocol("coinbase", tracker)
    send(tracker, "c1")
    p.receive_frame(user(0, user_order("v1", "c1")), 7)
    p.receive_frame(frame("heartbeats", 1, []), 7)
    assert not p.resync_wanted
    p.receive_frame(frame("user_orders", 2, []), 7)
    assert p.resync_wanted
    assert OrderCancelled not in [type(one) for one in p.receive_frame(user(3, user_order("v1", "c1", "CANCELLED")), 8)]


@pytest.mark.fault("B5")
@pytest.mark.fault("C5")
def test_a_failure_after_a_loss_waits_for_what_was_filled_before_it() -> None:
    """Told as a rejection it would hold nothing any more, and its executions would open it again for good."""
    tracker = OrderTracker("coinbase", {"BTC-USD": BTC})
    p = CoinbaseUserProtocol("coinbase", tracker)
    tracker.sent("c1", 1)
    p.receive_frame(user(0, user_order("v1", "c1")), 7)
    assert [type(one) for one in p.receive_frame(user(2, user_order("v1", "c1", "FAILED")), 8)] == [Gap]
    tracker.book(msgspec.convert(fill(), wire.Fill, strict=False), 9)
    (ended,) = tracker.fills_read("v1", 9, after_end=True)
    assert type(ended) is OrderCancelled


def send(tracker: OrderTracker, client_order_id: str) -> None:
    """An order of which a cancel has left."""
    tracker.sent(client_order_id, 1)
    order = tracker.get(client_order_id)
    assert order is not None
    order.is_cancel_asked = True


@pytest.mark.fault("C13")
def test_optional_members_may_be_missing_and_unknown_ones_present() -> None:
    """Only three members are sure by the venue's schema."""
    p = protocol()
    minimal = {"order_id": "v1", "status": "OPEN", "product_id": "BTC-USD", "surprise": {"a": [1]}}
    (accepted,) = p.receive_frame(user(0, minimal), 7)
    assert accepted.client_order_id == "v1"


LIMIT = OrderIntent(1, "s", BTC, Side.BUY, Decimal(4), OrderType.LIMIT, Decimal(99), TimeInForce.GTC)


@pytest.mark.fault("B8")
@pytest.mark.parametrize(
    ("told", "is_asked"),
    [
        (user_order(filled="1", leaves_quantity="3", limit_price="99"), False),
        (user_order(filled="1", leaves_quantity="2", limit_price="99"), True),
        (user_order(filled="4", status="FILLED", leaves_quantity="0", limit_price="99"), False),
        (user_order(filled="3", status="FILLED", leaves_quantity="0", limit_price="97"), True),
        (user_order(filled="3", status="CANCELLED", leaves_quantity="0", limit_price="97"), False),
    ],
)
def test_an_order_that_is_first_heard_of_as_another_than_was_sent_is_asked_about(told: Any, is_asked: bool) -> None:
    """Its answer was lost, and somebody has changed it by hand meanwhile: it may have filled as that."""
    tracker = OrderTracker("coinbase", {"BTC-USD": BTC})
    tracker.sent("c1", 1, LIMIT)
    events = CoinbaseUserProtocol("coinbase", tracker).receive_frame(user(0, told), 7)
    assert [type(event) for event in events] == [OrderAccepted]
    assert tracker.take_doubted() == (["c1"] if is_asked else [])


@pytest.mark.fault("A6")
@pytest.mark.fault("B8")
def test_an_earlier_sessions_order_that_the_snapshot_shows_first_is_told_as_it_is() -> None:
    """Nobody has heard its answer, and it was changed by hand while nobody listened."""
    tracker = OrderTracker("coinbase", {"BTC-USD": BTC})
    tracker.adopt("c1", "", Decimal(0), (), ended=False, intent=LIMIT)
    told = user_order(filled="1", leaves_quantity="2", limit_price="97")
    events = CoinbaseUserProtocol("coinbase", tracker).receive_frame(user(0, told, kind="snapshot"), 7)
    assert [type(event) for event in events] == [OrderAccepted, OrderReplaced]
    assert (events[1].qty, events[1].limit_px) == (Decimal(3), Decimal(97))
    assert not tracker.versions.is_doubtful("v1")


@pytest.mark.fault("A6")
@pytest.mark.parametrize("kind", ["snapshot", "update"])
def test_an_order_that_has_filled_for_an_earlier_session_and_that_the_stream_shows_is_asked_about(kind: str) -> None:
    """The stream proves nothing: it may be behind what that session has seen."""
    tracker = OrderTracker("coinbase", {"BTC-USD": BTC})
    tracker.adopt("c1", "v1", Decimal(4), ("e1",), ended=True, intent=LIMIT)
    told = user_order(filled="4", leaves_quantity="2", limit_price="97")
    p = CoinbaseUserProtocol("coinbase", tracker)
    assert p.receive_frame(user(0, told, kind=kind), 7) + p.receive_frame(user(1, told, kind=kind), 8) == []
    assert (tracker.take_doubted(), tracker.is_unresolved("c1"), tracker.open_orders()) == (["c1"], True, [])


def contracts() -> CoinbaseUserProtocol:
    return CoinbaseUserProtocol("coinbase", OrderTracker("coinbase", {"BTC-USD": BTC}), contracts=True)


def held(seq: int, positions: Any, *orders: Any) -> bytes:
    return frame("user", seq, {"type": "update", "orders": list(orders), "positions": positions})


def test_positions_and_margin_are_told_where_contracts_are_traded() -> None:
    """As they are told last; without contracts nobody reads them, and the stream wants no such channel."""
    p = contracts()
    row = {"product_id": "BIP-20DEC30-CDE", "side": "SHORT", "number_of_contracts": "3", "entry_price": "61000"}
    assert p.positions is None
    p.receive_frame(held(0, {"expiring_futures_positions": [row]}), 7)
    assert p.positions == {"BIP-20DEC30-CDE": Decimal(-3)}
    summary = {"total_usd_balance": "1000", "liquidation_buffer_percentage": "35"}
    p.receive_frame(frame("futures_balance_summary", 1, {"type": "snapshot", "fcm_balance_summary": summary}), 7)
    assert (p.margin.total_usd_balance, p.margin.liquidation_buffer_percentage) == ("1000", "35")
    p.receive_frame(held(2, {"expiring_futures_positions": []}), 7)
    assert (p.positions, p.counters.gaps, p.counters.unknown_channel) == ({}, 0, 0)
    assert ("futures_balance_summary", "") in p.wanted
    assert ("futures_balance_summary", "") not in protocol().wanted


@pytest.mark.fault("C13")
@pytest.mark.parametrize("bad", [[], {"expiring_futures_positions": [{"side": 1}]}, "none", 5])
def test_positions_without_sense_take_no_order_with_them(bad: Any) -> None:
    """The order of the same message is told; what was known of positions stays."""
    p = contracts()
    assert [type(e) for e in p.receive_frame(held(0, bad, user_order()), 7)] == [OrderAccepted]
    assert (p.positions, p.counters.malformed) == (None, 1)
    assert [type(e) for e in p.receive_frame(held(1, None, user_order("v2", "c2")), 7)] == [OrderAccepted]
    assert p.counters.malformed == 1
