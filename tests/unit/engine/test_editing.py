"""Orders that are changed in place: judged before, held at the worse of both versions, one change at a time."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest

from engine import events as e
from engine.carried import decode_carried, encode_carried
from engine.commands import (
    CancelOrder,
    GroupIntent,
    OrderType,
    Rejected,
    RiskState,
)
from engine.order_states import OrderState
from engine.recovery import Recovery
from tests.support.account import Account
from tests.support.core import BTC, intent
from tests.support.editing import GTC, OFFERS, changes, open_qty, picture, replace, resting

D = Decimal


@pytest.mark.fault("B13")
def test_a_change_leaves_once_under_the_orders_ids_and_on_record() -> None:
    """Neither a cancel nor another order; until the venue shows it, quantity and price are the worse of both."""
    account, order = resting()
    account.fill(order, "1", "100", "t1")
    replace(account, order, "5", "99")
    (change,) = account.venue.replaced
    assert change in account.records
    assert (change.client_order_id, change.venue_order_id) == (order.client_order_id, f"v-{order.client_order_id}")
    assert (change.qty, change.limit_px, change.old_qty, change.old_px) == (D(5), D(99), D(4), D(100))
    assert (change.reason, account.venue.cancelled, len(account.venue.orders)) == ("better price", [], 1)
    shown = picture(account)
    assert (open_qty(account), shown.qty, shown.limit_px, shown.other_px) == (D(4), D(5), D(100), D(99))
    account.show(order, "5", "99")
    shown = picture(account)
    assert (open_qty(account), shown.qty, shown.limit_px, shown.other_px) == (D(4), D(5), D(99), None)
    account.fill(order, "4", "99", "t2")
    assert (account.core.view.position(BTC).qty, open_qty(account)) == (D(5), D(0))
    assert account.core.risk_state is RiskState.ACTIVE


@pytest.mark.fault("B13")
def test_the_old_version_that_fills_while_the_change_is_under_way_is_booked_on_the_one_order() -> None:
    """Told before the change is shown, and more than the new version would be: nothing is held or wished twice."""
    account, order = resting()
    replace(account, order, "2", "100")
    assert open_qty(account) == D(4), "the old one may still fill whole"
    account.fill(order, "3", "100", "t1")
    assert open_qty(account) == D(1)
    account.refuse_change(order)
    assert (open_qty(account), account.core.risk_state) == (D(1), RiskState.ACTIVE)
    account.fill(order, "1", "100", "t2")
    assert (account.core.view.position(BTC).qty, len(account.venue.orders)) == (D(4), 1)


@pytest.mark.fault("B13")
@pytest.mark.parametrize("first", ["fill", "shown"])
def test_a_change_to_what_has_filled_ends_the_order_in_either_order(first: str) -> None:
    """Its last fill is told before the version that it completes, or after it."""
    account, order = resting()
    replace(account, order, "2", "100")
    if first == "fill":
        account.fill(order, "2", "100", "t1")
        assert open_qty(account) == D(2)
        account.show(order, "2", "100")
    else:
        account.show(order, "2", "100")
        account.fill(order, "2", "100", "t1")
    managed = account.core.orders.get(order.client_order_id)
    assert managed is not None
    assert (managed.state, open_qty(account), managed.edit) == (OrderState.FILLED, D(0), None)
    assert account.core.risk_state is RiskState.ACTIVE


@pytest.mark.fault("B13")
def test_an_order_that_has_filled_and_is_shown_larger_lives_on_and_is_cancelled() -> None:
    """The change was given up, what the order was has filled, and the change came after all: what is left of it holds
    its risk and goes."""
    account, order = resting()
    replace(account, order, "6", "100")
    account.refuse_change(order)
    account.fill(order, "4", "100", "t1")
    assert open_qty(account) == D(0)
    account.show(order, "6", "100")
    assert (account.core.risk_state, account.venue.cancelled) == (RiskState.REDUCING, [order.client_order_id])
    assert (open_qty(account), picture(account).qty) == (D(2), D(6))
    account.fill(order, "1", "100", "t2")
    account.end(order, e.OrderCancelled)
    assert (open_qty(account), account.core.view.position(BTC).qty) == (D(0), D(5))


@pytest.mark.fault("B14")
def test_an_unknown_outcome_holds_the_worse_of_both_until_there_is_evidence() -> None:
    """Nothing is asked again by itself, and no new wish leaves before; a cancel does."""
    account, order = resting()
    replace(account, order, "6", "101")
    at = account._at()
    account.publish(e.ReplaceOutcomeUnknown(at, at, "coinbase", order.client_order_id, "timeout"))
    replace(account, order, "3", "102")
    assert (changes(account), open_qty(account), account.core.counters.unknown_outcomes) == ([(D(6), D(101))], D(6), 1)
    account.cancel(order)
    assert account.venue.cancelled == [order.client_order_id]
    account.show(order, "4", "100")
    assert (open_qty(account), picture(account).other_px) == (D(6), D(101)), "the old one shown proves nothing"
    account.end(order, e.OrderCancelled)
    assert (open_qty(account), len(account.venue.replaced), len(account.venue.orders)) == (D(0), 1, 1)


def test_of_several_wishes_the_last_one_follows_when_the_first_is_done_or_refused() -> None:
    """One change is under way at a time, and what was wished in between never leaves."""
    for outcome in ("done", "refused"):
        account, order = resting()
        replace(account, order, "5", "101")
        replace(account, order, "3", "102")
        replace(account, order, "2", "103")
        if outcome == "done":
            account.show(order, "5", "101")
        else:
            account.refuse_change(order)
        assert changes(account) == [(D(5), D(101)), (D(2), D(103))]
        old = account.venue.replaced[-1]
        assert (old.old_qty, old.old_px) == ((D(5), D(101)) if outcome == "done" else (D(4), D(100)))
        account.show(order, "2", "103")
        assert (len(account.venue.replaced), open_qty(account)) == (2, D(2))


def test_a_refused_change_leaves_the_order_as_it_was() -> None:
    """It fills as it was sent; nothing is cancelled and nothing follows."""
    account, order = resting()
    replace(account, order, "6", "101")
    account.refuse_change(order)
    shown = picture(account)
    assert (shown.qty, shown.limit_px, shown.other_px, open_qty(account)) == (D(4), D(100), None, D(4))
    account.fill(order, "4", "100", "t1")
    assert (account.venue.cancelled, len(account.venue.orders), open_qty(account)) == ([], 1, D(0))


def test_an_order_that_ends_takes_its_change_and_its_wishes_with_it() -> None:
    """Cancelled by somebody else, or filled whole, while a change is under way and another is wished."""
    for end in ("cancelled", "filled"):
        account, order = resting()
        replace(account, order, "3", "101")
        replace(account, order, "5", "102")
        if end == "cancelled":
            account.end(order, e.OrderCancelled)
        else:
            account.fill(order, "4", "100", "t1")
        account.refuse_change(order)
        assert (open_qty(account), len(account.venue.replaced), len(account.venue.orders)) == (D(0), 1, 1)
        assert account.core.risk_state is RiskState.ACTIVE


@pytest.mark.parametrize("qty", ["1", "2"])
def test_a_wish_for_no_more_than_has_filled_cancels_the_rest(qty: str) -> None:
    """The venue would refuse it as a change; nothing is left to follow."""
    account, order = resting()
    account.fill(order, "2", "100", "t1")
    replace(account, order, qty, "100")
    assert (account.venue.cancelled, account.venue.replaced) == ([order.client_order_id], [])
    account.end(order, e.OrderCancelled)
    assert len(account.venue.orders) == 1


def test_a_wish_to_stay_as_it_is_does_nothing() -> None:
    account, order = resting()
    replace(account, order, "4.0", "100.00")
    assert (account.venue.replaced, account.venue.cancelled) == ([], [])


@pytest.mark.parametrize("what", ["ioc", "waits", "not acknowledged", "unknown", "cancelled", "group", "version"])
def test_what_cannot_be_changed_in_place_goes_by_a_cancel(what: str) -> None:
    """Another kind of order, another journal mode, one of which the venue has said nothing, one of a group."""
    account, order = resting(hold_orders=what == "waits") if what != "waits" else (Account(offers=OFFERS), None)
    if what == "ioc":
        account.wish(intent(qty="4"))
        order = account.venue.orders[-1]
        account.accept(order)
    elif what == "waits":
        account = Account(offers=OFFERS, hold_orders=True)
        account.wish(intent(qty="4", time_in_force=GTC))
        order = account.core.orders.open_orders()[0].new
        at = account._at()
        account.publish(e.JournalSynced(at, at, 10**6))
        account.accept(order)
    elif what in ("not acknowledged", "unknown"):
        account.wish(intent(qty="4", time_in_force=GTC))
        order = account.venue.orders[-1]
        if what == "unknown":
            account.end(order, e.OrderOutcomeUnknown)
    elif what == "cancelled":
        account.cancel(order)
    elif what == "group":
        stop = intent(e.Side.SELL, "4", order_type=OrderType.STOP, limit_px=None, trigger_px=D(90), reduce_only=True)
        stop = msgspec.structs.replace(stop, time_in_force=GTC)
        account.wish(GroupIntent(account.now_ns, "s", (stop,), intent(qty="4", time_in_force=GTC)))
        order = account.venue.orders[-1]
        account.accept(order)
    elif what == "version":
        account.cancel(order)
        replace(account, order, "3", "100")
        account.end(order, e.OrderCancelled)
        order = account.venue.orders[-1]
        account.accept(order)
    replace(account, order, "5", "101")
    assert account.venue.replaced == []
    assert account.venue.cancelled[-1] == order.client_order_id


@pytest.mark.fault("E4")
def test_an_entry_that_no_model_stands_behind_is_not_repriced() -> None:
    """Its cancel was refused and the strategy chases the price: it is cancelled again, and nothing takes its place.  An
    exit that the strategy rests beside it follows its price as ever."""
    account, bought = resting("1")
    account.fill(bought, "1", "100", "t1")
    account.wish(intent(qty="4", time_in_force=GTC), intent(e.Side.SELL, "1", limit_px=D(120), time_in_force=GTC))
    entry, leaving = account.venue.orders[1:]
    for order in (entry, leaving):
        account.accept(order)
    account.core.desk.sizes.put("s", BTC, D(0), "stopped")
    account.cancel(entry)
    account.end(entry, e.CancelRejected)
    replace(account, entry, "4", "101")
    assert (changes(account), account.venue.cancelled) == ([], [entry.client_order_id] * 2)
    account.end(entry, e.OrderCancelled)
    assert account.venue.orders[1:] == [entry, leaving]
    refused = [one for one in account.records if isinstance(one, Rejected)]
    assert [(one.check, one.seen) for one in refused] == [("model", "stopped")]
    replace(account, leaving, "1", "119")
    assert changes(account) == [(D(1), D(119))]


# --- from one session to the next --------------------------------------------------------------------------------


@pytest.mark.fault("A1")
@pytest.mark.fault("B13")
@pytest.mark.parametrize("killed", [False, True])
@pytest.mark.parametrize("was_shown", [False, True])
def test_the_next_session_knows_both_versions(killed: bool, was_shown: bool) -> None:
    """``killed``: the change is on record after the newest kept state alone."""
    account, order = resting()
    before = account.keep()
    replace(account, order, "6", "101")
    if was_shown:
        account.show(order, "6", "101")
        replace(account, order, "5", "102")
    if killed:
        left = Recovery("USD")
        left.take(account.records[account.records.index(before) :])
        state = encode_carried(left.left())
    else:
        state = account.keep().state
    (carried,) = decode_carried(state).orders
    assert (carried.new.intent.qty, carried.edit) == (D(6) if was_shown else D(4), account.venue.replaced[-1])
    other = Account(opened=False, offers=OFFERS)
    other.publish(e.StateCarried(20, 20, "before", 7, state))
    other.open()
    assert open_qty(other) == D(6)
    shown = picture(other)
    assert (shown.limit_px, shown.other_px) == ((D(101), D(102)) if was_shown else (D(100), D(101)))
    other.show(order, "5" if was_shown else "6", "102" if was_shown else "101")
    assert open_qty(other) == (D(5) if was_shown else D(6))
    assert other.core.risk_state is RiskState.ACTIVE


def test_only_an_order_that_is_being_changed_has_more_to_carry() -> None:
    """The states of sessions without changes keep their bytes, or those sessions would not replay."""
    account, order = resting()
    replace(account, order, "6", "101")
    widths = []
    for _ in range(2):
        (carried,) = msgspec.msgpack.decode(account.keep().state)[2]
        widths.append(len(carried))
        account.show(order, "6", "101")
    assert widths == [7, 6]


def test_a_cancel_of_an_order_that_was_changed_names_it_as_before() -> None:
    account, order = resting()
    replace(account, order, "5", "101")
    account.show(order, "5", "101")
    account.cancel(order)
    (cancel,) = [one for one in account.records if isinstance(one, CancelOrder)]
    assert (cancel.client_order_id, cancel.venue_order_id) == (order.client_order_id, f"v-{order.client_order_id}")
