"""Groups where something goes wrong: late facts, refusals, prices that turn back, a venue that shuts."""

from __future__ import annotations

from decimal import Decimal

import pytest

from engine import events as e
from engine.carried import encode_carried
from engine.commands import (
    GroupIntent,
    GroupMoved,
    GroupOpened,
    OrderType,
    Rejected,
    ReplaceIntent,
    RiskState,
    TimeInForce,
)
from engine.events import Side
from engine.group_course import PATIENCE_NS
from engine.groups import new_group
from engine.offers import ALL_PLAIN, Offer
from engine.ports import Top
from engine.recovery import Recovery
from tests.support.core import BTC, intent, spot
from tests.support.groups import (
    BRACKETS,
    RISE,
    SECOND_NS,
    STOP_LIMIT,
    Trader,
    bracket,
    entries,
    exit_of,
    guarded,
    holding,
    restarted,
    stop,
    target,
)

D = Decimal


# --- late facts -------------------------------------------------------------------------------------------------------


@pytest.mark.fault("B12")
def test_an_entry_that_fills_after_its_end_was_told_has_its_exits() -> None:
    """The cancel is told before the fill that met it: the group has ended, and is back with the fill; a kill forgets
    none of that."""
    trader = Trader()
    trader.wish(bracket())
    entry = trader.last
    trader.end(entry, e.OrderCancelled)
    assert trader.ended == ["nothing is left to close"]
    trader.fill(entry, "0.5", "100", "late")
    assert (trader.last.intent.side, trader.last.intent.qty, len(trader.of(GroupOpened))) == (Side.SELL, D("0.5"), 2)
    group = trader.core.view.groups()[0]
    assert (group.group_id, group.open_qty) == (entry.intent.parent_id, D("0.5"))
    assert restarted(trader, "killed").core.view.groups() == trader.core.view.groups()


def test_a_group_that_is_back_is_found_by_a_session_that_knew_only_its_end() -> None:
    """The state was kept after the end and before the late fill: the entry is known by the group that it names."""
    trader = Trader()
    trader.wish(bracket())
    entry = trader.last
    trader.end(entry, e.OrderCancelled)
    trader.keep()
    kept = len(trader.records)
    trader.fill(entry, "0.5", "100", "late")
    recovery = Recovery("USD")
    recovery.take(trader.records[kept - 1 :])
    after = Trader(opened=False, id_prefix="l")
    after.publish(e.StateCarried(1, 1, "before", 0, encode_carried(recovery.left())))
    after.open()
    assert after.core.view.groups() == trader.core.view.groups()


def test_a_group_that_was_cancelled_is_not_back() -> None:
    """Its strategy wants none of it any more."""
    trader = Trader()
    trader.wish(bracket())
    entry = trader.last
    group = trader.core.view.groups()[0]
    trader.core.desk.groups.cancel(group.group_id, "s", "")
    trader.end(entry, e.OrderCancelled)
    trader.fill(entry, "0.5", "100", "late")
    assert (trader.core.view.groups(), trader.venue.orders) == ((), [entry])


@pytest.mark.fault("B19")
def test_an_exit_that_was_given_up_and_lives_goes_again() -> None:
    """The venue said that it had never arrived, another one was sent, and then it shows itself: only one stays."""
    trader, first = holding(bracket(STOP_LIMIT, target()))
    trader.end(first, e.OrderRejected)
    trader.wait(SECOND_NS)
    second = trader.last
    assert second is not first
    trader.accept(second)
    trader.accept(first)
    assert trader.venue.cancelled == [first.client_order_id]
    trader.end(first, e.CancelRejected)
    trader.wait(2 * SECOND_NS)
    assert trader.venue.cancelled == [first.client_order_id] * 2


def test_an_exit_that_lives_after_its_group_goes() -> None:
    """What it would close is closed already."""
    trader, first = holding(bracket(STOP_LIMIT, target()))
    trader.end(first, e.OrderRejected)
    trader.wait(SECOND_NS)
    trader.fill(trader.last, "2", "89", "t2")
    assert trader.ended == ["nothing is left to close"]
    trader.accept(first)
    assert trader.venue.cancelled == [first.client_order_id]


# --- refusals ---------------------------------------------------------------------------------------------------------


def test_a_target_that_the_venue_refuses_is_not_sent_at_each_price() -> None:
    """Its price stays: with pauses that grow, not as fast as quotes come."""
    trader, rests = holding(bracket(STOP_LIMIT, target()))
    trader.accept(rests)
    trader.price(111.0)
    trader.end(rests, e.OrderCancelled)
    sent = len(trader.venue.orders)
    for step in range(50):
        last = trader.last
        if last.intent.order_type is OrderType.LIMIT and last.client_order_id not in trader.venue.cancelled:
            order = trader.core.orders.get(last.client_order_id)
            if order is not None and order.state.value == "sent":
                trader.end(last, e.OrderRejected)
        trader.price(111.0 + step % 2)
        trader.wait(SECOND_NS // 20)
    assert len(trader.venue.orders) - sent <= 5


def test_a_resting_exit_that_risk_refuses_is_asked_for_less_and_less_often() -> None:
    """Its price is watched here meanwhile; a day of it would fill a journal otherwise."""
    far = exit_of(OrderType.STOP_LIMIT, trigger_px=D(90), limit_px=D(80))
    trader = guarded(bracket(far, stop("70")), collar_bps=50)
    for _ in range(600):
        trader.wait(SECOND_NS)
    assert len(trader.of(Rejected)) <= 25
    trader.price(69.0)
    trader.wait(SECOND_NS)
    trader.wait(SECOND_NS)
    trader.wait(SECOND_NS)
    assert trader.last.intent.side is Side.SELL


def test_an_entry_is_cancelled_again_where_that_was_refused() -> None:
    """Its stop was reached: it must not go on filling."""
    trader = Trader()
    trader.wish(bracket())
    entry = trader.last
    trader.accept(entry)
    trader.fill(entry, "1", "100", "t1")
    trader.price(89.0)
    assert trader.venue.cancelled == [entry.client_order_id]
    trader.end(entry, e.CancelRejected)
    trader.wait(2 * SECOND_NS)
    assert trader.venue.cancelled.count(entry.client_order_id) == 2


def test_no_new_version_of_an_entry_follows_when_its_stop_was_reached() -> None:
    """It was being replaced when the price came."""
    trader = Trader()
    trader.wish(bracket())
    entry = trader.last
    trader.accept(entry)
    trader.fill(entry, "1", "100", "t1")
    trader.wish(ReplaceIntent(1, "s", entry.client_order_id, D(2), D(99)))
    trader.price(89.0)
    trader.end(entry, e.OrderCancelled)
    assert [one.intent.side for one in trader.venue.orders] == [Side.BUY, Side.SELL]


def test_a_stop_that_enters_is_not_sent_again_when_it_was_refused() -> None:
    """Nobody wants to enter at whatever the price is when the refusal's reason has gone."""
    trader = Trader()
    trader.wish(intent(order_type=OrderType.STOP, limit_px=None, trigger_px=D(105), time_in_force=TimeInForce.GTC))
    trader.gate.refuse = "collar"
    trader.price(106.0)
    assert trader.ended == ["its order was refused: collar"]


@pytest.mark.fault("B19")
def test_what_ends_by_itself_was_cancelled_by_nobody_else() -> None:
    """While halted a target that was touched leaves as immediate, and five times finds nobody: after the resume the
    stop rests again, and risk stays as it is."""
    trader, rests = holding(bracket(STOP_LIMIT, target()))
    trader.publish(e.Halted(trader.now_ns, trader.now_ns, "operator", "look"))
    trader.end(rests, e.OrderCancelled)
    for _ in range(5):
        trader.price(110.0)
        out = trader.last
        assert (out.intent.limit_px, out.intent.time_in_force) == (D(110), TimeInForce.IOC)
        trader.price(105.0)
        trader.end(out, e.OrderCancelled)
        trader.wait(60 * SECOND_NS)
    trader.publish(e.Resumed(trader.now_ns, trader.now_ns, "operator", "go on"))
    trader.wait(60 * SECOND_NS)
    assert (trader.last.intent.order_type, trader.core.risk_state) == (OrderType.STOP_LIMIT, RiskState.ACTIVE)


def test_entries_of_which_the_venue_refuses_one_end() -> None:
    """As a single order does."""
    trader = Trader()
    dip = intent(limit_px=D(95), time_in_force=TimeInForce.GTC)
    trader.wish(entries(dip, RISE))
    trader.end(trader.last, e.OrderRejected)
    assert trader.ended == ["its order is rejected"]


# --- prices that turn back --------------------------------------------------------------------------------------------


def test_a_stop_at_the_venue_is_left_there_when_the_price_is_back() -> None:
    """The bid was there, the venue's own rule was not: it is the venue's to say, and it still holds the stop."""
    trader, rests = holding(offers={"coinbase": BRACKETS})
    trader.accept(rests)
    trader.price(89.9)
    trader.price(95.0)
    trader.wait(PATIENCE_NS)
    assert trader.venue.cancelled == []
    assert trader.core.view.groups()[0].fired == -1
    trader.price(89.9)
    trader.wait(PATIENCE_NS)
    assert trader.venue.cancelled == [rests.client_order_id]


def test_the_first_exit_rests_again_when_the_targets_price_is_gone() -> None:
    """A target that its price has only touched does not keep the stop from the venue."""
    trader, rests = holding(bracket(STOP_LIMIT, target()))
    trader.accept(rests)
    trader.price(110.0)
    trader.end(rests, e.OrderCancelled)
    tries = trader.last
    trader.accept(tries)
    trader.fill(tries, "0.5", "110", "t2")
    trader.price(105.0)
    trader.wait(PATIENCE_NS)
    trader.wait(SECOND_NS)
    trader.end(tries, e.OrderCancelled)
    assert (trader.last.intent.order_type, trader.last.intent.qty) == (OrderType.STOP_LIMIT, D("1.5"))


def test_a_stop_that_was_reached_does_not_expire() -> None:
    """It is on its way out."""
    wish = stop(time_in_force=TimeInForce.GTD, expire_ns=60 * SECOND_NS)
    trader, _ = holding(bracket(wish))
    trader.price(89.0, 59 * SECOND_NS)
    first = trader.last
    trader.end(first, e.OrderCancelled)
    trader.wait(2 * SECOND_NS)
    assert (trader.ended, trader.last is first) == ([], False)


def test_an_order_cannot_name_a_group_as_its_parent() -> None:
    """A next session would take it for one of the group's."""
    trader, rests = holding()
    group_id = trader.core.view.groups()[0].group_id
    for parent in (group_id, rests.client_order_id):
        trader.wish(intent(Side.SELL, "1", parent_id=parent))
        assert trader.of(Rejected)[-1].check == "group"
    assert trader.last is rests


def test_a_group_of_what_is_not_traded_in_this_session_waits() -> None:
    """The configuration names other instruments now: nothing is known of it, and nothing breaks."""
    before, _ = holding()
    recovery = Recovery("USD")
    recovery.take(before.records)
    after = Trader(opened=False, id_prefix="l")
    after.publish(e.StateCarried(1, 1, "before", 0, encode_carried(recovery.left())))
    after.wait(SECOND_NS)
    at = after._at()
    after.publish(e.AccountSettled(at, at, "coinbase", (("USD", D(800)), ("BTC", D(2))), ()))
    after.wait(SECOND_NS)
    assert (after.errors, len(after.core.view.groups()), after.venue.orders) == ([], 1, [])


def test_in_an_auction_a_stop_is_a_limit_order() -> None:
    """The venue takes nothing else then."""
    trader = guarded(bracket(stop()))
    at = trader._at()
    trader.publish(e.InstrumentStatus(at, at, BTC, e.TradingStatus.LIMIT_ONLY))
    trader.price(89.0)
    assert (trader.last.intent.order_type, trader.last.intent.limit_px) == (OrderType.LIMIT, D("88.92"))


def test_a_target_on_the_stops_side_is_refused() -> None:
    """One of the two would be reached whatever the price."""
    trader = Trader()
    trader.wish(bracket(target("89"), stop("90")))
    assert (trader.of(Rejected)[-1].check, trader.venue.orders) == ("group", [])


@pytest.mark.fault("B12")
@pytest.mark.parametrize("offer", [ALL_PLAIN, BRACKETS])
def test_every_rung_passes_the_real_gate(offer: Offer) -> None:
    """A price that falls through stop and limit while orders stay unfilled: each order leaves, none is refused."""
    trader = guarded(bracket(target(), STOP_LIMIT), offer=offer, stale_quote_ns=60 * SECOND_NS)
    kinds = []
    for step in range(12):
        trader.price(89.5 - step / 10, SECOND_NS)
        trader.wait(PATIENCE_NS)
        for order in trader.core.orders.open_orders():
            kinds.append(order.intent.order_type)
            trader.end(order.new, e.OrderCancelled)
    assert trader.of(Rejected) == []
    assert kinds[-1] is OrderType.MARKET


def test_a_trailing_level_is_worked_out_only_when_it_moves() -> None:
    """Floats say that nothing has: the answer is the same as by exact amounts, for buyers and sellers."""
    for side in Side:
        wish = intent(side, order_type=OrderType.STOP, limit_px=None, trailing_px=D(5))
        (one,) = new_group("g", GroupIntent(1, "s", (wish,))).exits
        prices = (100.0, 100.0, 101.0, 100.5, 99.0)
        moved = [one.trail(Top(bid_px, 1.0, bid_px + 0.01, 1.0, 1, 1), spot()) for bid_px in prices]
        assert moved == ([True, False, True, False, False] if side is Side.SELL else [True, False, False, False, True])


def test_moves_are_on_record_no_more_often_than_patience_lasts() -> None:
    """A bid that jumps to and fro at the level of a stop that the venue holds."""
    trader, rests = holding(offers={"coinbase": BRACKETS})
    trader.accept(rests)
    for _ in range(100):
        trader.price(89.9, SECOND_NS // 100)
        trader.price(95.0, SECOND_NS // 100)
        trader.wait(1)
    assert len(trader.of(GroupMoved)) <= 4
