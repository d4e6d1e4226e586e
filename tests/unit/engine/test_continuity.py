"""A session that goes on where another stopped: what it knows at once, and what it does not believe any more."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from engine import events as e
from engine.carried import decode_carried, encode_carried
from engine.commands import NewOrder, RiskState, StrategyQuarantined
from engine.continuity import put, take
from engine.errors import DataError
from engine.order_states import OrderState
from engine.replay import ReplayRecorder, replay
from tests.support.account import Account, Remembering
from tests.support.continuity import next_after, traded
from tests.support.core import BTC, MemoryRecorder, OpenGate, build_core, open_market, quote, spot

D = Decimal


@pytest.mark.fault("D3")
def test_the_first_price_of_the_next_session_is_judged_by_the_last_one_of_this() -> None:
    """Half the price, in the very first message, moves no stop; the fifth there is believed. What was doubted before
    is not handed on, and what was handed on outlives a session that saw nothing."""
    account = Account()
    account.publish(quote(12, 50.0, 50.01))
    assert account.core.lanes[BTC].top.suspect
    kept = account.keep()
    silent = Account(opened=False)
    silent.publish(e.StateCarried(20, 20, "before", 7, kept.state))
    handed_on = decode_carried(kept.state).known_px, silent.core.market.known_px()
    assert handed_on == (((BTC, 100.005),), ((BTC, 100.005),))
    open_market(silent.core)
    top = silent.core.lanes[BTC].top
    silent.publish(quote(30, 50.0, 50.01))
    assert top.suspect
    assert not top.is_readable
    for ts_ns in range(31, 35):
        assert top.suspect
        silent.publish(quote(ts_ns, 50.01, 50.02))
    assert not top.suspect


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
    for number in range(3):  # the cause and the last session, not all that were in between
        kept = after.keep()
        after = Account(opened=False)
        after.publish(e.StateCarried(20, 20, f"later-{number}", 7, kept.state))
        assert after.core.desk.latch.reason == f"left by session later-{number}: drawdown 900, limit 500"


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
