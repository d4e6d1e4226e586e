"""The manager's arithmetic of open risk, and what becomes of orders by what happens to them."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.commands import Approved
from engine.errors import IllegalTransition
from engine.events import Side
from engine.managed_order import describe
from engine.order_states import FINAL, Happening, OrderState
from engine.orders import OrderManager
from tests.support.core import BTC, D, fill, intent


def opened(manager: OrderManager, qty: str = "1", side: Side = Side.BUY):
    new = manager.open(Approved(intent(side, qty), D(0)), 10, "coinbase")
    manager.happen(new.client_order_id, Happening.SEND)
    return new


def test_an_illegal_transition_names_state_and_happening() -> None:
    """Sending twice."""
    manager = OrderManager("k")
    new = opened(manager)
    with pytest.raises(IllegalTransition, match="is sent and cannot send"):
        manager.happen(new.client_order_id, Happening.SEND)


@pytest.mark.fault("B14")
def test_open_quantity_is_what_may_still_fill() -> None:
    """Reserved from opening, less fills, released at the end; unknown orders keep holding."""
    manager = OrderManager("k")
    first = opened(manager, "2")
    second = opened(manager, "3")
    assert manager.open_qty(BTC, Side.BUY) == 5
    manager.fill(fill(first, "0.5", "100", "t1"))
    assert manager.open_qty(BTC, Side.BUY) == D("4.5")
    manager.happen(second.client_order_id, Happening.LOSE)
    assert manager.open_qty(BTC, Side.BUY) == D("4.5")
    assert manager.get(second.client_order_id).state is OrderState.UNKNOWN
    manager.happen(first.client_order_id, Happening.CANCEL)
    assert manager.open_qty(BTC, Side.BUY) == 3
    manager.happen(second.client_order_id, Happening.REJECT)
    assert manager.open_qty(BTC, Side.BUY) == 0
    assert manager.open_qty(BTC, Side.SELL) == 0


@pytest.mark.fault("B1")
def test_a_duplicate_fill_is_counted_and_ignored() -> None:
    """The same trade id with the same values twice."""
    manager = OrderManager("k")
    new = opened(manager)
    assert manager.fill(fill(new, "0.4", "100", "t1"))[1]
    assert not manager.fill(fill(new, "0.4", "100", "t1"))[1]
    assert manager.duplicate_fills == 1
    assert manager.get(new.client_order_id).filled_qty == D("0.4")


@pytest.mark.fault("A12")
def test_orders_that_are_over_are_remembered_for_long_and_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """With room for five: of twenty the last five are known, and the one that is open always is."""
    monkeypatch.setattr("engine.orders.CLOSED_KEPT", 5)
    manager = OrderManager("k")
    resting = opened(manager)
    ids = []
    for _ in range(20):
        new = opened(manager)
        ids.append(new.client_order_id)
        manager.happen(new.client_order_id, Happening.REJECT)
    assert [name for name in ids if manager.get(name) is not None] == ids[-5:]
    assert manager.get(resting.client_order_id) is not None


@pytest.mark.fault("B2")
def test_the_first_values_of_a_trade_id_stand() -> None:
    """The same trade id with another quantity is a conflict."""
    manager = OrderManager("k")
    new = opened(manager)
    manager.fill(fill(new, "0.4", "100", "t1"))
    assert not manager.fill(fill(new, "0.5", "100", "t1"))[1]
    assert manager.conflicting_fills == 1
    assert manager.get(new.client_order_id).filled_qty == D("0.4")


@pytest.mark.fault("B3")
@given(st.permutations(range(5)))
def test_fills_in_any_order_end_in_the_same_state(order: list[int]) -> None:
    """Five fills and their duplicates, permuted."""
    manager = OrderManager("k")
    new = opened(manager, "1.5")
    pieces = [fill(new, f"0.{i + 1}", f"{100 + i}", f"t{i}") for i in range(5)]
    for i in order:
        manager.fill(pieces[i])
        manager.fill(pieces[order[0]])
    managed = manager.get(new.client_order_id)
    assert managed.state is OrderState.FILLED
    assert managed.filled_qty == D("1.5")
    assert abs(managed.avg_px - sum(p.px * p.qty for p in pieces) / D("1.5")) < D("1e-20")
    assert manager.open_qty(BTC, Side.BUY) == 0


@pytest.mark.fault("B4")
def test_a_fill_before_the_acknowledgement_counts_as_one() -> None:
    """SENT, fill, ACCEPT: partly filled, not accepted."""
    manager = OrderManager("k")
    new = opened(manager)
    manager.fill(fill(new, "0.4", "100", "t1"))
    manager.happen(new.client_order_id, Happening.ACCEPT, "v1")
    assert manager.get(new.client_order_id).state is OrderState.PARTLY_FILLED


@pytest.mark.fault("B5")
def test_a_fill_after_the_cancel_is_booked() -> None:
    """The order stays cancelled, the quantity is real."""
    manager = OrderManager("k")
    new = opened(manager)
    manager.happen(new.client_order_id, Happening.CANCEL)
    order, is_new = manager.fill(fill(new, "0.4", "100", "t1"))
    assert is_new
    assert order is not None
    assert order.state is OrderState.CANCELLED
    assert order.filled_qty == D("0.4")
    assert manager.open_qty(BTC, Side.BUY) == 0


@pytest.mark.fault("B7")
def test_an_overfill_is_the_venues_truth() -> None:
    """More than ordered is booked and marked."""
    manager = OrderManager("k")
    new = opened(manager)
    manager.fill(fill(new, "0.8", "100", "t1"))
    order, _ = manager.fill(fill(new, "0.8", "100", "t2"))
    assert order is not None
    assert order.overfilled
    assert order.filled_qty == D("1.6")
    assert manager.open_qty(BTC, Side.BUY) == 0


happenings = st.lists(
    st.tuples(
        st.integers(0, 3),
        st.sampled_from([h for h in Happening if h not in (Happening.SEND, Happening.DROP, Happening.GROW)] + ["fill"]),
    ),
    max_size=40,
)


@given(happenings)
def test_open_quantity_always_equals_the_sum_over_live_orders(steps: list[tuple[int, object]]) -> None:
    """Any interleaving of facts over four orders: no legal fact raises, the aggregate never drifts."""
    manager = OrderManager("k")
    orders = [opened(manager, str(i + 1), Side.BUY if i % 2 else Side.SELL) for i in range(4)]
    for number, (index, what) in enumerate(steps):
        if what == "fill":
            manager.fill(fill(orders[index], "0.7", "100", f"t{number}"))
        else:
            manager.happen(orders[index].client_order_id, what)
        assert all(o.state not in FINAL for o in manager.open_orders())
        live = sum(manager.get(o.client_order_id).state not in FINAL for o in orders)
        assert manager.open_count == len(manager.open_orders()) == live
        for side in Side:
            want = sum((o.leaves_qty for o in manager.open_orders() if o.intent.side is side), Decimal(0))
            assert manager.open_qty(BTC, side) == want
        shown = manager.described()
        assert shown == tuple(describe(order) for order in manager.open_orders()) == manager.described(BTC)
        assert [o.leaves_qty for o in shown] == [o.leaves_qty for o in manager.open_orders()]


def everything(manager: OrderManager) -> object:
    """What can be read of a manager with one order."""
    order = manager.get("k-1")
    assert order is not None
    fields = {name: getattr(order, name) for name in order.__struct_fields__ if name not in {"picture", "reserved"}}
    quantities = [str(manager.open_qty(BTC, side)) for side in Side]
    return fields, quantities, manager.described(), manager.described(BTC), manager.open_count


@pytest.mark.parametrize("side", list(Side))
def test_an_order_opened_as_sent_is_one_opened_and_then_sent(side: Side) -> None:
    """Two managers, one moved by ``happen(SEND)``: the same in all that can be read, now and after each later fact."""
    by_table, at_once = OrderManager("k"), OrderManager("k")
    by_table.open(Approved(intent(side, "2"), D(3)), 10, "coinbase")
    assert by_table.described()[0].state == "held"  # a picture from before the step must not outlive it
    by_table.happen("k-1", Happening.SEND)
    at_once.open(Approved(intent(side, "2"), D(3)), 10, "coinbase", OrderState.SENT)
    assert everything(at_once) == everything(by_table)
    for later in (Happening.ACCEPT, Happening.CANCEL_SENT, Happening.CANCEL):
        by_table.happen("k-1", later)
        at_once.happen("k-1", later)
        assert everything(at_once) == everything(by_table)


@pytest.mark.parametrize("state", [OrderState.HELD, OrderState.SENT])
def test_an_order_that_is_dropped_ends_as_the_table_has_it(state: OrderState) -> None:
    """Opened in either state and dropped, beside ``happen(DROP)`` of a held one: rejected, nothing is reserved."""
    by_table, dropped = OrderManager("k"), OrderManager("k")
    by_table.open(Approved(intent(), D(0)), 10, "coinbase")
    by_table.happen("k-1", Happening.DROP)
    dropped.open(Approved(intent(), D(0)), 10, "coinbase", state)
    dropped.drop("k-1")
    assert everything(dropped) == everything(by_table)
    assert dropped.open_qty(BTC, Side.BUY) == 0
    assert dropped.open_count == 0


@pytest.mark.fault("B16")
@pytest.mark.parametrize("shown_by", ["acknowledgement", "fill"])
def test_an_order_that_was_given_up_and_lives_holds_its_risk_again(shown_by: str) -> None:
    """UNKNOWN, "never arrived", then the venue shows it: open, reserved, and the cancel can be sent again."""
    manager = OrderManager("k")
    name = opened(manager, "2").client_order_id
    manager.happen(name, Happening.LOSE)
    manager.happen(name, Happening.CANCEL_SENT)
    manager.happen(name, Happening.REJECT)
    assert (manager.open_count, manager.open_qty(BTC, Side.BUY)) == (0, 0)
    if shown_by == "fill":
        manager.fill(fill(manager.get(name).new, "0.5", "100", "t1"))
    else:
        manager.happen(name, Happening.ACCEPT, "v1")
    order = manager.get(name)
    left = D("1.5") if shown_by == "fill" else D(2)
    assert (manager.open_count, manager.open_qty(BTC, Side.BUY), order.cancel_sent) == (1, left, False)
    assert [shown.leaves_qty for shown in manager.described(BTC)] == [left]
    manager.happen(name, Happening.CANCEL)
    assert (manager.open_count, manager.open_qty(BTC, Side.BUY)) == (0, 0)
    manager.happen(name, Happening.ACCEPT)
    assert manager.get(name).state is OrderState.CANCELLED


def test_a_given_up_order_that_filled_whole_is_filled() -> None:
    """Rejected, then its only fill: nothing is left to hold."""
    manager = OrderManager("k")
    new = opened(manager)
    manager.happen(new.client_order_id, Happening.REJECT)
    manager.fill(fill(new, "1", "100", "t1"))
    assert manager.get(new.client_order_id).state is OrderState.FILLED
    assert (manager.open_count, manager.open_qty(BTC, Side.BUY)) == (0, 0)


@pytest.mark.fault("B6")
def test_a_refused_cancel_can_be_asked_for_again() -> None:
    """CANCEL_REFUSED takes the mark away that a cancel is out; the order is live as before."""
    manager = OrderManager("k")
    name = opened(manager).client_order_id
    manager.happen(name, Happening.ACCEPT)
    manager.happen(name, Happening.CANCEL_SENT)
    assert manager.get(name).cancel_sent
    manager.happen(name, Happening.CANCEL_REFUSED)
    assert not manager.get(name).cancel_sent
    assert manager.get(name).state is OrderState.ACCEPTED


def test_a_cancel_that_never_left_says_nothing_of_its_order() -> None:
    """Refused before the venue had acknowledged the order: sent, as before; after it, accepted."""
    manager = OrderManager("k")
    name = opened(manager).client_order_id
    manager.happen(name, Happening.CANCEL_SENT)
    manager.happen(name, Happening.CANCEL_REFUSED)
    assert manager.get(name).state is OrderState.SENT
    manager.happen(name, Happening.CANCEL_SENT)
    manager.happen(name, Happening.ACCEPT)
    manager.happen(name, Happening.CANCEL_REFUSED)
    assert manager.get(name).state is OrderState.ACCEPTED


def test_an_unknown_order_stays_unknown_while_its_cancel_is_out() -> None:
    """UNKNOWN and CANCEL_SENT: only evidence about the order itself resolves it."""
    manager = OrderManager("k")
    name = opened(manager).client_order_id
    manager.happen(name, Happening.LOSE)
    manager.happen(name, Happening.CANCEL_SENT)
    assert manager.get(name).state is OrderState.UNKNOWN


def test_a_suspended_order_is_not_seen_at_all() -> None:
    """Of two, the suspended one leaves count, list and quantity; after ``resume`` all are as before, in order."""
    manager = OrderManager("k")
    first = opened(manager, "2")
    opened(manager, "3")
    before = manager.described(BTC)
    manager.suspend(manager.get(first.client_order_id))
    assert [order.client_order_id for order in manager.described()] == ["k-2"]
    assert [order.client_order_id for order in manager.described(BTC)] == ["k-2"]
    assert (manager.open_count, manager.open_qty(BTC, Side.BUY)) == (1, 3)
    manager.resume(manager.get(first.client_order_id))
    assert manager.described(BTC) == before
    assert (manager.open_count, manager.open_qty(BTC, Side.BUY)) == (2, 5)


def test_an_unknown_id_is_nobodys_order() -> None:
    """Answers None instead of guessing."""
    assert OrderManager("k").happen("other", Happening.ACCEPT) is None
