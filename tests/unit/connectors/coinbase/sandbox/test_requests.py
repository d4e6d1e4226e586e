"""What an order request may look like and the reasons it is refused with."""

from __future__ import annotations

from decimal import Decimal

import pytest

from connectors.coinbase.sandbox.requests import OrderRefused, parse_order
from connectors.coinbase.sandbox.settings import DEFAULT_PRODUCTS
from connectors.coinbase.sandbox.times import BadRequest
from engine.commands import OrderType
from engine.events import Side

PRODUCTS = {product.product_id: product for product in DEFAULT_PRODUCTS}
NOW_NS = 1_795_183_387_000_000_000
LIMIT = {"base_size": "0.001", "limit_price": "60000.01"}
BRACKET = {"base_size": "0.001", "limit_price": "70000", "stop_trigger_price": "50000"}
LATER = "2026-12-31T00:00:00Z"
UP = {"stop_direction": "STOP_DIRECTION_STOP_UP"}
DOWN = {"stop_direction": "STOP_DIRECTION_STOP_DOWN"}


def body(name: str, fields: object, **changes: object) -> dict[str, object]:
    made = {"client_order_id": "c1", "product_id": "BTC-USD", "side": "BUY", "order_configuration": {name: fields}}
    return made | changes


@pytest.mark.parametrize(
    ("name", "fields", "kind", "time_in_force"),
    [
        ("market_market_ioc", {"quote_size": "10.25"}, OrderType.MARKET, "IMMEDIATE_OR_CANCEL"),
        ("market_market_ioc", {"base_size": "0.5", "quote_size": ""}, OrderType.MARKET, "IMMEDIATE_OR_CANCEL"),
        ("sor_limit_ioc", LIMIT, OrderType.LIMIT, "IMMEDIATE_OR_CANCEL"),
        ("sor_limit_ioc", {"quote_size": "50", "limit_price": "60000"}, OrderType.LIMIT, "IMMEDIATE_OR_CANCEL"),
        ("limit_limit_gtc", LIMIT | {"post_only": True}, OrderType.LIMIT, "GOOD_UNTIL_CANCELLED"),
        ("limit_limit_gtc", LIMIT | {"post_only": "True"}, OrderType.LIMIT, "GOOD_UNTIL_CANCELLED"),
        ("limit_limit_gtd", LIMIT | {"end_time": LATER}, OrderType.LIMIT, "GOOD_UNTIL_DATE_TIME"),
        ("limit_limit_fok", LIMIT, OrderType.LIMIT, "FILL_OR_KILL"),
        (
            "stop_limit_stop_limit_gtc",
            LIMIT | {"stop_price": "60000"} | UP,
            OrderType.STOP_LIMIT,
            "GOOD_UNTIL_CANCELLED",
        ),
        (
            "stop_limit_stop_limit_gtd",
            LIMIT | {"stop_price": "60000", "end_time": LATER} | UP,
            OrderType.STOP_LIMIT,
            "GOOD_UNTIL_DATE_TIME",
        ),
        (
            "trigger_bracket_gtc",
            BRACKET | {"limit_price": "40000"},
            OrderType.BRACKET,
            "GOOD_UNTIL_CANCELLED",
        ),
        (
            "trigger_bracket_gtd",
            BRACKET | {"limit_price": "40000", "end_time": LATER},
            OrderType.BRACKET,
            "GOOD_UNTIL_DATE_TIME",
        ),
    ],
)
def test_every_supported_configuration_is_understood(name, fields, kind, time_in_force) -> None:
    """One body of each kind; the configuration is kept as it was sent."""
    spec = parse_order(body(name, fields), PRODUCTS, NOW_NS)
    assert (spec.kind, spec.time_in_force, spec.side) == (kind, time_in_force, Side.BUY)
    assert spec.configuration == {name: fields}
    assert (spec.base_size is None) != (spec.quote_size is None)
    assert spec.post_only == ("post_only" in fields)
    assert (spec.expire_ns is not None) == ("end_time" in fields)


@pytest.mark.parametrize(
    ("name", "fields", "changes", "error", "preview"),
    [
        ("limit_limit_gtc", LIMIT, {"product_id": "DOGE-USD"}, "INVALID_PRODUCT_ID", "PREVIEW_INVALID_PRODUCT_ID"),
        ("limit_limit_gtc", LIMIT, {"side": "HOLD"}, "INVALID_SIDE", "PREVIEW_INVALID_SIDE"),
        ("market_market_fok", LIMIT, {}, "UNSUPPORTED_ORDER_CONFIGURATION", "PREVIEW_INVALID_ORDER_CONFIG"),
        ("scaled_limit_gtc", LIMIT, {}, "UNSUPPORTED_ORDER_CONFIGURATION", "PREVIEW_INVALID_ORDER_CONFIG"),
        (
            "limit_limit_gtc",
            LIMIT | {"base_size": "0.0010000001"},
            {},
            "INVALID_SIZE_PRECISION",
            "PREVIEW_INVALID_SIZE_PRECISION",
        ),
        (
            "limit_limit_gtc",
            LIMIT | {"limit_price": "60000.001"},
            {},
            "INVALID_PRICE_PRECISION",
            "PREVIEW_INVALID_PRICE_PRECISION",
        ),
        ("limit_limit_gtc", LIMIT | {"limit_price": "0"}, {}, "INVALID_LIMIT_PRICE", "PREVIEW_INVALID_LIMIT_PRICE"),
        (
            "market_market_ioc",
            {"quote_size": "10.001"},
            {},
            "INVALID_SIZE_PRECISION",
            "PREVIEW_INVALID_SIZE_PRECISION",
        ),
        (
            "market_market_ioc",
            {"quote_size": "0.99"},
            {},
            "UNKNOWN_FAILURE_REASON",
            "PREVIEW_INVALID_QUOTE_SIZE_TOO_SMALL",
        ),
        (
            "limit_limit_gtc",
            {"base_size": "0.00001", "limit_price": "60000"},
            {},
            "UNKNOWN_FAILURE_REASON",
            "PREVIEW_INVALID_QUOTE_SIZE_TOO_SMALL",
        ),
        (
            "limit_limit_gtc",
            LIMIT | {"base_size": "0"},
            {},
            "UNKNOWN_FAILURE_REASON",
            "PREVIEW_INVALID_BASE_SIZE_TOO_SMALL",
        ),
        (
            "limit_limit_gtc",
            LIMIT | {"base_size": "3401"},
            {},
            "UNKNOWN_FAILURE_REASON",
            "PREVIEW_INVALID_BASE_SIZE_TOO_LARGE",
        ),
        (
            "limit_limit_gtd",
            LIMIT | {"end_time": "2020-01-01T00:00:00Z"},
            {},
            "END_TIME_IS_IN_THE_PAST",
            "UNKNOWN_PREVIEW_FAILURE_REASON",
        ),
        ("limit_limit_gtd", LIMIT, {}, "GTD_ORDERS_MUST_HAVE_END_TIME", "UNKNOWN_PREVIEW_FAILURE_REASON"),
        (
            "stop_limit_stop_limit_gtc",
            LIMIT | {"stop_price": "60001"} | UP,
            {},
            "UNKNOWN_FAILURE_REASON",
            "PREVIEW_STOP_PRICE_ABOVE_LIMIT_PRICE",
        ),
        (
            "stop_limit_stop_limit_gtc",
            LIMIT | {"stop_price": "59999"} | DOWN,
            {"side": "SELL"},
            "UNKNOWN_FAILURE_REASON",
            "PREVIEW_STOP_PRICE_BELOW_LIMIT_PRICE",
        ),
        ("trigger_bracket_gtc", BRACKET, {}, "INVALID_BRACKET_PRICES", "PREVIEW_INVALID_BRACKET_PRICES"),
        (
            "trigger_bracket_gtc",
            BRACKET | {"limit_price": "50000"},
            {"side": "SELL"},
            "INVALID_BRACKET_PRICES",
            "PREVIEW_INVALID_BRACKET_PRICES",
        ),
        (
            "trigger_bracket_gtc",
            {"quote_size": "50", "limit_price": "70000", "stop_trigger_price": "50000"},
            {"side": "SELL"},
            "QUOTE_SIZE_NOT_ALLOWED_FOR_BRACKET",
            "PREVIEW_QUOTE_SIZE_NOT_ALLOWED_FOR_BRACKET",
        ),
        (
            "trigger_bracket_gtc",
            BRACKET | {"stop_trigger_price": "50000.001"},
            {"side": "SELL"},
            "INVALID_PRICE_PRECISION",
            "PREVIEW_INVALID_PRICE_PRECISION",
        ),
        (
            "trigger_bracket_gtd",
            BRACKET,
            {"side": "SELL"},
            "GTD_ORDERS_MUST_HAVE_END_TIME",
            "UNKNOWN_PREVIEW_FAILURE_REASON",
        ),
    ],
)
def test_a_rule_that_is_broken_is_named_in_both_fields(name, fields, changes, error, preview) -> None:
    """One broken rule at a time."""
    with pytest.raises(OrderRefused) as caught:
        parse_order(body(name, fields, **changes), PRODUCTS, NOW_NS)
    assert (caught.value.error, caught.value.preview) == (error, preview)


@pytest.mark.parametrize(
    "wrong",
    [
        body("limit_limit_gtc", LIMIT, client_order_id=""),
        body("limit_limit_gtc", LIMIT, client_order_id="x" * 129),
        body("limit_limit_gtc", LIMIT, client_order_id=5),
        body("limit_limit_gtc", LIMIT, order_configuration={}),
        body("limit_limit_gtc", LIMIT, order_configuration={"limit_limit_gtc": LIMIT, "sor_limit_ioc": LIMIT}),
        body("limit_limit_gtc", LIMIT, order_configuration=[]),
        body("limit_limit_gtc", "0.001"),
        body("limit_limit_gtc", {"base_size": "0.001"}),
        body("limit_limit_gtc", {"limit_price": "60000"}),
        body("limit_limit_gtc", {"quote_size": "50", "limit_price": "60000"}),
        body("limit_limit_gtc", LIMIT | {"base_size": "1e-3"}),
        body("limit_limit_gtc", LIMIT | {"base_size": "-1"}),
        body("limit_limit_gtc", LIMIT | {"base_size": "NaN"}),
        body("limit_limit_gtc", LIMIT | {"base_size": 0.001}),
        body("limit_limit_gtc", LIMIT | {"base_size": True}),
        body("limit_limit_gtc", LIMIT | {"base_size": "9" * 40}),
        body("limit_limit_gtc", LIMIT | {"post_only": "perhaps"}),
        body("limit_limit_gtd", LIMIT | {"end_time": "tomorrow"}),
        body("market_market_ioc", {}),
        body("market_market_ioc", {"base_size": "1", "quote_size": "1"}),
        body("trigger_bracket_gtc", LIMIT),
        body("trigger_bracket_gtc", {"base_size": "0.001", "stop_trigger_price": "50000"}),
        body("stop_limit_stop_limit_gtc", LIMIT),
        body("stop_limit_stop_limit_gtc", LIMIT | {"stop_price": "60000"}),
        body("stop_limit_stop_limit_gtc", LIMIT | {"stop_price": "60000", "stop_direction": "SIDEWAYS"}),
    ],
)
def test_what_is_no_order_is_a_bad_request(wrong) -> None:
    """Malformed in one place each; nothing but ``BadRequest`` comes out."""
    with pytest.raises(BadRequest):
        parse_order(wrong, PRODUCTS, NOW_NS)


def test_a_preview_needs_no_client_order_id() -> None:
    """The same body without it."""
    spec = parse_order(body("limit_limit_gtc", LIMIT, client_order_id=""), PRODUCTS, NOW_NS, needs_client_id=False)
    assert spec.base_size == Decimal("0.001")
