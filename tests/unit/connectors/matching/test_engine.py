"""The matching engine's rules, one by one, on books small enough to check by eye."""

from __future__ import annotations

import pytest

from connectors.matching.orders import Opened, SelfTrade, Triggered
from engine.commands import TimeInForce
from engine.events import Side
from tests.support.matching import D, book, ends, fills, ladder, limit, market, stop

BUY, SELL = Side.BUY, Side.SELL


def test_a_market_order_fills_by_price_then_time_at_the_makers_prices():
    """A buy of 6 takes the older order at 101, the younger one, then one unit of 102."""
    engine = ladder()
    out = engine.submit(market("t", BUY, "6"), 1)
    assert fills(out) == [("a1", "t", "101", "2"), ("a2", "t", "101", "3"), ("a3", "t", "102", "1")]
    assert ends(out) == {"a1": "filled", "a2": "filled", "t": "filled"}
    assert engine.best() == (D(100), D(2), D(102), D(3))
    assert engine.last_px == D(102)


def test_a_limit_order_takes_what_crosses_and_rests_with_the_remainder():
    """A buy of 7 at 101 takes the 5 there and rests with 2 at 101."""
    engine = ladder()
    out = engine.submit(limit("t", BUY, "7", "101"), 1)
    assert [q for *_, q in fills(out)] == ["2", "3"]
    assert engine.levels(BUY, 2) == [(D(101), D(2)), (D(100), D(2))]
    assert engine.order("t").leaves_qty == D(2)


def test_a_market_order_that_empties_the_book_ends_without_liquidity():
    """12 asked, 9 there: the order fills 9 and never rests."""
    engine = ladder()
    out = engine.submit(market("t", BUY, "12"), 1)
    assert sum(D(q) for *_, q in fills(out)) == 9
    assert ends(out)["t"] == "no_liquidity"
    assert engine.order("t") is None
    assert engine.best() is None


def test_a_budget_buys_whole_lots_and_never_more_than_it_can_pay():
    """530 quote units buy 5 at 101 (505), then 0.2 at 102 (20.4); 0.3 would cost 30.6."""
    engine = ladder()
    out = engine.submit(market("t", BUY, quote_qty=D(530)), 1)
    assert fills(out)[-1] == ("a3", "t", "102", "0.2")
    assert ends(out)["t"] == "filled"
    assert sum(D(p) * D(q) for *_, p, q in fills(out)) <= 530


def test_a_spent_budget_does_not_meet_the_own_order_behind_it():
    """A fill-or-kill sale for 337 is whole with 3.3 at 99.5; the own bid below is never touched."""
    engine = book()
    engine.submit(limit("own", BUY, "1", "98.5", account="me"), 0)
    engine.submit(limit("other", BUY, "3.3", "99.5"), 0)
    out = engine.submit(market("t", SELL, account="me", quote_qty=D(337), time_in_force=TimeInForce.FOK), 1)
    assert ends(out) == {"other": "filled", "t": "filled"}


def test_a_budget_below_one_lot_trades_nothing():
    """5 quote units do not buy 0.1 at 101."""
    out = ladder().submit(market("t", BUY, quote_qty=D(5)), 1)
    assert fills(out) == []
    assert ends(out)["t"] == "no_liquidity"


def test_immediate_or_cancel_never_rests():
    """The remainder of an IOC goes, what crossed is filled."""
    engine = ladder()
    out = engine.submit(limit("t", BUY, "7", "101", tif=TimeInForce.IOC), 1)
    assert len(fills(out)) == 2
    assert ends(out)["t"] == "ioc"
    assert engine.levels(BUY, 1) == [(D(100), D(2))]


@pytest.mark.parametrize(("qty", "filled"), [("5", True), ("5.1", False)])
def test_fill_or_kill_fills_whole_or_not_at_all(qty, filled):
    """5 units are at 101 or better: 5 is filled, 5.1 leaves the book untouched."""
    engine = ladder()
    out = engine.submit(limit("t", BUY, qty, "101", tif=TimeInForce.FOK), 1)
    assert bool(fills(out)) is filled
    assert ends(out)["t"] == ("filled" if filled else "fok")
    if not filled:
        assert engine.levels(SELL, 1) == [(D(101), D(5))]


def test_post_only_is_refused_when_it_would_take():
    """At 101 it would trade, at 100.5 it rests."""
    engine = ladder()
    assert ends(engine.submit(limit("t", BUY, "1", "101", post_only=True), 1)) == {"t": "post_only_would_cross"}
    assert engine.order("t") is None
    assert engine.submit(limit("u", BUY, "1", "100.5", post_only=True), 1) == [Opened("u", "of-u")]


def test_cancel_removes_and_a_second_cancel_finds_nothing():
    """The level goes with its only order."""
    engine = ladder()
    closed = engine.cancel("b1", 1)
    assert closed.reason.value == "cancelled"
    assert engine.cancel("b1", 1) is None
    assert engine.best_px(BUY) == D(99)


def test_reduce_keeps_the_place_in_the_queue():
    """a1 lowered to 1 still fills before a2."""
    engine = ladder()
    assert engine.reduce("a1", D(1)) is None
    assert engine.qty_at(SELL, D(101)) == D(4)
    assert fills(engine.submit(market("t", BUY, "2"), 1)) == [("a1", "t", "101", "1"), ("a2", "t", "101", "1")]


def test_reduce_to_nothing_closes():
    """What is reduced by all it has is gone."""
    engine = ladder()
    assert engine.reduce("a1", D(7)).reason.value == "reduced"
    assert engine.order("a1") is None


def test_nobody_trades_with_an_order_whose_time_is_up():
    """An ask that expires at 10 is removed before a buy of time 10 is matched."""
    engine = book()
    engine.submit(limit("a", SELL, "1", "101", tif=TimeInForce.GTD, expire_ns=10), 0)
    out = engine.submit(market("t", BUY, "1"), 10)
    assert ends(out) == {"a": "expired", "t": "no_liquidity"}
    assert fills(out) == []


def test_a_stop_that_a_price_fires_does_not_trade_with_an_order_whose_time_is_up():
    """The price comes at 10, when the ask that the stop would buy has expired."""
    engine = book()
    engine.submit(limit("a", SELL, "1", "101", tif=TimeInForce.GTD, expire_ns=10), 0)
    engine.submit(stop("s", BUY, "1", "102", "103"), 1)
    out = engine.trigger(D(102), D(102), 10)
    assert ends(out) == {"a": "expired"}
    assert fills(out) == []
    assert engine.order("s").limit_px == D(103)


def test_an_order_that_is_resumed_does_not_trade_with_one_whose_time_is_up():
    """Nor does it come back when its own time is up."""
    engine = book()
    engine.submit(limit("b", BUY, "1", "100"), 0)
    engine.submit(limit("gone", BUY, "1", "100", tif=TimeInForce.GTD, expire_ns=9), 0)
    engine.withdraw("b")
    engine.withdraw("gone")
    engine.submit(limit("a", SELL, "1", "100", tif=TimeInForce.GTD, expire_ns=10), 1)
    assert ends(engine.resume("gone", 9)) == {"gone": "expired"}
    out = engine.resume("b", 10)
    assert ends(out) == {"a": "expired"}
    assert fills(out) == []


def test_orders_expire_earliest_first_and_only_when_due():
    """Three orders, two of them due."""
    engine = book()
    for order_id, at in (("late", 30), ("second", 20), ("first", 10)):
        engine.submit(limit(order_id, BUY, "1", "100", tif=TimeInForce.GTD, expire_ns=at), 0)
    assert list(ends(engine.expire(25))) == ["first", "second"]
    assert engine.cancel("late", 31).reason.value == "expired"


def test_a_reused_id_is_not_expired_by_its_predecessors_time():
    """The heap entry of a cancelled order does not hit a later order of the same id."""
    engine = book()
    engine.submit(limit("x", BUY, "1", "100", tif=TimeInForce.GTD, expire_ns=10), 0)
    engine.cancel("x", 1)
    engine.submit(limit("x", BUY, "1", "100"), 2)
    assert engine.expire(50) == []
    assert engine.order("x") is not None


@pytest.mark.parametrize(
    ("mode", "closed"),
    [
        (SelfTrade.CANCEL_NEWEST, {"new": "stp"}),
        (SelfTrade.CANCEL_OLDEST, {"old": "stp", "other": "filled", "new": "filled"}),
        (SelfTrade.CANCEL_BOTH, {"old": "stp", "new": "stp"}),
    ],
)
def test_an_account_never_trades_with_itself(mode, closed):
    """Own ask first in the queue, a stranger's behind it: each mode gives way as it says."""
    engine = book(self_trade=mode)
    engine.submit(limit("old", SELL, "1", "101", account="me"), 0)
    engine.submit(limit("other", SELL, "1", "101"), 0)
    out = engine.submit(limit("new", BUY, "1", "101", account="me"), 1)
    assert ends(out) == closed
    assert all("old" not in match for match in fills(out))


def test_the_market_account_may_trade_with_itself():
    """Background flow is many people under one name."""
    engine = book()
    engine.submit(limit("a", SELL, "1", "101", account="market"), 0)
    assert fills(engine.submit(limit("b", BUY, "1", "101", account="market"), 0)) == [("a", "b", "101", "1")]


def test_fill_or_kill_does_not_count_liquidity_behind_an_own_order():
    """With cancel-newest the order would stop at its own ask: so it is not fillable, and nothing trades."""
    engine = book()
    engine.submit(limit("own", SELL, "1", "101", account="me"), 0)
    engine.submit(limit("other", SELL, "5", "101"), 0)
    out = engine.submit(limit("t", BUY, "2", "101", account="me", tif=TimeInForce.FOK), 1)
    assert ends(out) == {"t": "fok"}


def test_a_stop_waits_for_its_trigger_and_then_is_a_limit_order():
    """A buy stop at 102 fires when 102 trades and takes what is left there."""
    engine = ladder()
    assert engine.submit(stop("s", BUY, "1", "102", "103"), 1) == [Opened("s", "of-s")]
    assert engine.levels(BUY, 1) == [(D(100), D(2))]
    out = engine.submit(market("t", BUY, "6"), 2)
    assert Triggered("s", "of-s") in out
    assert fills(out)[-1] == ("a3", "s", "102", "1")


def test_a_triggered_stop_queues_behind_what_rested_before_it_fired_and_keeps_its_end():
    """Fired after b1 came, it stands behind b1 in place and in number; at its time it still expires."""
    engine = book()
    engine.submit(stop("s", BUY, "1", "102", "100", time_in_force=TimeInForce.GTD, expire_ns=50), 1)
    engine.submit(limit("b1", BUY, "2", "100"), 1)
    engine.trigger(D(102), D(102), 2)
    assert [live.order_id for live in engine.queue(BUY, D(100))] == ["b1", "s"]
    assert engine.order("s").seq > engine.order("b1").seq
    assert ends(engine.expire(50)) == {"s": "expired"}


def test_triggered_stops_set_off_further_stops():
    """The first sell stop's own fill at 99 fires the second one."""
    engine = ladder()
    engine.submit(stop("s1", SELL, "3", "100", "98"), 1)
    engine.submit(stop("s2", SELL, "1", "99", "90"), 1)
    out = engine.submit(market("t", SELL, "1"), 2)
    assert [o.order_id for o in out if isinstance(o, Triggered)] == ["s1", "s2"]
    assert fills(out)[1:] == [("b1", "s1", "100", "1"), ("b2", "s1", "99", "2"), ("b2", "s2", "99", "1")]


def test_a_stop_already_reached_fires_at_once_and_a_cancelled_one_never():
    """Last trade 101 has reached a buy stop of 101."""
    engine = ladder()
    engine.submit(market("t", BUY, "1"), 1)
    assert Triggered("s", "of-s") in engine.submit(stop("s", BUY, "1", "101", "101"), 2)
    engine.submit(stop("gone", BUY, "1", "105", "106"), 3)
    assert engine.cancel("gone", 4).reason.value == "cancelled"
    assert engine.trigger(D(110), D(110), 5) == []


def test_prices_from_outside_trigger_stops_of_the_named_direction_only():
    """The ask of 106 fires the up-stop, the bid of 105 leaves the down-stop at 104 alone."""
    engine = ladder()
    engine.submit(stop("up", BUY, "1", "106", "100"), 1)
    engine.submit(stop("down", SELL, "1", "104", "104"), 1)
    out = engine.trigger(D(106), D(105), 2)
    assert [o.order_id for o in out if isinstance(o, Triggered)] == ["up"]


@pytest.mark.parametrize(
    ("order", "reason"),
    [
        (limit("b1", BUY, "1", "100"), "duplicate_id"),
        (limit("x", BUY, "0", "100"), "bad_qty"),
        (limit("x", BUY, "-1", "100"), "bad_qty"),
        (limit("x", BUY, "NaN", "100"), "bad_qty"),
        (limit("x", BUY, "1", "0"), "bad_px"),
        (limit("x", BUY, "1", "NaN"), "bad_px"),
        (limit("x", BUY, "1", "Infinity"), "bad_px"),
        (limit("x", BUY, "1", "100", trigger_px=D(1)), "bad_trigger"),
        (stop("x", BUY, "1", "-3", "100"), "bad_trigger"),
        (limit("x", BUY, "1", "100", tif=TimeInForce.GTD), "bad_expiry"),
        (limit("x", BUY, "1", "100", tif=TimeInForce.GTD, expire_ns=5), "bad_expiry"),
        (limit("x", BUY, "1", "100", tif=TimeInForce.IOC, post_only=True), "bad_post_only"),
        (market("x", BUY, "1", post_only=True), "bad_post_only"),
        (market("x", BUY, "1", quote_qty=D(5)), "bad_budget"),
        (market("x", BUY, quote_qty=D(-5)), "bad_budget"),
        (market("x", BUY, quote_qty=D("NaN")), "bad_budget"),
    ],
)
def test_what_no_book_could_take_is_refused_and_changes_nothing(order, reason):
    """Each malformed order by its reason; the levels stay."""
    engine = ladder()
    before = engine.levels(BUY, 9), engine.levels(SELL, 9)
    assert ends(engine.submit(order, 5)) == {order.order_id: reason}
    assert (engine.levels(BUY, 9), engine.levels(SELL, 9)) == before


def test_open_orders_are_bounded():
    """The third order of two is refused; a cancel makes room again."""
    engine = book(max_orders=2)
    for order_id in ("a", "b"):
        engine.submit(limit(order_id, BUY, "1", "100"), 0)
    assert ends(engine.submit(limit("c", BUY, "1", "100"), 0)) == {"c": "book_full"}
    engine.cancel("a", 0)
    assert ends(engine.submit(limit("c", BUY, "1", "100"), 0)) == {}


def test_state_does_not_grow_with_orders_that_came_and_went():
    """20,000 dated orders at ever new prices, nobody drains: expiries and change marks stay small."""
    engine = book()
    for n in range(20_000):
        engine.submit(limit("x", BUY, "1", str(100 + n), tif=TimeInForce.GTD, expire_ns=10**9 + n), n)
        engine.cancel("x", n)
    assert len(engine._expiries) < 200
    assert len(engine._changes._dirty) <= 4200
    assert engine.drain_changes() == []
