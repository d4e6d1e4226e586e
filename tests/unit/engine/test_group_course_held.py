"""Exits at a venue that holds them: which rests, what follows where it does not act or cannot be had."""

from __future__ import annotations

from itertools import pairwise

import pytest

from engine import events as e
from engine.commands import GroupIntent, OrderIntent, OrderType, Rejected, TimeInForce
from engine.group_course import PATIENCE_NS, RETRY_NS
from engine.offers import Offer
from tests.support.core import intent
from tests.support.groups import (
    HOLDS,
    NO_STOPS,
    D,
    Trader,
    bracket,
    exit_of,
    holding,
    restarted,
    settle,
    stop,
    stopped,
    target,
)

AT = {"coinbase": HOLDS}
TOUCH = OrderType.MARKET_IF_TOUCHED


def touch(px: str = "110", qty: str = "2") -> OrderIntent:
    return exit_of(TOUCH, qty, trigger_px=D(px))


def test_a_stop_rests_where_the_venue_holds_it() -> None:
    """The first of the list: it is out while the daemon is not looking, and the target is watched here."""
    trader = stopped(GroupIntent(1, "s", (stop("90"), touch("110"))), offers=AT)
    sent = trader.last.intent
    assert (sent.order_type, sent.trigger_px, sent.limit_px, sent.reduce_only) == (OrderType.STOP, D(90), None, True)
    trader.accept(trader.last)
    trader.fill(trader.last, "2", "90", "t2")
    assert trader.ended == ["nothing is left to close"]


@pytest.mark.fault("B19")
def test_a_stop_that_the_venue_does_not_execute_is_taken_over_at_market() -> None:
    """It has two seconds from its price; a price that is gone again by then leaves it to the venue."""
    trader = stopped(stop("95"), offers=AT)
    rests = trader.last
    trader.accept(rests)
    trader.price(94.0)
    trader.price(96.0)
    trader.wait(PATIENCE_NS)
    assert (trader.venue.cancelled, trader.core.view.groups()[0].fired) == ([], -1)
    trader.price(94.0)
    trader.wait(PATIENCE_NS)
    assert trader.venue.cancelled == [rests.client_order_id]
    trader.end(rests, e.OrderCancelled)
    assert (trader.last.intent.order_type, trader.last.intent.time_in_force) == (OrderType.MARKET, TimeInForce.IOC)


def test_a_stop_with_a_bound_is_followed_by_its_limit() -> None:
    """The venue gives it up beyond the bound; here it goes on as the limit order that was asked for."""
    wish = exit_of(OrderType.STOP_LIMIT, trigger_px=D(95), limit_px=D("94.5"))
    trader = stopped(wish, offers=AT)
    rests = trader.last
    assert (rests.intent.order_type, rests.intent.trigger_px) == (OrderType.STOP_LIMIT, D(95))
    trader.accept(rests)
    trader.price(94.0)
    trader.end(rests, e.OrderCancelled)
    trader.wait(PATIENCE_NS)
    sent = trader.last.intent
    assert (sent.order_type, sent.limit_px, sent.trigger_px) == (OrderType.LIMIT, D("94.5"), None)


def test_an_entry_with_a_bound_waits_here() -> None:
    """It would be given up where a stop-limit rests: nothing is sent before its price, and then its limit order."""
    trader = Trader(offers=AT)
    wish = intent(
        qty="2", order_type=OrderType.STOP_LIMIT, limit_px=D(106), trigger_px=D(105), time_in_force=TimeInForce.GTC
    )
    trader.wish(wish)
    assert trader.venue.orders == []
    trader.price(105.5)
    assert (trader.last.intent.order_type, trader.last.intent.limit_px) == (OrderType.LIMIT, D(106))


def test_an_entry_stop_rests_and_can_be_cancelled() -> None:
    """As one order of a group, which ends with it."""
    trader = Trader(offers=AT)
    trader.wish(
        intent(qty="2", order_type=OrderType.STOP, limit_px=None, trigger_px=D(105), time_in_force=TimeInForce.GTC)
    )
    rests = trader.last
    assert (rests.intent.order_type, rests.intent.trigger_px) == (OrderType.STOP, D(105))
    trader.accept(rests)
    trader.cancel(rests)
    assert trader.venue.cancelled == [rests.client_order_id]
    trader.end(rests, e.OrderCancelled)
    assert trader.core.view.groups() == ()


@pytest.mark.parametrize("entry", [OrderType.STOP, TOUCH])
def test_an_entry_that_waits_may_have_exits(entry: OrderType) -> None:
    """Sent as it is; where the venue has no such order it is refused by name, and its exits end."""
    wish = intent(qty="2", order_type=entry, limit_px=None, trigger_px=D(105), time_in_force=TimeInForce.GTC)
    group = GroupIntent(1, "s", bracket().exits, wish)
    trader = Trader(offers=AT)
    trader.wish(group)
    assert trader.last.intent.order_type is entry
    trader.fill(trader.last, "2", "105", "t1")
    assert trader.last.intent.order_type is OrderType.BRACKET
    without = Trader(offers={"coinbase": NO_STOPS})
    without.wish(group)
    assert (without.venue.orders, without.of(Rejected)[-1].check) == ([], "not_offered")


# --- touched ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("offers", [AT, {}])
def test_a_touched_price_is_a_market_order_everywhere(offers: dict[str, Offer]) -> None:
    """It rests where the venue has it; elsewhere a market order leaves when the bid has come up to it."""
    trader = stopped(touch("110"), offers=offers)
    if offers:
        assert (trader.last.intent.order_type, trader.last.intent.trigger_px) == (TOUCH, D(110))
        return
    orders = len(trader.venue.orders)
    trader.price(109.0)
    assert len(trader.venue.orders) == orders
    trader.price(110.0)
    sent = trader.last.intent
    assert (sent.order_type, sent.trigger_px, sent.time_in_force) == (OrderType.MARKET, None, TimeInForce.IOC)


def test_a_touched_target_takes_the_place_of_the_stop_that_rests() -> None:
    """The stop is cancelled first; what it has left is closed at market, however the price has moved since."""
    trader = stopped(GroupIntent(1, "s", (stop("90"), touch("110"))), offers=AT)
    rests = trader.last
    trader.accept(rests)
    trader.price(110.0)
    assert trader.venue.cancelled == [rests.client_order_id]
    trader.end(rests, e.OrderCancelled)
    assert (trader.last.intent.order_type, trader.last.intent.qty) == (OrderType.MARKET, D(2))


def test_a_touch_on_the_wrong_side_of_its_stop_is_refused() -> None:
    """A target has to lie on the better side."""
    trader = stopped(GroupIntent(1, "s", (stop("90"), touch("89"))), offers=AT)
    assert trader.of(Rejected)[-1].seen.startswith("target 89 on the stop's side")


# --- trailing ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["kept", "killed"])
def test_a_trailing_stop_rests_with_its_distance(how: str) -> None:
    """It tells where it acts now; the level goes on moving here, and the next session knows whose order it is."""
    trader = stopped(exit_of(OrderType.STOP, trailing_px=D(5)), offers=AT)
    trader.price(100.0)
    sent = trader.last.intent
    assert (sent.order_type, sent.trailing_px, sent.trigger_px) == (OrderType.STOP, D(5), D(95))
    trader.accept(trader.last)
    trader.price(120.0)
    assert trader.venue.cancelled == []
    (group,) = trader.core.view.groups()
    assert (group.exit_id, group.levels_px) == (trader.last.client_order_id, (D(115),))
    after = restarted(trader, how, offers=AT)
    settle(after, D(2), trader.last.client_order_id)
    after.wait(PATIENCE_NS)
    assert [one.exit_id for one in after.core.view.groups()] == [trader.last.client_order_id]


def test_a_trailing_stop_that_the_venue_does_not_have_waits_here() -> None:
    """As at every venue that is not said to have it."""
    trader = stopped(exit_of(OrderType.STOP, trailing_px=D(5)))
    assert [one.intent.trailing_px for one in trader.venue.orders] == [None]


@pytest.mark.parametrize("how", ["kept", "killed"])
def test_what_stands_in_for_the_pair_stays_over_a_restart(how: str) -> None:
    """The next session does not know of the refusal: it leaves what protects where it is."""
    trader, both = holding(bracket(stop(), target()), offers=AT)
    trader.end(both, e.OrderRejected, "exit_refused")
    rests = trader.last
    trader.accept(rests)
    after = restarted(trader, how, offers=AT)
    settle(after, D(2), rests.client_order_id)
    after.wait(60 * PATIENCE_NS)
    assert (after.venue.orders, after.venue.cancelled) == ([], [])
    assert [one.exit_id for one in after.core.view.groups()] == [rests.client_order_id]


# --- what cannot be had -----------------------------------------------------------------------------------------------


def test_what_the_venue_cannot_hold_as_things_are_makes_way_for_the_next() -> None:
    """Target and stop as one order are refused: the first of the list rests at once, until something fills."""
    group = bracket(stop(), target())
    trader, both = holding(group, offers=AT)
    assert both.intent.order_type is OrderType.BRACKET
    trader.end(both, e.OrderRejected, "exit_refused")
    rests = trader.last
    assert rests.intent.order_type is OrderType.STOP
    trader.accept(rests)
    trader.wait(60 * PATIENCE_NS)
    assert (trader.last, trader.venue.cancelled) == (rests, [])
    trader.fill(rests, "1", "90", "t2")
    trader.wait(PATIENCE_NS)
    assert trader.venue.cancelled == []
    trader.end(rests, e.OrderCancelled)
    trader.wait(PATIENCE_NS)
    assert (trader.last.intent.order_type, trader.last.intent.qty) == (OrderType.BRACKET, D(1))


def test_where_nothing_can_be_held_it_is_asked_for_again_with_growing_pauses() -> None:
    """Prices are watched meanwhile."""
    trader = stopped(stop("95"), offers=AT)
    sent_ns = []
    for _ in range(4):
        sent_ns.append(trader.last.ts_ns)
        trader.end(trader.last, e.OrderRejected, "exit_refused")
        before = len(trader.venue.orders)
        while len(trader.venue.orders) == before:
            trader.wait(RETRY_NS)
    pauses = [later - earlier for earlier, later in pairwise(sent_ns)]
    assert pauses[0] < pauses[1] < pauses[2]
    trader.end(trader.last, e.OrderRejected, "exit_refused")
    trader.price(94.0)
    assert trader.last.intent.order_type is OrderType.MARKET


def test_a_refusal_for_another_reason_changes_nothing_in_what_rests() -> None:
    """Asked for again after its pause."""
    trader, both = holding(bracket(stop(), target()), offers=AT)
    trader.end(both, e.OrderRejected, "rate_limited")
    trader.wait(PATIENCE_NS)
    assert trader.last.intent.order_type is OrderType.BRACKET
    assert trader.last is not both
