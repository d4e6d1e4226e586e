"""Brackets in the book: one order with two ways out, of which it takes one."""

from __future__ import annotations

import msgspec
import pytest

from connectors.matching.orders import SelfTrade, Triggered, bracket_stop_px
from engine.commands import TimeInForce
from engine.events import Side
from tests.support.matching import FX, SPOT, D, book, bracket, ends, fills, ladder, limit, market

BUY, SELL = Side.BUY, Side.SELL


def fired(outcomes) -> list[str]:
    return [one.order_id for one in outcomes if isinstance(one, Triggered)]


def test_a_bracket_rests_at_its_target_and_is_gone_when_that_fills():
    """A sell of 2 at 103 with its trigger at 99 is the ask of 103; bought there, its trigger finds nobody."""
    engine = ladder()
    assert ends(engine.submit(bracket("x", SELL, "2", "103", "99"), 1)) == {}
    assert engine.qty_at(SELL, D(103)) == D(2)
    assert fills(engine.submit(limit("t", BUY, "11", "103"), 2))[-1] == ("x", "t", "103", "2")
    assert engine.order("x") is None
    assert engine.trigger(D(98), D(98), 3) == []


def test_a_fired_bracket_leaves_its_target_for_five_percent_beyond_the_trigger():
    """100 trades, its trigger: the ask of 103 is gone, and it sells what bids there are down to 95."""
    engine = ladder()
    engine.submit(bracket("x", SELL, "9", "103", "100"), 1)
    out = engine.submit(market("t", SELL, "1"), 2)
    assert fired(out) == ["x"]
    assert fills(out)[1:] == [("b1", "x", "100", "1"), ("b2", "x", "99", "3")]
    assert engine.qty_at(SELL, D(103)) == 0
    assert engine.levels(SELL, 1) == [(D(95), D(5))]
    assert fills(engine.submit(market("u", BUY, "5"), 3)) == [("x", "u", "95", "5")]
    assert engine.order("x") is None


def test_what_the_target_has_sold_the_trigger_does_not_sell_again():
    """Of 3 one is sold at 103, one is taken off from outside: the trigger sells the last one."""
    engine = ladder()
    engine.submit(bracket("x", SELL, "3", "103", "100"), 1)
    engine.submit(limit("t", BUY, "10", "103", tif=TimeInForce.IOC), 2)
    assert engine.reduce("x", D(1)) is None
    assert engine.qty_at(SELL, D(103)) == D(1)
    out = engine.submit(market("u", SELL, "1"), 3)
    assert fills(out) == [("b1", "u", "100", "1"), ("b1", "x", "100", "1")]
    assert out[-1].filled_qty == D(2)


def test_a_buying_bracket_is_the_mirror_image():
    """Target 98 below the market, trigger 102 above it: fired by the ask of others, it buys up to 107.5 (102 x 1.05 on
    a grid of 0.5)."""
    engine = ladder()
    engine.submit(bracket("x", BUY, "2", "98", "102"), 1)
    assert engine.qty_at(BUY, D(98)) == D(2)
    out = engine.trigger(D(102), D(102), 2)
    assert fired(out) == ["x"]
    assert fills(out) == [("a1", "x", "101", "2")]
    engine.submit(bracket("y", BUY, "9", "98", "102.5"), 3)
    engine.trigger(D("102.5"), D("102.5"), 4)
    assert engine.levels(BUY, 1) == [(D(108), D(2))]


@pytest.mark.parametrize(
    ("side", "trigger_px", "instrument", "px"),
    [
        (SELL, "100.5", SPOT, "95"),  # 95.475, not nearer
        (BUY, "100.5", SPOT, "106"),  # 105.525
        (SELL, "0.5", SPOT, "0.5"),  # 0.475 is no price of this grid: the lowest there is
        (SELL, "-10", msgspec.structs.replace(SPOT, allows_negative_px=True), "-10.5"),
        (BUY, "-10", msgspec.structs.replace(SPOT, allows_negative_px=True), "-9.5"),
        (SELL, "1.23457", FX, "1.17284"),
    ],
)
def test_the_price_beyond_the_trigger_is_on_the_grid_and_never_nearer(side, trigger_px, instrument, px):
    """5 % of the trigger's size, away from the position's good side."""
    target = str(D(trigger_px) - side * 10)
    assert bracket_stop_px(bracket("x", side, "1", target, trigger_px), instrument) == D(px)


@pytest.mark.parametrize("way", ["cancel", "expire", "reduce", "self-trade"])
def test_a_bracket_that_ends_leaves_both_places(way):
    """Neither its ask nor its trigger is left, whatever ended it."""
    engine = book(self_trade=SelfTrade.CANCEL_OLDEST)
    dated = {"time_in_force": TimeInForce.GTD, "expire_ns": 50} if way == "expire" else {}
    engine.submit(bracket("x", SELL, "2", "103", "99", account="me", **dated), 1)
    if way == "cancel":
        closed = [engine.cancel("x", 2)]
    elif way == "expire":
        closed = engine.expire(50)
    elif way == "reduce":
        closed = [engine.reduce("x", D(2))]
    else:
        closed = engine.submit(limit("own", BUY, "1", "103", account="me", tif=TimeInForce.IOC), 2)
    assert "x" in ends(closed)
    assert engine.best_px(SELL) is None
    assert engine.trigger(D(90), D(90), 60) == []
    assert len(engine._stops) == 0


def test_a_trigger_that_is_reached_already_acts_at_once_and_never_rests_at_the_target():
    """The last trade is 100: a bracket with its trigger at 100.5 sells to the bid of 100."""
    engine = ladder()
    engine.submit(market("t", SELL, "1"), 1)
    out = engine.submit(bracket("x", SELL, "1", "103", "100.5"), 2)
    assert fired(out) == ["x"]
    assert fills(out) == [("b1", "x", "100", "1")]


def test_a_target_that_crosses_takes_what_is_there_and_the_rest_keeps_its_trigger():
    """A sell target at 100 finds the bid of 2 there; the other 1 rests and is sold lower when 99 trades."""
    engine = ladder()
    assert fills(engine.submit(bracket("x", SELL, "3", "100", "99"), 1)) == [("b1", "x", "100", "2")]
    assert engine.levels(SELL, 1) == [(D(100), D(1))]
    out = engine.submit(market("t", SELL, "1"), 2)
    assert fills(out) == [("b2", "t", "99", "1"), ("b2", "x", "99", "1")]


@pytest.mark.parametrize(
    ("order", "reason"),
    [
        (bracket("x", SELL, "1", "99", "103"), "bad_bracket"),
        (bracket("x", BUY, "1", "103", "99"), "bad_bracket"),
        (bracket("x", SELL, "1", "99", "99"), "bad_bracket"),
        (bracket("x", SELL, "1", "103", "99", stop_up=True), "bad_bracket"),
        (bracket("x", SELL, "1", "103", "99", time_in_force=TimeInForce.IOC), "bad_bracket"),
        (bracket("x", SELL, "1", "103", "99", time_in_force=TimeInForce.FOK), "bad_bracket"),
        (bracket("x", SELL, "1", "103", "99", post_only=True), "bad_bracket"),
        (bracket("x", SELL, "1", "103", "NaN"), "bad_trigger"),
        (bracket("x", SELL, "1", "NaN", "99"), "bad_px"),
        (bracket("x", SELL, "1", "103", "99", time_in_force=TimeInForce.GTD, expire_ns=5), "bad_expiry"),
        (msgspec.structs.replace(bracket("x", SELL, "1", "103", "99"), trigger_px=None), "bad_trigger"),
    ],
)
def test_a_bracket_the_wrong_way_round_is_refused(order, reason):
    """Each by its reason; nothing rests and nothing waits."""
    engine = ladder()
    assert ends(engine.submit(order, 5)) == {"x": reason}
    assert len(engine._stops) == 0
