"""Commands to bodies, answers to verdicts."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.coinbase.orders import encode_any_order, encode_cancels, encode_order, read_order_answer
from connectors.verdicts import Verdict
from engine.commands import OrderType, TimeInForce
from engine.errors import LocalProtocolError
from engine.events import Side
from engine.refusals import WORDS
from tests.support.coinbase import TS_NS, accepted_answer, new_order, refused_answer

LIMIT = {"base_size": "0.001", "limit_price": "60000"}
STOP = {**LIMIT, "stop_price": "61000", "stop_direction": "STOP_DIRECTION_STOP_UP"}
MARKET: dict[str, Any] = {"order_type": OrderType.MARKET, "limit_px": None, "time_in_force": TimeInForce.IOC}
STOP_LIMIT: dict[str, Any] = {"order_type": OrderType.STOP_LIMIT, "trigger_px": Decimal(61000)}
BRACKET: dict[str, Any] = {"order_type": OrderType.BRACKET, "side": Side.SELL, "trigger_px": Decimal(55000)}
END = "2026-11-20T14:03:07.123456Z"


@pytest.mark.parametrize(
    ("fields", "name", "configuration"),
    [
        (MARKET, "market_market_ioc", {"base_size": "0.001"}),
        ({"time_in_force": TimeInForce.IOC}, "sor_limit_ioc", LIMIT),
        ({"time_in_force": TimeInForce.FOK}, "limit_limit_fok", LIMIT),
        ({}, "limit_limit_gtc", {**LIMIT, "post_only": False}),
        ({"post_only": True}, "limit_limit_gtc", {**LIMIT, "post_only": True}),
        (
            {"time_in_force": TimeInForce.GTD, "expire_ns": TS_NS},
            "limit_limit_gtd",
            {**LIMIT, "post_only": False, "end_time": END},
        ),
        (STOP_LIMIT, "stop_limit_stop_limit_gtc", STOP),
        (
            {**STOP_LIMIT, "side": Side.SELL, "time_in_force": TimeInForce.GTD, "expire_ns": TS_NS},
            "stop_limit_stop_limit_gtd",
            {**STOP, "stop_direction": "STOP_DIRECTION_STOP_DOWN", "end_time": END},
        ),
        (BRACKET, "trigger_bracket_gtc", {**LIMIT, "stop_trigger_price": "55000"}),
        (
            {**BRACKET, "time_in_force": TimeInForce.GTD, "expire_ns": TS_NS},
            "trigger_bracket_gtd",
            {**LIMIT, "stop_trigger_price": "55000", "end_time": END},
        ),
        (
            {**BRACKET, "side": Side.BUY, "trigger_px": Decimal("65000.50")},
            "trigger_bracket_gtc",
            {**LIMIT, "stop_trigger_price": "65000.50"},
        ),
    ],
)
def test_each_kind_of_order_has_its_configuration(fields: Any, name: str, configuration: Any) -> None:
    """The whole body against the venue's table."""
    body = json.loads(encode_order(new_order(**fields), "BTC-USD"))
    side = "SELL" if fields.get("side") is Side.SELL else "BUY"
    assert body == {
        "client_order_id": "c1",
        "product_id": "BTC-USD",
        "side": side,
        "order_configuration": {name: configuration},
    }


@pytest.mark.parametrize(
    "fields",
    [
        {**MARKET, "time_in_force": TimeInForce.FOK},
        {**MARKET, "post_only": True},
        {"limit_px": None},
        {"time_in_force": TimeInForce.IOC, "post_only": True},
        {"time_in_force": TimeInForce.GTD},
        {"trailing_px": Decimal(1)},
        {"order_type": OrderType.STOP_LIMIT},
        {**STOP_LIMIT, "post_only": True},
        {**STOP_LIMIT, "time_in_force": TimeInForce.FOK},
        {**BRACKET, "trigger_px": None},
        {**BRACKET, "limit_px": None},
        {**BRACKET, "trigger_px": Decimal("NaN")},
        {**BRACKET, "trigger_px": Decimal(60000)},
        {**BRACKET, "side": Side.BUY},
        {**BRACKET, "post_only": True},
        {**BRACKET, "time_in_force": TimeInForce.IOC},
        {**BRACKET, "time_in_force": TimeInForce.GTD},
        {"order_type": OrderType.STOP, "limit_px": None, "trigger_px": Decimal(55000)},
        {"qty": Decimal(0)},
        {"qty": Decimal("NaN")},
        {"qty": Decimal("Infinity")},
        {"limit_px": Decimal("NaN")},
        {"limit_px": Decimal("Infinity")},
        {**STOP_LIMIT, "trigger_px": Decimal("-Infinity")},
        {"side": 1},
        {"side": -1},
        {"side": 2},
        {"side": "buy"},
        {"order_type": "limit"},
        {"order_type": "market"},
        {"time_in_force": "gtc"},
        {"time_in_force": "ioc"},
        {"time_in_force": None},
        {**MARKET, "time_in_force": "ioc"},
        {**STOP_LIMIT, "time_in_force": "gtd"},
    ],
)
def test_what_the_venue_does_not_offer_is_refused_before_a_byte_leaves(fields: Any) -> None:
    """Rather than sent as something similar."""
    with pytest.raises(LocalProtocolError, match="expected"):
        encode_order(new_order(**fields), "BTC-USD")


def test_a_client_id_over_the_limit_is_refused() -> None:
    """129 characters."""
    with pytest.raises(LocalProtocolError, match="129 characters"):
        encode_order(new_order("x" * 129), "BTC-USD")


@given(st.decimals(min_value="1e-18", max_value="1e12", allow_nan=False, allow_infinity=False))
def test_numbers_never_have_an_exponent_and_keep_their_value(qty: Decimal) -> None:
    """Any Decimal: the text is digits and a point, and equals the quantity."""
    body = json.loads(encode_order(new_order(qty=qty), "BTC-USD"))
    text = body["order_configuration"]["limit_limit_gtc"]["base_size"]
    assert set(text) <= set("0123456789.")
    assert Decimal(text) == qty


def test_cancels_are_a_list_of_ids() -> None:
    """The batch_cancel body."""
    assert json.loads(encode_cancels(["a", "b"])) == {"order_ids": ["a", "b"]}


def test_an_acceptance_carries_the_venues_id() -> None:
    """HTTP 200 and success."""
    answer = read_order_answer(200, accepted_answer("v9"))
    assert (answer.verdict, answer.venue_order_id) == (Verdict.ACCEPTED, "v9")


@pytest.mark.parametrize(
    ("error", "preview", "reason"),
    [
        ("INSUFFICIENT_FUND", "PREVIEW_INSUFFICIENT_FUND", "insufficient_funds"),
        ("INSUFFICIENT_FUNDS", "", "insufficient_funds"),
        ("UNKNOWN_FAILURE_REASON", "PREVIEW_INSUFFICIENT_FUNDS", "insufficient_funds"),
        ("INVALID_LIMIT_PRICE_POST_ONLY", "", "post_only_would_cross"),
        ("INVALID_LIMIT_PRICE", "", "invalid_px"),
        ("INVALID_FCM_TRADING_SESSION", "", "trading_halted"),
        ("", "PREVIEW_STOP_PRICE_ABOVE_LAST_TRADE_PRICE", "invalid_px"),
        ("STOP_TRIGGER_PRICE_OUT_OF_BOUNDS", "", "too_far"),
        ("UNSUPPORTED_ORDER_CONFIGURATION", "PREVIEW_INVALID_ORDER_CONFIG", "unsupported"),
        ("END_TIME_IS_IN_THE_PAST", "", "expiry_in_past"),
        ("INVALID_SIZE_PRECISION", "", "invalid_qty_precision"),
        ("", "PREVIEW_INVALID_BASE_SIZE_TOO_SMALL", "below_minimum"),
        ("TRADING_DISABLED", "", "trading_halted"),
    ],
)
def test_a_business_refusal_is_http_200_and_a_rejection(error: str, preview: str, reason: str) -> None:
    """Known meanings get a word of the list, by prefix."""
    answer = read_order_answer(200, refused_answer(error, preview, "why"))
    assert (answer.verdict, answer.reason, answer.text) == (Verdict.REJECTED, reason, "why")
    assert reason in WORDS


def test_a_reason_never_seen_before_stands_in_the_text() -> None:
    """Its word says only that it is none of those that are known; a status without any reason is told alike."""
    answer = read_order_answer(200, refused_answer("SOMETHING_NEW_IN_2031", "", "why"))
    assert (answer.verdict, answer.reason, answer.text) == (Verdict.REJECTED, "refused", "something_new_in_2031: why")
    answer = read_order_answer(200, refused_answer("INSUFFICIENT_FUND", "", ""))
    assert (answer.reason, answer.text) == ("insufficient_funds", "INSUFFICIENT_FUND")  # no sentence beside it
    answer = read_order_answer(418, b"")
    assert (answer.verdict, answer.reason, answer.text) == (Verdict.REJECTED, "refused", "http_418")


@pytest.mark.fault("B15")
def test_a_duplicate_client_id_is_proof_of_an_order_and_no_rejection() -> None:
    """The listing must say which."""
    assert read_order_answer(200, refused_answer("DUPLICATE_CLIENT_ORDER_ID")).verdict is Verdict.UNKNOWN
    assert read_order_answer(400, b'{"error":"DUPLICATE_CLIENT_ORDER_ID"}').verdict is Verdict.UNKNOWN


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (401, b"Unauthorized", "unauthorized"),
        (429, b'{"errors":[{"id":"rate_limit_exceeded"}]}', "rate_limited"),
        (400, b'{"error":"INVALID_ARGUMENT","message":"bad"}', "invalid_request"),
        (403, b'{"error":"PERMISSION_DENIED","message":"Missing required scopes"}', "permission_denied"),
        (404, b"<html>", "invalid_request"),
        (400, b'{"error":"INVALID_ARGUMENT"}', "invalid_request"),
        (422, b"", "invalid_request"),
    ],
)
def test_a_refused_request_made_no_order(status: int, body: bytes, reason: str) -> None:
    """4xx says that the request was not taken."""
    answer = read_order_answer(status, body)
    assert (answer.verdict, answer.reason) == (Verdict.REJECTED, reason)


@pytest.mark.fault("B14")
@pytest.mark.parametrize(
    ("status", "body"),
    [
        (500, b""),
        (502, b"<html>bad gateway</html>"),
        (503, b'{"error":"UNAVAILABLE"}'),
        (408, b""),
        (409, b'{"error":"ALREADY_EXISTS"}'),
        (425, b""),
        (499, b""),
        (400, b'{"error":"INTERNAL"}'),
        (400, b'{"error":"UNKNOWN"}'),
        (200, b'{"success":false}'),
        (200, b'{"success":false,"error_response":{"error":"UNKNOWN_FAILURE_REASON"}}'),
        (200, b'{"success":false,"error_response":{"error":"INTERNAL_SERVER_ERROR"}}'),
        (200, b'{"success":false,"failure_reason":"UNKNOWN_FAILURE_REASON"}'),
        (200, refused_answer("", "")),
        (302, b""),
        (200, b""),
        (200, b"<html>"),
        (200, b'{"success":true'),
        (200, b'{"success":true}'),
        (200, b'{"success":true,"success_response":{"order_id":""}}'),
        (200, b'{"success":"perhaps"}'),
    ],
)
def test_whatever_proves_nothing_leaves_the_outcome_unknown(status: int, body: bytes) -> None:
    """Never assumed rejected."""
    assert read_order_answer(status, body).verdict is Verdict.UNKNOWN


@pytest.mark.fault("C12")
@given(st.integers(100, 599), st.binary(max_size=300))
def test_no_answer_raises(status: int, body: bytes) -> None:
    """Any status with any bytes; only a readable success is an acceptance."""
    assert read_order_answer(status, body).verdict is not Verdict.ACCEPTED


@given(
    client_id=st.text(max_size=130),
    product=st.text(max_size=8),
    qty=st.decimals(min_value=-1, max_value=10**6, allow_nan=False, places=8),
    limit_px=st.none() | st.decimals(min_value=0, max_value=10**6, allow_nan=False),
    order_type=st.sampled_from(OrderType),
    tif=st.sampled_from(TimeInForce),
    side=st.sampled_from(Side),
    post_only=st.booleans(),
    trailing_px=st.none() | st.just(Decimal(1)),
)
def test_the_short_way_of_a_limit_order_gives_the_same_bytes(
    client_id: str, product: str, qty: Decimal, limit_px: Decimal | None, order_type: OrderType, tif: TimeInForce,
    side: Side, post_only: bool, trailing_px: Decimal | None,
) -> None:  # fmt: skip
    """Any order, with ids that need escapes and sizes that need plain notation: the same body or the same refusal."""
    order = new_order(
        client_id, qty=qty, limit_px=limit_px, order_type=order_type, time_in_force=tif, side=side,
        post_only=post_only, trailing_px=trailing_px,
    )  # fmt: skip

    def outcome(encode: Any) -> bytes | str:
        try:
            body: bytes = encode(order, product)
        except LocalProtocolError as error:
            return str(error)
        return body

    assert outcome(encode_order) == outcome(encode_any_order)
