"""Whatever a client of the OANDA sandbox asks, it is answered: taken, refused in the venue's words, never a defect."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.oanda.sandbox import history
from connectors.oanda.sandbox.errors import ApiError
from connectors.oanda.sandbox.log import types_named
from connectors.oanda.sandbox.queries import Queries
from tests.support.oanda import Venue

numbers = st.sampled_from(
    [
        "1",
        "-1",
        "0",
        "1.084",
        "1.08400",
        "150",
        "0.001",
        "NaN",
        "-Infinity",
        "1e400",
        "",
        "x",
        "٣",
        " 1",
        "1_000",
        "9" * 30,
    ]
)
texts = st.one_of(numbers, st.text(max_size=8), st.sampled_from(["GTC", "GTD", "FOK", "MID", "REDUCE_ONLY", "5", "@t"]))
leaves = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), texts)
values = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=2),
        st.dictionaries(
            st.sampled_from(["id", "price", "distance", "timeInForce", "gtdTime", "clientExtensions"]), inner
        ),
    ),
    max_leaves=4,
)
NAMES = (
    "units", "price", "priceBound", "distance", "timeInForce", "gtdTime", "positionFill", "triggerCondition", "tradeID",
    "clientTradeID", "clientExtensions", "tradeClientExtensions", "takeProfitOnFill", "stopLossOnFill",
    "trailingStopLossOnFill", "guaranteedStopLossOnFill", "guaranteed", "id", "reason", "accountID",
)  # fmt: skip
KINDS = ("MARKET", "LIMIT", "STOP", "MARKET_IF_TOUCHED", "TAKE_PROFIT", "STOP_LOSS", "TRAILING_STOP_LOSS",
         "GUARANTEED_STOP_LOSS", "FIXED_PRICE", 7, ("LIMIT",))  # fmt: skip
orders = st.builds(
    lambda kind, instrument, fields: {"type": kind, "instrument": instrument, **fields},
    st.sampled_from(KINDS),
    st.sampled_from(["EUR_USD", "USD_JPY", "XAU_USD", "EUR_XXX", None, 7]),
    st.dictionaries(st.sampled_from(NAMES), values, max_size=6),
)


def _answered(act: Callable[[], object]) -> None:
    """No error but the venue's own, and each has a text."""
    status = 200
    try:
        act()
    except ApiError as error:
        status = error.status if error.body()["errorMessage"] else 0
    assert 200 <= status < 500


@pytest.mark.parametrize("value", [[], ["GTC"], {}, {"a": []}, True, 7, 1.5, "x"], ids=repr)
def test_a_field_of_another_json_type_is_refused(value: object) -> None:
    """Each field of an order in turn, of every kind of order, the type itself among them: a list is no member of any
    set of texts, and cannot even be looked for in one."""
    venue = _venue()
    desk, now_ns = venue.exchange.desk, venue.now_ns
    for kind in KINDS:
        for name in (*NAMES, "type", "instrument"):
            order = {"type": kind, "instrument": "EUR_USD", "units": "1", "price": "1.00000", "tradeID": "1"}
            _answered(lambda body={"order": {**order, name: value}}: desk.place(venue.account, body, now_ns))  # type: ignore[misc]


def _venue() -> Venue:
    venue = Venue()
    venue.buy(10, tradeClientExtensions={"id": "t"})
    venue.rest("LIMIT", units="1", price="1.00000", clientExtensions={"id": "t"})
    return venue


@settings(max_examples=250, deadline=None)
@given(order=orders)
def test_every_order_is_taken_or_refused_and_the_log_has_no_hole(order: dict[str, Any]) -> None:
    """As a new order, as a replacement, as exits of a trade and in what closes one."""
    venue = VENUE
    account, now_ns = venue.account, venue.now_ns
    desk, closing = venue.exchange.desk, venue.exchange.closing
    exits = {"takeProfit": order, "stopLoss": order.get("stopLossOnFill")}
    for act in (
        lambda: desk.place(account, {"order": order}, now_ns),
        lambda: desk.replace(account, "@t", {"order": order}, now_ns),
        lambda: desk.extend(account, "@t", order, now_ns),
        lambda: closing.exits(account, "@t", exits, now_ns),
        lambda: closing.trade(account, str(order.get("tradeID", "@t")), {"units": order.get("units")}, now_ns),
        lambda: closing.position(account, str(order["instrument"]), {"longUnits": order.get("units")}, now_ns),
        lambda: closing.extend_trade(account, "@t", order, now_ns),
    ):
        account.log.begin("1")
        _answered(act)
    entries = account.log.between(account.log.first, account.log.last)
    assert [entry.number for entry in entries] == list(range(account.log.first, account.log.last + 1))
    assert {entry.body["accountID"] for entry in entries} == {account.id}
    if not account.open_trades or len(account.pending) > 200:
        globals()["VENUE"] = _venue()


@settings(max_examples=150, deadline=None)
@given(
    params=st.dictionaries(
        st.sampled_from(
            ["instruments", "count", "from", "to", "id", "state", "beforeID", "ids", "type", "pageSize", "since",
             "granularity", "price", "smooth", "dailyAlignment", "alignmentTimezone", "sinceTransactionID"]
        ),
        texts,
        max_size=5,
    )
)  # fmt: skip
def test_every_question_is_answered_or_refused(params: dict[str, str]) -> None:
    """Lists, pages, prices, candles."""
    venue = VENUE
    account, markets = venue.account, venue.exchange.markets
    ask = Queries(markets, venue.exchange.settings.switches)
    for act in (
        lambda: ask.orders(account, params),
        lambda: ask.trades(account, params),
        lambda: ask.changes(account, params),
        lambda: ask.prices(account, params, venue.now_ns),
        lambda: ask.pages(account, params, "http://x", venue.now_ns),
        lambda: ask.since(account, params, venue.now_ns),
        lambda: ask.id_range(account, params, venue.now_ns),
        lambda: ask.order(account, params.get("id", "")),
        lambda: ask.transaction(account, params.get("id", ""), venue.now_ns),
        lambda: ask.position(account, params.get("instruments", "")),
        lambda: types_named(params.get("type", "")),
        lambda: history.candles(markets.by_name["EUR_USD"], history.parse_query(params), venue.now_ns),
    ):
        _answered(act)


VENUE = _venue()
