"""A session that goes on where another stopped: what it knows at once, and what it does not believe any more."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from engine import events as e
from engine.carried import decode_carried, encode_carried
from engine.commands import BalanceAdjusted, NewOrder, RiskState, StrategyQuarantined
from engine.continuity import put, take
from engine.errors import DataError
from engine.orders import OrderState
from engine.replay import ReplayRecorder, replay
from tests.support.account import Account, Remembering
from tests.support.core import BTC, MemoryRecorder, OpenGate, build_core, spot

D = Decimal


def traded() -> Account:
    """Bought 2, sold 1 at a profit; one order half filled, one waiting for its cancel, one of unknown outcome."""
    account = Account(state={"averages": [1, 2]})
    bought = account.place(qty="2")
    account.accept(bought)
    account.fill(bought, "2", "100", "t1", "0.5")
    sold = account.place(e.Side.SELL)
    account.fill(sold, "1", "110", "t2", "0.25")
    half = account.place(qty="4")
    account.fill(half, "1", "99", "t3")
    leaving = account.place(qty="3")
    account.accept(leaving)
    account.cancel(leaving)
    account.end(account.place(qty="5"), e.OrderOutcomeUnknown)
    return account


def next_after(account: Account, **told: str) -> Account:
    """Another session on the same account, with the state that the first one put on record; the venue confirms its
    balances, or tells others."""
    kept = account.keep()
    other = Account(opened=False)
    other.publish(e.StateCarried(20, 20, "before", 7, kept.state))
    other.open()
    books = account.core.portfolio
    balances = {name: books.balance("coinbase", name) for name in books.told("coinbase")}
    balances |= {name: D(total) for name, total in told.items()}
    other.publish(e.AccountSettled(21, 21, "coinbase", tuple(balances.items())))
    return other


def test_money_goes_on_to_the_last_digit() -> None:
    """Cash, position, cost, profit, fees and who holds it; the balance told at the start adds nothing."""
    before = traded()
    after = next_after(before)
    assert after.core.portfolio.cash() == before.core.portfolio.cash()
    assert after.core.view.position(BTC) == before.core.view.position(BTC)
    assert after.core.view.strategy_qty("s", BTC) == D(2)
    assert after.core.portfolio.equity_peak == before.core.portfolio.equity_peak
    assert list(after.core.view.held()) == [BTC]


@pytest.mark.fault("A2")
def test_open_orders_go_on_as_unknown_and_hold_their_worst_case() -> None:
    """Whatever they were: the venue may have done anything since.  What is filled of them stays filled."""
    before = traded()
    after = next_after(before)
    orders = {order.client_order_id: order for order in after.core.orders.open_orders()}
    assert {order.state for order in orders.values()} == {OrderState.UNKNOWN}
    assert sorted(str(order.leaves_qty) for order in orders.values()) == ["3", "3", "5"]
    assert after.core.view.open_qty(BTC, e.Side.BUY) == D(11)


@pytest.mark.fault("A4")
def test_a_fill_that_was_booked_before_is_not_booked_again() -> None:
    """Told anew by the venue after a restart, of open and of ended orders; one that is new counts."""
    before = traded()
    after = next_after(before)
    held = after.core.view.position(BTC).qty
    for order, (qty, px, trade_id) in zip(
        before.venue.orders, [("2", "100", "t1"), ("1", "110", "t2"), ("1", "99", "t3")], strict=False
    ):
        after.fill(order, qty, px, trade_id)
    assert (after.core.view.position(BTC).qty, after.core.orders.duplicate_fills) == (held, 3)
    after.fill(before.venue.orders[2], "3", "99", "t4")
    assert after.core.view.position(BTC).qty == held + 3
    assert after.core.orders.get(before.venue.orders[2].client_order_id).state is OrderState.FILLED


def test_new_orders_never_take_an_old_id() -> None:
    """Ids begin with the session's own prefix: an old order's answer can never be a new one's."""
    before = traded()
    kept = before.keep()
    core = build_core(MemoryRecorder())
    core.on_event(e.StateCarried(20, 20, "before", 7, kept.state))
    known = {order.client_order_id for order in core.orders.open_orders()}
    assert known == {order.client_order_id for order in before.venue.orders[2:]}


@pytest.mark.parametrize("state", [RiskState.REDUCING, RiskState.HALTED])
@pytest.mark.fault("F6")
def test_a_latched_breaker_holds_over_a_restart(state: RiskState) -> None:
    """The reason names the session; in HALTED the orders that may live are asked to go once they show themselves."""
    before = traded()
    before.gate.breach_next = (state, "drawdown 900, limit 500")
    at = before._at()
    before.publish(e.Timer(at, at, "tick"))
    before.gate.breach_next = None
    after = next_after(before)
    assert after.core.risk_state is state
    change = next(record for record in after.records if getattr(record, "after", None) is state)
    assert change.reason == "left by session before: drawdown 900, limit 500"


def test_a_strategy_gets_its_state_back() -> None:
    """As it said it; one that cannot read it is quarantined, the others trade."""
    before = traded()
    assert next_after(before).strategy.memory["averages"] == [1, 2]
    kept = before.keep()
    broken = Account(opened=False)
    broken.strategy.restore = lambda state: state["nothing"]  # type: ignore[method-assign]
    broken.publish(e.StateCarried(20, 20, "before", 7, kept.state))
    assert [record.strategy for record in broken.records if isinstance(record, StrategyQuarantined)] == ["s"]


def test_a_holding_of_something_unknown_makes_equity_unknown() -> None:
    """Its instrument is not among those of the new session: no valuation, so no entry, and it is named."""
    core = build_core(MemoryRecorder())
    core.on_event(e.StateCarried(20, 20, "before", 7, traded().keep().state))
    core.on_event(e.InstrumentDefined(21, 21, spot(id="ETH/USD@coinbase", venue_symbol="ETH-USD", base="ETH")))
    at = e.Timer(22, 22, "tick")
    core.on_event(at)
    assert (core.portfolio.equity, core.portfolio.unknown_holdings) == (None, [BTC])


def test_state_is_put_on_record_once_as_long_as_nothing_changes() -> None:
    """Two timers, one record; a fill makes another."""
    account = traded()
    account.strategy.state = dict  # type: ignore[method-assign]  # it counts its calls
    account.keep()
    account.keep()
    kept = [record for record in account.records if isinstance(record, e.StateKept)]
    assert len(kept) == 1
    account.fill(account.venue.orders[2], "1", "99", "t9")
    assert account.keep() is not kept[0]


@pytest.mark.fault("A8")
def test_a_full_disk_takes_no_state_and_halts() -> None:
    """Like any other record that is not needed to get out."""
    account = traded()
    account.journal.full_for = (e.StateKept,)
    at = account._at()
    account.publish(e.Timer(at, at, "keep"))
    assert account.core.risk_state is RiskState.HALTED


def test_a_session_that_went_on_replays_identically() -> None:
    """The carried state is an input like any other, and each kept state is a decision that must come out again."""
    after = next_after(traded())
    after.fill(after.place(), "1", "100", "t20")
    after.keep()
    recorder = ReplayRecorder()
    wishes = iter([record.intent for record in after.records if isinstance(record, NewOrder)])
    strategy = Remembering([], {})
    orders_at = {record.ts_ns for record in after.records if isinstance(record, NewOrder)}
    strategy.answers["on_quote"] = lambda _name, view: _again(strategy, view, orders_at, wishes)
    core = build_core(recorder, strategy, gate=OpenGate())
    assert replay(after.journal.written, recorder, core).first_difference is None


def _again(strategy: Remembering, view: Any, orders_at: set[int], wishes: Any) -> list[Any]:
    strategy.memory["asked"] += 1
    return [next(wishes)] if view.now_ns in orders_at else []


@pytest.mark.fault("A15")
def test_state_of_another_release_is_refused_in_one_line() -> None:
    """Damaged bytes, and a version that this release does not know."""
    with pytest.raises(DataError, match="cannot be read"):
        decode_carried(b"\x93nonsense")
    core = traded().core
    newer = msgspec.structs.replace(take(core, ""), version=99)
    with pytest.raises(DataError, match="version 99"):
        decode_carried(encode_carried(newer))


def test_taking_and_putting_is_the_identity() -> None:
    """What a core took over, it leaves in the same words."""
    left = take(traded().core, "why")
    core = build_core(MemoryRecorder())
    core.on_event(e.InstrumentDefined(1, 1, spot()))
    put(core, left)
    again = take(core, "why")
    assert (again.orders, again.trades, again.money) == (left.orders, left.trades, left.money)


# --- the venue confirms ---------------------------------------------------------------------------------------------


@pytest.mark.fault("A5")
@pytest.mark.fault("C17")
def test_no_strategy_is_asked_before_the_venue_has_confirmed_the_account() -> None:
    """Quotes come, facts are booked; the strategy hears nothing until ``AccountSettled``, and then the next quote."""
    kept = traded().keep()
    after = Account(opened=False)
    after.publish(e.StateCarried(20, 20, "before", 7, kept.state))
    after.open()
    assert (after.strategy.memory["asked"], after.core.view.position(BTC).qty) == (7, D(2))
    after.publish(e.AccountSettled(30, 30, "coinbase", (("USD", D(0)), ("BTC", D(2)))))
    after.place()
    assert after.strategy.memory["asked"] == 8


@pytest.mark.fault("C18")
def test_the_venue_is_right_about_balances_and_each_difference_is_on_record() -> None:
    """Somebody paid 50 in and took half a coin out: booked, told, and neither profit nor loss."""
    before = traded()
    cash, equity = before.core.portfolio.cash()["USD"], before.core.view.equity()
    after = next_after(before, USD=str(cash + 50), BTC="1.5")
    changes = [record for record in after.records if isinstance(record, BalanceAdjusted)]
    assert [(one.currency, one.booked, one.told) for one in changes] == [
        ("BTC", D(2), D("1.5")),
        ("USD", cash, cash + 50),
    ]
    assert (after.core.portfolio.cash()["USD"], after.core.view.position(BTC).qty) == (cash + 50, D("1.5"))
    worth = after.core.view.mark_px(BTC) * D("-0.5") + 50
    assert after.core.view.equity() == equity + worth
    assert after.core.view.equity_day_start() == before.core.view.equity_day_start() + worth


@pytest.mark.fault("C14")
def test_a_balance_that_is_not_named_is_not_zero() -> None:
    """The listing leaves out what the books hold: nothing is written off, and no new risk is taken."""
    after = next_after(traded())
    cash = after.core.portfolio.cash()
    after.publish(e.AccountSettled(40, 40, "coinbase", (("USD", cash["USD"]),)))
    assert (after.core.view.position(BTC).qty, after.core.risk_state) == (D(2), RiskState.REDUCING)
    assert "BTC" in after.core.desk.risk_reason


@pytest.mark.fault("C14")
def test_balances_that_are_no_numbers_settle_nothing() -> None:
    """The strategies go on waiting, and risk is reducing."""
    kept = traded().keep()
    after = Account(opened=False)
    after.publish(e.StateCarried(20, 20, "before", 7, kept.state))
    after.open()
    after.publish(e.AccountSettled(30, 30, "coinbase", (("USD", D("NaN")),)))
    assert (after.core.risk_state, after.core.reconciliation.awaited) == (RiskState.REDUCING, {"coinbase"})
