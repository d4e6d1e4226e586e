"""Latches of risk and what losses are measured from, over a restart and a kill."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from engine import events as e
from engine.carried import encode_carried
from engine.commands import Rejected, RiskState, RiskStateChanged
from engine.continuity import take
from engine.core import PEAK_NS
from engine.order_states import OrderState
from engine.recovery import Recovery
from risk.gate import Gate
from tests.support.account import Account, Remembering
from tests.support.continuity import next_after, traded
from tests.support.core import BTC, MemoryRecorder, build_core, fill, intent, quote, spot
from tests.support.limits import make_limits

D = Decimal


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


def test_a_lost_day_goes_on_after_the_coins_that_lost_have_left() -> None:
    """8 bought at 100 stand at 99.90 when the owner moves them away; 8 that are bought then lose a bit more than that:
    together that is the limit of 2, each alone is not."""
    account = Account(gate=Gate(make_limits(**LOSSES)))
    show(account, 100.0)
    account.fill(account.place(qty="8"), "8", "100", "t1")
    show(account, 99.9)
    account.publish(e.AccountSettled(account._at(), account.now_ns, "coinbase", (("USD", D(1000)), ("BTC", D(0)))))
    show(account, 99.9)
    account.fill(account.place(qty="8"), "8", "99.9", "t2")
    show(account, 99.74)
    account.wish(intent())
    assert [record.check for record in account.records if isinstance(record, Rejected)] == ["strategy_daily_loss"]


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
