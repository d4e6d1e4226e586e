"""Brackets that the venue places itself when their entry has filled: never two exits, whatever comes first."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest

from engine import events as e
from engine.commands import (
    CancelIntent,
    GroupIntent,
    NewOrder,
    NewOrderWithExits,
    OrderType,
    Rejected,
    ReplaceIntent,
    TimeInForce,
)
from engine.events import Side
from engine.group_course import PATIENCE_NS
from engine.groups import DONE
from engine.order_states import OrderState
from engine.stakes import GUARDIAN, OPERATOR
from tests.support.core import BTC, intent, open_market, perpetual
from tests.support.groups import (
    ATTACHES,
    BRACKETS,
    SECOND_NS,
    Trader,
    bracket,
    entered,
    exit_of,
    exits,
    restarted,
    settle,
    stop,
    target,
)

D = Decimal
TRAILING = exit_of(OrderType.STOP, trailing_px=D(5))


def test_the_entry_says_its_exits_and_what_the_venue_makes_of_them_is_the_groups() -> None:
    """Nothing is sent after the fill; the exit's own fill is the strategy's and ends the group."""
    trader, entry = entered()
    assert isinstance(entry, NewOrderWithExits)
    assert (entry.target_px, entry.trigger_px) == (D(110), D(90))
    trader.wait(5 * SECOND_NS)
    assert exits(trader) == []
    child = trader.attach(entry, "2")
    (group,) = trader.core.view.groups()
    assert (group.exit_id, group.open_qty, child.intent.parent_id) == (child.client_order_id, D(2), group.group_id)
    assert (child.intent.strategy, child.intent.order_type, child.intent.reduce_only) == ("s", OrderType.BRACKET, True)
    trader.fill(child, "2", "110", "out")
    assert (trader.ended, exits(trader), trader.core.view.strategy_qty("s", BTC)) == ([DONE], [], D(0))


@pytest.mark.parametrize(
    ("wish", "options"),
    [
        (bracket(), {"offers": {"coinbase": BRACKETS}}),
        (bracket(target(), TRAILING), {}),
        (bracket(target(), stop(), stop("80")), {}),
        (bracket(target(time_in_force=TimeInForce.GTD, expire_ns=10**15), stop()), {}),
        (GroupIntent(1, "s", (target(), stop()), intent(qty="2", order_type=OrderType.MARKET, limit_px=None)), {}),
    ],
    ids=["offer", "trailing", "ladder", "expires", "kind"],
)
def test_what_the_venue_cannot_attach_goes_as_before(wish: GroupIntent, options: dict) -> None:
    trader = Trader(**{"offers": {"coinbase": ATTACHES}, **options})
    trader.wish(wish)
    assert type(trader.last) is NewOrder
    trader.fill(trader.last, "2", "100", "entry")
    assert len(exits(trader)) == 1


def test_on_a_contract_exits_go_as_before() -> None:
    """There an exit that finds nothing to close would open a position."""
    trader = Trader(opened=False, offers={"coinbase": ATTACHES})
    open_market(trader.core, perpetual())
    trader.price(100.0)
    trader.wish(bracket())
    assert type(trader.last) is NewOrder


def test_an_exit_that_is_told_before_its_entrys_fill_is_kept_as_large_as_it_is() -> None:
    """Nothing is held yet as far as is known, and the entry may still fill: its size is the venue's business."""
    trader, entry = entered("0")
    child = trader.attach(entry, "2")
    trader.wait(5 * SECOND_NS)
    assert trader.venue.cancelled == []
    trader.fill(entry, "2", "100", "entry")
    trader.wait(5 * SECOND_NS)
    assert (trader.venue.cancelled, exits(trader), trader.core.view.groups()[0].exit_id) == (
        [],
        [],
        child.client_order_id,
    )


@pytest.mark.fault("B12")
def test_the_exit_of_a_part_is_made_as_large_as_what_was_filled() -> None:
    """As large as the whole entry, of which half has filled: when the entry has ended it is cancelled, and one of the
    right size follows when it is gone."""
    trader, entry = entered("1", gtc=True)
    child = trader.attach(entry, "2")
    trader.wait(5 * SECOND_NS)
    assert trader.venue.cancelled == []
    trader.end(entry, e.OrderCancelled)
    assert (trader.venue.cancelled, exits(trader)) == ([child.client_order_id], [])
    trader.end(child, e.OrderCancelled)
    (made,) = exits(trader)
    assert (made.intent.qty, made.intent.order_type) == (D(1), OrderType.BRACKET)


def test_an_exit_that_grows_with_its_entry_is_followed() -> None:
    """Told again with another size: neither cancelled nor an overfill."""
    trader, entry = entered("1", gtc=True)
    child = trader.attach(entry, "1")
    trader.fill(entry, "1", "100", "entry-2")
    trader.attach(entry, "2")
    trader.wait(5 * SECOND_NS)
    trader.fill(child, "2", "110", "out")
    assert (trader.venue.cancelled, exits(trader), trader.ended) == ([], [], [DONE])
    assert trader.core.gate.state.value == "active"


@pytest.mark.fault("B12")
def test_an_exit_that_has_grown_before_its_fill_was_told_lives_on() -> None:
    """All of it has filled as far as was known; it is larger by then, for what its entry has filled since.  It is the
    group's again, and nothing is sent beside it."""
    trader, entry = entered("1", gtc=True)
    child = trader.attach(entry, "1")
    trader.fill(entry, "1", "100", "entry-2")
    trader.fill(child, "1", "110", "out")
    at = trader.core.orders.get(child.client_order_id)
    assert at is not None
    assert at.state is OrderState.FILLED
    trader.attach(entry, "2")
    assert (at.state, trader.core.view.groups()[0].exit_id) == (OrderState.PARTLY_FILLED, child.client_order_id)
    assert trader.core.view.open_qty(BTC, Side.SELL) == 1
    trader.wait(5 * SECOND_NS)
    assert exits(trader) == []
    trader.fill(child, "1", "110", "out-2")
    assert (trader.ended, trader.core.view.open_qty(BTC, Side.SELL), trader.core.gate.state.value) == (
        [DONE],
        D(0),
        "active",
    )


@pytest.mark.fault("B12")
def test_an_exit_that_is_found_to_be_as_large_as_it_has_filled_is_done() -> None:
    """As large as the whole entry when it was told, made smaller when that ended with less, and filled by then."""
    trader, entry = entered("1", gtc=True)
    child = trader.attach(entry, "2")
    trader.fill(child, "1", "110", "out")
    trader.end(entry, e.OrderCancelled)
    trader.attach(entry, "1")
    order = trader.core.orders.get(child.client_order_id)
    assert order is not None
    assert (order.state, trader.ended, trader.core.view.groups()) == (OrderState.FILLED, [DONE], ())


@pytest.mark.fault("B19")
def test_a_stop_that_is_reached_before_the_exit_shows_itself_waits_until_that_is_known() -> None:
    """Prices are watched; beside an exit that may be there nothing is sent.  There is none: it goes at once."""
    trader, entry = entered()
    trader.price(89.0)
    trader.wait(10 * SECOND_NS)
    assert exits(trader) == []
    trader.miss(entry)
    assert [(one.intent.order_type, one.intent.qty) for one in exits(trader)] == [(OrderType.MARKET, D(2))]


def leave(trader: Trader, strategy: str, qty: str = "2", **fields: object) -> NewOrder | Rejected | None:
    """An order at market that closes, beside the group's."""
    wish = intent(Side.SELL, qty, strategy=strategy, order_type=OrderType.MARKET, limit_px=None, reduce_only=True)
    return trader.core.desk.place(msgspec.structs.replace(wish, **fields))


@pytest.mark.fault("B12")
@pytest.mark.parametrize("how", ["", "kept", "killed"])
@pytest.mark.parametrize("strategy", ["s", GUARDIAN, OPERATOR])
def test_nobody_closes_beside_an_exit_that_may_be_there(strategy: str, how: str) -> None:
    """The owner holds 10 besides, so that two exits would both be carried out.  The guardian, an operator's order that
    reduces and the strategy's own wait, also after a restart; when it is known that there is none, they leave."""
    trader, entry = entered()
    if how:
        trader = restarted(trader, how, offers={"coinbase": ATTACHES})
        settle(trader, D(2))
    trader.core.portfolio.adjust_balance("coinbase", "BTC", D(12), lambda _: D(100))
    refused = leave(trader, strategy)
    assert isinstance(refused, Rejected)
    assert (refused.check, refused.seen) == ("exit_awaited", "2")
    trader.miss(entry)
    (ours,) = exits(trader)
    trader.end(ours, e.OrderCancelled)
    assert isinstance(leave(trader, strategy), NewOrder)


def test_what_is_held_beside_an_exit_that_may_be_there_can_be_closed() -> None:
    """The strategy has bought 3 more by hand of its own; the owner sells what is his, which reduces nothing of ours."""
    trader, _ = entered()
    trader.fill(trader.place(qty="3"), "3", "100", "more")
    assert isinstance(leave(trader, "s", "3.1"), Rejected)
    first = leave(trader, "s", "2")
    assert isinstance(first, NewOrder)
    assert isinstance(leave(trader, GUARDIAN, "2"), Rejected), "of the 3 the strategy is closing 2"
    assert isinstance(leave(trader, GUARDIAN, "1"), NewOrder)
    assert isinstance(leave(trader, OPERATOR, "4", reduce_only=False), NewOrder)
    assert isinstance(leave(trader, "other", "1"), NewOrder), "it is none of that exit's"


def test_no_order_grows_into_what_an_exit_may_be_closing() -> None:
    """In place: made larger it is refused, dearer it is not."""
    offer = msgspec.structs.replace(ATTACHES, edits=frozenset({(OrderType.LIMIT, TimeInForce.GTC)}))
    trader = Trader(offers={"coinbase": offer})
    trader.fill(trader.place(qty="1"), "1", "100", "own")
    trader.wish(bracket())
    trader.fill(trader.last, "2", "100", "entry")
    sale = intent(Side.SELL, "1", limit_px=D(105), time_in_force=TimeInForce.GTC, reduce_only=True)
    trader.wish(sale)
    order = trader.last
    trader.accept(order)
    for qty, px in (("1.5", "105"), ("1", "106")):
        trader.wish(ReplaceIntent(trader.now_ns, "s", order.client_order_id, D(qty), D(px)))
    assert [(one.qty, one.limit_px) for one in trader.venue.replaced] == [(D(1), D(106))]
    assert [one.check for one in trader.of(Rejected)] == ["exit_awaited"]


@pytest.mark.fault("B19")
def test_a_stop_that_the_venues_exit_does_not_fill_is_taken_over_when_that_is_gone() -> None:
    """It is given its time from when it showed itself, cancelled, and followed when the venue says that it is gone."""
    trader, entry = entered()
    trader.price(89.0)
    child = trader.attach(entry, "2")
    trader.wait(PATIENCE_NS - 10)
    assert trader.venue.cancelled == []
    trader.wait(20)
    assert (trader.venue.cancelled, exits(trader)) == ([child.client_order_id], [])
    trader.end(child, e.OrderCancelled)
    trader.wait(SECOND_NS)
    assert [one.intent.order_type for one in exits(trader)] == [OrderType.MARKET]


@pytest.mark.parametrize("px", [89.0, 111.0], ids=["stop", "target"])
def test_the_price_of_an_exit_ends_an_entry_that_rests_half_filled(px: float) -> None:
    """What it has filled gets its exit when it has ended, from the venue; nothing goes before that is known."""
    trader, entry = entered("1", gtc=True)
    trader.price(px)
    assert (trader.venue.cancelled, exits(trader)) == ([entry.client_order_id], [])
    trader.end(entry, e.OrderCancelled)
    trader.wait(SECOND_NS)
    assert exits(trader) == []
    child = trader.attach(entry, "1")
    group = trader.core.view.groups()[0]
    assert (group.exit_id, group.fired) == (child.client_order_id, 1 if px < 100 else -1)


@pytest.mark.fault("B16")
def test_a_group_that_was_called_back_stays_so_when_its_exit_is_missed_again() -> None:
    """Each session asks about the exit of the entry anew; what is done with is told to nobody."""
    trader, entry = entered()
    (group,) = trader.core.view.groups()
    trader.wish(CancelIntent(trader.now_ns, "s", group.group_id, "by hand"))
    trader = restarted(trader, "killed", offers={"coinbase": ATTACHES})
    settle(trader, D(2))
    for _ in range(2):
        trader.miss(entry)
        trader.wait(SECOND_NS)
    assert (trader.ended, exits(trader), trader.core.view.groups()) == (["by hand"], [], ())


@pytest.mark.fault("B16")
def test_an_exit_that_shows_itself_after_it_was_given_up_goes_again() -> None:
    """Ours is there by then: the late one is cancelled, and what it fills nevertheless makes ours smaller."""
    trader, entry = entered()
    trader.miss(entry)
    (ours,) = exits(trader)
    trader.accept(ours)
    late = trader.attach(entry, "2")
    assert (trader.venue.cancelled, trader.core.view.groups()[0].exit_id) == (
        [late.client_order_id],
        ours.client_order_id,
    )
    trader.fill(late, "2", "110", "late")
    assert trader.venue.cancelled == [late.client_order_id, ours.client_order_id]
    trader.end(ours, e.OrderCancelled)
    assert (trader.ended, len(exits(trader))) == ([DONE], 1)


def test_an_exit_that_the_venue_refuses_is_sent_from_here() -> None:
    trader, entry = entered()
    child = trader.attach(entry, "2")
    trader.end(child, e.OrderRejected)
    trader.wait(SECOND_NS)
    assert [(one.intent.order_type, one.intent.qty) for one in exits(trader)] == [(OrderType.BRACKET, D(2))]


@pytest.mark.fault("F7")
def test_while_halted_nothing_rests_that_came_with_an_entry() -> None:
    """The entry is cancelled, what it filled brings an exit: cancelled as it shows itself.  A stop that is reached then
    leaves at once, as it is gone."""
    trader, entry = entered("1", gtc=True)
    trader.publish(e.Halted(trader.now_ns, trader.now_ns, "operator", "test"))
    assert trader.venue.cancelled == [entry.client_order_id]
    trader.end(entry, e.OrderCancelled)
    child = trader.attach(entry, "1")
    assert trader.venue.cancelled == [entry.client_order_id, child.client_order_id]
    trader.end(child, e.OrderCancelled)
    trader.wait(SECOND_NS)
    assert exits(trader) == []
    trader.price(89.0)
    assert [one.intent.order_type for one in exits(trader)] == [OrderType.MARKET]


def test_a_quarantined_strategys_exit_stays() -> None:
    trader, entry = entered()
    child = trader.attach(entry, "2")
    trader.core.desk.abandon("s")
    trader.wait(5 * SECOND_NS)
    assert trader.venue.cancelled == []
    assert trader.core.orders.get(child.client_order_id).state is OrderState.ACCEPTED


@pytest.mark.parametrize("whom", ["group", "exit"])
def test_cancelling_the_group_or_its_exit_ends_both(whom: str) -> None:
    """A group that is cancelled before its exit shows itself stays until that is gone too."""
    trader, entry = entered()
    name = entry.intent.parent_id
    if whom == "exit":
        name = trader.attach(entry, "2").client_order_id
    trader.wish(CancelIntent(trader.now_ns, "s", name, "by hand"))
    child = trader.attach(entry, "2")
    assert trader.venue.cancelled == [child.client_order_id]
    assert len(trader.core.view.groups()) == 1
    trader.end(child, e.OrderCancelled)
    trader.wait(5 * SECOND_NS)
    assert (trader.ended, exits(trader), len(trader.core.view.groups())) == (["by hand"], [], 0)


def test_cancelling_the_entry_leaves_the_exit_of_what_has_filled() -> None:
    trader, entry = entered("1", gtc=True)
    trader.cancel(entry)
    trader.end(entry, e.OrderCancelled)
    child = trader.attach(entry, "1")
    trader.wait(5 * SECOND_NS)
    assert (trader.venue.cancelled, trader.core.view.groups()[0].exit_id) == (
        [entry.client_order_id],
        child.client_order_id,
    )


def test_an_entry_that_ended_with_nothing_needs_no_exit_and_a_late_fill_has_its_own() -> None:
    """The group is done; a fill that comes after the end brings it back, and its exit is the venue's."""
    trader, entry = entered("0")
    trader.end(entry, e.OrderCancelled)
    assert trader.ended == [DONE]
    trader.fill(entry, "0.5", "100", "late")
    trader.wait(SECOND_NS)
    assert exits(trader) == []
    child = trader.attach(entry, "0.5")
    assert trader.core.view.groups()[0].exit_id == child.client_order_id


def test_an_exit_of_an_entry_that_filled_nothing_is_cancelled() -> None:
    """Whatever the venue means by it: there is nothing that it could close."""
    trader, entry = entered("0")
    trader.end(entry, e.OrderCancelled)
    child = trader.attach(entry, "2")
    assert trader.venue.cancelled == [child.client_order_id]
    trader.end(child, e.OrderCancelled)
    assert (trader.core.view.groups(), exits(trader)) == ((), [])


def test_a_replaced_entry_has_the_venues_exit_for_its_old_version_until_more_has_filled() -> None:
    """The new version brings none: what it fills is closed from here, when the venue's exit is gone."""
    trader, entry = entered("1", gtc=True)
    trader.wish(ReplaceIntent(trader.now_ns, "s", entry.client_order_id, D(2), D(101)))
    trader.end(entry, e.OrderCancelled)
    after = trader.last
    assert (type(after), after.intent.limit_px, after.intent.qty) == (NewOrder, D(101), D(1))
    child = trader.attach(entry, "1")
    trader.accept(after)
    trader.fill(after, "1", "101", "more")
    trader.wait(2 * SECOND_NS)
    assert trader.venue.cancelled == [entry.client_order_id, child.client_order_id]
    trader.end(child, e.OrderCancelled)
    assert [one.intent.qty for one in exits(trader)] == [D(2)]


def test_closing_by_hand_waits_for_the_exit_that_may_come() -> None:
    """Else the position would be closed twice where nothing else forbids it."""
    trader, entry = entered()
    at = trader.now_ns + 1
    trader.publish(e.OperatorRequested(at, at, "close", "test", instrument=BTC))
    assert exits(trader) == []
    assert "waits for the exit" in trader.core.manual.status()["closing"][BTC]
    child = trader.attach(entry, "2")
    assert trader.venue.cancelled == [child.client_order_id]
    trader.end(child, e.OrderCancelled)
    trader.wait(SECOND_NS)
    assert [one.intent.order_type for one in exits(trader)] == [OrderType.MARKET]
