"""What the venue tells of the account is booked once, and what it takes back is booked back."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from engine import events as e
from engine.commands import NewOrder, RiskState
from engine.orders import OrderState
from tests.support.account import Account
from tests.support.core import BTC

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
