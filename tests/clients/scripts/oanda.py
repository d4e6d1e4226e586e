"""The numbered list of the OANDA sheet with oandapyV20, unmodified: what is read, streams, errors."""

from __future__ import annotations

import datetime
import threading
import time
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import requests
from cases import List, eventually, operate
from oanda_client import Venue, contrib_extensions, failure, main_venue
from oandapyV20.endpoints import accounts, instruments, orders, positions, pricing, transactions
from oandapyV20.exceptions import StreamTerminated

cases = List("oanda", "oandapyV20")


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
