"""A session that goes on where another stopped: what it knows at once, and what it does not believe any more."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from engine import events as e
from engine.carried import decode_carried, encode_carried
from engine.commands import BalanceAdjusted, NewOrder, Rejected, RiskState, RiskStateChanged, StrategyQuarantined
from engine.continuity import put, take
from engine.core import PEAK_NS
from engine.errors import DataError
from engine.order_states import OrderState
from engine.recovery import Recovery
from engine.replay import ReplayRecorder, replay
from risk.gate import Gate
from tests.support.account import Account, Remembering
from tests.support.core import BTC, MemoryRecorder, OpenGate, build_core, fill, intent, open_market, quote, spot
from tests.support.limits import make_limits

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


@pytest.mark.fault("D3")
def test_the_first_price_of_the_next_session_is_judged_by_the_last_one_of_this() -> None:
    """Half the price, in the very first message, moves no stop; a second one there is believed. What was doubted before
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
    silent.publish(quote(31, 50.01, 50.02))
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
    assert "BTC" in after.core.desk.latch.reason


@pytest.mark.fault("C14")
def test_balances_that_are_no_numbers_settle_nothing() -> None:
    """The strategies go on waiting, and risk is reducing."""
    kept = traded().keep()
    after = Account(opened=False)
    after.publish(e.StateCarried(20, 20, "before", 7, kept.state))
    after.open()
    after.publish(e.AccountSettled(30, 30, "coinbase", (("USD", D("NaN")),)))
    assert (after.core.risk_state, after.core.reconciliation.awaited) == (RiskState.REDUCING, {"coinbase"})


@pytest.mark.fault("A5")
@pytest.mark.fault("C18")
def test_coins_paid_in_are_no_profit_to_the_next_session_either() -> None:
    """One coin more than booked, and the session is killed at once: peak and day's start, which moved by the coin's
    worth, are on record with it."""
    account = traded()
    equity, start = account.core.view.equity(), account.core.view.equity_day_start()
    cash = account.core.portfolio.cash()["USD"]
    at = account._at()
    account.publish(e.AccountSettled(at, at, "coinbase", (("USD", cash), ("BTC", D(3)))))
    worth = account.core.view.mark_px(BTC)
    recovery = Recovery("USD")
    recovery.take(account.records)
    money = recovery.left().money
    assert money == take(account.core, "").money
    assert (money.equity_peak, money.equity_day_start) == (equity + worth, start + worth)


def test_a_difference_that_was_booked_is_not_found_again() -> None:
    """Between two kept states: the records alone say it."""
    account = traded()
    cash = account.core.portfolio.cash()["USD"]
    at = account._at()
    account.publish(e.AccountSettled(at, at, "coinbase", (("USD", cash + 7), ("BTC", D(2)))))
    records = [record for record in account.records if not isinstance(record, e.StateKept)]
    assert sum(isinstance(record, BalanceAdjusted) for record in records) == 1
    recovery = Recovery("USD")
    recovery.take(records)
    assert ("coinbase", "USD", cash + 7) in recovery.left().money.cash


def test_other_symbols_and_back_leave_the_money_as_it_is() -> None:
    """A session that trades something else meets the coins of the one before as what they are: nothing is adjusted,
    nothing counts twice, and what it paid in of its own symbol's coins is that symbol's position later."""
    eth = spot(id="ETH/USD@coinbase", venue_symbol="ETH-USD", base="ETH")
    left = take(traded().core, "")
    cash = next(amount for venue, name, amount in left.money.cash if (venue, name) == ("coinbase", "USD"))
    told = (("USD", cash), ("BTC", D(2)), ("ETH", D(5)))
    second = build_core(MemoryRecorder())
    second.on_event(e.StateCarried(20, 20, "before", 7, encode_carried(left)))
    second.on_event(e.InstrumentDefined(21, 21, eth))
    for name, total in told:
        second.on_event(e.BalanceReported(22, 22, "coinbase", name, total, total))
    second.on_event(e.AccountSettled(23, 23, "coinbase", told))
    assert (second.counters.adjustments, second.portfolio.unknown_holdings) == (0, [BTC])
    second.on_event(e.AccountSettled(24, 24, "coinbase", (("USD", cash), ("BTC", D("2.5")), ("ETH", D(5)))))
    third = build_core(MemoryRecorder())
    third.on_event(e.StateCarried(30, 30, "second", 7, encode_carried(take(second, ""))))
    third.on_event(e.InstrumentDefined(31, 31, spot()))
    third.on_event(quote(32))
    assert third.portfolio.position(BTC).qty == D("2.5")
    assert third.portfolio.cash() == {"USD": cash}
    third.on_event(e.InstrumentDefined(33, 33, eth))
    assert third.portfolio.position(eth.id).qty == D(5)
    assert third.portfolio.balance("coinbase", "ETH") == D(5)


@pytest.mark.fault("A15")
def test_a_field_that_this_release_does_not_know_is_refused() -> None:
    """In the state, in an order and in the money of it: none is dropped in silence."""
    plain = msgspec.msgpack.decode(encode_carried(take(traded().core, "")))
    encode = msgspec.msgpack.Encoder(decimal_format="string").encode
    assert decode_carried(encode(plain))
    for where in ([], [2, 0], [4], [4, 3, 0], [4, 8]):
        changed = msgspec.msgpack.decode(encode(plain))
        part = changed
        for step in where:
            part = part[step]
        part.append("newer")
        with pytest.raises(DataError, match="cannot be read"):
            decode_carried(encode(changed))


# --- latches --------------------------------------------------------------------------------------------------------

DAY_NS = 86_400_000_000_000
LOSSES: dict[str, Any] = {
    "allowed_instruments": [BTC],
    "stale_quote_ns": DAY_NS,
    "strategy_limits": {"s": {"max_daily_loss": 2}},
    "max_daily_loss": 10_000,
}


def losing() -> Account:
    """Long 8 at 100 with a state kept; then down 4 at a timer, and up again: the limit is 2."""
    account = Account(gate=Gate(make_limits(**LOSSES)))
    show(account, 100.0)
    account.fill(account.place(qty="8"), "8", "100", "t1")
    account.keep()
    show(account, 99.5)
    show(account, 100.0)
    assert account.core.view.tallies()["s"].day_low == -4
    return account


def show(account: Account, px: float) -> None:
    account.publish(quote(account._at(), px, px + 0.01))
    at = account._at()
    account.publish(e.Timer(at, at, "tick"))


def after_a_kill(account: Account) -> Account:
    """The next session: from the records alone, confirmed by the venue."""
    recovery = Recovery("USD")
    recovery.take(account.records)
    left = recovery.left()
    after = Account(opened=False, gate=Gate(make_limits(**LOSSES)))
    after.now_ns = account.now_ns
    at = after._at()
    after.publish(e.StateCarried(at, at, "before", 7, encode_carried(left)))
    after.open()
    books = account.core.portfolio
    told = tuple((name, books.balance("coinbase", name)) for name in books.told("coinbase"))
    after.publish(e.AccountSettled(after._at(), after.now_ns, "coinbase", told))
    show(after, 100.0)
    return after


@pytest.mark.fault("F6")
def test_a_strategys_lost_day_is_on_record_in_the_event_that_saw_it() -> None:
    """Killed long before the next regular state: the latch holds in the next session although the day has recovered,
    until an operator resumes, whose word holds over another kill."""
    before = losing()
    after = after_a_kill(before)
    after.wish(intent())
    refused = [record.check for record in after.records if isinstance(record, Rejected)]
    assert refused == ["strategy_daily_loss"]
    after.keep()
    at = after._at()
    after.publish(e.Resumed(at, at, "operator", "by ana"))
    assert after_a_kill(after).place()


@pytest.mark.fault("F6")
def test_the_day_that_losses_are_measured_from_survives_a_kill() -> None:
    """Midnight passes, then the account loses, then it is killed: the day began before the loss, not with the start."""
    before = losing()
    before.now_ns += DAY_NS
    show(before, 100.0)
    began = before.core.view.equity_day_start()
    show(before, 99.5)
    after = after_a_kill(before)
    show(after, 99.5)
    assert after.core.view.equity_day_start() == began
    assert after.core.view.equity() == began - 4
    assert after.core.view.tallies()["s"].day == -4


@pytest.mark.fault("F6")
def test_a_new_peak_of_equity_survives_a_kill() -> None:
    """Higher by 0.4 % than at the last kept state: drawdown is measured from there."""
    before = losing()
    before.now_ns += PEAK_NS
    show(before, 100.5)
    peak = before.core.view.equity_peak()
    show(before, 100.0)
    assert peak == before.core.view.equity() + 4
    assert after_a_kill(before).core.view.equity_peak() == peak


@pytest.mark.fault("B9")
@pytest.mark.parametrize("fee_currency", ["USD", "BTC"])
def test_a_fill_of_what_this_session_does_not_list_is_booked_and_told(fee_currency: str) -> None:
    """Of an order that the one before left: money, coins and the strategy's part are exact, the account is confirmed
    without an adjustment, risk says why it reduces, no strategy is asked; and the next session lists the position."""
    before = traded()
    half = before.venue.orders[2]
    state = before.keep().state
    strategy = Remembering([], {})
    recorder = MemoryRecorder()
    second = build_core(recorder, strategy)
    second.on_event(e.StateCarried(20, 20, "before", 7, state))
    second.on_event(
        e.InstrumentDefined(21, 21, spot(id="ETH/USD@coinbase", venue_symbol="ETH-USD", base="ETH", quote="USD"))
    )
    late = msgspec.structs.replace(fill(half, "3", "99", "t9", "0.5", 22), fee_currency=fee_currency)
    for _ in range(2):
        second.on_event(late)
    cash, coins = before.core.portfolio.cash()["USD"] - 297, D(5)
    cash, coins = (cash - D("0.5"), coins) if fee_currency == "USD" else (cash, coins - D("0.5"))
    second.on_event(e.AccountSettled(23, 23, "coinbase", (("USD", cash), ("BTC", coins))))
    assert (second.counters.adjustments, second.reconciliation.awaited) == (0, set())
    assert second.portfolio.strategy_qty("s", BTC) == coins
    assert second.orders.get(half.client_order_id).state is OrderState.FILLED
    (change,) = recorder.of(RiskStateChanged)
    assert (change.after, change.reason.split(":")[0]) == (
        RiskState.REDUCING,
        "fill of BTC/USD@coinbase, which this session does not list",
    )
    assert "on_fill" not in dict(strategy.calls)
    third = build_core(MemoryRecorder())
    third.on_event(e.StateCarried(30, 30, "second", 7, encode_carried(take(second, ""))))
    third.on_event(e.InstrumentDefined(31, 31, spot()))
    assert third.portfolio.position(BTC).qty == coins
    assert third.portfolio.cash() == {"USD": cash}


def test_a_flattened_account_enters_again_only_after_a_resume() -> None:
    """Also where the end of a session had it flattened: the next one begins reducing, and says whose wish it was."""
    before = traded()
    at = before._at()
    before.publish(e.OperatorRequested(at, at, "flatten", "shutdown", "end of the session"))
    after = next_after(before)
    assert after.core.risk_state is RiskState.REDUCING
    assert after.core.desk.latch.reason.startswith("left by session before: flatten by shutdown")
