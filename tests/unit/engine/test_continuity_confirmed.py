"""The venue confirms what a session goes on with, or tells otherwise."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import msgspec
import pytest

from engine import events as e
from engine.carried import decode_carried, encode_carried
from engine.commands import BalanceAdjusted, RiskState
from engine.continuity import take
from engine.core import TradingCore
from engine.errors import DataError
from engine.instruments import AssetClass
from engine.recovery import Recovery
from risk.gate import Gate
from tests.support.account import Account
from tests.support.continuity import next_after, traded
from tests.support.core import BTC, MemoryRecorder, build_core, open_market, perpetual, quote, spot
from tests.support.limits import make_limits

D = Decimal


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


@pytest.mark.fault("C18")
@pytest.mark.parametrize("coins", ["0.5", "5"])
def test_coins_that_came_or_left_between_two_sessions_are_worth_what_they_were_then(coins: str) -> None:
    """The venue confirms the account before it sends a price.  What left is no loss that a breaker latches, what came
    leaves no room for a larger one: both are told at the last price of the session before."""
    before = traded()
    equity, start = before.core.view.equity(), before.core.view.equity_day_start()
    worth = before.core.view.mark_px(BTC) * (D(coins) - D(2))
    after = Account(opened=False, gate=Gate(make_limits(max_daily_loss=50, max_drawdown_bps=500)))
    after.publish(e.StateCarried(20, 20, "before", 7, before.keep().state))
    after.open(quoted=False)
    cash = before.core.portfolio.cash()["USD"]
    after.publish(e.AccountSettled(21, 21, "coinbase", (("USD", cash), ("BTC", D(coins)))))
    after.publish(quote(22))
    after.publish(e.Timer(23, 23, "tick"))
    view = after.core.view
    assert (view.equity(), view.equity_peak(), view.equity_day_start()) == (
        equity + worth,
        equity + worth,
        start + worth,
    )
    assert after.core.risk_state is RiskState.ACTIVE


@pytest.mark.fault("C18")
def test_money_in_a_currency_that_the_books_did_not_know_is_no_profit() -> None:
    """Paid in between two sessions: the day's loss is still measured from what was there without it."""
    before = traded()
    equity, start = before.core.view.equity(), before.core.view.equity_day_start()
    after = Account(opened=False)
    after.publish(e.StateCarried(20, 20, "before", 7, before.keep().state))
    after.publish(e.RateReported(20, 20, "EUR", D(2)))
    after.open(quoted=False)
    after.publish(e.BalanceReported(21, 21, "coinbase", "EUR", D(500), D(500)))
    cash = before.core.portfolio.cash()["USD"]
    after.publish(e.AccountSettled(21, 21, "coinbase", (("USD", cash), ("BTC", D(2)), ("EUR", D(500)))))
    after.publish(quote(22))
    after.publish(e.Timer(23, 23, "tick"))
    view = after.core.view
    assert (view.equity(), view.equity_peak(), view.equity_day_start()) == (equity + 1000, equity + 1000, start + 1000)


@pytest.mark.fault("C18")
def test_what_a_position_had_lost_before_its_symbol_was_traded_here_is_no_loss_of_today() -> None:
    """The owner's, 100 below its price: a session that trades it for the first time finds it."""
    left = take(traded().core, "")
    equity, start = left.money.equity_peak, left.money.equity_day_start
    owned = perpetual(id="ETH/USD@coinbase", venue_symbol="ETH-PERP", base="ETH")
    after = build_core(MemoryRecorder())
    after.on_event(e.StateCarried(20, 20, "before", 7, encode_carried(left)))
    for instrument in (spot(), owned):
        after.on_event(e.InstrumentDefined(20, 20, instrument))
    after.on_event(e.Bar(20, 20, owned.id, 60_000_000_000, 10.0, 10.0, 10.0, 10.0, 1.0))
    after.on_event(e.PositionReported(21, 21, "coinbase", owned.id, D(10), D(20)))
    after.on_event(quote(22))
    after.on_event(quote(22, 9.99, 10.01, owned.id))
    after.on_event(e.Timer(23, 23, "tick"))
    view = after.view
    assert (view.equity(), view.equity_peak(), view.equity_day_start()) == (equity - 100, equity - 100, start - 100)


@pytest.mark.fault("C18")
@pytest.mark.parametrize("owned", ["coins", "position"])
def test_what_the_books_did_not_know_yet_is_no_result_after_a_kill_either(owned: str) -> None:
    """Told when prices come already: equity says so in the same event, else an entry right after it would be refused as
    after a loss; and a session that goes on from the records, which have no prices, measures from the same."""
    kind = spot if owned == "coins" else perpetual
    rules = kind(id="ETH/USD@coinbase", venue_symbol="ETH-USD", base="ETH")
    after = Account(opened=False)
    after.publish(e.StateCarried(20, 20, "before", 7, traded().keep().state))
    after.open()
    after.publish(e.InstrumentDefined(30, 30, rules))
    after.publish(quote(31, 9.99, 10.01, rules.id))
    after.publish(e.Timer(32, 32, "tick"))
    view = after.core.view
    equity, start = view.equity(), view.equity_day_start()
    if owned == "coins":
        after.publish(e.BalanceReported(33, 33, "coinbase", "ETH", D(5), D(5)))
    else:
        after.publish(e.PositionReported(33, 33, "coinbase", rules.id, D(5), D(20)))
    worth = D(50 if owned == "coins" else -50)
    assert (view.equity(), view.equity_day_start()) == (equity + worth, start + worth)
    recovery = Recovery("USD")
    recovery.take(after.records)
    money = recovery.left().money
    assert (money.equity_peak, money.equity_day_start) == (view.equity_peak(), view.equity_day_start())


@pytest.mark.fault("C18")
@pytest.mark.parametrize("killed", ["", "before its price", "after its price"])
@pytest.mark.parametrize("owned", ["coins", "position", "currency"])
def test_what_is_told_before_its_first_price_is_no_result_once_it_has_one(owned: str, killed: str) -> None:
    """A symbol that is traded for the first time: an account is told before the first quote comes, and a currency
    before its rate.  It was the day's profit, or its loss, from the first price on."""
    kind = perpetual if owned == "position" else spot
    rules = kind(id="ETH/USD@coinbase", venue_symbol="ETH-USD", base="ETH")
    priced = [e.RateReported(40, 40, "EUR", D(2))] if owned == "currency" else [quote(40, 9.99, 10.01, rules.id)]
    told = {
        "coins": e.BalanceReported(33, 33, "coinbase", "ETH", D(5), D(5)),
        "position": e.PositionReported(33, 33, "coinbase", rules.id, D(5), D(20)),
        "currency": e.BalanceReported(33, 33, "coinbase", "EUR", D(5), D(5)),
    }[owned]
    worth = D({"coins": 50, "position": -50, "currency": 10}[owned])
    session = Account(opened=False, gate=Gate(make_limits(max_daily_loss=5, max_drawdown_bps=100)))
    session.publish(e.StateCarried(20, 20, "before", 7, traded().keep().state))
    session.open()
    session.publish(e.InstrumentDefined(30, 30, rules))
    session.publish(e.Timer(32, 32, "tick"))
    equity, peak, start = (read() for read in _measures(session))
    session.publish(told)
    if killed:
        for event in [*priced, e.Timer(41, 41, "tick")] if killed == "after its price" else []:
            session.publish(event)
        recovery = Recovery("USD")
        recovery.take(session.records)
        session = Account(opened=False)
        session.publish(e.StateCarried(42, 42, "before", 7, encode_carried(recovery.left())))
        session.open()
        session.publish(e.InstrumentDefined(43, 43, rules))
    for event in (*priced, e.Timer(44, 44, "tick")):
        session.publish(msgspec.structs.replace(event, ts_event_ns=44, ts_recv_ns=44))
    assert [read() for read in _measures(session)] == [equity + worth, peak * (equity + worth) / equity, start + worth]
    assert session.core.risk_state is RiskState.ACTIVE


@pytest.mark.fault("C18")
@pytest.mark.parametrize("then", ["money", "position"])
@pytest.mark.parametrize("first", ["symbol", "currency"])
def test_what_leaves_in_the_moment_of_a_first_price_is_no_result_either(first: str, then: str) -> None:
    """Coins, or euros, came before anything said their worth; their price comes, and with the next event money leaves,
    or a position that had won: equity had them then, and its peak had not, so that it became twice what there was."""
    rules = spot(id="ETH/USD@coinbase", venue_symbol="ETH-USD", base="ETH")
    contract = perpetual(id="BTC-PERP@coinbase", base="BTCP")
    euro = spot(id="EUR/USD@coinbase", base="EUR", asset_class=AssetClass.FX)
    before = build_core(MemoryRecorder())
    open_market(before)
    before.on_event(e.Timer(2, 2, "tick"))
    after = build_core(MemoryRecorder(), gate=Gate(make_limits(max_daily_loss=5, max_drawdown_bps=100)))
    after.on_event(e.StateCarried(3, 3, "before", 1, encode_carried(take(before, ""))))
    after.on_event(e.RateReported(3, 3, "EUR", D(1)))
    for instrument in (spot(), rules, contract, euro):
        after.on_event(e.InstrumentDefined(4, 4, instrument))
    after.on_event(quote(5, 9.99, 10.01, contract.id))
    after.on_event(e.PositionReported(5, 5, "coinbase", contract.id, D(100), D(5)))
    came, priced = ("ETH", rules) if first == "symbol" else ("EUR", euro)
    after.on_event(e.BalanceReported(6, 6, "coinbase", came, D(900), D(900)))
    after.on_event(quote(7, 9.99, 10.01, priced.id))
    if then == "money":
        after.on_event(e.AccountSettled(8, 8, "coinbase", (("USD", D(600)), (came, D(900)))))
    else:
        after.on_event(e.PositionReported(8, 8, "coinbase", contract.id, D(0), D(0)))
    after.on_event(e.Timer(9, 9, "tick"))
    view = after.view
    assert view.equity() == (600 + 9000 + 500 if then == "money" else 1000 + 9000)
    assert round(view.equity_peak(), 9) == view.equity() == view.equity_day_start()
    assert after.risk_state is RiskState.ACTIVE


def _measures(account: Account) -> list[Callable[[], Decimal]]:
    view = account.core.view
    return [view.equity, view.equity_peak, view.equity_day_start]  # type: ignore[list-item]


@pytest.mark.fault("C18")
def test_coins_of_a_symbol_that_is_not_traded_any_more_leave_without_a_loss() -> None:
    """All of them: from then on equity is known again, and smaller by no loss."""
    before = traded()
    left = take(before.core, "")
    cash, equity = before.core.portfolio.cash()["USD"], before.core.view.equity()
    after = build_core(MemoryRecorder(), gate=Gate(make_limits(max_daily_loss=50, max_drawdown_bps=500)))
    after.on_event(e.StateCarried(20, 20, "before", 7, encode_carried(left)))
    after.on_event(e.AccountSettled(21, 21, "coinbase", (("USD", cash), ("BTC", D(0)))))
    coins = D(2) * before.core.view.mark_px(BTC)
    assert (after.view.equity(), after.view.equity_peak()) == (equity - coins, equity - coins)
    assert after.risk_state is RiskState.ACTIVE


@pytest.mark.fault("C18")
def test_a_position_closed_by_hand_between_two_sessions_is_the_loss_that_it_was() -> None:
    """20 bought at 100, worth 99 when the session ended, closed there: the day's loss of 20 stands, it is not forgotten
    with the position whose price nobody knows yet."""

    def told(core: TradingCore, qty: str, cash: str, at: int) -> None:
        core.on_event(e.PositionReported(at, at, "coinbase", BTC, D(qty), D(0)))
        core.on_event(e.AccountSettled(at, at, "coinbase", (("USD", D(cash)),)))

    first = build_core(MemoryRecorder())
    open_market(first, perpetual())
    first.on_event(e.PositionReported(2, 2, "coinbase", BTC, D(20), D(100)))
    for at, px in ((3, 100.0), (5, 99.0)):
        first.on_event(quote(at, px - 0.01, px + 0.01))
        first.on_event(e.Timer(at, at, "tick"))
    assert first.view.equity_day_start() - first.view.equity() == 20
    second = build_core(MemoryRecorder())
    second.on_event(e.StateCarried(20, 20, "before", 7, encode_carried(take(first, ""))))
    open_market(second, perpetual())
    told(second, "0", "980", 21)
    second.on_event(quote(22, 99.49, 99.51))
    second.on_event(e.Timer(23, 23, "tick"))
    assert second.view.equity_day_start() - second.view.equity() == 20
    assert second.view.equity_peak() == 1000


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
