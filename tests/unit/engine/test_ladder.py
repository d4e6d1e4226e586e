"""Which order stands for an exit: what rests, and what goes when its price was reached."""

from __future__ import annotations

from decimal import Decimal

import pytest

from engine import events as e
from engine.commands import GroupIntent, OrderIntent, OrderType, RiskState, TimeInForce
from engine.groups import BOTH, NONE, Group, new_group
from engine.ladder import CROSSINGS, exit_of, exit_order, resting_exit, target_and_stop
from engine.offers import ALL_PLAIN, Offer
from tests.support.core import MemoryRecorder, build_core, intent, open_market, quote

D = Decimal
BRACKETS = Offer(ALL_PLAIN.kinds | {(OrderType.BRACKET, TimeInForce.GTC)})


def leave(kind: OrderType, limit_px: str | None = None, trigger_px: str | None = None) -> OrderIntent:
    return intent(
        e.Side.SELL,
        "2",
        order_type=kind,
        limit_px=limit_px and D(limit_px),
        trigger_px=trigger_px and D(trigger_px),
        time_in_force=TimeInForce.GTC,
        reduce_only=True,
    )


TARGET, STOP = leave(OrderType.LIMIT, "110"), leave(OrderType.STOP, None, "90")
STOP_LIMIT = leave(OrderType.STOP_LIMIT, "89", "90")


def group_of(*exits: OrderIntent) -> Group:
    return new_group("g", GroupIntent(1, "s", exits))


@pytest.mark.parametrize(
    ("exits", "offer", "rests"),
    [
        ((TARGET, STOP), BRACKETS, BOTH),
        ((STOP, TARGET), BRACKETS, BOTH),
        ((STOP, TARGET), ALL_PLAIN, 1),
        ((STOP_LIMIT, TARGET), ALL_PLAIN, 0),
        ((STOP_LIMIT, TARGET), BRACKETS, 0),
        ((STOP,), BRACKETS, None),
    ],
)
def test_what_rests_is_the_venues_bracket_or_the_first_it_takes(
    exits: tuple[OrderIntent, ...], offer: Offer, rests: int | None
) -> None:
    """A bracket of the venue is a target and a stop at market, in either order; while halted nothing rests."""
    assert resting_exit(group_of(*exits), offer, RiskState.ACTIVE) == rests
    assert resting_exit(group_of(*exits), offer, RiskState.HALTED) is None


def test_the_ladder_of_a_stop_limit() -> None:
    """Its own limit, then beyond the bid, then market; each names its group and what is left."""
    core = build_core(MemoryRecorder())
    open_market(core)
    core.on_event(quote(5, 89.0, 89.01))
    group = group_of(STOP_LIMIT, TARGET)
    group.fired = 0
    sent = []
    for group.attempts in range(CROSSINGS + 2):
        order = exit_order(group, 0, D("1.5"), core.view)
        assert (order.qty, order.parent_id, order.trigger_px) == (D("1.5"), "g", None)
        sent.append((order.order_type, order.limit_px, order.time_in_force))
    crossing = (OrderType.LIMIT, D("88.92"), TimeInForce.IOC)
    assert sent == [
        (OrderType.LIMIT, D(89), TimeInForce.GTC),
        *[crossing] * CROSSINGS,
        (OrderType.MARKET, None, TimeInForce.IOC),
    ]


def test_an_order_tells_which_exit_it_was_sent_for() -> None:
    """By its form; once a price was reached, it is the one that was."""
    group = group_of(TARGET, STOP_LIMIT)
    assert [exit_of(group, one) for one in (TARGET, STOP_LIMIT, leave(OrderType.MARKET))] == [0, 1, NONE]
    assert exit_of(group, leave(OrderType.BRACKET, "110", "90")) == BOTH
    group.fired = 1
    assert exit_of(group, leave(OrderType.MARKET)) == 1


def test_a_bracket_is_one_target_and_one_stop_at_market() -> None:
    """A stop-limit has a limit of its own, which a venue's bracket does not keep."""
    assert target_and_stop(group_of(STOP, TARGET)) is not None
    assert target_and_stop(group_of(TARGET, STOP_LIMIT)) is None
    assert target_and_stop(group_of(TARGET)) is None
