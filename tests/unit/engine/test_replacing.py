"""Orders that become other orders: never both at once, never more than was wished, and nothing follows a halt."""

from __future__ import annotations

from decimal import Decimal

import pytest

from engine import events as e
from engine.carried import encode_carried
from engine.commands import (
    CancelIntent,
    CancelOrder,
    NewOrder,
    OrderType,
    ReplaceIntent,
    RiskState,
    StrategyQuarantined,
)
from engine.order_states import OrderState
from engine.recovery import Recovery
from tests.support.account import Account
from tests.support.core import BTC, MemoryRecorder, Scripted, build_core, fill, intent, open_market

D = Decimal


def replace(account: Account, order: NewOrder, qty: str, px: str = "101") -> None:
    account.wish(ReplaceIntent(account.now_ns, "s", order.client_order_id, D(qty), D(px), "better price"))


def resting(qty: str = "4", **options: object) -> tuple[Account, NewOrder]:
    account = Account(**options)
    order = account.place(qty=qty)
    account.accept(order)
    return account, order


def replaced() -> tuple[Account, NewOrder, NewOrder]:
    """4 at another price: the old version was cancelled before it filled anything, and the new one has left."""
    account, old = resting()
    replace(account, old, "4")
    account.end(old, e.OrderCancelled)
    return account, old, account.venue.orders[-1]


def replaced_unseen() -> tuple[Account, NewOrder, NewOrder]:
    """As ``replaced``, of an old version that never arrived, as was told; the new one rests."""
    account = Account()
    old = account.place(qty="4")
    account.end(old, e.OrderOutcomeUnknown)
    replace(account, old, "4")
    account.end(old, e.OrderRejected)
    new = account.venue.orders[-1]
    account.accept(new)
    return account, old, new


def next_session(account: Account, kept: e.StateKept, *, killed: bool) -> Account:
    """On the same account, not confirmed yet; ``killed``: from what is on record since that state was kept."""
    if killed:
        left = Recovery("USD")
        left.take(account.records[account.records.index(kept) :])
        state = encode_carried(left.left())
    else:
        state = account.keep().state
    other = Account(opened=False)
    other.publish(e.StateCarried(20, 20, "before", 7, state))
    other.open()
    return other


@pytest.mark.fault("B13")
def test_the_new_version_leaves_when_the_old_one_is_gone_and_not_before() -> None:
    """Cancelled first; what the old one filled is no more to be done; the new one names the old one."""
    account, old = resting()
    account.fill(old, "1", "100", "t1")
    replace(account, old, "3")
    assert (account.venue.cancelled, len(account.venue.orders)) == ([old.client_order_id], 1)
    assert account.core.view.open_qty(BTC, e.Side.BUY) == D(3)
    account.end(old, e.OrderCancelled)
    new = account.venue.orders[-1]
    assert (new.intent.qty, new.intent.limit_px, new.intent.parent_id) == (D(2), D(101), old.client_order_id)
    assert (new.intent.reason, account.core.view.open_qty(BTC, e.Side.BUY)) == ("better price", D(2))


@pytest.mark.fault("B13")
def test_an_old_version_that_fills_instead_leaves_nothing_to_do() -> None:
    """The cancel came too late: the wish is fulfilled by what filled."""
    account, old = resting()
    replace(account, old, "4")
    account.fill(old, "4", "100", "t1")
    assert len(account.venue.orders) == 1
    assert account.core.view.position(BTC).qty == D(4)


@pytest.mark.fault("B13")
@pytest.mark.fault("B5")
def test_a_late_fill_of_the_old_version_makes_the_new_one_smaller() -> None:
    """Told after the cancel and after the new one left: the new one is replaced by less, no quantity counts twice."""
    account, old, second = replaced()
    account.fill(old, "3", "100", "late")
    assert account.venue.cancelled == [old.client_order_id, second.client_order_id]
    account.fill(second, "0.5", "101", "t2")
    account.end(second, e.OrderCancelled)
    third = account.venue.orders[-1]
    assert (third.intent.qty, third.intent.parent_id) == (D("0.5"), second.client_order_id)
    account.fill(third, "0.5", "101", "t3")
    assert account.core.view.position(BTC).qty == D(4)
    assert account.core.risk_state is RiskState.ACTIVE


@pytest.mark.fault("B13")
def test_versions_that_filled_more_than_was_wished_stop_new_risk() -> None:
    """The new one had filled before the old one's late fill was told: the fills are booked, risk is reducing."""
    account, old, second = replaced()
    account.fill(second, "4", "101", "t2")
    account.fill(old, "1", "100", "late")
    assert (account.core.view.position(BTC).qty, account.core.risk_state) == (D(5), RiskState.REDUCING)
    assert "filled 1 too much" in account.core.desk.latch.reason


def test_the_last_wish_counts() -> None:
    """Two before the old one is gone: one cancel, one new order."""
    account, old = resting()
    replace(account, old, "2", "101")
    replace(account, old, "5", "102")
    account.end(old, e.OrderCancelled)
    assert account.venue.cancelled == [old.client_order_id]
    assert [(o.intent.qty, o.intent.limit_px) for o in account.venue.orders[1:]] == [(D(5), D(102))]


@pytest.mark.fault("B13")
@pytest.mark.parametrize("who", ["s", "guardian", "operator"])
def test_nothing_follows_an_order_that_was_cancelled_while_it_was_being_replaced(who: str) -> None:
    """Its cancel is out already, and was asked for once more, this time for good."""
    account, old = resting()
    replace(account, old, "4")
    if who == "operator":
        at, name = account._at(), old.client_order_id
        account.publish(e.OperatorRequested(at, at, "cancel", "cli", "x", client_order_id=name))
        assert account.core.manual.outcome.cancelled == [name]
    else:
        account.core.desk.carry_out([CancelIntent(account.now_ns, who, old.client_order_id)])
    account.end(old, e.OrderCancelled)
    assert (account.venue.cancelled, account.venue.orders) == ([old.client_order_id], [old])


@pytest.mark.fault("B5")
@pytest.mark.parametrize("wished", [False, True])
def test_a_late_fill_brings_no_cancelled_version_back_and_changes_no_later_wish(wished: bool) -> None:
    """The new version is being cancelled when the old one's fill is told, or is being replaced once more, at 102."""
    account, old, second = replaced()
    account.accept(second)
    if wished:
        replace(account, second, "5", "102")
    else:
        account.cancel(second)
    account.fill(old, "1", "100", "late")
    account.end(second, e.OrderCancelled)
    after = [(one.intent.qty, one.intent.limit_px) for one in account.venue.orders[2:]]
    assert after == ([(D(4), D(102))] if wished else [])


@pytest.mark.fault("B5")
@pytest.mark.parametrize("late", ["0", "1"])
def test_versions_that_have_filled_too_much_together_reduce_whichever_fills_last(late: str) -> None:
    """The old one's fill is told while the new one is being cancelled, which the venue refuses: it fills as well."""
    account, old, second = replaced()
    account.accept(second)
    account.cancel(second)
    if late != "0":
        account.fill(old, late, "100", "late")
    account.end(second, e.CancelRejected)
    account.fill(second, "4", "100", "all")
    assert account.core.risk_state is (RiskState.ACTIVE if late == "0" else RiskState.REDUCING)


@pytest.mark.fault("B5")
def test_a_newest_version_whose_cancel_was_refused_is_made_smaller_when_it_fills() -> None:
    """The old one's 1 was told while the cancel was out: of its own 4, 3 are left to do, and none is too much yet."""
    account, old, second = replaced()
    account.accept(second)
    account.cancel(second)
    account.fill(old, "1", "100", "late")
    account.end(second, e.CancelRejected)
    account.fill(second, "2", "100", "t2")
    assert account.venue.cancelled[1:] == [second.client_order_id] * 2
    account.end(second, e.OrderCancelled)
    assert account.venue.orders[-1].intent.qty == D(1)
    assert account.core.risk_state is RiskState.ACTIVE


@pytest.mark.fault("B5")
def test_what_was_filled_too_much_is_told_although_the_newest_is_open() -> None:
    """2 of the new one, then 3 of the old one: 1 too much, whether or not the other 2 can still be cancelled."""
    account, old, second = replaced()
    account.fill(second, "2", "100", "t2")
    account.fill(old, "3", "100", "late")
    assert account.venue.cancelled == [old.client_order_id, second.client_order_id]
    assert (account.core.risk_state, account.core.desk.latch.reason) == (
        RiskState.REDUCING,
        f"versions of an order up to {second.client_order_id} filled 1 too much",
    )
    account.end(second, e.OrderCancelled)
    assert len(account.venue.orders) == 2


@pytest.mark.fault("F8")
@pytest.mark.parametrize("killed", [False, True])
def test_what_was_filled_too_much_is_told_once(killed: bool) -> None:
    """An operator has looked and gone on: the next session does not latch the same again."""
    account, old = resting()
    before = account.keep()
    replace(account, old, "4")
    account.end(old, e.OrderCancelled)
    second = account.venue.orders[-1]
    account.fill(second, "4", "101", "t2")
    account.fill(old, "1", "100", "late")
    assert account.core.risk_state is RiskState.REDUCING
    at = account._at()
    account.publish(e.Resumed(at, at, "operator", "looked"))
    other = next_session(account, before, killed=killed)
    at, cash = other._at(), other.core.portfolio.cash()["USD"]
    other.publish(e.AccountSettled(at, at, "coinbase", (("USD", cash), ("BTC", D(5)))))
    assert (other.core.risk_state, other.core.reconciliation.awaited) == (RiskState.ACTIVE, set())


@pytest.mark.fault("B6")
def test_a_refused_cancel_leaves_the_old_version_alone() -> None:
    """It lives on, and when it ends later for another reason nothing follows it."""
    account, old = resting()
    replace(account, old, "2")
    account.end(old, e.CancelRejected)
    account.end(old, e.OrderExpired)
    assert len(account.venue.orders) == 1


@pytest.mark.fault("B14")
def test_an_unknown_old_version_is_waited_for() -> None:
    """Nothing leaves while it may live; once it is known never to have arrived, the wish is sent whole."""
    account = Account()
    old = account.place(qty="4")
    account.end(old, e.OrderOutcomeUnknown)
    replace(account, old, "3")
    assert len(account.venue.orders) == 1
    account.end(old, e.OrderRejected)
    assert account.venue.orders[-1].intent.qty == D(3)


@pytest.mark.fault("B14")
@pytest.mark.fault("B16")
@pytest.mark.parametrize("fills", [False, True])
def test_an_old_version_that_shows_itself_after_it_was_given_up_goes(fills: bool) -> None:
    """It never arrived, as was told, and its successor rests: both at once would be twice what was wished."""
    account, old, new = replaced_unseen()
    if fills:
        account.fill(old, "1", "100", "late")
    else:
        account.accept(old)
    assert account.venue.cancelled == [old.client_order_id, old.client_order_id, *([new.client_order_id] * fills)]
    account.end(old, e.OrderCancelled)
    assert len(account.venue.orders) == 2


@pytest.mark.fault("B6")
def test_an_old_version_that_shows_itself_is_asked_to_go_until_it_does() -> None:
    """Its cancel was refused: once a second it is asked for again, and not any more when it has ended."""
    account, old, _ = replaced_unseen()
    account.accept(old)
    for asked in (3, 4):
        account.end(old, e.CancelRejected)
        for _ in range(3):
            account.now_ns += 500_000_000
            account.publish(e.Timer(account._at(), account.now_ns, "tick"))
        assert account.venue.cancelled == [old.client_order_id] * asked
    account.end(old, e.OrderCancelled)
    account.now_ns += 2_000_000_000
    account.publish(e.Timer(account._at(), account.now_ns, "tick"))
    assert len(account.venue.cancelled) == 4


@pytest.mark.fault("F7")
def test_nothing_follows_a_halt_or_the_end_of_the_session() -> None:
    """The cancel is confirmed afterwards: the wish is gone."""
    for event in (e.Halted(50, 50, "operator", "stop"), e.ShutdownRequested(50, 50, "over")):
        account, old = resting()
        replace(account, old, "2")
        account.publish(event)
        account.end(old, e.OrderCancelled)
        assert len(account.venue.orders) == 1


def test_nothing_follows_an_exit_at_market_of_a_quarantined_strategy() -> None:
    """Such an exit may stay; what its strategy wished in its place is nobody's any more."""
    recorder = MemoryRecorder()
    core = build_core(recorder, Scripted())
    open_market(core, cash="100000")
    entry = core.desk.place(intent(qty="2"))
    assert isinstance(entry, NewOrder)
    core.on_event(fill(entry, "2", "100", "t1"))
    old = core.desk.place(intent(e.Side.SELL, "2", order_type=OrderType.MARKET, limit_px=None, reduce_only=True))
    assert isinstance(old, NewOrder)
    core.desk.carry_out([ReplaceIntent(60, "s", old.client_order_id, D(1), None)])
    core.desk.abandon("s")
    assert [one.client_order_id for one in recorder.of(CancelOrder)] == [old.client_order_id]
    assert not core.on_event(e.OrderCancelled(62, 62, "coinbase", old.client_order_id, "v"))


def test_an_order_of_another_or_one_that_is_gone_is_not_replaced() -> None:
    """Neither cancelled nor sent again; an id that nobody knows is nothing either."""
    account, old = resting()
    account.end(old, e.OrderCancelled)
    replace(account, old, "2")
    account.wish(ReplaceIntent(account.now_ns, "s", "nobody", D(1), None))
    assert (account.venue.cancelled, len(account.venue.orders)) == ([], 1)


def test_a_wish_that_waits_for_the_disk_is_replaced_without_a_word_to_the_venue() -> None:
    """Journal mode always: the old version had not left, the new one waits in its place."""
    account = Account(hold_orders=True)
    account.wish(intent(qty="4"))
    held = account.core.orders.open_orders()[0].new
    replace(account, held, "2")
    assert (account.venue.orders, account.venue.cancelled) == ([], [])
    (new,) = account.core.orders.open_orders()
    assert (new.state, new.intent.qty, new.intent.parent_id) == (OrderState.HELD, D(2), held.client_order_id)


def test_a_wish_of_wrong_types_quarantines_its_strategy() -> None:
    """As any other malformed intent."""
    account, old = resting()
    account.wish(ReplaceIntent(account.now_ns, "s", old.client_order_id, 2.0, None))  # type: ignore[arg-type]
    (record,) = [record for record in account.records if isinstance(record, StrategyQuarantined)]
    assert "ReplaceIntent with qty of type float" in record.text


@pytest.mark.fault("B13")
@pytest.mark.fault("B5")
@pytest.mark.parametrize("killed", [False, True])
def test_versions_are_known_as_such_over_a_restart(killed: bool) -> None:
    """A late fill of the old one, told before the account is confirmed: then the new one is asked to become smaller.

    ``killed``: they are on record after the newest kept state alone.
    """
    account, old = resting()
    before = account.keep()
    replace(account, old, "4")
    account.fill(old, "1", "100", "t1")
    account.end(old, e.OrderCancelled)
    new = account.venue.orders[-1]
    account.accept(new)
    other = next_session(account, before, killed=killed)
    other.fill(old, "2", "100", "late")
    assert other.venue.cancelled == []
    at = other._at()
    other.publish(e.AccountSettled(at, at, "coinbase", (("USD", D(700)), ("BTC", D(3)))))
    assert other.venue.cancelled == [new.client_order_id]
    other.end(new, e.OrderCancelled)
    assert other.venue.orders[-1].intent.qty == D(1)
    assert other.core.counters.adjustments == 0


def test_what_forgotten_versions_have_filled_still_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten versions that filled 1 each, of which the last three are known: of 40, 30 are left to do."""
    monkeypatch.setattr("engine.replacing.VERSIONS_KEPT", 3)
    account, order = resting("40")
    for number in range(10):
        account.fill(order, "1", "100", f"t{number}")
        replace(account, order, "40")
        account.end(order, e.OrderCancelled)
        order = account.venue.orders[-1]
    assert order.intent.qty == D(30)
    account.fill(account.venue.orders[-2], "1", "100", "late")
    account.end(order, e.OrderCancelled)
    assert account.venue.orders[-1].intent.qty == D(29)
