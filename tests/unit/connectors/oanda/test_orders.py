"""Orders as bodies that the sandbox takes, and answers as verdicts."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from connectors.oanda import wire
from connectors.oanda.offer import OFFER
from connectors.oanda.orders import define, encode_order, read_answer
from connectors.oanda.sandbox.views import instrument_json
from connectors.verdicts import Verdict
from engine.commands import NewOrder, OrderIntent, OrderType, TimeInForce
from engine.data.instruments import known_instrument
from engine.errors import LocalProtocolError
from engine.events import Side
from engine.instruments import AssetClass
from tests.support.oanda import NOW_NS, Venue

ROWS = {
    row.name: row
    for row in wire.decode_instruments(
        msgspec.json.encode(
            {"instruments": [instrument_json(m.rules) for m in Venue().exchange.markets.by_name.values()]}
        )
    ).instruments
}
EUR = define(ROWS["EUR_USD"], "oanda")


def order(**fields: Any) -> NewOrder:
    given = {
        "ts_ns": NOW_NS,
        "strategy": "s",
        "instrument": EUR.id,
        "side": Side.BUY,
        "qty": Decimal(250),
        "order_type": OrderType.LIMIT,
        "limit_px": Decimal("1.0912"),
        **fields,
    }
    return NewOrder(NOW_NS, fields.pop("client_order_id", "eng-1"), "oanda", OrderIntent(**given))


def test_the_venues_rules_become_ours() -> None:
    """Digits are steps; currencies are FX, everything else a CFD; all may be sold short."""
    yen, index = define(ROWS["USD_JPY"], "oanda"), define(ROWS["SPX500_USD"], "oanda")
    assert (yen.tick_px, yen.lot_qty, yen.quote) == (Decimal("0.001"), Decimal(1), "JPY")
    assert (index.tick_px, index.lot_qty, index.min_qty) == (Decimal("0.1"), Decimal("0.1"), Decimal("0.1"))
    assert (EUR.asset_class, index.asset_class) == (AssetClass.FX, AssetClass.CFD)
    assert EUR.can_short
    assert not EUR.has_trades
    for name in ("EURUSD", "EUR_USD_X", "_USD", ""):
        with pytest.raises(ValueError, match="pair"):
            define(msgspec.structs.replace(ROWS["EUR_USD"], name=name), "oanda")
    for bound in (Decimal("NaN"), Decimal(0)):
        with pytest.raises(ValueError, match="bounds"):
            define(msgspec.structs.replace(ROWS["EUR_USD"], minimumTradeSize=bound), "oanda")
    with pytest.raises(ValueError, match="precisions"):
        define(msgspec.structs.replace(ROWS["EUR_USD"], displayPrecision=99), "oanda")


def test_a_limit_order_on_the_wire() -> None:
    """Signed units, exactly the instrument's digits, our id in the extensions."""
    sell = order(side=Side.SELL, time_in_force=TimeInForce.GTD, expire_ns=NOW_NS, reduce_only=True)
    assert json.loads(encode_order(sell, EUR)) == {
        "order": {
            "type": "LIMIT",
            "instrument": "EUR_USD",
            "units": "-250",
            "price": "1.09120",
            "timeInForce": "GTD",
            "gtdTime": "2026-11-20T14:03:07.000000000Z",
            "positionFill": "REDUCE_ONLY",
            "clientExtensions": {"id": "eng-1"},
        }
    }


@pytest.mark.parametrize(
    ("kind", "tif"), sorted(one for one in OFFER.kinds if one[0] is not OrderType.BRACKET), ids=str
)
def test_the_sandbox_takes_every_kind_that_is_offered(kind: OrderType, tif: TimeInForce) -> None:
    """What is encoded is accepted by the venue's own rules, whatever becomes of it."""
    venue = Venue()
    waits = kind in (OrderType.STOP, OrderType.MARKET_IF_TOUCHED)
    made = order(
        order_type=kind,
        time_in_force=tif,
        limit_px=Decimal("1.0841") if kind is OrderType.LIMIT else None,
        trigger_px=Decimal("1.0912") if waits else None,
        expire_ns=NOW_NS + 10**12,
    )
    answer = venue.exchange.desk.place(venue.account, json.loads(encode_order(made, EUR)), venue.now_ns)
    verdict = read_answer(201, msgspec.json.encode(answer))
    assert verdict.verdict is Verdict.ACCEPTED
    assert verdict.venue_order_id == answer["orderCreateTransaction"]["id"]
    assert verdict.last_id == venue.account.log.last


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (
            {"order_type": OrderType.STOP, "limit_px": None, "trigger_px": Decimal("1.1")},
            {"type": "STOP", "price": "1.10000", "positionFill": "REDUCE_FIRST"},
        ),
        (
            {"order_type": OrderType.MARKET_IF_TOUCHED, "limit_px": None, "trigger_px": Decimal("1.1")},
            {"type": "MARKET_IF_TOUCHED", "price": "1.10000", "positionFill": "REDUCE_FIRST"},
        ),
        (
            {"order_type": OrderType.STOP_LIMIT, "trigger_px": Decimal("1.1"), "reduce_only": True},
            {"type": "STOP", "price": "1.10000", "priceBound": "1.09120", "positionFill": "REDUCE_ONLY"},
        ),
    ],
    ids=str,
)
def test_orders_that_wait_say_which_price_reaches_them(fields: dict[str, Any], expected: dict[str, str]) -> None:
    """The trigger is the venue's price, a stop-limit's limit its bound, and the condition is written out."""
    made = json.loads(encode_order(order(side=Side.SELL, time_in_force=TimeInForce.GTC, **fields), EUR))
    assert made["order"] == {
        "instrument": "EUR_USD",
        "units": "-250",
        "timeInForce": "GTC",
        "triggerCondition": "DEFAULT",
        "clientExtensions": {"id": "eng-1"},
        **expected,
    }


@pytest.mark.parametrize(
    "fields",
    [
        {"qty": Decimal("0.5")},
        {"qty": Decimal(0)},
        {"qty": Decimal(-1)},
        {"qty": Decimal("NaN")},
        {"limit_px": Decimal("1.084001")},
        {"limit_px": None},
        {"post_only": True, "time_in_force": TimeInForce.GTC},
        {"trailing_px": Decimal("0.001")},
        {"order_type": OrderType.STOP_LIMIT, "trigger_px": Decimal(1), "time_in_force": TimeInForce.GTC},
        {"order_type": OrderType.BRACKET, "trigger_px": Decimal(1), "time_in_force": TimeInForce.GTC},
        {"order_type": OrderType.STOP, "trigger_px": Decimal(1), "time_in_force": TimeInForce.IOC},
        {"order_type": OrderType.STOP, "trailing_px": Decimal(1), "time_in_force": TimeInForce.GTC},
        {"order_type": OrderType.MARKET_IF_TOUCHED, "time_in_force": TimeInForce.GTC},
        {"qty": Decimal(200_000_000)},
        {"time_in_force": TimeInForce.GTD},
        {"side": 0},
    ],
    ids=str,
)
def test_what_the_venue_does_not_offer_never_leaves(fields: dict[str, Any]) -> None:
    """One line each."""
    with pytest.raises(LocalProtocolError) as caught:
        encode_order(order(**fields), EUR)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("client_id", ["", "x" * 129, "@x"])
def test_ids_that_the_venue_refuses_never_leave(client_id: str) -> None:
    """``@`` begins a path's client id."""
    with pytest.raises(LocalProtocolError):
        encode_order(msgspec.structs.replace(order(), client_order_id=client_id), EUR)


@pytest.mark.fault("B15")
@pytest.mark.parametrize(
    ("status", "body", "verdict", "reason"),
    [
        (201, b'{"orderCreateTransaction":{"type":"MARKET_ORDER","id":"7"}}', Verdict.ACCEPTED, ""),
        (201, b"{}", Verdict.UNKNOWN, "HTTP 201 without a created order"),
        (201, b'{"orderCreateTrans', Verdict.UNKNOWN, "HTTP 201, unreadable"),
        (
            400,
            b'{"orderRejectTransaction":{"type":"MARKET_ORDER_REJECT","rejectReason":"UNITS_INVALID"}}',
            Verdict.REJECTED,
            "invalid_qty",
        ),
        (400, b'{"errorMessage":"Invalid value","errorCode":"X"}', Verdict.REJECTED, "invalid_request"),
        (401, b'{"errorMessage":"Insufficient authorization"}', Verdict.REJECTED, "unauthorized"),
        (
            400,
            b'{"errorCode":"CLIENT_ORDER_ID_ALREADY_EXISTS","errorMessage":"taken"}',
            Verdict.UNKNOWN,
            "duplicate_client_id",
        ),
        (404, b"<html>", Verdict.UNKNOWN, "HTTP 404, unreadable"),
        (404, b"{}", Verdict.UNKNOWN, "HTTP 404"),
        (408, b'{"errorMessage":"slow"}', Verdict.UNKNOWN, "HTTP 408"),
        (429, b"<html>", Verdict.REJECTED, "rate_limited"),
        (429, b'{"errorMessage":"slow down"}', Verdict.REJECTED, "rate_limited"),
        (500, b'{"errorMessage":"x"}', Verdict.UNKNOWN, "HTTP 500"),
        (503, b"<html>maintenance</html>", Verdict.UNKNOWN, "HTTP 503, unreadable"),
        (504, b'{"errorMessage":"Timeout waiting for response."}', Verdict.UNKNOWN, "HTTP 504"),
        (200, b"\xff", Verdict.UNKNOWN, "HTTP 200, unreadable"),
    ],
)
def test_an_answer_proves_what_it_says_and_no_more(status: int, body: bytes, verdict: Verdict, reason: str) -> None:
    """Only a refusal in the venue's own shape is a refusal; everything else stays unknown."""
    answer = read_answer(status, body)
    assert (answer.verdict, answer.reason) == (verdict, reason)


@pytest.mark.parametrize("name", ["EUR_USD", "USD_JPY", "XAU_USD", "SPX500_USD"])
def test_features_know_the_hours_that_data_of_the_past_has(name: str) -> None:
    """The same calendar as the instrument has in the catalogue, where a model learns from it."""
    known = known_instrument("oanda", name)
    assert known is not None
    assert define(ROWS[name], "oanda").session_calendar == known.session_calendar is not None
