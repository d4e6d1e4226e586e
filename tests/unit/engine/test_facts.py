"""What the venue tells of the account is booked once, and what it takes back is booked back."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from engine import events as e
from engine.commands import NewOrder, RiskState
from engine.order_states import OrderState
from risk.gate import Gate
from tests.support.account import Account
from tests.support.core import BTC
from tests.support.limits import make_limits

D = Decimal


def correct(account: Account, order: NewOrder, qty: str, px: str = "0", /, **changes: Any) -> None:
    at = account._at()
    fields: dict[str, Any] = {
        "venue": "coinbase", "client_order_id": order.client_order_id, "venue_order_id": "v", "trade_id": "t1",
        "instrument": BTC, "side": e.Side.BUY, "qty": D(2), "px": D(100), "fee": D("0.5"), "fee_currency": "USD",
        "new_qty": D(qty), "new_px": D(px), "new_fee": D("0.5") if D(qty) else D(0),
    }  # fmt: skip
    account.publish(e.FillCorrected(at, at, **{**fields, **changes}))


def bought() -> tuple[Account, NewOrder]:
    account = Account()
    order = account.place(qty="3")
    account.accept(order)
    account.fill(order, "2", "100", "t1", "0.5")
    return account, order


@pytest.mark.fault("B10")
def test_a_trade_that_is_taken_back_leaves_nothing_behind() -> None:
    """Money, position and fee are as if it had never been; the order holds its whole quantity again.  Once."""
    account, order = bought()
    for _ in range(2):
        correct(account, order, "0")
    position = account.core.view.position(BTC)
    assert (account.core.portfolio.cash()["USD"], position.qty, position.realised, position.fees) == (1000, 0, 0, 0)
    assert account.core.view.strategy_qty("s", BTC) == 0
    assert account.core.view.open_qty(BTC, e.Side.BUY) == D(3)
    assert account.core.counters.corrections == 1


@pytest.mark.fault("B10")
def test_a_trade_at_another_price_is_restated() -> None:
    """Two at 90 instead of 100: the cash, the cost and the order's average say so."""
    account, order = bought()
    correct(account, order, "2", "90")
    position = account.core.view.position(BTC)
    assert account.core.portfolio.cash()["USD"] == D("819.5")
    assert (position.qty, position.avg_px) == (D(2), D(90))
    known = account.core.orders.get(order.client_order_id)
    assert (known.filled_qty, known.avg_px, known.state) == (D(2), D(90), OrderState.PARTLY_FILLED)


@pytest.mark.fault("B10")
def test_a_correction_that_comes_before_its_fill_is_the_fill() -> None:
    """The execution is booked as corrected, and its first version, told later, is not booked."""
    account = Account()
    order = account.place(qty="3")
    correct(account, order, "1", "95")
    account.fill(order, "2", "100", "t1", "0.5")
    assert (account.core.view.position(BTC).qty, account.core.portfolio.cash()["USD"]) == (D(1), D("904.5"))


@pytest.mark.fault("B10")
def test_a_correction_that_comes_first_counts_in_its_order() -> None:
    """All of it: the order has ended, and the first version, told later, is a repeat."""
    account = Account()
    order = account.place(qty="1")
    correct(account, order, "1", "95")
    known = account.core.orders.get(order.client_order_id)
    assert (known.state, known.filled_qty) == (OrderState.FILLED, D(1))
    account.fill(order, "2", "100", "t1", "0.5")
    assert account.core.view.position(BTC).qty == D(1)


@pytest.mark.fault("B10")
def test_fees_are_corrected_one_after_the_other() -> None:
    """0.5, then 0.3, then 0.1: each step is booked once, and going back is a step as well."""
    account, order = bought()
    for before, after in (("0.5", "0.3"), ("0.3", "0.1"), ("0.3", "0.1"), ("0.1", "0.3")):
        correct(account, order, "2", "100", fee=D(before), new_fee=D(after))
    assert account.core.portfolio.cash()["USD"] == D("799.7")
    assert account.core.counters.corrections == 3


@pytest.mark.fault("B10")
@pytest.mark.fault("B2")
def test_a_correction_of_something_else_than_is_booked_halts() -> None:
    """It says that 1.5 were told, and 2 are booked: nobody knows what is right."""
    account, order = bought()
    correct(account, order, "1", "100", qty=D("1.5"))
    assert (account.core.view.position(BTC).qty, account.core.risk_state) == (D(2), RiskState.HALTED)


@pytest.mark.fault("B10")
@pytest.mark.fault("B7")
def test_a_correction_beyond_the_order_ends_it_and_stops_new_risk() -> None:
    """Of 3 ordered 5 were filled, as it turns out."""
    account, order = bought()
    correct(account, order, "5", "100")
    known = account.core.orders.get(order.client_order_id)
    assert (known.state, account.core.risk_state) == (OrderState.FILLED, RiskState.REDUCING)
    assert account.core.view.open_qty(BTC, e.Side.BUY) == 0


@pytest.mark.fault("B10")
def test_a_strangers_trade_is_taken_back_too() -> None:
    """The order is nobody's here; the account is right all the same."""
    account, order = bought()
    stranger = NewOrder(1, "by-hand", "coinbase", order.intent)
    account.fill(stranger, "1", "100", "t8")
    correct(account, stranger, "0", trade_id="t8", qty=D(1), fee=D(0))
    assert account.core.view.position(BTC).qty == D(2)


@pytest.mark.parametrize(
    "changes", [{"qty": D("NaN")}, {"new_px": D("Infinity")}, {"qty": D(0)}, {"new_qty": D(-1)}, {"instrument": "?"}]
)
def test_a_correction_that_cannot_be_booked_halts(changes: dict[str, Any]) -> None:
    """Money moved, and nobody can say how much."""
    account, order = bought()
    correct(account, order, "1", "90", **changes)
    assert account.core.risk_state is RiskState.HALTED
    assert account.core.view.position(BTC).qty == D(2)


# --- orders of others ----------------------------------------------------------------------------------------------


def found(account: Account, **changes: Any) -> None:
    at = account._at()
    fields: dict[str, Any] = {
        "venue": "coinbase", "client_order_id": "by-hand", "venue_order_id": "v-9", "instrument": BTC,
        "side": e.Side.SELL, "qty": D(3), "filled_qty": D(1), "limit_px": D(120),
    }  # fmt: skip
    account.publish(e.OrderFound(at, at, **{**fields, **changes}))


def filled(account: Account, qty: str, trade_id: str) -> None:
    at = account._at()
    account.publish(
        e.OrderFilled(at, at, "coinbase", "by-hand", "v-9", trade_id, BTC, e.Side.SELL, D(qty), D(120), D(0), "USD",
                      e.Liquidity.MAKER)
    )  # fmt: skip


@pytest.mark.fault("B8")
@pytest.mark.fault("C18")
def test_a_strangers_order_holds_what_it_may_still_fill() -> None:
    """Three, of which one was filled before anybody looked: two are held, nothing is booked; once more is nothing."""
    account = Account()
    for _ in range(2):
        found(account)
    assert account.core.view.open_qty(BTC, e.Side.SELL) == D(2)
    assert (account.core.view.position(BTC).qty, account.core.counters.external_orders) == (D(0), 1)
    assert account.core.risk_state is RiskState.ACTIVE


@pytest.mark.fault("B8")
@pytest.mark.parametrize(("filled_qty", "open_qty"), [("0.5", "2"), ("2.5", "0.5"), ("3", "0")])
def test_a_strangers_order_of_which_more_is_part_of_the_balances_holds_less(filled_qty: str, open_qty: str) -> None:
    """Told again: nothing is booked, it holds what it may still fill, and one that is filled has ended; never more."""
    account = Account()
    found(account)
    found(account, filled_qty=D(filled_qty))
    assert account.core.view.open_qty(BTC, e.Side.SELL) == D(open_qty)
    assert account.core.view.position(BTC).qty == D(0)
    order = account.core.orders.get("by-hand")
    assert order.state is (OrderState.PARTLY_FILLED if D(open_qty) else OrderState.FILLED)
    assert [one.filled_qty for one in account.core.orders.carried()] == [max(D(1), D(filled_qty))]


@pytest.mark.fault("B8")
@pytest.mark.parametrize(("reduces", "state"), [(False, RiskState.ACTIVE), (True, RiskState.REDUCING)])
def test_a_strangers_order_that_its_owner_changes_is_what_the_venue_shows(reduces: bool, state: RiskState) -> None:
    """It holds what that may still fill; it was never judged here, so it stops new risk by policy alone."""
    account = Account(external_reduces=reduces)
    found(account)
    at = account._at()
    account.publish(e.OrderReplaced(at, at, "coinbase", "by-hand", "v-9", D(5), D(119)))
    assert account.core.view.open_qty(BTC, e.Side.SELL) == D(4)
    assert account.core.risk_state is state


def test_an_order_of_ours_takes_what_it_has_filled_from_its_fills_alone() -> None:
    """Whoever calls it found."""
    account, order = bought()
    before = account.core.orders.get(order.client_order_id).filled_qty
    found(account, client_order_id=order.client_order_id, side=e.Side.BUY, filled_qty=before + 1)
    assert account.core.orders.get(order.client_order_id).filled_qty == before


@pytest.mark.fault("B8")
def test_its_fills_move_the_account_and_end_it() -> None:
    """Booked once, held by no strategy."""
    account = Account()
    found(account)
    for trade_id in ("t1", "t1", "t2"):
        filled(account, "1", trade_id)
    assert account.core.view.position(BTC).qty == D(-2)
    assert account.core.view.strategy_qty("s", BTC) == D(0)
    assert account.core.orders.get("by-hand").state is OrderState.FILLED
    assert account.core.view.open_qty(BTC, e.Side.SELL) == D(0)


@pytest.mark.fault("F7")
def test_a_halt_cancels_it_whenever_it_shows_itself() -> None:
    """Before the halt or after it: everything on the account goes."""
    account = Account()
    found(account)
    at = account._at()
    account.publish(e.Halted(at, at, "operator", "stop"))
    assert account.venue.cancelled == ["by-hand"]
    found(account, client_order_id="another", venue_order_id="v-10")
    assert account.venue.cancelled == ["by-hand", "another"]


def test_by_policy_it_stops_new_risk() -> None:
    """REDUCING, with its name."""
    account = Account(external_reduces=True)
    found(account)
    assert account.core.risk_state is RiskState.REDUCING
    assert "'by-hand' at coinbase is not of this session" in account.core.desk.latch.reason


def test_an_order_of_ours_that_is_found_lives() -> None:
    """Its outcome was unknown: now it is accepted."""
    account = Account()
    order = account.place()
    account.end(order, e.OrderOutcomeUnknown)
    found(account, client_order_id=order.client_order_id, side=order.intent.side, qty=D(1), filled_qty=D(0))
    known = account.core.orders.get(order.client_order_id)
    assert (known.state, known.venue_order_id, account.core.counters.external_orders) == (OrderState.ACCEPTED, "v-9", 0)


def test_of_another_instrument_it_is_nothing_to_us_and_without_numbers_it_halts() -> None:
    """Nothing is traded there; a size that is none cannot be held."""
    account = Account()
    found(account, instrument="ETH/USD@coinbase")
    assert account.core.orders.open_count == 0
    found(account, qty=D("NaN"))
    assert account.core.risk_state is RiskState.HALTED


def test_it_is_carried_over_like_any_other() -> None:
    """The next session asks about it as well."""
    account = Account()
    found(account)
    other = Account(opened=False)
    other.publish(e.StateCarried(20, 20, "before", 7, account.keep().state))
    assert [(one.client_order_id, one.leaves_qty) for one in other.core.orders.open_orders()] == [("by-hand", D(2))]


# --- the venue closes a position by itself --------------------------------------------------------------------------


def sold_by_others(account: Account, qty: str, trade_id: str = "liq-1", px: str = "80") -> None:
    at = account._at()
    account.publish(
        e.OrderFilled(at, at, "coinbase", "liquidation", "v-8", trade_id, BTC, e.Side.SELL, D(qty), D(px), D("0.4"),
                      "USD", e.Liquidity.TAKER)
    )  # fmt: skip


@pytest.mark.fault("B20")
def test_a_position_that_the_venue_closes_is_closed_for_who_held_it_and_it_is_told() -> None:
    """Two were bought; one goes, then the other, by no order of ours.  The strategy hears of each part, sees itself
    flat and has the loss; the execution counts as external, and a repeat is nothing."""
    account, _ = bought()
    heard: list[e.OrderFilled] = []
    account.strategy.answers["on_fill"] = lambda fill, _view: heard.append(fill) or []
    for qty, trade_id in (("1", "liq-1"), ("1", "liq-1"), ("1", "liq-2")):
        sold_by_others(account, qty, trade_id)
    core = account.core
    assert [(fill.trade_id, fill.qty, fill.side) for fill in heard] == [
        ("liq-1", D(1), e.Side.SELL),
        ("liq-2", D(1), e.Side.SELL),
    ]
    assert (core.view.position(BTC).qty, core.view.strategy_qty("s", BTC), core.counters.external_fills) == (0, 0, 2)
    stake = core.view.stake("s", BTC)
    assert (stake.qty, stake.realised, stake.fees) == (0, D(-40), D("1.3"))
    assert core.view.stake("", BTC).qty == 0


@pytest.mark.fault("B20")
@pytest.mark.fault("C18")
def test_what_the_owner_sells_of_his_own_is_nobody_elses() -> None:
    """Five of his and two of the strategy's: he sells six, and only the sixth was not his."""
    account, _ = bought()
    heard: list[e.OrderFilled] = []
    account.strategy.answers["on_fill"] = lambda fill, _view: heard.append(fill) or []
    stranger = NewOrder(1, "by-hand", "coinbase", account.venue.orders[0].intent)
    account.fill(stranger, "5", "100", "own")
    sold_by_others(account, "5")
    assert (heard, account.core.view.strategy_qty("s", BTC)) == ([], D(2))
    sold_by_others(account, "1", "liq-2")
    assert ([fill.qty for fill in heard], account.core.view.strategy_qty("s", BTC)) == ([D(1)], D(1))


@pytest.mark.fault("B2")
def test_an_execution_that_is_told_with_other_values_is_counted() -> None:
    """The first values stand."""
    account, order = bought()
    account.fill(order, "2", "90", "t1", "0.5")
    account.fill(order, "2", "100", "t1", "0.5")
    assert (account.core.counters.conflicting_fills, account.core.view.position(BTC).avg_px) == (1, D(100))


@pytest.mark.fault("B20")
@pytest.mark.fault("C18")
def test_coins_that_are_gone_without_a_word_are_gone_for_who_held_them() -> None:
    """The venue tells a balance of half a coin where two were bought: the strategy holds what is there, at its cost,
    and no loss is made up."""
    account, _ = bought()
    cash = account.core.portfolio.cash()["USD"]
    at = account._at()
    account.publish(e.AccountSettled(at, at, "coinbase", (("USD", cash), ("BTC", D("0.5")))))
    stake = account.core.view.stake("s", BTC)
    assert (stake.qty, stake.avg_px, stake.realised) == (D("0.5"), D(100), 0)
    assert (account.core.view.strategy_qty("s", BTC), account.core.view.stake("", BTC).qty) == (D("0.5"), D("0.5"))


@pytest.mark.fault("B10")
@pytest.mark.fault("A4")
def test_a_correction_that_was_booked_is_not_booked_by_the_next_session_again() -> None:
    """The venue tells it anew after the restart; the one that follows it is booked."""
    account, order = bought()
    correct(account, order, "1", "100")
    other = Account(opened=False)
    other.publish(e.StateCarried(20, 20, "before", 7, account.keep().state))
    other.open()
    correct(other, order, "1", "100")
    assert (other.core.view.position(BTC).qty, other.core.counters.corrections) == (D(1), 0)
    correct(other, order, "0", qty=D(1))
    assert (other.core.view.position(BTC).qty, other.core.counters.corrections) == (D(0), 1)


@pytest.mark.fault("B10")
def test_a_correction_of_what_nobody_remembers_is_not_booked_and_the_venue_is_right(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Booked as a new execution it would count twice: risk reduces, and the confirmed balances are booked as told.

    The order has been forgotten as well; told again, the correction is known.
    """
    monkeypatch.setattr("engine.executions.TRADES_CARRIED", 1)
    monkeypatch.setattr("engine.orders.ENDED_CARRIED", 1)
    account, order = bought()
    account.fill(order, "1", "100", "t2")
    account.end(account.place(), e.OrderCancelled)
    other = Account(opened=False)
    other.publish(e.StateCarried(20, 20, "before", 7, account.keep().state))
    other.open()
    for _ in range(2):
        correct(other, order, "1", "100")
    assert (other.core.view.position(BTC).qty, other.core.counters.fills) == (D(3), 0)
    assert (other.core.counters.corrections, other.core.counters.unknown_corrections) == (0, 1)
    assert other.core.risk_state is RiskState.REDUCING
    assert "correction of fill t1 at coinbase, which is too old to be known" in other.core.desk.latch.reason
    at = other._at()
    other.publish(e.AccountSettled(at, at, "coinbase", (("USD", D("799.5")), ("BTC", D(2)))))
    assert (other.core.view.position(BTC).qty, other.core.portfolio.cash()["USD"]) == (D(2), D("799.5"))


@pytest.mark.fault("B1")
@pytest.mark.fault("B10")
def test_an_order_remembers_its_own_executions_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    """After more trades than are remembered: its first fill told again is a repeat, and can be corrected."""
    monkeypatch.setattr("engine.executions.TRADES_KEPT", 2)
    account, order = bought()
    for number in range(6):
        account.fill(NewOrder(1, "by-hand", "coinbase", order.intent), "1", "100", f"x{number}")
    account.fill(order, "2", "100", "t1", "0.5")
    assert (account.core.view.position(BTC).qty, account.core.orders.duplicate_fills) == (D(8), 1)
    for number in range(6, 12):
        account.fill(NewOrder(1, "by-hand", "coinbase", order.intent), "1", "100", f"x{number}")
    correct(account, order, "1")
    assert (account.core.view.position(BTC).qty, account.core.risk_state) == (D(13), RiskState.ACTIVE)


@pytest.mark.fault("C18")
def test_a_position_that_differs_is_booked_as_it_is_told_and_kept() -> None:
    """The first report opens the books; the same again changes nothing; another one is an adjustment on record."""
    account = Account()

    def tell(qty: str) -> int:
        at = account._at()
        account.publish(e.PositionReported(at, at, "coinbase", BTC, D(qty), D(100)))
        return account.core.counters.adjustments

    assert [tell("2"), tell("2")] == [0, 0]
    assert account.core.view.position(BTC).qty == 2
    assert tell("-1") == 1
    assert account.core.view.position(BTC).qty == -1
    assert type(account.records[-1]) is e.StateKept


def fund(account: Account, funding_id: str, amount: str, currency: str = "USD") -> None:
    at = account._at()
    account.publish(e.FundingSettled(at, at, "coinbase", BTC, funding_id, currency, D(amount)))


@pytest.mark.fault("F6")
@pytest.mark.fault("F13")
def test_funding_is_a_loss_like_any_other_and_is_booked_once() -> None:
    """It leaves the cash, is told beside the position, stops the day at its limit, and is nobody's to book twice: not
    when the venue tells it again, nor after a restart."""
    account = Account(gate=Gate(make_limits(max_daily_loss=D(10))))
    account.publish(e.Timer(account.now_ns, account.now_ns, "tick"))
    account.fill(account.place(), "1", "100", "t1")
    before = account.core.portfolio.equity
    assert before is not None
    fund(account, "f1", "-4")
    fund(account, "f1", "-4")
    position = account.core.view.position(BTC)
    assert (position.funding, account.core.portfolio.equity) == (D(-4), before - 4)
    assert account.core.counters.fundings == 1
    assert account.core.risk_state is RiskState.ACTIVE
    fund(account, "f2", "-6.5")
    assert account.core.risk_state is RiskState.REDUCING
    assert account.core.portfolio.stakes.stake("s", BTC).fees == D("10.5")
    other = Account(opened=False)
    other.publish(e.StateCarried(40, 40, "before", 7, account.keep().state))
    other.open()
    fund(other, "f2", "-6.5")
    assert other.core.portfolio.cash() == account.core.portfolio.cash()
    assert other.core.view.position(BTC).funding == D("-10.5")
    fund(other, "f3", "2")
    assert other.core.view.position(BTC).funding == D("-8.5")


def test_funding_without_a_rate_leaves_equity_unknown_and_one_without_a_number_halts() -> None:
    """Nothing is assumed to be worth nothing."""
    account, _ = bought()
    fund(account, "f1", "-4", "XYZ")
    assert account.core.portfolio.equity is None
    assert account.core.portfolio.unconverted_fees == 1
    fund(account, "f2", "NaN")
    assert account.core.risk_state is RiskState.HALTED
    assert account.core.counters.fundings == 1
