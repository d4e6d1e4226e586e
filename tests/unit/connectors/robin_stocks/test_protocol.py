"""Orders from answers and listings: each fact once, unknown until shown, ends after fills."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import structs

from connectors.robin_stocks.orders import ref_id
from connectors.robin_stocks.protocol import CLOCK_MARGIN_NS, LOOKS, OrderBooks
from connectors.robin_stocks.wire import ExecutionRow, LegRow, OrderRow
from engine.carried import CarriedOrder
from engine.commands import NewOrder, OrderType
from engine.events import InputEvent, OrderCancelled, OrderFilled, OrderFound, OrderRejected, Side
from tests.support.robin_stocks import NOW_NS, OPTION, OPTION_URL, SECOND_NS, STOCK_URL, D, listings, new_order

ABSENT_NS = 10 * SECOND_NS
STAMP = "2026-11-20T14:03:08.000000Z"


def books() -> OrderBooks:
    made = OrderBooks("robin_stocks", listings(), ABSENT_NS)
    made.open()
    return made


def row(state: str = "confirmed", order: NewOrder | None = None, **fields: Any) -> OrderRow:
    """Of the order for two at 230.00, as the venue has it."""
    given: dict[str, Any] = {
        "id": "v-1", "state": state, "quantity": D(2), "cumulative_quantity": D(0), "side": "buy", "price": D("230.00"),
        "instrument": STOCK_URL, "created_at": STAMP, "updated_at": STAMP, **fields,
    }  # fmt: skip
    if order is not None:
        given["ref_id"] = ref_id(order.client_order_id)
    return OrderRow(**given)


def fill(number: int, qty: str = "1", px: str = "229.99") -> ExecutionRow:
    return ExecutionRow(f"e-{number}", D(px), D(qty), STAMP)


def names(events: list[InputEvent]) -> list[str]:
    return [type(event).__name__ for event in events]


def test_the_life_of_an_order_is_told_once() -> None:
    """Answer, two executions in two listings, each row told twice: accepted, filled, filled."""
    made, order = books(), new_order()
    made.sent(order, NOW_NS)
    told = made.answered(order.client_order_id, row("unconfirmed", order), NOW_NS)
    rows = [
        row("partially_filled", order, cumulative_quantity=D(1), executions=[fill(1)]),
        row("filled", order, cumulative_quantity=D(2), executions=[fill(1), fill(2)], fees=D("0.02")),
    ]
    for one in rows:
        told += made.observe(one, NOW_NS)
        told += made.observe(one, NOW_NS)
    assert names(told) == ["OrderAccepted", "OrderFilled", "OrderFilled"]
    fills = [event for event in told if type(event) is OrderFilled]
    assert [(one.qty, one.px, one.fee, one.trade_id) for one in fills] == [
        (1, D("229.99"), 0, "e-1"), (1, D("229.99"), D("0.02"), "e-2"),
    ]  # fmt: skip
    assert not made.open_orders()


@pytest.mark.parametrize("state", ["cancelled", "canceled", "voided"])
def test_an_end_waits_for_executions_that_the_venue_claims(state: str) -> None:
    """Cancelled with one filled, whose execution is listed a moment later."""
    made, order = books(), new_order()
    made.sent(order, NOW_NS)
    assert names(made.observe(row(state, order, cumulative_quantity=D(1)), NOW_NS)) == ["OrderAccepted"]
    assert made.short() == [order.client_order_id]
    told = made.observe(row(state, order, cumulative_quantity=D(1), executions=[fill(1)]), NOW_NS)
    assert names(told) == ["OrderFilled", "OrderCancelled"]
    assert not made.short()


def test_filled_without_executions_is_not_the_end() -> None:
    """State and quantity say filled, nothing is listed: it holds its risk."""
    made, order = books(), new_order()
    made.sent(order, NOW_NS)
    made.observe(row("filled", order, cumulative_quantity=D(2)), NOW_NS)
    assert made.unresolved() == (order.client_order_id,)


def test_a_rejection_after_the_acceptance_and_one_of_an_order_that_has_traded() -> None:
    """Rejected is told as rejected; failed with something filled is the end of the rest."""
    made, order, other = books(), new_order(), new_order(2)
    made.sent(order, NOW_NS)
    made.sent(other, NOW_NS)
    told = made.observe(row("rejected", order, reject_reason="no money"), NOW_NS)
    assert type(told[-1]) is OrderRejected
    assert (told[-1].reason, told[-1].text) == ("refused", "no money")
    told = made.observe(row("failed", other, id="v-2", cumulative_quantity=D(1), executions=[fill(9)]), NOW_NS)
    assert type(told[-1]) is OrderCancelled


def test_a_state_that_nobody_knows_ends_nothing() -> None:
    """A word of tomorrow: the order stays open, and the word is kept to be said."""
    made, order = books(), new_order()
    made.sent(order, NOW_NS)
    made.observe(row("pondering", order), NOW_NS)
    assert [one.client_order_id for one in made.open_orders()] == [order.client_order_id]
    assert made.unknown_states == {"pondering": order.client_order_id}


def test_without_a_reference_a_lost_order_is_known_by_what_it_is() -> None:
    """Another price, size, side or an older one is not it, nor one that was there before it was lost; the one that
    matches is, and only while it is lost."""
    made, order = books(), new_order()
    made.sent(order, NOW_NS)
    assert not made.read([row("filled", id="x")], NOW_NS), "it is not lost: whoever this is, it is not ours"
    assert made.lose(order.client_order_id, NOW_NS)
    for fields in (
        {"price": D(229)}, {"quantity": D(3)}, {"side": "sell"}, {"created_at": "2026-11-20T13:03:08Z"}, {"id": "x"},
    ):  # fmt: skip
        assert not made.read([row("cancelled", **{"id": "y", **fields})], NOW_NS)
        assert made.lost()
    assert not made.get(order.client_order_id).doubtful  # type: ignore[union-attr]
    assert names(made.read([row("confirmed")], NOW_NS)) == ["OrderAccepted"]
    assert made.get(order.client_order_id).venue_order_id == "v-1"  # type: ignore[union-attr]
    assert names(made.read([row("confirmed", id="v-2")], NOW_NS)) == ["OrderFound"]


def lost_order(made: OrderBooks, number: int = 1) -> NewOrder:
    order = new_order(number)
    made.sent(order, NOW_NS)
    made.lose(order.client_order_id, NOW_NS)
    return order


@pytest.mark.parametrize("state", ["filled", "confirmed"])
def test_an_order_made_by_hand_before_ours_left_is_not_taken_for_it(state: str) -> None:
    """Alike and six seconds older: nothing of it is booked as ours, which is not said to have never arrived either;
    ours is known when it shows itself."""
    made = books()
    order = lost_order(made)
    old = row(state, id="by-hand", created_at="2026-11-20T14:03:01Z", cumulative_quantity=D(0))
    told = made.read([old], NOW_NS)
    assert names(told) == (["OrderFound"] if state == "confirmed" else [])
    assert never_told_gone(made)
    assert names(made.read([old, row("confirmed")], NOW_NS)) == ["OrderAccepted"]
    assert made.get(order.client_order_id).venue_order_id == "v-1"  # type: ignore[union-attr]


def never_told_gone(made: OrderBooks) -> bool:
    """However often it is in no listing."""
    since_ns, late_ns = NOW_NS - CLOCK_MARGIN_NS, NOW_NS + 2 * ABSENT_NS
    return not any(made.listed((True, True), since_ns, late_ns) for _ in range(2 * LOOKS)) and bool(made.unresolved())


@pytest.mark.parametrize("at_once", [True, False])
def test_of_two_orders_alike_none_is_taken_for_ours(at_once: bool) -> None:
    """In one listing, or the second one when two of ours are lost: it stays unknown, and is said to be so."""
    made = books()
    order = lost_order(made)
    if at_once:
        two = [row("filled", id="one"), row("confirmed", id="two")]
        assert names(made.read(two, NOW_NS)) == ["OrderFound"]
        assert not made.read(two[:1], NOW_NS), "nor when the other one has gone"
    else:
        lost_order(made, 2)
        assert not made.read([row("filled", id="one")], NOW_NS)
    assert order.client_order_id in made.unresolved()
    assert made.get(order.client_order_id).doubtful  # type: ignore[union-attr]
    assert never_told_gone(made)
    assert names(made.read([row("confirmed", order)], NOW_NS)) == ["OrderAccepted"], "its reference is no doubt"


def test_older_is_judged_by_the_venues_clock() -> None:
    """It is forty seconds behind ours: an order that it says was made before ours left is ours."""
    made = OrderBooks("robin_stocks", listings(), ABSENT_NS, offset_ns=lambda: -40 * SECOND_NS)
    made.open()
    lost_order(made)
    assert names(made.read([row(created_at="2026-11-20T14:02:28Z")], NOW_NS)) == ["OrderAccepted"]


def test_never_arrived_takes_time_and_several_complete_listings() -> None:
    """Too early, too few, too short a listing, the wrong kind of listing: it stays unknown."""
    made, order = books(), new_order()
    made.sent(order, NOW_NS)
    made.lose(order.client_order_id, NOW_NS)
    since_ns, late_ns = NOW_NS - CLOCK_MARGIN_NS, NOW_NS + ABSENT_NS
    for _ in range(5):
        assert not made.listed((True, True), since_ns + 1, late_ns)
        assert not made.listed((False, True), since_ns, late_ns)
    for _ in range(LOOKS - 1):
        assert not made.listed((True, True), since_ns, late_ns)
    assert not made.listed((True, True), since_ns, NOW_NS + 1)
    assert names(made.listed((True, True), since_ns, late_ns)) == ["OrderRejected"]
    assert names(made.observe(row("confirmed", order), late_ns)) == ["OrderAccepted"], "evidence overrules it"
    assert made.open_orders()


def test_listings_reach_back_to_the_oldest_order_that_is_lost() -> None:
    """With a margin for the venue's clock."""
    made, order = books(), new_order()
    later_ns = NOW_NS + 3_600 * SECOND_NS
    assert made.since_ns(later_ns) == later_ns - CLOCK_MARGIN_NS
    made.sent(order, NOW_NS)
    made.lose(order.client_order_id, NOW_NS)
    assert made.since_ns(later_ns) == NOW_NS - CLOCK_MARGIN_NS


def test_an_order_of_others_is_told_from_where_it_stands() -> None:
    """Found with one of three filled, which is part of the balances, as is what fills before they are read; what fills
    later is told."""
    made = OrderBooks("robin_stocks", listings(), ABSENT_NS)
    part = row("partially_filled", quantity=D(3), cumulative_quantity=D(1), executions=[fill(1)], ref_id="somebody")
    (found,) = made.observe(part, NOW_NS)
    assert type(found) is OrderFound
    assert (found.qty, found.filled_qty, found.side) == (3, 1, Side.BUY)
    more = [fill(1), fill(2)]
    second = row("partially_filled", quantity=D(3), cumulative_quantity=D(2), executions=more, ref_id="somebody")
    (again,) = made.observe(second, NOW_NS)
    assert again == structs.replace(found, ts_event_ns=NOW_NS, ts_recv_ns=NOW_NS, filled_qty=D(2))
    made.open()
    third = row("filled", quantity=D(3), cumulative_quantity=D(3), executions=[*more, fill(3)], ref_id="somebody")
    assert names(made.observe(third, NOW_NS)) == ["OrderFilled"]
    assert not made.observe(row("confirmed", id="z", instrument="elsewhere", ref_id="somebody"), NOW_NS)


def test_an_option_order_is_read_from_its_leg() -> None:
    """Executions, side and what it is lie there; two legs are nobody's."""
    made, order = books(), new_order(instrument=OPTION, limit_px=D("4.50"))
    made.sent(order, NOW_NS)
    made.lose(order.client_order_id, NOW_NS)
    leg = LegRow(OPTION_URL, "buy", [fill(1, "2", "4.45")])
    filled = row("filled", side="", instrument="", price=D("4.50"), legs=[leg], processed_quantity=D(2))
    told = made.read([filled], NOW_NS)
    assert names(told) == ["OrderAccepted", "OrderFilled"]
    assert told[1].instrument == OPTION  # type: ignore[union-attr]
    assert not made.observe(row(side="", instrument="", legs=[leg, leg], id="spread"), NOW_NS)


def test_orders_of_an_earlier_session_go_on() -> None:
    """One known by the venue's id with a fill that is booked, one whose outcome nobody knew, one that has ended."""
    made, first, second, third = books(), new_order(1), new_order(2), new_order(3)
    made.adopt(CarriedOrder(first, "partially_filled", "v-1", D(1), D(230), ("e-1",)))
    made.adopt(CarriedOrder(second, "unknown", "", D(0), D(0), ()))
    made.adopt(CarriedOrder(third, "cancelled", "v-3", D(0), D(0), ()))
    told = made.observe(row("filled", cumulative_quantity=D(2), executions=[fill(1), fill(2)]), NOW_NS)
    assert [type(event) for event in told] == [OrderFilled]
    assert [one.client_order_id for one in made.lost()] == [second.client_order_id]
    assert names(made.observe(row("confirmed", second, id="v-2"), NOW_NS)) == ["OrderAccepted"]
    assert [one.client_order_id for one in made.open_orders()] == [second.client_order_id]


@pytest.mark.fault("B16")
def test_an_order_that_an_earlier_session_gave_up_lives_where_it_shows_itself() -> None:
    """Told as never arrived, and here it is."""
    made, order = books(), new_order(1)
    made.adopt(CarriedOrder(order, "rejected", "", D(0), D(0), ()))
    assert names(made.observe(row("confirmed", order, id="v-1"), NOW_NS)) == ["OrderAccepted"]
    assert [one.client_order_id for one in made.open_orders()] == [order.client_order_id]


@pytest.mark.fault("B8")
def test_what_filled_before_an_earlier_session_found_an_order_is_not_told() -> None:
    """One share without an id; the second one came since."""
    made = books()
    made.adopt(CarriedOrder(new_order(1), "partially_filled", "v-1", D(1), D(230), ()))
    told = made.observe(row("filled", cumulative_quantity=D(2), executions=[fill(1), fill(2)]), NOW_NS)
    assert [event.trade_id for event in told if type(event) is OrderFilled] == ["e-2"]


def test_a_refused_order_is_gone_unless_it_has_shown_itself() -> None:
    """The refusal counts; against evidence it does not."""
    made, order, shown = books(), new_order(), new_order(2, order_type=OrderType.MARKET)
    made.sent(order, NOW_NS)
    assert made.refused(order.client_order_id)
    assert not made.lose(order.client_order_id, NOW_NS)
    made.sent(shown, NOW_NS)
    made.observe(row("confirmed", shown), NOW_NS)
    assert not made.refused(shown.client_order_id)
    assert not made.lose(shown.client_order_id, NOW_NS)
