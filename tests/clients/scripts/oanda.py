"""The numbered list of the OANDA sheet with oandapyV20, unmodified: requests, streams, errors.

Settings: ``main`` (quotes that stand still), ``lively``, ``strict`` (client ids are unique), ``limited`` (one stream),
each ``{rest, account, token, authority?}``.  ``main`` speaks TLS.
"""

from __future__ import annotations

import datetime
import json
import threading
import time
import urllib.parse
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import requests
from cases import List, eventually, operate
from oandapyV20 import API
from oandapyV20.contrib import requests as contrib
from oandapyV20.endpoints import accounts, instruments, orders, positions, pricing, trades, transactions
from oandapyV20.exceptions import StreamTerminated, V20Error
from oandapyV20.oandapyV20 import TRADING_ENVIRONMENTS

cases = List("oanda", "oandapyV20")


class Venue:
    """One sandbox by the client; ``ask`` returns the client's own response."""

    def __init__(self, at: dict[str, Any], token: str | None = None) -> None:
        self.rest, self.account = at["rest"], at["account"]
        self.token = at["token"] if token is None else token
        name = self.rest
        TRADING_ENVIRONMENTS[name] = {"api": self.rest, "stream": self.rest}
        self.trust = {"verify": at["authority"]} if "authority" in at else {}
        self.api = API(access_token=self.token, environment=name, request_params={"timeout": 10, **self.trust})

    def ask(self, endpoint: Any) -> dict[str, Any]:
        self.api.request(endpoint)
        found: dict[str, Any] = endpoint.response
        return found

    def order(self, kind: str, status: int = 201, **fields: Any) -> dict[str, Any]:
        given = {"type": kind, **fields}
        if "tradeID" not in fields and "clientTradeID" not in fields:
            given.setdefault("instrument", "EUR_USD")
        endpoint = orders.OrderCreate(self.account, data={"order": given})
        made = self.ask(endpoint)
        assert endpoint.status_code == status, endpoint.status_code
        return made

    def refused(self, endpoint: Any, code: int) -> dict[str, Any]:
        error = failure(self.api, endpoint)
        assert error.code == code, (error.code, error.msg)
        body: dict[str, Any] = json.loads(error.msg)
        return body

    def pin(self, bid: str = "1.08400", ask: str = "1.08410", units: str = "1000000") -> None:
        operate(self.rest, act="pin", instrument="EUR_USD", bids=[[bid, units]], asks=[[ask, units]])

    def last(self) -> str:
        found: str = self.ask(accounts.AccountSummary(self.account))["lastTransactionID"]
        return found

    def since(self, number: str) -> list[dict[str, Any]]:
        found = self.ask(transactions.TransactionsSinceID(self.account, {"id": number}))["transactions"]
        assert isinstance(found, list)
        return found

    def flat(self) -> None:
        """No open orders, no position, the usual quote."""
        self.pin()
        for order in self.ask(orders.OrdersPending(self.account))["orders"]:
            if "tradeID" not in order:
                self.ask(orders.OrderCancel(self.account, order["id"]))
        for trade in self.ask(trades.OpenTrades(self.account))["trades"]:
            self.ask(trades.TradeClose(self.account, trade["id"]))


def failure(api: API, endpoint: Any, *, streams: bool = False) -> V20Error:
    """The client's own error of a request, or of the first line of a stream."""
    try:
        made = api.request(endpoint)
        if streams:
            made = next(made)
    except V20Error as error:
        return error
    raise AssertionError(f"accepted: {made}")


def main_venue(settings: dict[str, Any]) -> Venue:
    venue = Venue(settings["main"])
    venue.flat()
    return venue


@cases.case(1, "accounts, details, summary")
def account_reads(settings: dict[str, Any]) -> None:
    venue = main_venue(settings)
    assert venue.account in [each["id"] for each in venue.ask(accounts.AccountList())["accounts"]]
    details = venue.ask(accounts.AccountDetails(venue.account))["account"]
    summary = venue.ask(accounts.AccountSummary(venue.account))["account"]
    for name in ("NAV", "balance", "unrealizedPL", "marginAvailable", "marginCloseoutPercent", "pl"):
        assert isinstance(summary[name], str), name
        Decimal(summary[name])
        assert name in details
    assert all(isinstance(summary[name], int) for name in ("openTradeCount", "pendingOrderCount", "createdByUserID"))
    assert isinstance(details["trades"], list)


@cases.case(2, "instruments, all and some")
def instrument_reads(settings: dict[str, Any]) -> None:
    venue = main_venue(settings)
    every = venue.ask(accounts.AccountInstruments(venue.account))["instruments"]
    some = venue.ask(accounts.AccountInstruments(venue.account, {"instruments": "USD_JPY"}))["instruments"]
    assert [each["name"] for each in some] == ["USD_JPY"]
    assert len(every) > 2
    assert all(isinstance(each[name], int) for each in every for name in ("displayPrecision", "tradeUnitsPrecision"))


@cases.case(3, "configuration")
def configuration(settings: dict[str, Any]) -> None:
    venue = main_venue(settings)
    made = venue.ask(accounts.AccountConfiguration(venue.account, {"marginRate": "0.05", "alias": "x"}))
    assert made["clientConfigureTransaction"]["type"] == "CLIENT_CONFIGURE"
    assert "clientConfigureRejectTransaction" in venue.refused(
        accounts.AccountConfiguration(venue.account, {"marginRate": "5"}), 400
    )
    venue.ask(accounts.AccountConfiguration(venue.account, {"marginRate": "0.02"}))


@cases.case(4, "changes since a transaction")
def changes(settings: dict[str, Any]) -> None:
    venue = main_venue(settings)
    before = venue.last()
    filled = venue.order("MARKET", units="10")["orderFillTransaction"]
    waiting = venue.order("LIMIT", units="1", price="1.00000")["orderCreateTransaction"]
    body = venue.ask(accounts.AccountChanges(venue.account, {"sinceTransactionID": before}))
    assert [each["id"] for each in body["changes"]["ordersCreated"]] == [filled["orderID"], waiting["id"]]
    assert [each["id"] for each in body["changes"]["tradesOpened"]] == [filled["id"]]
    assert "NAV" in body["state"]
    assert body["lastTransactionID"] == waiting["id"]


@cases.case(5, "candles")
def candles(settings: dict[str, Any]) -> None:
    venue = main_venue(settings)

    def ask(**params: Any) -> Any:
        return instruments.InstrumentsCandles("EUR_USD", params=params)

    both = venue.ask(ask(granularity="M1", price="BA", count=5000))["candles"]
    assert set(both[0]) == {"complete", "volume", "time", "bid", "ask"}
    assert [each["complete"] for each in both[-2:]] == [True, False]
    assert "mid" in venue.ask(ask(granularity="H1"))["candles"][0]
    venue.refused(ask(count=5001), 400)
    venue.refused(ask(**{"from": both[0]["time"], "to": both[9]["time"], "count": 3}), 400)
    ranged = venue.ask(ask(**{"granularity": "M1", "from": both[0]["time"], "to": both[9]["time"]}))["candles"]
    assert [each["time"] for each in ranged] == [each["time"] for each in both[:9]]


@cases.case(6, "prices")
def prices(settings: dict[str, Any]) -> None:
    venue = main_venue(settings)
    plain = venue.ask(pricing.PricingInfo(venue.account, {"instruments": "USD_JPY,EUR_USD"}))
    assert [each["instrument"] for each in plain["prices"]] == ["USD_JPY", "EUR_USD"]
    assert plain["prices"][1]["tradeable"] is True
    assert "homeConversions" not in plain
    more = {"instruments": "USD_JPY", "includeHomeConversions": True}
    assert venue.ask(pricing.PricingInfo(venue.account, more))["homeConversions"]


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


def contrib_extensions(client_id: str) -> dict[str, str]:
    from oandapyV20.contrib.requests import ClientExtensions

    made: dict[str, str] = ClientExtensions(clientID=client_id, clientTag="t", clientComment="c").data
    return made


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


def _lines(
    endpoint: Any, stream: Iterator[dict[str, Any]], into: list[dict[str, Any]], ended: list[str], beats: int
) -> None:
    try:
        for line in stream:
            into.append(line)
            if beats and sum(each["type"] == "HEARTBEAT" for each in into) == beats:
                endpoint.terminate("enough")
    except StreamTerminated:
        ended.append("terminated")
        return
    except Exception as error:  # the client's, whatever it is
        ended.append(type(error).__name__)
        return
    ended.append("end")


def listen(venue: Venue, endpoint: Any, beats: int = 0) -> tuple[list[dict[str, Any]], list[str]]:
    """Lines of a stream as the client gives them, and how it ended; terminated after so many heartbeats."""
    lines: list[dict[str, Any]] = []
    ended: list[str] = []
    stream = venue.api.request(endpoint)
    threading.Thread(target=_lines, args=(endpoint, stream, lines, ended, beats), daemon=True).start()
    return lines, ended


@cases.case(23, "price stream: snapshot, windows, heartbeats, ends")
def price_stream(settings: dict[str, Any]) -> None:
    venue = Venue(settings["lively"])
    endpoint = pricing.PricingStream(venue.account, {"instruments": "EUR_USD,USD_JPY"})
    lines, ended = listen(venue, endpoint, beats=4)
    eventually(lambda: sum(line["type"] == "HEARTBEAT" for line in lines) >= 3, 30)
    assert {line["instrument"] for line in lines[:2]} == {"EUR_USD", "USD_JPY"}
    euros = [line for line in lines if line.get("instrument") == "EUR_USD"]
    # By the venue's own times: what this machine hears late comes in bursts.
    told = [datetime.datetime.fromisoformat(line["time"][:26]) for line in euros]
    assert 2 <= len(euros) <= 3 + (told[-1] - told[0]).total_seconds() / 0.25
    eventually(lambda: ended == ["terminated"], 30)
    lines, ended = listen(venue, pricing.PricingStream(venue.account, {"instruments": "EUR_USD"}))
    eventually(lambda: lines)
    operate(venue.rest, act="end", kind="prices")
    eventually(lambda: ended == ["end"])


@cases.case(24, "transaction stream: each once, in order; what was missed is found by sinceid")
def transaction_stream(settings: dict[str, Any]) -> None:
    venue = main_venue(settings)
    before = venue.last()
    lines, ended = listen(venue, transactions.TransactionsStream(venue.account))
    eventually(lambda: any(line["type"] == "HEARTBEAT" for line in lines))
    venue.order("MARKET", units="10", stopLossOnFill={"price": "1.00000"})
    venue.order("LIMIT", units="1", price="1.00000")
    heard = eventually(lambda: len(got := [each for each in lines if each["type"] != "HEARTBEAT"]) >= 4 and got)
    assert [int(each["id"]) for each in heard] == list(range(int(before) + 1, int(before) + 5))
    operate(venue.rest, act="disconnect", kind="transactions")
    eventually(lambda: ended)
    assert ended[0] != "end"
    venue.order("MARKET", units="-10")
    again, _ = listen(venue, transactions.TransactionsStream(venue.account))
    beat = eventually(lambda: [line for line in again if line["type"] == "HEARTBEAT"])[0]
    missed = venue.since(heard[-1]["id"])
    assert missed[-1]["id"] == beat["lastTransactionID"]
    assert [each["type"] for each in missed] == ["MARKET_ORDER", "ORDER_FILL", "ORDER_CANCEL"]


@cases.case(25, "a silent stream")
def silence(settings: dict[str, Any]) -> None:
    venue = Venue(settings["lively"])
    lines, ended = listen(venue, transactions.TransactionsStream(venue.account))
    eventually(lambda: lines, 20)
    operate(venue.rest, act="mute")
    heard = len(lines)
    time.sleep(0.7)
    assert len(lines) == heard
    assert not ended
    operate(venue.rest, act="disconnect")


@cases.case(26, "a closed market")
def closed(settings: dict[str, Any]) -> None:
    venue = main_venue(settings)
    venue.order("MARKET", units="10")
    operate(venue.rest, act="halt", instrument="EUR_USD")
    try:
        price = venue.ask(pricing.PricingInfo(venue.account, {"instruments": "EUR_USD"}))["prices"][0]
        assert price["tradeable"] is False
        assert venue.order("MARKET", units="1")["orderCancelTransaction"]["reason"] == "MARKET_HALTED"
        assert "orderCancelTransaction" not in venue.order("LIMIT", units="1", price="1.00000")
        close = positions.PositionClose(venue.account, "EUR_USD", data={"longUnits": "ALL"})
        assert venue.ask(close)["longOrderCancelTransaction"]["reason"] == "MARKET_HALTED"
    finally:
        operate(venue.rest, act="open", instrument="EUR_USD")


@cases.case(27, "a wrong token")
def wrong_token(settings: dict[str, Any]) -> None:
    venue = Venue(settings["main"], token="wrong")
    assert "authorization" in venue.refused(accounts.AccountList(), 401)["errorMessage"]
    stream = transactions.TransactionsStream(venue.account)
    assert failure(venue.api, stream, streams=True).code == 401


@cases.case(28, "an answer that is lost")
def lost_answers(settings: dict[str, Any]) -> None:
    venue = main_venue(settings)
    for apply, there in (("before", True), ("no", False), ("after", True)):
        before = venue.last()
        operate(venue.rest, act="answer", path="/orders", method="POST", status=0, apply=apply, delay_s=0.2)
        data = {"order": {"type": "MARKET", "instrument": "EUR_USD", "units": "1"}}
        data["order"]["clientExtensions"] = contrib_extensions(f"eng-28-{apply}")  # type: ignore[assignment]
        try:
            venue.api.request(orders.OrderCreate(venue.account, data=data))
        except (requests.ConnectionError, requests.exceptions.ChunkedEncodingError):
            pass
        else:
            raise AssertionError("an answer came")
        if there:
            eventually(lambda: len(venue.since(before)) >= 2)  # noqa: B023 - asked at once
        else:
            time.sleep(0.3)
        made = venue.since(before)
        assert bool(made) is there, (apply, made)
        if made:
            assert made[0]["clientExtensions"]["id"] == f"eng-28-{apply}"
            assert made[1]["clientOrderID"] == f"eng-28-{apply}"


@cases.case(29, "answers that are none")
def broken_answers(settings: dict[str, Any]) -> None:
    venue = main_venue(settings)
    summary = accounts.AccountSummary(venue.account)
    for fault, code in (
        ({"status": 429, "body": '{"errorMessage":"slow down"}', "headers": {"Retry-After": "1"}}, 429),
        ({"status": 503, "body": "<html>maintenance</html>", "content_type": "text/html"}, 503),
    ):
        operate(venue.rest, act="answer", path="/summary", **fault)
        assert failure(venue.api, summary).code == code
    for fault in ({"status": 200, "body": '{"account":', "times": 1}, {"status": 200, "body": '{"a":1}', "cut": 3}):
        operate(venue.rest, act="answer", path="/summary", **fault)
        try:
            venue.api.request(summary)
        except (ValueError, requests.RequestException):
            pass
        else:
            raise AssertionError("broken JSON was taken")
    operate(venue.rest, act="answer", path="/summary", late=True, delay_s=2.0)
    venue.api.request_params["timeout"] = 0.3
    try:
        venue.api.request(summary)
    except requests.Timeout:
        pass
    else:
        raise AssertionError("no timeout")
    venue.api.request_params["timeout"] = 10


@cases.case(30, "times as unix seconds")
def unix_times(settings: dict[str, Any]) -> None:
    venue = main_venue(settings)
    venue.api.client.headers["Accept-Datetime-Format"] = "UNIX"
    made = venue.order("MARKET", units="1")
    assert Decimal(made["orderFillTransaction"]["time"]) > 1_700_000_000
    candle = venue.ask(instruments.InstrumentsCandles("EUR_USD", params={"count": 1}))["candles"][0]
    assert Decimal(candle["time"]) > 1_700_000_000


@cases.case(31, "too many streams, too many connections")
def limits(settings: dict[str, Any]) -> None:
    venue = Venue(settings["limited"])
    lines, _ = listen(venue, transactions.TransactionsStream(venue.account))
    eventually(lambda: lines, 20)
    second = Venue(settings["limited"])
    for _ in range(6):
        one_more = transactions.TransactionsStream(second.account)
        assert failure(Venue(settings["limited"]).api, one_more, streams=True).code == 429


if __name__ == "__main__":
    cases.main()
