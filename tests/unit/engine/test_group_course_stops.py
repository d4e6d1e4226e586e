"""Stops of a group that wait here: which price fires them, and how they go until all is closed."""

from __future__ import annotations

from itertools import pairwise

import pytest

from engine import events as e
from engine.commands import IN_THE_WAY, GroupIntent, GroupMoved, OrderType, Rejected, TimeInForce
from engine.group_course import PATIENCE_NS, RETRY_NS
from tests.support.core import BTC, intent, perpetual
from tests.support.groups import BRACKETS, NO_STOPS, SECOND_NS, D, Trader, exit_of, holding, stop, stopped


@pytest.mark.fault("B19")
def test_a_stop_of_the_venue_that_does_not_fill_in_time_is_taken_over() -> None:
    """Its price was reached and it is still there: it is cancelled, and what is left is closed at market."""
    trader, rests = holding(offers={"coinbase": BRACKETS})
    trader.accept(rests)
    trader.price(89.0)
    trader.wait(PATIENCE_NS)
    assert trader.venue.cancelled == [rests.client_order_id]
    trader.end(rests, e.OrderCancelled)
    assert (trader.last.intent.order_type, trader.last.intent.qty) == (OrderType.MARKET, D(2))


def test_a_stop_waits_here_until_the_bid_has_come_to_it() -> None:
    """At the trigger, not above it; the order that leaves is a market order that reduces."""
    trader = stopped(stop("95"))
    orders = len(trader.venue.orders)
    trader.price(95.01)
    assert len(trader.venue.orders) == orders
    trader.price(95.0)
    assert (trader.last.intent.order_type, trader.last.intent.qty) == (OrderType.MARKET, D(2))
    assert trader.of(GroupMoved)[-1].fired == 0


def test_a_stop_that_buys_looks_at_the_ask() -> None:
    """A short position: the price to buy it back at counts."""
    trader = Trader(opened=False)
    trader.core.portfolio.define(perpetual())
    trader.open()
    trader.fill(trader.place(e.Side.SELL, "2"), "2", "100", "t1")
    trader.wish(intent(e.Side.BUY, "2", order_type=OrderType.STOP, limit_px=None, trigger_px=D("105"),
                       time_in_force=TimeInForce.GTC, reduce_only=True))  # fmt: skip
    orders = len(trader.venue.orders)
    trader.price(104.98)
    assert len(trader.venue.orders) == orders
    trader.price(104.99)  # the ask is 105.00
    assert (trader.last.intent.side, len(trader.venue.orders)) == (e.Side.BUY, orders + 1)


def test_a_trailing_stop_follows_the_best_price_and_never_turns_back() -> None:
    """Up with the bid, at its distance; it stays while the price falls, and fires where it stayed."""
    trader = stopped(exit_of(OrderType.STOP, trailing_px=D(5)))
    trader.price(120.0)
    trader.price(117.0)
    (group,) = trader.core.view.groups(BTC)
    assert group.levels_px == (D(115),)
    orders = len(trader.venue.orders)
    trader.price(115.01)
    assert len(trader.venue.orders) == orders
    trader.price(114.99)
    assert (len(trader.venue.orders), trader.last.intent.order_type) == (orders + 1, OrderType.MARKET)


def test_a_ladder_of_stops_rests_its_first_rung() -> None:
    """Several exits of one side: the first that the venue takes rests there, the others are watched here."""
    low = exit_of(OrderType.STOP_LIMIT, trigger_px=D(90), limit_px=D(89))
    trader = stopped(GroupIntent(1, "s", (low, stop("85"))))
    assert (trader.last.intent.order_type, trader.last.intent.trigger_px) == (OrderType.STOP_LIMIT, D(90))
    trader.accept(trader.last)
    rung = trader.last
    trader.price(84.0)
    trader.wait(PATIENCE_NS)
    assert trader.venue.cancelled == [rung.client_order_id]


@pytest.mark.fault("B19")
def test_a_stop_limit_that_does_not_fill_is_sent_again_then_across_then_at_market() -> None:
    """The ladder: its own limit, its patience, two orders beyond the bid, then market; each for what is left."""
    wish = exit_of(OrderType.STOP_LIMIT, trigger_px=D(95), limit_px=D("94.5"))
    trader = stopped(wish, offers={"coinbase": NO_STOPS})
    trader.price(94.0)
    own = trader.last
    assert (own.intent.order_type, own.intent.limit_px, own.intent.trigger_px) == (OrderType.LIMIT, D("94.5"), None)
    trader.accept(own)
    trader.fill(own, "0.5", "94.5", "t2")
    trader.wait(PATIENCE_NS - SECOND_NS)
    assert trader.venue.cancelled == []
    trader.wait(2 * SECOND_NS)
    assert trader.venue.cancelled == [own.client_order_id]
    trader.end(own, e.OrderCancelled)
    kinds = []
    for _ in range(4):
        sent = trader.last
        kinds.append((sent.intent.order_type, sent.intent.limit_px, sent.intent.qty))
        trader.end(sent, e.OrderCancelled)
        trader.wait(SECOND_NS)
        trader.price(94.0)
    own_again, crossing, market = (OrderType.LIMIT, D("94.5")), (OrderType.LIMIT, D("93.91")), (OrderType.MARKET, None)
    assert kinds == [(*one, D("1.5")) for one in (own_again, crossing, crossing, market)]


@pytest.mark.fault("B19")
def test_pauses_between_exits_that_close_nothing_grow_and_never_end_them() -> None:
    """A closed venue is not hammered; a refusal by risk counts as one that closed nothing."""
    trader = stopped(stop("95"))
    trader.gate.refuse = "no_quote"
    trader.price(94.0)
    for _ in range(400):
        trader.wait(RETRY_NS)
    refused = [record.ts_ns for record in trader.of(Rejected)]
    gaps = [(after - before) // RETRY_NS for before, after in pairwise(refused)]
    assert (gaps[:5], set(gaps[5:])) == ([1, 2, 4, 8, 16], {16})
    trader.gate.refuse = ""
    trader.wait(16 * RETRY_NS)
    assert trader.last.intent.order_type is OrderType.MARKET
    assert trader.core.counters.exit_retries == len(refused)


@pytest.mark.fault("B19")
def test_a_venue_that_is_slow_to_fill_gets_longer_for_each_stop_at_market() -> None:
    """It takes each of them, fills none within 20 s, and does cancel: called back after two seconds each time, the
    position would never be left."""
    trader = stopped(stop("95"))
    trader.price(94.0)
    waited = []
    for _ in range(7):
        sent, cancels, seconds = trader.last, len(trader.venue.cancelled), 0
        trader.accept(sent)
        while len(trader.venue.cancelled) == cancels and seconds < 60:
            trader.wait(SECOND_NS)
            seconds += 1
        waited.append(seconds)
        trader.end(sent, e.OrderCancelled)
    assert waited == [2, 4, 8, 16, 32, 32, 32]


@pytest.mark.fault("F12")
def test_a_stop_that_waits_for_orders_of_ours_asks_at_an_even_pace() -> None:
    """They are being cancelled: that they were there is no reason to ask less often."""
    trader = stopped(stop("95"))
    trader.gate.refuse = IN_THE_WAY
    trader.price(94.0)
    for _ in range(9):
        trader.wait(RETRY_NS)
    assert len(trader.of(Rejected)) == 10
    trader.gate.refuse = ""
    trader.wait(RETRY_NS)
    assert trader.last.intent.order_type is OrderType.MARKET


def test_prices_that_are_none_fire_nothing() -> None:
    """A crossed book and a one-sided one are no price to leave by."""
    trader = stopped(stop("95"))
    orders = len(trader.venue.orders)
    at = trader.now_ns
    trader.publish(e.Quote(at + 1, at + 1, BTC, 94.0, 1.0, 93.0, 1.0))
    trader.publish(e.Quote(at + 2, at + 2, BTC, 94.0, 1.0, float("nan"), 1.0))
    trader.now_ns += 2
    assert len(trader.venue.orders) == orders
