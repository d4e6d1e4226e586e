"""What is sent for a group: never two exits at the venue, never more closed than is held, and no stop forgotten."""

from __future__ import annotations

import pytest

from engine import events as e
from engine.commands import GroupOpened, OrderType, RiskState, TimeInForce
from engine.group_course import LOST_MAX, LOST_NS, PATIENCE_NS
from tests.support.core import BTC
from tests.support.groups import BRACKETS, SECOND_NS, D, Trader, bracket, exit_of, holding, stop, stopped, target


def test_exits_are_sent_for_what_the_entry_has_filled_and_not_before() -> None:
    """Nothing entered, nothing sent; a moment after the first fill the first exit rests for it and names its group."""
    trader = Trader()
    trader.wish(bracket())
    entry = trader.last
    assert (len(trader.venue.orders), trader.of(GroupOpened)[0].group_id) == (1, entry.intent.parent_id)
    trader.accept(entry)
    trader.fill(entry, "0.5", "100", "t1")
    assert trader.last is entry
    trader.wait(SECOND_NS)
    rests = trader.last.intent
    assert (rests.side, rests.qty, rests.limit_px, rests.parent_id) == (-1, D("0.5"), D(110), entry.intent.parent_id)
    assert (rests.reduce_only, rests.time_in_force) == (True, TimeInForce.GTC)


def test_a_refused_entry_leaves_nothing_behind() -> None:
    """Nothing is watched for a position that will not come."""
    trader = Trader()
    trader.gate.refuse = "collar"
    trader.wish(bracket())
    assert (trader.venue.orders, trader.ended) == ([], ["its entry was refused"])
    assert trader.core.view.groups() == ()


def test_an_entry_that_fills_in_pieces_gets_one_exit() -> None:
    """A market order through several levels: the exit is for all of it, nothing too small to be closed is left."""
    trader = Trader()
    trader.wish(bracket())
    entry = trader.last
    for number, part in enumerate(("0.7", "1.2", "0.1")):
        trader.fill(entry, part, "100", f"t{number}")
    assert [one.intent.qty for one in trader.venue.orders] == [D(2), D(2)]


def test_the_last_little_bit_of_an_exit_is_left_to_fill() -> None:
    """What is left is too small for an order of its own: the one that is out stays until it has filled."""
    trader, rests = holding()
    trader.fill(rests, "1.999", "110", "t2")
    trader.wait(SECOND_NS)
    assert (trader.venue.cancelled, trader.ended) == ([], [])
    trader.fill(rests, "0.001", "110", "t3")
    assert trader.ended == ["nothing is left to close"]


def test_a_stop_does_not_wait_for_an_entry_that_is_still_filling() -> None:
    """Its price comes within the moment: what was entered is closed at once."""
    trader = Trader()
    trader.wish(bracket())
    trader.accept(trader.last)
    trader.fill(trader.last, "0.5", "100", "t1")
    trader.price(89.0)
    assert (trader.last.intent.order_type, trader.last.intent.qty) == (OrderType.MARKET, D("0.5"))


@pytest.mark.fault("B19")
def test_a_stop_that_was_reached_before_its_entry_filled_does_not_wait_for_another_price() -> None:
    """The market goes silent with the fill: the next timer looks at the price that stands."""
    trader = Trader()
    trader.wish(bracket())
    entry = trader.last
    trader.accept(entry)
    trader.price(89.0)
    trader.fill(entry, "2", "100", "entry")
    rests = trader.last
    trader.accept(rests)
    trader.wait(SECOND_NS)
    trader.end(rests, e.OrderCancelled)
    assert (trader.last.intent.order_type, trader.last.intent.qty) == (OrderType.MARKET, D(2))


@pytest.mark.parametrize("end", [e.OrderRejected, e.OrderCancelled, e.OrderExpired])
def test_an_entry_that_ends_empty_ends_its_group(end: type) -> None:
    """However it ends: there is nothing to close."""
    trader = Trader()
    trader.wish(bracket())
    trader.end(trader.last, end)
    assert (trader.ended, len(trader.venue.orders)) == (["nothing is left to close"], 1)


def test_an_exit_grows_with_its_entry_once_a_second() -> None:
    """Each step is a cancel and a new order: the first part is protected at once, the rest when it is due."""
    trader = Trader()
    trader.wish(bracket())
    entry = trader.last
    trader.fill(entry, "0.5", "100", "t1")
    trader.wait(SECOND_NS)
    first = trader.last
    trader.fill(entry, "0.5", "100", "t2")
    assert (trader.last, trader.venue.cancelled) == (first, [])
    trader.wait(SECOND_NS)
    assert trader.venue.cancelled == [first.client_order_id]
    trader.end(first, e.OrderCancelled)
    assert (trader.last.intent.qty, trader.last.intent.limit_px) == (D(1), D(110))


def test_the_stop_takes_the_targets_place_when_its_price_comes() -> None:
    """The target is cancelled first; the stop leaves when that is gone, at market."""
    trader, rests = holding()
    trader.accept(rests)
    trader.price(89.0)
    assert (trader.venue.cancelled, trader.last) == ([rests.client_order_id], rests)
    trader.end(rests, e.OrderCancelled)
    sent = trader.last.intent
    assert (sent.order_type, sent.qty, sent.reduce_only, sent.trigger_px) == (OrderType.MARKET, D(2), True, None)
    trader.fill(trader.last, "2", "89", "t9")
    assert (trader.ended, trader.core.view.position(BTC).qty) == (["nothing is left to close"], 0)


def test_a_stop_takes_what_is_left_of_the_entry_along() -> None:
    """Half entered when the stop's price comes: the other half is not bought any more, and what was is closed."""
    trader = Trader()
    trader.wish(bracket())
    entry = trader.last
    trader.accept(entry)
    trader.fill(entry, "1", "100", "t1")
    trader.wait(SECOND_NS)
    rests = trader.last
    trader.price(89.0)
    assert trader.venue.cancelled == [entry.client_order_id, rests.client_order_id]
    trader.end(entry, e.OrderCancelled)
    trader.end(rests, e.OrderCancelled)
    trader.fill(trader.last, "1", "89", "t2")
    assert (trader.ended, trader.core.view.position(BTC).qty) == (["nothing is left to close"], 0)


@pytest.mark.fault("B12")
def test_what_one_exit_fills_the_other_does_not_close_again() -> None:
    """The target fills in part, then the stop's price comes: the stop is sent for the rest."""
    trader, rests = holding()
    trader.accept(rests)
    trader.fill(rests, "0.75", "110", "t2")
    (group,) = trader.core.view.groups()
    assert group.open_qty == D("1.25")
    trader.price(89.0)
    trader.end(rests, e.OrderCancelled)
    assert trader.last.intent.qty == D("1.25")


@pytest.mark.fault("B12")
def test_a_fill_that_meets_the_cancel_makes_the_other_exit_smaller() -> None:
    """Both are told: the fill that came while its cancel was out, then the cancel."""
    trader, rests = holding()
    trader.accept(rests)
    trader.price(89.0)
    trader.fill(rests, "1.5", "110", "late")
    trader.end(rests, e.OrderCancelled)
    assert trader.last.intent.qty == D("0.5")


@pytest.mark.fault("B12")
@pytest.mark.fault("B5")
def test_a_fill_after_the_cancel_makes_what_is_out_smaller() -> None:
    """A fill told after the cancel: the stop-limit that followed is too large, and is sent again for what is left."""
    wish = bracket(target(), exit_of(OrderType.STOP_LIMIT, trigger_px=D(90), limit_px=D(80)))
    trader, rests = holding(wish)
    trader.accept(rests)
    trader.price(89.0)
    trader.end(rests, e.OrderCancelled)
    out = trader.last
    trader.accept(out)
    assert (out.intent.order_type, out.intent.qty) == (OrderType.LIMIT, D(2))
    trader.fill(rests, "1.5", "110", "late")
    trader.wait(PATIENCE_NS)
    assert out.client_order_id in trader.venue.cancelled
    trader.end(out, e.OrderCancelled)
    assert trader.last.intent.qty == D("0.5")


@pytest.mark.fault("B12")
def test_a_target_that_closes_everything_leaves_no_stop() -> None:
    """Nothing is watched any more: a later fall of the price sends nothing."""
    trader, rests = holding()
    trader.fill(rests, "2", "110", "t2")
    orders = len(trader.venue.orders)
    trader.price(50.0)
    assert (trader.ended, len(trader.venue.orders)) == (["nothing is left to close"], orders)


def test_target_and_stop_are_one_order_where_the_venue_has_those() -> None:
    """Both rest at the venue: what is here ends, they stay."""
    trader, rests = holding(offers={"coinbase": BRACKETS})
    sent = rests.intent
    assert (sent.order_type, sent.limit_px, sent.trigger_px) == (OrderType.BRACKET, D(110), D(90))
    trader.accept(rests)
    trader.price(111.0)
    trader.price(89.0)
    trader.wait(PATIENCE_NS // 2)
    assert trader.venue.cancelled == []


def test_an_order_of_unknown_outcome_is_waited_for() -> None:
    """What may have closed the position is not sent a second time, however long it takes."""
    trader = stopped(stop("95"))
    trader.price(94.0)
    trader.end(trader.last, e.OrderOutcomeUnknown)
    orders = len(trader.venue.orders)
    for _ in range(20):
        trader.wait(SECOND_NS)
    assert len(trader.venue.orders) == orders


@pytest.mark.fault("C18")
@pytest.mark.fault("B19")
def test_exits_that_somebody_else_cancels_come_back_and_not_for_ever() -> None:
    """Four times it is sent again; with the fifth cancel it rests no more, and that is said.  Its stop still goes."""
    trader, rests = holding()
    sent = [rests]
    for _ in range(LOST_MAX):
        trader.end(sent[-1], e.OrderCancelled)
        for _ in range(20):
            trader.wait(SECOND_NS)
        if trader.last is not sent[-1]:
            sent.append(trader.last)
    assert len(sent) == LOST_MAX
    assert trader.core.risk_state is RiskState.REDUCING
    assert "cancelled by somebody else 5 times" in trader.core.desk.latch.reason
    trader.price(89.0)
    assert trader.last.intent.order_type is OrderType.MARKET
    trader.fill(trader.last, "2", "89", "t1")
    assert trader.ended == ["nothing is left to close"]


def test_cancels_of_exits_that_are_far_apart_are_forgotten() -> None:
    """More of them than are borne in a row, each long after the one before, or with a fill between: it still rests."""
    trader, rests = holding()
    for number in range(2 * LOST_MAX):
        if number == LOST_MAX:
            trader.fill(rests, "0.5", "110", "part")
        trader.end(rests, e.OrderCancelled)
        for _ in range(60):
            trader.wait(LOST_NS // 100 if number < LOST_MAX else SECOND_NS // 10)
        trader.wait(LOST_NS // 2)
        assert trader.last is not rests
        rests = trader.last
    assert trader.core.risk_state is RiskState.ACTIVE


def test_a_bracket_whose_orders_wait_for_the_disk_closes_what_was_entered() -> None:
    """Journal mode ``always``: each order leaves when it is on disk, and never two exits, also where the stop's price
    comes while the target is still held."""
    trader = Trader(hold_orders=True)

    def synced() -> None:
        at = trader._at()
        trader.publish(e.JournalSynced(at, at, trader.bus.seq))

    trader.wish(bracket())
    assert trader.venue.orders == []
    synced()
    trader.accept(trader.last)
    trader.fill(trader.last, "2", "100", "entry")
    for _ in range(3):
        trader.wait(SECOND_NS // 10)
    assert len(trader.venue.orders) == 1
    trader.price(89.0)
    for number in range(6):
        synced()
        out = trader.core.orders.open_orders()
        assert len(out) <= 1
        if out and out[0].cancel_sent:
            trader.end(out[0].new, e.OrderCancelled)
        elif out and out[0].intent.order_type is OrderType.MARKET and out[0].new in trader.venue.orders:
            trader.fill(out[0].new, "2", "89", f"t{number}")
        trader.wait(SECOND_NS)
    assert (trader.ended, trader.core.view.position(BTC).qty) == (["nothing is left to close"], 0)
