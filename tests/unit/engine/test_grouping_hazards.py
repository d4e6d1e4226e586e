"""Groups where something goes wrong: late facts, refusals, prices that turn back, others on the same instrument."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from engine import events as e
from engine.carried import encode_carried
from engine.commands import (
    EXIT_WAITS,
    IN_THE_WAY,
    GroupIntent,
    GroupMoved,
    GroupOpened,
    NewOrder,
    OrderType,
    Rejected,
    ReplaceIntent,
    RiskState,
    TimeInForce,
)
from engine.events import Side
from engine.group_course import PATIENCE_NS, RETRY_NS
from engine.groups import new_group
from engine.offers import ALL_PLAIN, Offer
from engine.ports import Top
from engine.recovery import Recovery
from risk.gate import Gate
from tests.support.core import BTC, intent, open_market, perpetual, spot
from tests.support.groups import (
    BRACKETS,
    SECOND_NS,
    Trader,
    bracket,
    entries,
    exit_of,
    holding,
    restarted,
    stop,
    target,
)
from tests.support.limits import make_limits

D = Decimal
RISE = intent(limit_px=None, order_type=OrderType.STOP, trigger_px=D(105), time_in_force=TimeInForce.GTC)
STOP_LIMIT = exit_of(OrderType.STOP_LIMIT, trigger_px=D(90), limit_px=D(89))


def guarded(wish: GroupIntent | None = None, *, offer: Offer = ALL_PLAIN, **limits: Any) -> Trader:
    """Behind the real gate, with equity known; ``wish`` is a bracket whose entry of 2 has filled."""
    usual = {"allowed_instruments": [BTC], "duplicate_window_ns": 1, "collar_bps": 2000}
    trader = Trader(gate=Gate(make_limits(**{**usual, **limits})), offers={"coinbase": offer})
    trader.wait(1)
    if wish is not None:
        trader.wish(wish)
        trader.fill(trader.last, "2", "100", "entry")
    return trader


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


@pytest.mark.fault("F12")
def test_a_resting_entry_that_an_exit_of_ours_waits_for_is_sent_once_that_is_out() -> None:
    """It went out of the exit's way: it is not ended for that, and asks again at an even pace."""
    trader = Trader()
    trader.gate.refuse = EXIT_WAITS
    dip = intent(limit_px=D(95), time_in_force=TimeInForce.GTC)
    trader.wish(entries(dip, RISE))
    for _ in range(6):
        trader.wait(RETRY_NS)
    assert (trader.venue.orders, trader.ended, len(trader.of(Rejected))) == ([], [], 7)
    trader.gate.refuse = ""
    trader.wait(RETRY_NS)
    assert trader.last.intent.limit_px == D(95)


@pytest.mark.fault("F12")
def test_a_stop_gets_out_of_a_market_that_is_our_own_bid() -> None:
    """Behind the real gate: the best bid is an entry of a group of ours.  It goes, does not come back before the stop
    is out, and then does."""
    trader = guarded(bracket(stop("95"), target()))
    trader.wish(entries(intent(limit_px=D(94), time_in_force=TimeInForce.GTC), RISE))
    bid = trader.last
    trader.price(94.0)
    trader.end(trader.venue.orders[1], e.OrderCancelled)  # the target, which rested
    assert trader.venue.cancelled[1:] == [bid.client_order_id]
    trader.end(bid, e.OrderCancelled)
    assert trader.last is bid
    assert {one.check for one in trader.of(Rejected)} == {IN_THE_WAY, EXIT_WAITS}
    trader.wait(RETRY_NS)
    out = trader.last
    assert (out.intent.side, out.intent.order_type) == (Side.SELL, OrderType.MARKET)
    trader.fill(out, "2", "94", "out")
    trader.wait(RETRY_NS)
    assert (trader.last.intent.side, trader.last.intent.limit_px) == (Side.BUY, D(94))


@pytest.mark.fault("B12")
def test_exits_of_several_groups_rest_for_no_more_than_their_strategy_holds() -> None:
    """Two brackets of 2 on an account whose owner has 5 besides; 2 are sold by hand: the older stop stays, the younger
    one goes and waits here.  Both together would have sold the owner's."""
    trader = Trader(gate=Gate(make_limits(allowed_instruments=[BTC], duplicate_window_ns=1, collar_bps=2000)))
    at = trader.now_ns
    trader.publish(e.BalanceReported(at, at, "coinbase", "BTC", D(5), D(5)))
    trader.wait(1)
    stops = []
    for number in range(2):
        trader.wait(SECOND_NS)
        trader.price(100.0)
        trader.wish(bracket(STOP_LIMIT))
        trader.fill(trader.last, "2", "100", f"entry-{number}")
        trader.accept(trader.last)
        stops.append(trader.last)
    assert [one.intent.order_type for one in stops] == [OrderType.STOP_LIMIT] * 2
    at = trader.now_ns
    sale = {"side": Side.SELL, "qty": D(2), "reduce_only": True}
    trader.publish(e.OperatorRequested(at, at, "order", "cli", "x", instrument=BTC, **sale))
    trader.fill(trader.last, "2", "100", "out")
    assert trader.core.view.strategy_qty("s", BTC) == 2
    trader.wait(SECOND_NS)
    assert trader.venue.cancelled == [stops[1].client_order_id]
    trader.end(stops[1], e.OrderCancelled)
    for _ in range(5):
        trader.wait(SECOND_NS)
    assert [one.client_order_id for one in trader.core.view.open_orders()] == [stops[0].client_order_id]
    assert len(trader.core.view.groups()) == 2


@pytest.mark.fault("F12")
def test_a_target_that_anothers_offer_hides_is_taken_at_once() -> None:
    """Another strategy's sale of 2 rests above, and leaves nothing of the account to an order that may rest: the target
    leaves as one that is gone at once, as a stop does."""
    gate = Gate(make_limits(allowed_instruments=[BTC], duplicate_window_ns=1, collar_bps=2000))
    trader = Trader(opened=False, gate=gate)
    open_market(trader.core, perpetual(), cash="100000")
    trader.price(100.0)
    trader.wait(1)
    above = trader.core.desk.place(intent(Side.SELL, "2", "other", limit_px=D(115), time_in_force=TimeInForce.GTC))
    assert isinstance(above, NewOrder)
    trader.wish(bracket(target("105"), stop()))
    trader.fill(trader.last, "2", "100", "entry")
    while len(trader.of(Rejected)) < 10:  # asked for again and again, more and more seldom: it has no place to rest
        trader.wait(SECOND_NS)
    for _ in range(20):
        trader.price(105.0, RETRY_NS)
        trader.wait(1)
    out = trader.last.intent
    assert (out.side, out.limit_px, out.time_in_force) == (Side.SELL, D(105), TimeInForce.IOC)


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


@pytest.mark.fault("B19")
def test_a_stop_that_waits_for_its_way_is_no_further_up_the_ladder() -> None:
    """Its strategy's own bid takes half a second to go: then the stop leaves at its own limit first, as was asked.  It
    had left across the spread, and after longer at market."""
    trader = guarded(offer=Offer(ALL_PLAIN.kinds - {(OrderType.STOP_LIMIT, TimeInForce.GTC)}))
    trader.wish(GroupIntent(1, "s", (STOP_LIMIT,), intent(qty="2")))
    trader.fill(trader.last, "2", "100", "entry")
    trader.wish(intent(limit_px=D(90), time_in_force=TimeInForce.GTC))
    bid = trader.last
    assert bid.intent.side is Side.BUY
    trader.price(89.9)
    for _ in range(3):
        trader.wait(RETRY_NS)
    assert (trader.venue.cancelled, trader.last) == ([bid.client_order_id], bid)
    trader.end(bid, e.OrderCancelled)
    trader.wait(RETRY_NS)
    assert (trader.last.intent.order_type, trader.last.intent.limit_px) == (OrderType.LIMIT, D(89))


def test_entries_of_which_the_venue_refuses_one_end() -> None:
    """As a single order does."""
    trader = Trader()
    dip = intent(limit_px=D(95), time_in_force=TimeInForce.GTC)
    trader.wish(entries(dip, RISE))
    trader.end(trader.last, e.OrderRejected)
    assert trader.ended == ["its order is rejected"]


def test_many_stops_at_once_take_turns_and_halt_nothing() -> None:
    """One price reaches them all: more than may leave in a second, and no strategy that asks without looking."""
    trader = guarded(max_orders_per_s=10, max_orders_per_s_instrument=10, max_rejections_per_s=10)
    for number in range(30):
        trader.now_ns += 2 * SECOND_NS
        trader.wish(bracket(stop(qty="0.1"), qty="0.1"))
        trader.fill(trader.last, "0.1", "100", f"t{number}")
    trader.price(89.0)
    for number in range(60):
        for order in trader.core.orders.open_orders():
            trader.fill(order.new, "0.1", "89", f"x{number}-{order.client_order_id}")
        trader.wait(SECOND_NS // 5)
    assert str(trader.core.gate.state) != "halted"
    assert trader.core.view.position(BTC).qty == 0


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


# --- others on the same instrument ------------------------------------------------------------------------------------


def test_what_another_strategy_holds_against_it_does_not_end_a_group() -> None:
    """Long one, short the other: the account holds nothing, nothing can be closed, and the stop still stands."""
    trader = Trader(opened=False)
    open_market(trader.core, perpetual())
    trader.price(100.0)
    trader.wish(bracket())
    trader.fill(trader.last, "2", "100", "entry")
    other = NewOrder(1, "other-1", "coinbase", intent(Side.SELL, "2", "t"))
    trader.core.orders.adopt(other)
    trader.fill(other, "2", "100", "t2")
    trader.wait(SECOND_NS)
    assert (trader.ended, len(trader.core.view.groups())) == ([], 1)
    back = NewOrder(1, "other-2", "coinbase", intent(Side.BUY, "2", "t"))
    trader.core.orders.adopt(back)
    trader.fill(back, "2", "100", "t3")
    trader.price(89.0)
    for order in trader.core.orders.open_orders():
        trader.end(order.new, e.OrderCancelled)
    assert (trader.last.intent.order_type, trader.last.intent.qty) == (OrderType.MARKET, D(2))


@pytest.mark.parametrize("owners", ["0", "7"])
def test_a_stop_takes_what_its_strategys_own_order_would_sell_later(owners: str) -> None:
    """A plain order at a better price holds all that there is to close: it goes, and the stop follows.  What the
    account's owner has besides is not sold in its place."""
    trader = guarded(bracket(stop()))
    if owners != "0":
        at = trader.now_ns = trader.now_ns + 1
        trader.publish(e.BalanceReported(at, at, "coinbase", "BTC", D(owners), D(owners)))
        assert trader.core.portfolio.qty(BTC) == D(2) + D(owners)
    trader.wish(intent(Side.SELL, "2", limit_px=D(110), time_in_force=TimeInForce.GTC, reduce_only=True))
    own = trader.last
    assert own.intent.limit_px == D(110)
    trader.accept(own)
    trader.price(89.0)
    assert trader.venue.cancelled == [own.client_order_id]
    trader.end(own, e.OrderCancelled)
    trader.wait(SECOND_NS)
    assert (trader.last.intent.order_type, trader.last.intent.qty) == (OrderType.MARKET, D(2))


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
