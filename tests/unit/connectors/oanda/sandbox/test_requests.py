"""Which reason each broken order is refused with, and what is no order at all."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from connectors.oanda.sandbox.settings import SandboxInstrument, Switches
from tests.support.oanda import NOW_NS, SECOND_NS, Venue

_PAST = str((NOW_NS - SECOND_NS) // SECOND_NS)
_REJECTS: list[tuple[str, dict[str, Any], str]] = [
    ("MARKET", {}, "UNITS_MISSING"),
    ("MARKET", {"units": "0"}, "UNITS_INVALID"),
    ("MARKET", {"units": "1.5"}, "UNITS_PRECISION_EXCEEDED"),
    ("MARKET", {"units": "100000001"}, "UNITS_LIMIT_EXCEEDED"),
    ("MARKET", {"units": "1", "instrument": "SPX500_USD", "priceBound": "1.23"}, "PRICE_BOUND_PRECISION_EXCEEDED"),
    ("MARKET", {"units": "1", "timeInForce": "GTC"}, "TIME_IN_FORCE_INVALID"),
    ("MARKET", {"units": "1", "clientExtensions": {"id": "x" * 129}}, "CLIENT_ORDER_ID_INVALID"),
    ("MARKET", {"units": "1", "clientExtensions": {"tag": "x" * 129}}, "CLIENT_ORDER_TAG_INVALID"),
    ("MARKET", {"units": "1", "tradeClientExtensions": {"comment": "x" * 129}}, "CLIENT_TRADE_COMMENT_INVALID"),
    ("LIMIT", {"units": "1"}, "PRICE_MISSING"),
    ("LIMIT", {"units": "1", "price": "-1"}, "PRICE_INVALID"),
    ("LIMIT", {"units": "1", "price": "1.084001"}, "PRICE_PRECISION_EXCEEDED"),
    ("LIMIT", {"units": "1", "price": "1.1", "timeInForce": "GTD"}, "TIME_IN_FORCE_GTD_TIMESTAMP_MISSING"),
    (
        "LIMIT",
        {"units": "1", "price": "1.1", "timeInForce": "GTD", "gtdTime": _PAST},
        "TIME_IN_FORCE_GTD_TIMESTAMP_IN_PAST",
    ),
    ("STOP", {"units": "1", "price": "1.1", "timeInForce": "IOC"}, "TIME_IN_FORCE_INVALID"),
    ("MARKET", {"units": "1", "takeProfitOnFill": {}}, "TAKE_PROFIT_ON_FILL_PRICE_MISSING"),
    (
        "MARKET",
        {"units": "1", "takeProfitOnFill": {"price": "1.2345678"}},
        "TAKE_PROFIT_ON_FILL_PRICE_PRECISION_EXCEEDED",
    ),
    ("MARKET", {"units": "1", "stopLossOnFill": {}}, "STOP_LOSS_ON_FILL_PRICE_AND_DISTANCE_BOTH_MISSING"),
    (
        "MARKET",
        {"units": "1", "stopLossOnFill": {"price": "1", "distance": "1"}},
        "STOP_LOSS_ON_FILL_PRICE_AND_DISTANCE_BOTH_SPECIFIED",
    ),
    (
        "MARKET",
        {"units": "1", "trailingStopLossOnFill": {"distance": "0.0001"}},
        "TRAILING_STOP_LOSS_ON_FILL_PRICE_DISTANCE_MINIMUM_NOT_MET",
    ),
    (
        "MARKET",
        {"units": "1", "trailingStopLossOnFill": {"distance": "2"}},
        "TRAILING_STOP_LOSS_ON_FILL_PRICE_DISTANCE_MAXIMUM_EXCEEDED",
    ),
    (
        "MARKET",
        {"units": "1", "guaranteedStopLossOnFill": {"price": "1"}},
        "STOP_LOSS_ON_FILL_GUARANTEED_NOT_ALLOWED",
    ),
    (
        "MARKET",
        {
            "units": "1",
            "clientExtensions": {"id": "same"},
            "takeProfitOnFill": {"price": "1.2", "clientExtensions": {"id": "same"}},
        },
        "ORDERS_ON_FILL_DUPLICATE_CLIENT_ORDER_IDS",
    ),
    ("TAKE_PROFIT", {"price": "1.2"}, "TRADE_ID_UNSPECIFIED"),
    ("TAKE_PROFIT", {"price": "1.2", "tradeID": "77"}, "TRADE_DOESNT_EXIST"),
]


@pytest.mark.parametrize(("kind", "fields", "reason"), _REJECTS, ids=[reason for _, _, reason in _REJECTS])
def test_a_rule_that_is_broken_is_named_and_costs_a_transaction(kind: str, fields: dict[str, Any], reason: str) -> None:
    """The error's code is the reject transaction's reason; the transaction has the next id and echoes the request."""
    venue = Venue()
    before = venue.account.log.last
    error = venue.refused(kind, **fields)
    assert error.code == reason
    assert error.status == (404 if reason == "TRADE_DOESNT_EXIST" else 400)
    body = error.body()
    rejected = body["orderRejectTransaction"]
    assert rejected["type"] == f"{kind}_ORDER_REJECT"
    assert rejected["rejectReason"] == reason
    assert rejected["id"] == body["lastTransactionID"] == str(before + 1)
    assert not venue.account.pending


@pytest.mark.parametrize(
    ("fields", "parameter"),
    [
        ({"instrument": "EUR_XXX", "units": "1"}, "order.instrument"),
        ({"units": "many"}, "order.units"),
        ({"units": "1" * 60}, "order.units"),
        ({"units": 1.5}, "order.units"),
        ({"units": "1", "price": "?"}, "order.price"),
        ({"units": "1", "timeInForce": "SOON"}, "order.timeInForce"),
        ({"units": "1", "positionFill": "HALF"}, "order.positionFill"),
        ({"units": "1", "takeProfitOnFill": "1.2"}, "order.takeProfitOnFill"),
        ({"units": "1", "clientExtensions": {"id": 7}}, "order.clientExtensions.id"),
    ],
)
def test_what_cannot_be_read_makes_no_transaction(fields: dict[str, Any], parameter: str) -> None:
    """The parameter is named, the code is the framework's."""
    venue = Venue()
    before = venue.account.log.last
    error = venue.refused("MARKET", **fields)
    assert parameter in str(error)
    assert error.code.endswith("InvalidParameterException")
    assert venue.account.log.last == before


def test_numbers_that_are_no_finite_numbers_are_refused_like_any_other() -> None:
    """NaN and infinity parse as decimals."""
    venue = Venue()
    assert venue.refused("MARKET", units="NaN").code == "UNITS_INVALID"
    assert venue.refused("LIMIT", units="1", price="Infinity").code == "PRICE_INVALID"


@pytest.mark.parametrize("reason", ["UNITS_MIMIMUM_NOT_MET", "UNITS_MINIMUM_NOT_MET"])
def test_the_smallest_size_is_refused_in_either_spelling(reason: str) -> None:
    """A switch of the sandbox: nobody knows whether the vendor's list is misspelt or the venue."""
    rules = SandboxInstrument("EUR_USD", Decimal("1.08402"))
    venue = Venue(instruments=(type(rules)("EUR_USD", rules.start_px, minimum_units=rules.maximum_order_units),))
    assert venue.refused("MARKET", units="1").code == "UNITS_MIMIMUM_NOT_MET"
    strict = Venue(
        instruments=(type(rules)("EUR_USD", rules.start_px, minimum_units=rules.maximum_order_units),),
        switches=Switches(minimum_reason=reason),
    )
    assert strict.refused("MARKET", units="1").code == reason


def test_a_pending_orders_id_is_taken_again_or_not() -> None:
    """By default the venue makes a second order; in strict mode it refuses while the first one is pending."""
    fields = {"units": "1", "price": "1.00000", "clientExtensions": {"id": "mine"}}
    loose = Venue()
    assert loose.rest("LIMIT", **fields).number != loose.rest("LIMIT", **fields).number
    strict = Venue(switches=Switches(duplicate_client_ids="reject"))
    first = strict.rest("LIMIT", **fields)
    assert strict.refused("LIMIT", **fields).code == "CLIENT_ORDER_ID_ALREADY_EXISTS"
    strict.exchange.desk.cancel(strict.account, first.id, strict.now_ns)
    strict.rest("LIMIT", **fields)


def test_prices_are_echoed_on_their_grid() -> None:
    """``1.1`` of a pair with five decimals is 1.10000, ``150`` of one with three is 150.000."""
    venue = Venue()
    assert venue.rest("LIMIT", units="1", price="1.0").spec.fields["price"] == "1.00000"
    assert venue.rest("LIMIT", units="1", price="140", instrument="USD_JPY").spec.fields["price"] == "140.000"
