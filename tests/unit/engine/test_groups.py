"""The state of a group: levels, what is left to close, and its form between sessions."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from engine import events as e
from engine.commands import GroupIntent, OrderIntent, OrderType, TimeInForce
from engine.groups import calm_between, carry, group_defect, new_group, restored
from engine.ports import Top
from tests.support.core import intent, spot

D = Decimal
GTC = TimeInForce.GTC


def wish(side: e.Side, kind: OrderType, **changes: Any) -> OrderIntent:
    return intent(side, **{"order_type": kind, "limit_px": None, "time_in_force": GTC, **changes})


def top(bid_px: float) -> Top:
    return Top(bid_px=bid_px, bid_qty=1.0, ask_px=bid_px + 1.0, ask_qty=1.0)


@pytest.mark.parametrize(
    ("exit_", "before", "reached"),
    [
        (wish(e.Side.SELL, OrderType.STOP, trigger_px=D(90)), 91.0, 90.0),
        (wish(e.Side.SELL, OrderType.LIMIT, limit_px=D(110)), 109.0, 110.0),
        (wish(e.Side.BUY, OrderType.STOP, trigger_px=D(110)), 108.0, 109.0),
        (wish(e.Side.BUY, OrderType.LIMIT, limit_px=D(90)), 90.0, 89.0),
    ],
)
def test_an_exit_is_reached_by_the_side_it_would_trade_with(exit_: OrderIntent, before: float, reached: float) -> None:
    """Sells look at the bid, buys at the ask (a point above it here)."""
    (one,) = new_group("g", GroupIntent(1, "s", (exit_,))).exits
    assert not one.is_reached(top(before))
    assert one.is_reached(top(reached))


@pytest.mark.parametrize(("side", "way"), [(e.Side.SELL, 1), (e.Side.BUY, -1)])
def test_a_trailing_level_only_comes_nearer(side: e.Side, way: int) -> None:
    """It follows a price that moves away from it, and stays where that turned."""
    (one,) = new_group("g", GroupIntent(1, "s", (wish(side, OrderType.STOP, trailing_px=D(5)),))).exits
    levels = []
    for step in (0, 10, 4, 20, -30):
        one.trail(top(100.0 + way * step), spot())
        levels.append(one.level_px)
    start = D(95) if side is e.Side.SELL else D(106)
    assert levels == [start, start + 10 * way, start + 10 * way, start + 20 * way, start + 20 * way]


def test_a_level_is_put_on_record_when_it_has_moved_by_a_tenth_of_its_distance() -> None:
    """Not with each tick: a journal of every step would be a second market stream."""
    group = new_group("g", GroupIntent(1, "s", (wish(e.Side.SELL, OrderType.STOP, trailing_px=D(5)),)))
    (one,) = group.exits
    assert not group.has_moved()
    one.trail(top(100.0), spot())
    assert group.has_moved()
    one.told_px = one.level_px
    one.trail(top(100.49), spot())
    assert not group.has_moved()
    one.trail(top(100.5), spot())
    assert group.has_moved()


def test_what_is_left_is_what_was_entered_less_what_has_left() -> None:
    """Of all orders of the entry and of all exits; never below zero."""
    stop = wish(e.Side.SELL, OrderType.STOP, trigger_px=D(90), reduce_only=True)
    group = new_group("g", GroupIntent(1, "s", (stop,), intent()))
    assert (group.open_qty, group.is_armed) == (0, False)
    group.entered = {"a": D("0.5"), "b": D("0.25")}
    group.left = {"c": D("0.5")}
    assert (group.open_qty, group.is_armed) == (D("0.25"), True)
    group.left["d"] = D(1)
    assert group.open_qty == 0


def test_a_group_is_carried_whole() -> None:
    """Levels, what fired, fills by order and what is at the venue come back as they were."""
    stop = wish(e.Side.SELL, OrderType.STOP, trailing_px=D(5), reduce_only=True)
    target = wish(e.Side.SELL, OrderType.LIMIT, limit_px=D(110), reduce_only=True)
    group = new_group("g", GroupIntent(1, "s", (target, stop), intent()))
    group.exits[1].set_level(D(97))
    group.entered, group.left, group.fired = {"a": D(1)}, {"b": D("0.5")}, 1
    group.sent_id, group.sent_exit, group.ending = "b", 0, "why"
    again = restored(carry(group))
    assert carry(again) == carry(group)
    assert (again.exits[1].at_px, again.picture()) == (97.0, group.picture())


def test_a_group_that_can_be_carried_out_has_no_defect() -> None:
    """The refused ones are in test_grouping, by what each says."""
    stop = wish(e.Side.SELL, OrderType.STOP, trigger_px=D(90), reduce_only=True)
    limit = wish(e.Side.SELL, OrderType.STOP_LIMIT, trigger_px=D(91), limit_px=D(90), reduce_only=True)
    assert group_defect(GroupIntent(1, "s", (limit, stop), intent()), spot(), 1) is None
    dated = {"time_in_force": TimeInForce.GTD, "expire_ns": 5}
    assert (
        group_defect(GroupIntent(1, "s", (wish(e.Side.BUY, OrderType.LIMIT, limit_px=D(1), **dated),)), spot(), 1)
        is None
    )


@pytest.mark.parametrize("side", list(e.Side))
@pytest.mark.parametrize("known", [False, True])
def test_prices_that_concern_no_exit_reach_none_and_move_none(side: e.Side, known: bool) -> None:
    """Prices on a grid, against each exit asked by itself: calm is only where all of them say no."""
    levels = {"trigger_px": D(100 - 5 * -side)}, {"trailing_px": D(4)}
    wishes = [wish(side, OrderType.STOP, **one) for one in levels]
    wishes.append(wish(side, OrderType.LIMIT, limit_px=D(100 + 5 * -side)))
    exits = new_group("g", GroupIntent(1, "s", tuple(wishes))).exits
    if known:
        exits[1].trail(top(100.0), spot())
    bid_above, bid_below, ask_above, ask_below = calm_between(exits)
    calm = 0
    for step in range(-20, 21):
        found = top(100.0 + step / 2)
        if bid_above < found.bid_px < bid_below and ask_above < found.ask_px < ask_below:
            calm += 1
            assert not any(one.is_reached(found) for one in exits)
            assert not any(one.trail(found, spot()) for one in exits)
    assert (calm > 4) is known
