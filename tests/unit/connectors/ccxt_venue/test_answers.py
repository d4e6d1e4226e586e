"""Orders, executions and balances out of the library's structures."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from connectors.ccxt_venue.answers import read_balances, read_fills, read_order, read_orders
from engine.events import Liquidity, Side

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
KEYS = st.sampled_from(
    ["id", "clientOrderId", "symbol", "status", "side", "amount", "filled", "price", "timestamp", "info", "order",
     "fee", "fees", "total", "free", "takerOrMaker", "lastUpdateTimestamp"]
)  # fmt: skip


@given(st.dictionaries(KEYS, ANYTHING) | ANYTHING)
def test_no_answer_raises(found: Any) -> None:
    """Any JSON in any field."""
    read_order(found, 1)
    read_orders([found], 1)
    read_fills([found, found], 1)
    read_fills(found, 1)
    read_balances(found)


def test_a_new_orders_answer_is_an_id_and_no_more() -> None:
    """What Coinbase's class gives back: everything else is None."""
    seen = read_order({"id": "v1", "clientOrderId": "c1", "status": None, "filled": None, "info": {}}, 5)
    assert seen is not None
    assert (seen.venue_order_id, seen.told_id, seen.status, seen.filled_qty) == ("v1", "c1", "", None)
    assert read_order({"id": None, "status": "open"}, 5) is None


def test_reasons_are_the_exchanges_words_where_it_has_any() -> None:
    """Placeholders are none."""
    info = {"reject_reason": "REJECT_REASON_UNSPECIFIED", "cancel_message": "by user"}
    seen = read_order({"id": "v1", "status": "canceled", "filled": "0", "info": info}, 5)
    assert seen is not None
    assert seen.reason == "by user"


def test_executions_are_told_apart_even_where_the_exchange_numbers_none() -> None:
    """One trade id on two orders, two executions alike without ids, a rebate, a fee in the base currency."""
    fee = {"cost": "-0.01", "currency": "USD"}
    row = {"id": "7", "order": "a", "symbol": "BTC/USD", "side": "buy", "amount": "0.5", "price": "100.1",
           "timestamp": 1_795_183_387_000, "takerOrMaker": "maker", "fee": fee}  # fmt: skip
    bare = row | {"id": None, "fee": None, "fees": [{"cost": "0.0005", "currency": "btc"}]}
    fills, unreadable = read_fills(
        [row, row | {"order": "b"}, bare, bare, row | {"side": None}, row | {"amount": 0}], 1
    )
    assert unreadable == 2
    assert len({fill.trade_id for fill in fills}) == 4
    assert (fills[0].side, fills[0].fee, fills[0].liquidity) == (Side.BUY, Decimal("-0.01"), Liquidity.MAKER)
    assert (fills[2].fee, fills[2].fee_currency) == (Decimal("0.0005"), "BTC")
    again, _ = read_fills([bare, bare], 1)
    assert [fill.trade_id for fill in again] == [fill.trade_id for fill in fills[2:]]


def test_a_balance_without_a_total_is_no_balance() -> None:
    """Nothing is not zero."""
    good = {"total": {"USD": "100.5", "BTC": 0}, "free": {"USD": "90"}, "used": {}}
    read = read_balances(good)
    assert read is not None
    assert [(one.currency, one.total, one.available) for one in read] == [
        ("BTC", Decimal(0), Decimal(0)),
        ("USD", Decimal("100.5"), Decimal(90)),
    ]
    assert read_balances({"total": {"USD": None}}) is None
    assert read_balances({}) is None
