"""Groups beside other orders and positions of the same instrument: their strategy's own, another's, the owner's."""

from __future__ import annotations

from decimal import Decimal

import pytest

from engine import events as e
from engine.commands import EXIT_WAITS, IN_THE_WAY, GroupIntent, NewOrder, OrderType, Rejected, TimeInForce
from engine.events import Side
from engine.group_course import RETRY_NS
from engine.offers import ALL_PLAIN, Offer
from risk.gate import Gate
from tests.support.core import BTC, intent, open_market, perpetual
from tests.support.groups import RISE, SECOND_NS, STOP_LIMIT, Trader, bracket, entries, guarded, stop, target
from tests.support.limits import make_limits

D = Decimal


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
