"""Orders as bodies, and answers as verdicts."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.robinhood.names import venue_name
from connectors.robinhood.offer import OFFER
from connectors.robinhood.orders import encode_order, read_answer, rule_broken
from connectors.robinhood.sandbox.requests import parse_order
from connectors.robinhood.sandbox.settings import DEFAULT_PAIRS, Switches
from connectors.verdicts import Verdict
from engine.commands import NewOrder, OrderIntent, OrderType, TimeInForce
from engine.errors import LocalProtocolError
from engine.events import Side
from engine.instruments import AssetClass, Instrument

D = Decimal
BTC = "BTC/USD@robinhood"
RULES = Instrument(
    BTC, "robinhood", "BTC-USD", "BTC", "USD", "USD", AssetClass.SPOT, D("0.01"), D("0.00000001"), D("0.000001"),
    D(20), D(1), D(0), D(0),
)  # fmt: skip
PRICES = {"limit_px": D("60000.00"), "trigger_px": D("60100.00")}
NEEDS = {
    OrderType.MARKET: (),
    OrderType.LIMIT: ("limit_px",),
    OrderType.STOP: ("trigger_px",),
    OrderType.STOP_LIMIT: ("limit_px", "trigger_px"),
}


def order(kind: OrderType = OrderType.LIMIT, tif: TimeInForce = TimeInForce.GTC, **fields: Any) -> NewOrder:
    given = {"side": Side.BUY, "qty": D("0.001"), **{name: PRICES[name] for name in NEEDS.get(kind, ())}, **fields}
    side, qty = given.pop("side"), given.pop("qty")
    return NewOrder(
        0,
        "k20261120T140307-1a2b-17",
        "robinhood",
        OrderIntent(0, "s", BTC, side, qty, kind, time_in_force=tif, **given),
    )


@pytest.mark.parametrize("side", list(Side))
@pytest.mark.parametrize("kind", list(NEEDS))
def test_the_sandbox_reads_what_is_written(kind: OrderType, side: Side) -> None:
    """Each kind, either side: the venue's side understands the same order, and its id leads back to ours."""
    sent = order(kind, side=side)
    body = json.loads(encode_order(sent, "BTC-USD"))
    spec = parse_order(body, "v2", {"BTC-USD": DEFAULT_PAIRS[0]}, "active", Switches())
    assert spec.client_order_id == venue_name(sent.client_order_id)
    assert (spec.side, spec.asset_qty) == (side, D("0.001"))
    assert (spec.limit_px, spec.stop_px) == (sent.intent.limit_px, sent.intent.trigger_px)


def test_numbers_are_written_without_exponent_and_v1_may_go_without_a_time() -> None:
    """As the venue wants them; without a time in force nothing else changes."""
    small = order(qty=D("1E-7"), limit_px=D("6E+4"))
    body = json.loads(encode_order(small, "BTC-USD"))
    config = body["limit_order_config"]
    assert config == {"asset_quantity": "0.0000001", "limit_price": "60000", "time_in_force": "gtc"}
    bare = json.loads(encode_order(small, "BTC-USD", with_time_in_force=False))
    del config["time_in_force"]
    assert bare == body


@pytest.mark.parametrize("kind", [*OrderType])
@pytest.mark.parametrize("tif", [*TimeInForce])
def test_what_is_offered_can_be_written_and_nothing_else(kind: OrderType, tif: TimeInForce) -> None:
    """The offer is what the core relies on; a stop at market is the one kind beyond it."""
    if OFFER.takes(kind, tif) or (kind, tif) == (OrderType.STOP, TimeInForce.GTC):
        assert encode_order(order(kind, tif), "BTC-USD")
    else:
        with pytest.raises(LocalProtocolError):
            encode_order(order(kind, tif, **PRICES), "BTC-USD")


@pytest.mark.parametrize(
    "fields",
    [
        {"post_only": True},
        {"trailing_px": D(1)},
        {"qty": D(0)},
        {"qty": D("NaN")},
        {"limit_px": None},
        {"limit_px": D("-1")},
        {"side": 0},
    ],
)
def test_what_makes_no_sense_is_not_written(fields: dict[str, Any]) -> None:
    """Nothing is taken for the nearest kind."""
    with pytest.raises(LocalProtocolError):
        encode_order(order(**fields), "BTC-USD")


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({}, None),
        ({"qty": D("0.0000000001")}, "invalid_qty_precision"),
        ({"qty": D("0.00000099")}, "below_minimum"),
        ({"qty": D(21)}, "above_maximum"),
        ({"limit_px": D("60000.001")}, "invalid_px_precision"),
        ({"qty": D("0.000001")}, "below_minimum"),
    ],
)
def test_rules_of_the_pair_are_kept_before_the_wire(fields: dict[str, Any], reason: str | None) -> None:
    """Steps, bounds, and the least worth of v2."""
    broken = rule_broken(order(**fields), RULES)
    assert (None if broken is None else broken[0]) == reason
    assert rule_broken(order(OrderType.STOP_LIMIT, trigger_px=D("0.005")), RULES) is not None


def refusal(detail: str, attr: str | None = None) -> bytes:
    return msgspec.json.encode({"type": "validation_error", "errors": [{"detail": detail, "attr": attr}]})


@pytest.mark.parametrize(
    ("status", "body", "verdict", "reason"),
    [
        (201, b'{"id":"1","symbol":"BTC-USD","side":"buy","state":"open"}', Verdict.ACCEPTED, ""),
        (200, b'{"id":"1","symbol":"BTC-USD","side":"buy","state":"open"}', Verdict.ACCEPTED, ""),
        (201, b"{}", Verdict.UNKNOWN, "unreadable_answer"),
        (200, b"<html>", Verdict.UNKNOWN, "unreadable_answer"),
        (302, b"", Verdict.UNKNOWN, "http_302"),
        (400, refusal("Insufficient buying power."), Verdict.REJECTED, "insufficient_funds"),
        (400, refusal("Not enough.", "non_field_errors"), Verdict.REJECTED, "insufficient_funds"),
        (400, refusal("?", "limit_order_config.limit_price"), Verdict.REJECTED, "invalid_px"),
        (400, refusal("?", "stop_limit_order_config.stop_price"), Verdict.REJECTED, "invalid_px"),
        (400, refusal("?", "market_order_config.asset_quantity"), Verdict.REJECTED, "invalid_qty"),
        (400, refusal("Must be at least 1.", "market_order_config.asset_quantity"), Verdict.REJECTED, "below_minimum"),
        (400, refusal("BTC-USD is not tradable.", "symbol"), Verdict.REJECTED, "trading_halted"),
        (400, refusal("Invalid symbol", "symbol"), Verdict.REJECTED, "unknown_instrument"),
        (400, refusal("?", "limit_order_config.time_in_force"), Verdict.REJECTED, "unsupported"),
        (400, refusal("exists", "client_order_id"), Verdict.UNKNOWN, "duplicate_client_id"),
        (400, b"[]", Verdict.REJECTED, "refused"),
        (401, refusal("Invalid signature."), Verdict.REJECTED, "unauthorized"),
        (403, b"", Verdict.REJECTED, "permission_denied"),
        (404, b"<html>", Verdict.REJECTED, "refused"),
        (408, b"", Verdict.UNKNOWN, "http_408"),
        (409, b"", Verdict.UNKNOWN, "http_409"),
        (415, b"", Verdict.REJECTED, "refused"),
        (429, refusal("Request was throttled."), Verdict.REJECTED, "rate_limited"),
        (500, refusal("?"), Verdict.UNKNOWN, "http_500"),
        (503, b"<html>", Verdict.UNKNOWN, "http_503"),
    ],
)
def test_what_an_answer_proves(status: int, body: bytes, verdict: Verdict, reason: str) -> None:
    """A refusal is the venue's own word; everything else leaves the outcome unknown."""
    answer = read_answer(status, body)
    assert (answer.verdict, answer.reason) == (verdict, reason)


@given(
    st.integers(100, 599), st.binary(max_size=80) | st.from_regex(rb'\{"(id|errors|type)":.{0,20}\}', fullmatch=True)
)
def test_no_answer_raises(status: int, body: bytes) -> None:
    """Whatever it holds; only a 2xx that is an order is an acceptance."""
    answer = read_answer(status, body)
    assert (answer.verdict is Verdict.ACCEPTED) == (answer.order is not None)
    assert answer.verdict is not Verdict.REJECTED or 400 <= status < 500
    assert re.fullmatch(r"[a-z0-9_]*", answer.reason)
