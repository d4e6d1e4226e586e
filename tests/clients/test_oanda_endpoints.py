"""Each request that our connector makes of OANDA is the one that oandapyV20's endpoint class for it makes.

The classes run in their own environment and print what they would send; nothing of them is imported here.
"""

from __future__ import annotations

import json
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

from connectors.oanda import cancel_only, requests
from connectors.oanda.books import OneTrade
from connectors.oanda.exits import encode_exit
from connectors.oanda.known import SECOND
from connectors.oanda.orders import define, encode_order
from connectors.oanda.requests import Request
from connectors.oanda.wire import InstrumentRow, format_time
from engine.commands import NewOrder, OrderIntent, OrderType, TimeInForce
from engine.events import Side
from tests.support.daemon import ROOT

ACCOUNT = "101-004-1000001-001"
NOW_NS = 1_795_183_387_000_000_000
CLIENT_ID = "k20261120T140307-0a1b-7"
MADE = """
import importlib, json, sys
from oandapyV20.contrib import requests as bodies
for line in sys.stdin:
    module, name, args, kwargs, body = json.loads(line)
    if isinstance(body, dict):
        kwargs = {"data": {part: getattr(bodies, each)(**given).data for part, (each, given) in body.items()}}
    elif body:
        kwargs = {**kwargs, "data": getattr(bodies, body[0])(**body[1]).data}
    one = getattr(importlib.import_module("oandapyV20.endpoints." + module), name)(*args, **kwargs)
    print(json.dumps([one.method, "/" + str(one), getattr(one, "params", None), getattr(one, "data", None)]))
"""
DEFAULTS = {"triggerCondition": "DEFAULT"}
"""What one of both writes out and the other leaves to the venue: the client of limit orders, we of orders that wait."""


RULES = define(InstrumentRow("EUR_USD", 5, 0, Decimal(1), Decimal(100_000_000), Decimal(1)), "oanda")
TRADE = OneTrade("7002", Decimal(250), has_exits=False)


def new_order(**fields: Any) -> NewOrder:
    given = {"side": Side.SELL, "qty": Decimal(250), "order_type": OrderType.MARKET, **fields}
    intent = OrderIntent(NOW_NS, "s", RULES.id, given.pop("side"), given.pop("qty"), **given)
    return NewOrder(NOW_NS, CLIENT_ID, "oanda", intent)


def order_body(**fields: Any) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(encode_order(new_order(**fields), RULES))
    return body


def exit_body(**fields: Any) -> dict[str, Any]:
    given = {"time_in_force": TimeInForce.GTC, "reduce_only": True, **fields}
    body: dict[str, Any] = json.loads(encode_exit(new_order(**given), RULES, TRADE, guaranteed=False).body)
    return body


EXTENSIONS = {"id": CLIENT_ID}
BODIES = {
    "MarketOrderRequest": (
        order_body(),
        {"instrument": "EUR_USD", "units": -250, "timeInForce": "IOC", "positionFill": "REDUCE_FIRST"},
    ),
    "LimitOrderRequest": (
        order_body(
            order_type=OrderType.LIMIT,
            limit_px=Decimal("1.0841"),
            time_in_force=TimeInForce.GTD,
            expire_ns=NOW_NS,
            reduce_only=True,
        ),
        {
            "instrument": "EUR_USD",
            "units": -250,
            "price": 1.0841,
            "timeInForce": "GTD",
            "gtdTime": format_time(NOW_NS),
            "positionFill": "REDUCE_ONLY",
        },
    ),
    "StopOrderRequest": (
        order_body(
            order_type=OrderType.STOP, trigger_px=Decimal("1.0841"), time_in_force=TimeInForce.GTC, reduce_only=True
        ),
        {"instrument": "EUR_USD", "units": -250, "price": 1.0841, "positionFill": "REDUCE_ONLY"},
    ),
    "MITOrderRequest": (
        order_body(order_type=OrderType.MARKET_IF_TOUCHED, trigger_px=Decimal("1.0841"), time_in_force=TimeInForce.GTC),
        {"instrument": "EUR_USD", "units": -250, "price": 1.0841, "positionFill": "REDUCE_FIRST"},
    ),
    "TrailingStopLossOrderRequest": (
        exit_body(order_type=OrderType.STOP, trigger_px=Decimal("1.08"), trailing_px=Decimal("0.004")),
        {"tradeID": TRADE.id, "distance": 0.004},
    ),
}
BRACKET = exit_body(order_type=OrderType.BRACKET, limit_px=Decimal("1.09"), trigger_px=Decimal("1.07"))
LEGS = {
    "takeProfit": ["TakeProfitDetails", {"price": 1.09, "clientExtensions": {"id": CLIENT_ID}}],
    "stopLoss": ["StopLossDetails", {"price": 1.07, "clientExtensions": {"id": CLIENT_ID + SECOND}}],
}  # fmt: skip
BOTH = ["EUR_USD", "USD_JPY"]
CANDLES = {"granularity": "M1", "count": "10", "price": "M", "dailyAlignment": "0", "alignmentTimezone": "UTC"}
PATHS = cancel_only.pending_path(ACCOUNT), cancel_only.cancel_path(ACCOUNT, "7001")
CASES: list[tuple[Request, str, str, list[str], dict[str, str]]] = [
    (requests.ACCOUNTS, "accounts", "AccountList", [], {}),
    (requests.details(ACCOUNT), "accounts", "AccountDetails", [ACCOUNT], {}),
    (requests.instruments(ACCOUNT), "accounts", "AccountInstruments", [ACCOUNT], {}),
    (
        requests.pricing(ACCOUNT, BOTH, conversions=True), "pricing", "PricingInfo", [ACCOUNT],
        {"instruments": ",".join(BOTH), "includeHomeConversions": "true"},
    ),
    (
        requests.candles("EUR_USD", ("granularity", "M1"), ("count", "10")), "instruments", "InstrumentsCandles",
        ["EUR_USD"], CANDLES,
    ),
    (requests.transactions_since(ACCOUNT, 7002), "transactions", "TransactionsSinceID", [ACCOUNT], {"id": "7002"}),
    (
        requests.transactions_from(ACCOUNT, NOW_NS), "transactions", "TransactionList", [ACCOUNT],
        {"from": format_time(NOW_NS), "pageSize": "1000"},
    ),
    (
        requests.price_stream(ACCOUNT, BOTH), "pricing", "PricingStream", [ACCOUNT],
        {"instruments": ",".join(BOTH), "snapshot": "true"},
    ),
    (requests.transaction_stream(ACCOUNT), "transactions", "TransactionsStream", [ACCOUNT], {}),
    (requests.create_order(ACCOUNT), "orders", "OrderCreate", [ACCOUNT, "MarketOrderRequest"], {}),
    (requests.create_order(ACCOUNT), "orders", "OrderCreate", [ACCOUNT, "LimitOrderRequest"], {}),
    (requests.create_order(ACCOUNT), "orders", "OrderCreate", [ACCOUNT, "StopOrderRequest"], {}),
    (requests.create_order(ACCOUNT), "orders", "OrderCreate", [ACCOUNT, "MITOrderRequest"], {}),
    (requests.create_order(ACCOUNT), "orders", "OrderCreate", [ACCOUNT, "TrailingStopLossOrderRequest"], {}),
    (requests.trade_exits(ACCOUNT, TRADE.id), "trades", "TradeCRCDO", [ACCOUNT, TRADE.id], {}),
    (requests.cancel_order(ACCOUNT, "7001"), "orders", "OrderCancel", [ACCOUNT, "7001"], {}),
    (requests.cancel_order(ACCOUNT, f"@{CLIENT_ID}"), "orders", "OrderCancel", [ACCOUNT, f"@{CLIENT_ID}"], {}),
    (Request("GET", PATHS[0]), "orders", "OrdersPending", [ACCOUNT], {}),
    (Request("PUT", PATHS[1]), "orders", "OrderCancel", [ACCOUNT, "7001"], {}),
]  # fmt: skip


def test_each_request_is_the_one_that_the_clients_class_makes(clients_python: Path) -> None:
    """Method, path, parameters and, of orders, the body: the client writes defaults out that we leave to the venue."""
    lines = []
    for _, module, name, args, params in CASES:
        body: object = LEGS if name == "TradeCRCDO" else None
        if name == "OrderCreate":
            body = [args[1], {**BODIES[args[1]][1], "clientExtensions": EXTENSIONS}]
        kwargs = {"params": params} if params else {}
        lines.append(json.dumps([module, name, args[:1] if name == "OrderCreate" else args, kwargs, body]))
    done = subprocess.run(
        [str(clients_python), "-c", MADE],
        input="\n".join(lines),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    made = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(made) == len(CASES)
    for (ours, _, name, args, _), (method, path, params, data) in zip(CASES, made, strict=True):
        assert (ours.method, ours.path, dict(ours.params)) == (method, path, params or {}), name
        if name == "OrderCreate":
            _same(BODIES[args[1]][0]["order"], data["order"])
        elif name == "TradeCRCDO":
            assert BRACKET.keys() == data.keys()
            for part, made_of in BRACKET.items():
                _same(made_of, data[part])


def _same(ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    assert DEFAULTS | ours == DEFAULTS | theirs


def test_nothing_of_the_client_is_loaded_by_ours() -> None:
    """Its package loads a blocking HTTP library, and that is no part of the live process (decision 0026)."""
    code = (
        "import sys, connectors.oanda.venue; print([n for n in ('oandapyV20', 'requests', 'six') if n in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "[]"
