"""Money of accounts, checked against sums done by hand."""

from __future__ import annotations

import msgspec
import pytest

from connectors.matching.ledger import INSUFFICIENT_FUNDS, SHORT_NOT_ALLOWED, Balance, Ledger
from connectors.matching.orders import BookOrder
from engine.commands import OrderType
from engine.events import Liquidity, Side
from tests.support.matching import PERPETUAL, SPOT, D, limit, market

BUY, SELL = Side.BUY, Side.SELL


def order(order_id: str, side: Side, qty: str, px: str, **more) -> BookOrder:
    return limit(order_id, side, qty, px, account="me", **more)


def fill(ledger, instrument, order_id, side, qty, px, liquidity=Liquidity.TAKER):
    return ledger.apply_fill("me", instrument, order_id=order_id, side=side, qty=D(qty), px=D(px), liquidity=liquidity)


def test_a_buy_holds_its_worst_case_and_pays_what_it_cost():
    """1 at limit 100 holds 100.2 (fee 0.2 %); filled as maker at 100 it costs 100.1 and nothing stays held."""
    ledger = Ledger()
    ledger.deposit("me", "USD", D(500))
    assert ledger.reserve(order("b", BUY, "1", "100"), SPOT, D(100)) == ""
    assert ledger.balance("me", "USD").available == D("399.8")
    assert fill(ledger, SPOT, "b", BUY, "0.5", "100", Liquidity.MAKER) == D("0.05")
    assert ledger.held("b") == D("50.1")
    fill(ledger, SPOT, "b", BUY, "0.5", "100", Liquidity.MAKER)
    ledger.release("b")
    assert ledger.balance("me", "USD") == Balance(D("399.9"), D("399.9"))
    assert ledger.balance("me", "BTC").total == D(1)
    assert ledger.fees_collected == {"USD": D("0.1")}


def test_a_buy_that_cannot_be_paid_with_its_fee_is_refused():
    """100 is not enough for 1 at 100 plus 0.2 %; nothing is held."""
    ledger = Ledger()
    ledger.deposit("me", "USD", D(100))
    assert ledger.reserve(order("b", BUY, "1", "100"), SPOT, D(100)) == INSUFFICIENT_FUNDS
    assert ledger.balance("me", "USD").available == D(100)


def test_open_orders_count_against_each_other():
    """Two orders of 60 do not fit into 100; after the first is released the second does."""
    ledger = Ledger()
    ledger.deposit("me", "USD", D(100))
    assert ledger.reserve(order("a", BUY, "0.6", "100"), SPOT, D(100)) == ""
    assert ledger.reserve(order("b", BUY, "0.6", "100"), SPOT, D(100)) == INSUFFICIENT_FUNDS
    ledger.release("a")
    assert ledger.reserve(order("b", BUY, "0.6", "100"), SPOT, D(100)) == ""


def test_nothing_can_be_sold_that_is_not_there():
    """One coin, one sell of one: the next sell is refused as short."""
    ledger = Ledger()
    ledger.deposit("me", "BTC", D(1))
    assert ledger.reserve(order("a", SELL, "1", "100"), SPOT, D(100)) == ""
    assert ledger.reserve(order("b", SELL, "0.1", "100"), SPOT, D(100)) == SHORT_NOT_ALLOWED


def test_a_budget_holds_its_amount_and_is_lowered_by_what_was_spent():
    """A budget of 100 holds 100.2; a fill for 40 leaves 60.12 held."""
    ledger = Ledger()
    ledger.deposit("me", "USD", D(101))
    assert ledger.reserve(market("q", BUY, account="me", quote_qty=D(100)), SPOT, D(100)) == ""
    assert ledger.held("q") == D("100.2")
    fill(ledger, SPOT, "q", BUY, "0.4", "100")
    assert ledger.held("q") == D("60.12")


def test_a_margined_order_holds_margin_and_a_closing_one_holds_nothing():
    """10 at 100 with margin 10 % and fee 0.2 % holds 102; the sell that closes it is free, one more is not."""
    ledger = Ledger()
    ledger.deposit("me", "USDT", D(110))
    assert ledger.reserve(order("b", BUY, "10", "100"), PERPETUAL, D(100)) == ""
    assert ledger.balance("me", "USDT").available == D(8)
    fill(ledger, PERPETUAL, "b", BUY, "10", "100")
    ledger.release("b")
    assert ledger.balance("me", "USDT").available == D(8)  # 110 - fee 2 - margin 100
    assert ledger.reserve(order("s", SELL, "10", "100"), PERPETUAL, D(100)) == ""
    assert ledger.held("s") == 0
    assert ledger.reserve(order("s2", SELL, "1", "100"), PERPETUAL, D(100)) == INSUFFICIENT_FUNDS
    assert ledger.reserve(order("s3", SELL, "10", "100", reduce_only=True), PERPETUAL, D(100)) == ""


def test_a_round_trip_settles_profit_and_fees():
    """Long 10 at 100, 4 out at 110 (+40), 10 sold at 90 (-60 on 6, then short 4 at 90)."""
    ledger = Ledger()
    ledger.deposit("me", "USDT", D(1000))
    fees = fill(ledger, PERPETUAL, "", BUY, "10", "100")
    fees += fill(ledger, PERPETUAL, "", SELL, "4", "110")
    fees += fill(ledger, PERPETUAL, "", SELL, "10", "90")
    assert ledger.balance("me", "USDT").total == 1000 + 40 - 60 - fees
    position = ledger.position("me", PERPETUAL)
    assert (position.qty, position.avg_px) == (D(-4), D(90))
    assert ledger.closable_qty("me", PERPETUAL, BUY) == D(4)
    assert ledger.closable_qty("me", PERPETUAL, SELL) == D(0)


def test_adding_averages_the_entry_price():
    """1 at 100 and 3 at 104 is 4 at 103."""
    ledger = Ledger()
    fill(ledger, PERPETUAL, "", BUY, "1", "100")
    fill(ledger, PERPETUAL, "", BUY, "3", "104")
    assert ledger.position("me", PERPETUAL).avg_px == D(103)


def test_an_inverse_contract_settles_in_base():
    """100 contracts of 1 USD from 50 to 100: profit 100 * (1/50 - 1/100) = 1 coin."""
    inverse = msgspec.structs.replace(
        PERPETUAL, inverse=True, settlement="BTC", maker_fee_rate=D(0), taker_fee_rate=D(0)
    )
    ledger = Ledger()
    fill(ledger, inverse, "", BUY, "100", "50")
    fill(ledger, inverse, "", SELL, "100", "100")
    assert ledger.balance("me", "BTC").total == D(1)


def test_shorting_needs_the_instruments_permission():
    """Without can_short a margined sell may only close."""
    no_short = msgspec.structs.replace(PERPETUAL, can_short=False)
    ledger = Ledger()
    ledger.deposit("me", "USDT", D(10_000))
    assert ledger.reserve(order("s", SELL, "1", "100"), no_short, D(100)) == SHORT_NOT_ALLOWED
    fill(ledger, no_short, "", BUY, "1", "100")
    assert ledger.reserve(order("s", SELL, "1", "100"), no_short, D(100)) == ""


def test_an_order_cannot_hold_twice():
    """A second hold under one id would be lost money."""
    ledger = Ledger()
    ledger.deposit("me", "USD", D(1000))
    first = BookOrder("x", "me", BUY, OrderType.LIMIT, D(1), D(100))
    assert ledger.reserve(first, SPOT, D(100)) == ""
    with pytest.raises(ValueError, match="already holds"):
        ledger.reserve(first, SPOT, D(100))
