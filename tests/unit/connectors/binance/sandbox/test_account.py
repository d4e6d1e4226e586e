"""Orders over the Binance sandbox's REST: what is refused and how, cancels, replacements, lists."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.binance.sandbox.account import Account
from connectors.binance.sandbox.errors import ApiError
from connectors.binance.sandbox.queries import Queries
from connectors.binance.sandbox.routes import tables
from connectors.binance.sandbox.settings import BinanceSettings
from tests.support.local_venues import NOW_NS, Client, binance, spot

LIMIT = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "0.01", "price": "1000"}
MARKET = {"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quantity": "0.01"}
STOP = {**LIMIT, "side": "SELL", "type": "STOP_LOSS_LIMIT", "stopPrice": "900"}
WRONG: list[tuple[dict[str, str], dict[str, str], int, str]] = [
    (LIMIT, {"symbol": ""}, -1102, "symbol"),
    (LIMIT, {"symbol": "btc/usdt"}, -1100, "symbol"),
    (LIMIT, {"symbol": "NOSUCH"}, -1121, "Invalid symbol."),
    (LIMIT, {"side": ""}, -1102, "side"),
    (LIMIT, {"side": "HOLD"}, -1117, "Invalid side."),
    (LIMIT, {"type": "OCO"}, -1116, "Invalid orderType."),
    (LIMIT, {"timeInForce": ""}, -1102, "timeInForce"),
    (LIMIT, {"timeInForce": "GTD"}, -1115, "Invalid timeInForce."),
    (LIMIT, {"quantity": ""}, -1102, "quantity"),
    (LIMIT, {"quantity": "-1"}, -1100, "quantity"),
    (LIMIT, {"quantity": "0.000000001"}, -1111, "too much precision"),
    (LIMIT, {"quantity": "0.000001"}, -1013, "LOT_SIZE"),
    (LIMIT, {"quantity": "9001"}, -1013, "LOT_SIZE"),
    (LIMIT, {"price": ""}, -1102, "price"),
    (LIMIT, {"price": "0"}, -1013, "PRICE_FILTER"),
    (LIMIT, {"price": "1000.001"}, -1013, "PRICE_FILTER"),
    (LIMIT, {"quantity": "0.001"}, -1013, "NOTIONAL"),
    (LIMIT, {"quantity": "200"}, -2010, "insufficient balance"),
    (LIMIT, {"stopPrice": "900"}, -1106, "stopPrice"),
    (LIMIT, {"quoteOrderQty": "10"}, -1106, "quoteOrderQty"),
    (LIMIT, {"newClientOrderId": "a b"}, -1100, "newClientOrderId"),
    (LIMIT, {"newClientOrderId": "a" * 37}, -1100, "newClientOrderId"),
    (LIMIT, {"newOrderRespType": "SOME"}, -1130, "newOrderRespType"),
    (MARKET, {"price": "1000"}, -1106, "price"),
    (MARKET, {"quantity": "", "quoteOrderQty": ""}, -1102, "quantity"),
    (MARKET, {"quoteOrderQty": "50"}, -1106, "quoteOrderQty"),
    (MARKET, {"side": "SELL", "quantity": "1"}, -2010, "insufficient balance"),
    (STOP, {"stopPrice": ""}, -1102, "stopPrice"),
    (STOP, {"stopPrice": "90000"}, -2010, "trigger immediately"),
]


async def test_what_is_no_order_is_refused_in_the_venues_words(tmp_path: Path) -> None:
    """One wrong field each; ``order/test`` says the same, and nothing comes of any."""
    async with binance(tmp_path) as client:
        for order, change, code, text in WRONG:
            asked = {name: value for name, value in {**order, **change}.items() if value}
            for path in ("order", "order/test"):
                if path == "order/test" and "newOrderRespType" in change:
                    continue
                status, said = await client.binance("POST", path, **asked)
                assert (status, said["code"]) == (400, code), (change, said)
                assert text in said["msg"]
        assert await client.binance("GET", "openOrders") == (200, [])
        assert await client.binance("POST", "order/test", **LIMIT) == (200, {})
        assert await client.binance("GET", "allOrders", symbol="BTCUSDT") == (200, [])


@pytest.mark.parametrize(("kind", "has"), [("ACK", set()), ("RESULT", {"status"}), ("FULL", {"status", "fills"})])
async def test_an_answer_says_as_much_as_was_asked_for(kind: str, has: set[str], tmp_path: Path) -> None:
    """Of a market order; its fills add up."""
    async with binance(tmp_path) as client:
        _, made = await client.binance("POST", "order", **MARKET, newOrderRespType=kind)
        assert made.keys() & {"status", "fills"} == has
        if "fills" in has:
            assert made["status"] == "FILLED"
            assert sum(Decimal(fill["qty"]) for fill in made["fills"]) == Decimal("0.01")
            value = sum(Decimal(fill["qty"]) * Decimal(fill["price"]) for fill in made["fills"])
            assert value == Decimal(made["cummulativeQuoteQty"])
            assert {fill["commissionAsset"] for fill in made["fills"]} == {"BTC"}
            _, rows = await client.binance("GET", "myTrades", symbol="BTCUSDT", orderId=made["orderId"])
            assert [row["id"] for row in rows] == [fill["tradeId"] for fill in made["fills"]]


async def test_a_signature_may_stand_in_the_query_of_a_post(tmp_path: Path) -> None:
    """As the documents allow it."""
    async with binance(tmp_path) as client:
        status, made = await client.binance("POST", "order", in_query=True, **LIMIT)
        assert (status, made["status"]) == (200, "NEW")


async def test_one_order_replaces_another(tmp_path: Path) -> None:
    """Both go well; the new one is refused; the old one is not there; and then only if that is allowed."""
    async with binance(tmp_path) as client:
        _, first = await client.binance("POST", "order", **LIMIT)

        async def replace(cancels: Any, mode: str, **changes: str) -> tuple[int, Any]:
            named = {"cancelReplaceMode": mode, "cancelOrderId": cancels}
            return await client.binance("POST", "order/cancelReplace", **{**LIMIT, **named, **changes})

        status, said = await replace(first["orderId"], "STOP_ON_FAILURE", price="1100")
        assert (status, said["cancelResult"], said["newOrderResult"]) == (200, "SUCCESS", "SUCCESS")
        second = said["newOrderResponse"]["orderId"]
        status, said = await replace(second, "STOP_ON_FAILURE", quantity="200")
        assert (status, said["code"], said["data"]["newOrderResult"]) == (409, -2021, "FAILURE")
        assert said["data"]["newOrderResponse"]["code"] == -2010
        status, said = await replace(second, "STOP_ON_FAILURE")
        assert (status, said["code"], said["data"]["newOrderResult"]) == (400, -2022, "NOT_ATTEMPTED")
        assert await client.binance("GET", "openOrders") == (200, [])
        status, said = await replace(second, "ALLOW_FAILURE")
        assert (status, said["code"], said["data"]["newOrderResult"]) == (409, -2021, "SUCCESS")
        assert (await replace(second, "PERHAPS"))[1]["code"] == -1102


async def test_orders_are_found_by_both_names_and_by_neither(tmp_path: Path) -> None:
    """Which have to agree, with each other and with the symbol."""
    async with binance(tmp_path) as client:
        _, made = await client.binance("POST", "order", **LIMIT, newClientOrderId="mine")
        by = {"symbol": "BTCUSDT"}
        for names in ({"orderId": made["orderId"]}, {"origClientOrderId": "mine"}):
            assert (await client.binance("GET", "order", **by, **names))[1]["clientOrderId"] == "mine"
        for names, code in (
            ({}, -1102),
            ({"orderId": 17}, -2013),
            ({"origClientOrderId": "theirs"}, -2013),
            ({"orderId": made["orderId"], "origClientOrderId": "theirs"}, -2013),
            ({"orderId": "x"}, -1100),
        ):
            assert (await client.binance("GET", "order", **by, **names))[1]["code"] == code
        wrong = {"symbol": "ETHUSDT", "orderId": made["orderId"]}
        assert (await client.binance("DELETE", "order", **wrong))[1]["code"] == -2011
        _, gone = await client.binance("DELETE", "openOrders", symbol="BTCUSDT")
        assert [(one["status"], one["origClientOrderId"]) for one in gone] == [("CANCELED", "mine")]
        assert (await client.binance("DELETE", "openOrders", symbol="BTCUSDT"))[1]["code"] == -2011


async def test_lists_begin_where_they_are_asked_to(tmp_path: Path) -> None:
    """From a number on, of a time, the newest; a window is a day at most."""
    async with binance(tmp_path) as client:
        numbers = []
        for _ in range(4):
            _, made = await client.binance("POST", "order", **LIMIT)
            numbers.append(made["orderId"])

        async def listed(**params: Any) -> Any:
            _, rows = await client.binance("GET", "allOrders", symbol="BTCUSDT", **params)
            return [row["orderId"] for row in rows] if isinstance(rows, list) else rows["code"]

        assert await listed() == numbers
        assert await listed(limit=2) == numbers[2:]
        assert await listed(limit=2, orderId=numbers[1]) == numbers[1:3]
        assert await listed(startTime=1, endTime=2) == []
        assert await listed(startTime=1, endTime=86_400_003) == -1127
        assert await listed(limit=0) == -1100
        assert (await client.binance("GET", "myTrades", symbol="BTCUSDT")) == (200, [])


async def _fees(client: Client) -> Any:
    return await client.get("/sapi/v1/asset/tradeFee")


async def test_what_is_signed_wants_a_key(tmp_path: Path) -> None:
    """And a path that is none is told in the venue's shape."""
    async with binance(tmp_path) as client:
        assert await _fees(client) == (401, {"code": -2014, "msg": "API-key format invalid."})
        status, said = await client.get("/api/v3/nothing")
        assert (status, said["code"]) == (404, -1000)
        assert (await client.binance("GET", "account", secret="other"))[1]["code"] == -1022
        for ago_ms in (6_000, -2_000):
            assert (await client.binance("GET", "account", ago_ms=ago_ms))[1]["code"] == -1021
        await client.operate(act="expire_key")
        assert (await client.binance("GET", "account"))[0] == 401
        await client.operate(act="restore_key")
        assert (await client.binance("GET", "account"))[0] == 200


_NAMES = ["symbol", "symbols", "side", "type", "timeInForce", "quantity", "quoteOrderQty", "price", "stopPrice",
          "newClientOrderId", "orderId", "origClientOrderId", "limit", "fromId", "startTime", "endTime", "interval",
          "cancelReplaceMode", "cancelOrderId", "newOrderRespType"]  # fmt: skip
_WORDS = ["BTCUSDT", "BUY", "SELL", "LIMIT", "MARKET", "STOP_LOSS_LIMIT", "TAKE_PROFIT", "LIMIT_MAKER", "GTC", "IOC",
          "1m", "1w", "1M", "0", "1", "0.01", "60000", "99999999999999999999", "9" * 19, "-1", "1e5", "NaN", "",
          '["BTCUSDT"]', "[", "ALLOW_FAILURE", "1790000000000", "0.00000001"]  # fmt: skip
_EXCHANGE = spot()
_QUERIES = Queries(_EXCHANGE, None, lambda _: 1)
_ROUTES, _ = tables(_QUERIES, Account(BinanceSettings(), _EXCHANGE, _QUERIES, lambda: "made"))
_ORDER = {**LIMIT, "price": "60000"}
_PARAMS = st.dictionaries(st.sampled_from(_NAMES), st.sampled_from(_WORDS) | st.text(max_size=6), max_size=5)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(sorted(_ROUTES)), _PARAMS, st.booleans())
def test_any_parameters_are_answered_or_refused(route: tuple[str, str], params: dict[str, str], whole: bool) -> None:
    """Of every request that there is: JSON, or an error of the venue's, and nothing else."""
    asked = {**_ORDER, **params} if whole else params
    try:
        made = _ROUTES[route].carry_out(asked, NOW_NS + 2_000_000_000)
    except ApiError as error:
        made = error.body()
    msgspec.json.encode(made)
    _ROUTES[route].weight(asked)
    _EXCHANGE.drain()
