"""The numbered list of the OANDA sheet with oandapyV20, unmodified: orders, trades, positions, transactions."""

from __future__ import annotations

import time
import urllib.parse
from decimal import Decimal
from typing import Any

import requests
from cases import List, eventually
from oanda_client import Venue, contrib_extensions, main_venue
from oandapyV20.contrib import requests as contrib
from oandapyV20.endpoints import accounts, orders, positions, trades, transactions

cases = List("oanda", "oandapyV20")


@cases.case(7, "market order, fill or kill")
def market_order(settings: dict[str, Any]) -> None:
    venue = main_venue(settings)
    before = venue.ask(accounts.AccountSummary(venue.account))["account"]
    data = contrib.MarketOrderRequest("EUR_USD", units=250).data
    endpoint = orders.OrderCreate(venue.account, data=data)
    made = venue.ask(endpoint)
    assert endpoint.status_code == 201
    numbers = [int(each) for each in made["relatedTransactionIDs"]]
    assert numbers == [int(before["lastTransactionID"]) + 1, int(before["lastTransactionID"]) + 2]
    fill = made["orderFillTransaction"]
    assert fill["accountBalance"] == before["balance"]
    closed = venue.order("MARKET", units="-250")["orderFillTransaction"]
    assert Decimal(closed["accountBalance"]) == Decimal(before["balance"]) + Decimal(closed["pl"])


@cases.case(8, "immediate or cancel, fill or kill, beyond the liquidity")
def liquidity(settings: dict[str, Any]) -> None:
    venue = main_venue(settings)
    venue.pin(units="1000")
    killed = venue.order("MARKET", units="1500")
    assert killed["orderCancelTransaction"]["reason"] == "INSUFFICIENT_LIQUIDITY"
    part = venue.order("MARKET", units="1500", timeInForce="IOC")["orderFillTransaction"]
    assert (part["units"], part["requestedUnits"]) == ("1000", "1500")


@cases.case(9, "orders that wait, and end")
def resting(settings: dict[str, Any]) -> None:
    venue = main_venue(settings)
    ids = [
        venue.order(kind, units="1", price=price, timeInForce=in_force)["orderCreateTransaction"]["id"]
        for kind, price in (("LIMIT", "1.00000"), ("STOP", "1.20000"), ("MARKET_IF_TOUCHED", "1.00000"))
        for in_force in ("GTC", "GFD")
    ]
    soon = {"timeInForce": "GTD", "gtdTime": f"{time.time() + 3.0:.9f}"}
    short = venue.order("LIMIT", units="1", price="1.00000", **soon)["orderCreateTransaction"]["id"]
    pending = [each["id"] for each in venue.ask(orders.OrdersPending(venue.account))["orders"]]
    assert pending == [short, *reversed(ids)]
    listed = venue.ask(orders.OrderList(venue.account, {"count": 3}))["orders"]
    assert [each["id"] for each in listed] == pending[:3]
    ended = eventually(lambda: [each for each in venue.since(short) if each["type"] == "ORDER_CANCEL"])
    assert (ended[0]["orderID"], ended[0]["reason"]) == (short, "TIME_IN_FORCE_EXPIRED")


@cases.case(10, "dependent orders on fill, linked")
def on_fill(settings: dict[str, Any]) -> None:
    venue = main_venue(settings)
    data = contrib.MarketOrderRequest(
        "EUR_USD",
        units=10,
        takeProfitOnFill=contrib.TakeProfitDetails(price=1.09).data,
        stopLossOnFill=contrib.StopLossDetails(price=1.07).data,
        trailingStopLossOnFill=contrib.TrailingStopLossDetails(distance=0.01).data,
    ).data
    fill = venue.ask(orders.OrderCreate(venue.account, data=data))["orderFillTransaction"]
    trade = venue.ask(trades.TradeDetails(venue.account, fill["id"]))["trade"]
    ids = {trade[name]["id"] for name in ("takeProfitOrder", "stopLossOrder", "trailingStopLossOrder")}
    venue.pin("1.09000", "1.09010")
    made = eventually(lambda: [each for each in venue.since(max(ids, key=int)) if each["type"] == "ORDER_CANCEL"])
    assert {each["reason"] for each in made} == {"LINKED_TRADE_CLOSED"}
    assert len(made) == 2


@cases.case(11, "exits as orders of their own")
def exits(settings: dict[str, Any]) -> None:
    venue = main_venue(settings)
    trade_id = venue.order("MARKET", units="10")["orderFillTransaction"]["id"]
    for request in (
        contrib.TakeProfitOrderRequest(trade_id, price=1.1),
        contrib.StopLossOrderRequest(trade_id, price=1.07),
        contrib.TrailingStopLossOrderRequest(trade_id, distance=0.01),
    ):
        made = venue.ask(orders.OrderCreate(venue.account, data=request.data))
        assert made["orderCreateTransaction"]["tradeID"] == trade_id
        assert "orderCancelTransaction" not in made


@cases.case(12, "reduce only")
def reduce_only(settings: dict[str, Any]) -> None:
    venue = main_venue(settings)
    made = venue.order("MARKET", units="10", positionFill="REDUCE_ONLY")
    assert "orderCancelTransaction" in made
    assert venue.ask(positions.OpenPositions(venue.account))["positions"] == []


@cases.case(13, "orders that are refused")
def rejects(settings: dict[str, Any]) -> None:
    venue = main_venue(settings)
    for fields, code in (
        ({"units": "1.5"}, "UNITS_PRECISION_EXCEEDED"),
        ({"units": "0"}, "UNITS_INVALID"),
        ({"units": "1", "priceBound": "1.2345678"}, "PRICE_BOUND_PRECISION_EXCEEDED"),
    ):
        before = venue.last()
        data = {"order": {"type": "MARKET", "instrument": "EUR_USD", **fields}}
        body = venue.refused(orders.OrderCreate(venue.account, data=data), 400)
        assert body["errorCode"] == body["orderRejectTransaction"]["rejectReason"] == code
        assert [each["type"] for each in venue.since(before)] == ["MARKET_ORDER_REJECT"]
    before = venue.last()
    data = {"order": {"type": "MARKET", "instrument": "EUR_XXX", "units": "1"}}
    assert "order.instrument" in venue.refused(orders.OrderCreate(venue.account, data=data), 400)["errorMessage"]
    assert venue.last() == before


@cases.case(14, "a bound that is not met")
def bound(settings: dict[str, Any]) -> None:
    made = main_venue(settings).order("MARKET", units="1", priceBound="1.08405")
    assert made["orderCancelTransaction"]["reason"] == "BOUNDS_VIOLATION"


@cases.case(15, "replacing")
def replacing(settings: dict[str, Any]) -> None:
    venue = main_venue(settings)
    named = {"clientExtensions": contrib_extensions("eng-15")}
    old = venue.order("LIMIT", units="1", price="1.00000", **named)["orderCreateTransaction"]["id"]
    for which, price in ((old, "1.01000"), ("@eng-15", "1.02000")):
        order = {"type": "LIMIT", "instrument": "EUR_USD", "units": "1", "price": price, **named}
        endpoint = orders.OrderReplace(venue.account, which, data={"order": order})
        made = venue.ask(endpoint)
        assert endpoint.status_code == 201
        assert made["orderCancelTransaction"]["reason"] == "CLIENT_REQUEST_REPLACED"
        assert int(made["orderCreateTransaction"]["id"]) > int(old)


@cases.case(16, "cancelling")
def cancelling(settings: dict[str, Any]) -> None:
    venue = main_venue(settings)
    number = venue.order("LIMIT", units="1", price="1.00000")["orderCreateTransaction"]["id"]
    venue.order("LIMIT", units="1", price="1.00000", clientExtensions=contrib_extensions("eng-16"))
    for which in (number, "@eng-16"):
        assert (
            venue.ask(orders.OrderCancel(venue.account, which))["orderCancelTransaction"]["reason"] == "CLIENT_REQUEST"
        )
        body = venue.refused(orders.OrderCancel(venue.account, which), 404)
        assert body["errorCode"] == body["orderCancelRejectTransaction"]["rejectReason"] == "ORDER_DOESNT_EXIST"


@cases.case(17, "an order by its client id, before and after")
def details(settings: dict[str, Any]) -> None:
    venue = main_venue(settings)
    venue.order("LIMIT", units="1", price="1.08000", clientExtensions=contrib_extensions("eng-17"))
    assert venue.ask(orders.OrderDetails(venue.account, "@eng-17"))["order"]["state"] == "PENDING"
    venue.pin("1.07900", "1.07910")
    body = venue.refused(orders.OrderDetails(venue.account, "@eng-17"), 404)
    assert body["errorCode"] == "NO_SUCH_ORDER"


@cases.case(18, "a client id twice, both ways")
def duplicates(settings: dict[str, Any]) -> None:
    fields = {"units": "1", "price": "1.00000", "clientExtensions": contrib_extensions("eng-18")}
    loose, strict = main_venue(settings), Venue(settings["strict"])
    assert (
        loose.order("LIMIT", **fields)["orderCreateTransaction"]["id"]
        < (loose.order("LIMIT", **fields)["orderCreateTransaction"]["id"])
    )
    strict.order("LIMIT", **fields)
    data = {"order": {"type": "LIMIT", "instrument": "EUR_USD", **fields}}
    body = strict.refused(orders.OrderCreate(strict.account, data=data), 400)
    assert body["errorCode"] == "CLIENT_ORDER_ID_ALREADY_EXISTS"


@cases.case(19, "client extensions of orders and trades")
def extending(settings: dict[str, Any]) -> None:
    venue = main_venue(settings)
    number = venue.order("LIMIT", units="1", price="1.00000")["orderCreateTransaction"]["id"]
    data = {"clientExtensions": contrib_extensions("eng-19")}
    made = venue.ask(orders.OrderClientExtensions(venue.account, number, data=data))
    assert made["orderClientExtensionsModifyTransaction"]["orderID"] == number
    trade_id = venue.order("MARKET", units="1")["orderFillTransaction"]["id"]
    made = venue.ask(trades.TradeClientExtensions(venue.account, trade_id, data=data))
    assert made["tradeClientExtensionsModifyTransaction"]["tradeID"] == trade_id
    assert venue.ask(trades.TradeDetails(venue.account, "@eng-19"))["trade"]["id"] == trade_id


@cases.case(20, "trades")
def trade_requests(settings: dict[str, Any]) -> None:
    venue = main_venue(settings)
    trade_id = venue.order("MARKET", units="10")["orderFillTransaction"]["id"]
    assert [each["id"] for each in venue.ask(trades.TradesList(venue.account, {"count": 1}))["trades"]] == [trade_id]
    made = venue.ask(trades.TradeClose(venue.account, trade_id, data={"units": "4"}))
    assert made["orderFillTransaction"]["tradeReduced"]["tradeID"] == trade_id
    first = venue.ask(trades.TradeCRCDO(venue.account, trade_id, data={"takeProfit": {"price": "1.10000"}}))
    again = venue.ask(trades.TradeCRCDO(venue.account, trade_id, data={"takeProfit": {"price": "1.20000"}}))
    assert again["takeProfitOrderTransaction"]["replacesOrderID"] == first["takeProfitOrderTransaction"]["id"]
    gone = venue.ask(trades.TradeCRCDO(venue.account, trade_id, data={"takeProfit": None}))
    assert "takeProfitOrderCancelTransaction" in gone
    venue.ask(trades.TradeClose(venue.account, trade_id, data={"units": "ALL"}))
    assert venue.ask(trades.OpenTrades(venue.account))["trades"] == []
    closed = venue.ask(trades.TradesList(venue.account, {"state": "CLOSED", "count": 1}))["trades"]
    assert closed[0]["id"] == trade_id


@cases.case(21, "positions")
def position_requests(settings: dict[str, Any]) -> None:
    venue = main_venue(settings)
    venue.order("MARKET", units="10")
    wrong = positions.PositionClose(venue.account, "EUR_USD", data={"longUnits": "NONE", "shortUnits": "ALL"})
    assert venue.refused(wrong, 400)["errorCode"] == "CLOSEOUT_POSITION_DOESNT_EXIST"
    close = positions.PositionClose(venue.account, "EUR_USD", data={"longUnits": "ALL", "shortUnits": "NONE"})
    assert venue.ask(close)["longOrderFillTransaction"]["units"] == "-10"
    assert venue.refused(close, 404)["errorCode"] == "CLOSEOUT_POSITION_DOESNT_EXIST"
    flat = venue.ask(positions.PositionDetails(venue.account, "EUR_USD"))["position"]
    assert flat["long"]["units"] == flat["short"]["units"] == "0"
    assert venue.refused(positions.PositionDetails(venue.account, "SPX500_USD"), 404)["errorCode"] == "NO_SUCH_POSITION"
    assert "EUR_USD" in [each["instrument"] for each in venue.ask(positions.PositionList(venue.account))["positions"]]
    assert venue.ask(positions.OpenPositions(venue.account))["positions"] == []


@cases.case(22, "transactions")
def transaction_requests(settings: dict[str, Any]) -> None:
    venue = main_venue(settings)
    number = venue.order("MARKET", units="1")["lastTransactionID"]
    listed = venue.ask(transactions.TransactionList(venue.account, {"pageSize": 100}))
    found: list[dict[str, Any]] = []
    for page in listed["pages"]:
        headers = {"Authorization": f"Bearer {venue.token}"}
        found += requests.get(page, headers=headers, timeout=10, **venue.trust).json()["transactions"]
        query = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(page).query))
        assert venue.ask(transactions.TransactionIDRange(venue.account, query))["transactions"]
    assert len(found) == listed["count"]
    assert [int(each["id"]) for each in found] == list(range(1, int(number) + 1))
    assert venue.ask(transactions.TransactionDetails(venue.account, number))["transaction"] == found[-1]
    assert venue.since(str(int(number) - 1)) == found[-1:]


if __name__ == "__main__":
    cases.main()
