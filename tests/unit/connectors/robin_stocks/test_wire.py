"""Rows of the private API: numbers, times, lists with broken rows, and anything else that may come."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.robin_stocks import wire
from connectors.robin_stocks.protocol import OrderBooks
from tests.support.robin_stocks import D, listings

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["", "1.5", "NaN", "words", "1e999"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["id", "price"]), inner, max_size=2),
    max_leaves=4,
)
KINDS = [
    wire.AccountRow, wire.PositionRow, wire.OptionPositionRow, wire.QuoteRow, wire.InstrumentRow, wire.ContractRow,
    wire.OrderRow, wire.HoursRow, wire.BarRow,
]  # fmt: skip


def body(value: Any) -> bytes:
    return json.dumps(value).encode()


def test_numbers_are_texts_and_quotes_are_floats() -> None:
    """As the venue writes them."""
    row = wire.read(body({"account_number": "5", "cash": "10.5000", "buying_power": "9"}), wire.AccountRow)
    assert (row.cash, row.buying_power) == (D("10.5"), 9)
    quote = wire.read(body({"symbol": "F", "bid_price": "11.83", "ask_price": None, "bid_size": 100}), wire.QuoteRow)
    assert (quote.bid_price, quote.ask_price, quote.bid_size) == (11.83, None, 100.0)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e30", "words"])
def test_money_that_is_none_is_not_read(number: str) -> None:
    """A Decimal may be NaN: a row with such a number is unreadable, also deep in an execution."""
    with pytest.raises(wire.UNREADABLE):
        wire.read(body({"account_number": "5", "cash": number, "buying_power": "9"}), wire.AccountRow)
    order = {"id": "1", "state": "filled", "executions": [{"id": "e", "price": number, "quantity": "1"}]}
    with pytest.raises(wire.UNREADABLE):
        wire.read(body(order), wire.OrderRow)


def test_a_broken_row_hides_no_other() -> None:
    """Counted; null is a symbol that the venue does not know."""
    rows, broken = wire.read_rows(body([{"id": "1", "state": "queued"}, {"id": 7}, None, []]), wire.OrderRow)
    assert [row.id for row in rows] == ["1"]
    assert broken == 2
    with pytest.raises(wire.UNREADABLE):
        wire.read_rows(b'{"results": []}', wire.OrderRow)


def test_times() -> None:
    """Seconds, fractions of any length; what is no such time is 0."""
    assert wire.parse_time("2026-11-20T14:03:07Z") == 1_795_183_387_000_000_000
    assert wire.parse_time("2026-11-20T14:03:07.123456Z") == 1_795_183_387_123_456_000
    assert wire.parse_time("2026-11-20T14:03:07.1234567891Z") == 1_795_183_387_123_456_789
    for text in ("", "2026-11-20", "2026-11-20T14:03:07", "2026-11-20 14:03:07Z", "2026-11-20T14:0x:07Z", "é" * 20):
        assert wire.parse_time(text) == 0


def test_words_of_refusals() -> None:
    """Sentences, lists by field, and what is none."""
    assert wire.refusal(b'{"detail":"No."}') == "No."
    assert wire.refusal(b'{"price":["too high","odd"],"non_field_errors":["no"]}') == "price: too high odd; no"
    for nothing in (b"", b"[]", b"<html>", b'"x"'):
        assert wire.refusal(nothing) == ""


@given(st.sampled_from(KINDS), JSON)
def test_whatever_comes_is_a_row_or_unreadable(kind: type[msgspec.Struct], value: Any) -> None:
    """Any JSON in place of a row, and of a list of rows: nothing else is raised, and refusals are text."""
    raw = body(value)
    for read in (wire.read, wire.read_rows):
        try:
            read(raw, kind)  # type: ignore[operator]
        except wire.UNREADABLE:
            pass
    assert isinstance(wire.refusal(raw), str)


@given(st.dictionaries(st.sampled_from(wire.OrderRow.__struct_fields__), JSON, max_size=6), st.text(max_size=8))
def test_orders_with_any_members_never_raise_out_of_the_books(members: dict[str, Any], state: str) -> None:
    """What can be read as an order is taken in, or says nothing to us."""
    books = OrderBooks("robin_stocks", listings(), 1)
    try:
        row = wire.read(body({"id": "1", "state": state, **members}), wire.OrderRow)
    except wire.UNREADABLE:
        return
    books.observe(row, 1)


@given(st.text(max_size=40))
def test_any_text_is_a_time_or_none(text: str) -> None:
    """Never raises, never before 1970."""
    assert wire.parse_time(text) >= 0
