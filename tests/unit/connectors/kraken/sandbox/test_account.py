"""Orders over the Kraken sandbox's REST: what is refused and how, lists, the dead man's switch."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.kraken.sandbox.account import Account
from connectors.kraken.sandbox.errors import ApiError
from connectors.kraken.sandbox.queries import Queries
from connectors.kraken.sandbox.settings import KrakenSettings
from connectors.local.operator import Door
from tests.support.local_venues import NOW_NS, Client, kraken, spot

NS = 1_000_000_000
LIMIT = {"pair": "XBTUSD", "type": "buy", "ordertype": "limit", "volume": "0.01", "price": "1000"}
STOP = {
    "pair": "XBT/USD",
    "type": "sell",
    "ordertype": "stop-loss-limit",
    "volume": "0.01",
    "price": "900",
    "price2": "890",
}
WRONG: list[tuple[dict[str, str], dict[str, str], str]] = [
    (LIMIT, {"pair": "NOSUCH"}, "EQuery:Unknown asset pair"),
    (LIMIT, {"pair": ""}, "EQuery:Unknown asset pair"),
    (LIMIT, {"type": "hold"}, "EGeneral:Invalid arguments:type"),
    (LIMIT, {"ordertype": "iceberg"}, "EGeneral:Invalid arguments:ordertype"),
    (LIMIT, {"volume": ""}, "EGeneral:Invalid arguments:volume"),
    (LIMIT, {"volume": "-1"}, "EGeneral:Invalid arguments:volume"),
    (LIMIT, {"volume": "NaN"}, "EGeneral:Invalid arguments:volume"),
    (LIMIT, {"volume": "0.00001"}, "EOrder:Order minimum not met"),
    (LIMIT, {"volume": "20"}, "EOrder:Insufficient funds"),
    (LIMIT, {"volume": "200", "price": "1000"}, "EOrder:Insufficient funds"),
    (LIMIT, {"price": ""}, "EGeneral:Invalid arguments:price"),
    (LIMIT, {"price": "1000.05"}, "EOrder:Tick size check failed"),
    (LIMIT, {"price": "1", "volume": "0.1"}, "EOrder:Cost minimum not met"),
    (LIMIT, {"price": "70000", "oflags": "post"}, "EOrder:Post only order"),
    (LIMIT, {"oflags": "viqc"}, "EGeneral:Invalid arguments:oflags"),
    (LIMIT, {"oflags": "fast"}, "EGeneral:Invalid arguments:oflags"),
    (LIMIT, {"timeinforce": "FOK"}, "EGeneral:Invalid arguments:timeinforce"),
    (LIMIT, {"timeinforce": "GTD"}, "EGeneral:Invalid arguments:expiretm"),
    (LIMIT, {"timeinforce": "GTD", "expiretm": "5"}, "EGeneral:Invalid arguments:expiretm"),
    (LIMIT, {"leverage": "3:1"}, "EGeneral:Invalid arguments:leverage"),
    (LIMIT, {"close[ordertype]": "limit"}, "EGeneral:Invalid arguments:close"),
    (LIMIT, {"userref": "many"}, "EGeneral:Invalid arguments:userref"),
    (LIMIT, {"cl_ord_id": "nineteen characters"}, "EGeneral:Invalid arguments:cl_ord_id"),
    (LIMIT, {"cl_ord_id": "mine", "userref": "1"}, "EGeneral:Invalid arguments:cl_ord_id"),
    (LIMIT, {"deadline": "2024-01-01T00:00:00Z"}, "EService:Deadline elapsed"),
    (LIMIT, {"deadline": "soon"}, "EGeneral:Invalid arguments:deadline"),
    (LIMIT, {"deadline": "2124-01-01T00:00:00"}, "EGeneral:Invalid arguments:deadline"),
    (STOP, {"price2": ""}, "EGeneral:Invalid arguments:price"),
    (STOP, {"price": "90000"}, "EOrder:Invalid price"),
    (STOP, {}, "EOrder:Insufficient funds"),
]


async def test_what_is_no_order_is_refused_in_the_venues_words(tmp_path: Path) -> None:
    """One wrong field each; ``validate`` says the same, and nothing comes of any."""
    async with kraken(tmp_path, balances=(("USD", Decimal(10_000)),)) as client:
        for order, change, text in WRONG:
            asked = {name: value for name, value in {**order, **change}.items() if value}
            for more in ({}, {"validate": "true"}):
                assert await client.kraken("AddOrder", **asked, **more) == [text], change
        assert (await client.kraken("OpenOrders"))["open"] == {}
        assert "txid" not in await client.kraken("AddOrder", **LIMIT, validate="true")
        assert (await client.kraken("ClosedOrders"))["count"] == 0
        assert await client.kraken("NoSuch") == ["EGeneral:Unknown method"]


async def placed(client: Client, **changes: str) -> str:
    (txid,) = (await client.kraken("AddOrder", **{**LIMIT, **changes}))["txid"]
    return str(txid)


async def test_orders_are_found_by_each_of_their_names(tmp_path: Path) -> None:
    """Their id, their client id, a user's reference; cancelled by each."""
    async with kraken(tmp_path) as client:
        one = await placed(client, cl_ord_id="mine")
        two = await placed(client, userref="7")
        three = await placed(client, userref="7")
        assert set(await client.kraken("QueryOrders", txid=f"{one},{two}")) == {one, two}
        assert set(await client.kraken("QueryOrders", cl_ord_id="mine")) == {one}
        assert set((await client.kraken("OpenOrders", userref=7))["open"]) == {two, three}
        assert set((await client.kraken("OpenOrders", cl_ord_id="mine"))["open"]) == {one}
        assert await client.kraken("AddOrder", **LIMIT, cl_ord_id="mine") == ["EOrder:cl_ord_id already in use"]
        assert await client.kraken("CancelOrder", cl_ord_id="mine") == {"count": 1}
        assert await client.kraken("CancelOrder", txid=7) == {"count": 2}
        assert await client.kraken("CancelOrder", txid=one) == ["EOrder:Unknown order"]
        assert await client.kraken("CancelOrder") == ["EGeneral:Invalid arguments:txid"]
        assert await client.kraken("QueryOrders", txid="OAAAAA-BBBBB-CCCCCC") == ["EOrder:Invalid order"]
        closed = (await client.kraken("ClosedOrders"))["closed"]
        assert set(closed) == {one, two, three}
        assert {row["status"] for row in closed.values()} == {"canceled"}
        assert list((await client.kraken("ClosedOrders", ofs=1))["closed"]) == list(closed)[1:]


async def test_an_order_is_described_as_it_was_asked_for(tmp_path: Path) -> None:
    """Its sentence, prices with the pair's decimals, flags."""
    async with kraken(tmp_path, balances=(("USD", Decimal(100_000)), ("BTC", Decimal(1)))) as client:
        told = await client.kraken("AddOrder", **LIMIT, oflags="post")
        assert told["descr"]["order"] == "buy 0.01000000 XBTUSD @ limit 1000.0"
        row = (await client.kraken("QueryOrders", txid=told["txid"][0]))[told["txid"][0]]
        assert (row["descr"]["price"], row["descr"]["price2"], row["oflags"]) == ("1000.0", "0", "post,fciq")
        told = await client.kraken("AddOrder", **STOP)
        assert told["descr"]["order"] == "sell 0.01000000 XBTUSD @ stop loss 900.0 -> limit 890.0"
        row = (await client.kraken("QueryOrders", txid=told["txid"][0]))[told["txid"][0]]
        assert (row["descr"]["price"], row["descr"]["price2"]) == ("900.0", "890.0")
        told = await client.kraken("AddOrder", pair="XXBTZUSD", type="buy", ordertype="market", volume="0.5")
        row = (await client.kraken("QueryOrders", txid=told["txid"][0], trades="true"))[told["txid"][0]]
        assert (row["status"], row["vol_exec"]) == ("closed", "0.50000000")
        trades = await client.kraken("QueryTrades", txid=",".join(row["trades"]))
        assert {trade["ordertxid"] for trade in trades.values()} == {told["txid"][0]}
        assert await client.kraken("QueryTrades", txid="TAAAAA-BBBBB-CCCCCC") == ["EQuery:Unknown trade"]


async def test_amending_says_what_it_did_or_why_not(tmp_path: Path) -> None:
    """By both names; of an order that is gone."""
    async with kraken(tmp_path) as client:
        one = await placed(client, cl_ord_id="mine")
        assert "amend_id" in await client.kraken("AmendOrder", txid=one, order_qty="0.02")
        assert "amend_id" in await client.kraken("AmendOrder", cl_ord_id="mine", limit_price="1100")
        row = (await client.kraken("QueryOrders", txid=one))[one]
        assert (row["vol"], row["descr"]["price"]) == ("0.02000000", "1100.0")
        assert await client.kraken("AmendOrder", txid=one, limit_price="1100.05") == ["EOrder:Tick size check failed"]
        assert await client.kraken("CancelAll") == {"count": 1}
        assert await client.kraken("AmendOrder", txid=one, order_qty="0.03") == ["EOrder:Unknown order"]


async def test_the_dead_mans_switch_cancels_what_nobody_holds(tmp_path: Path) -> None:
    """When its time is over; taken back with 0; refused when it is too long."""
    async with kraken(tmp_path) as client:
        await placed(client)
        assert (await client.kraken("CancelAllOrdersAfter", timeout=1))["triggerTime"] != "0"
        assert (await client.kraken("CancelAllOrdersAfter", timeout=0))["triggerTime"] == "0"
        venue, now_ns = client.venue.venue, time.time_ns()
        venue.every_second(now_ns + 100 * NS)
        assert len((await client.kraken("OpenOrders"))["open"]) == 1
        await client.kraken("CancelAllOrdersAfter", timeout=60)
        venue.every_second(now_ns + 50 * NS)
        assert len((await client.kraken("OpenOrders"))["open"]) == 1
        venue.every_second(now_ns + 70 * NS)
        assert not (await client.kraken("OpenOrders"))["open"]
        for timeout in ("90000", "soon", ""):
            assert (await client.kraken("CancelAllOrdersAfter", timeout=timeout))[0].startswith("EGeneral:Invalid")


async def test_a_batch_of_cancels_counts_those_that_went(tmp_path: Path) -> None:
    """A body of JSON, signed like any other."""
    async with kraken(tmp_path) as client:
        ids = [await placed(client), await placed(client)]
        nonce = str(next(client._nonces))
        body = json.dumps({"nonce": nonce, "orders": [*ids, "OAAAAA-BBBBB-CCCCCC"]})
        path = "/0/private/CancelOrderBatch"
        digest = hashlib.sha256((nonce + body).encode()).digest()
        signed = hmac.new(base64.b64decode(client.secret), path.encode() + digest, hashlib.sha512).digest()
        headers = {"API-Key": client.api_key, "API-Sign": base64.b64encode(signed).decode()}
        url = client.venue.url + path
        kind = {"Content-Type": "application/json"}
        async with client.session.post(url, data=body, headers={**headers, **kind}) as answer:
            assert (await answer.json())["result"] == {"count": 2}


@pytest.mark.parametrize("name", ["Balance", "BalanceEx", "TradeBalance"])
async def test_money_is_told_in_the_venues_names(name: str, tmp_path: Path) -> None:
    """With what orders hold."""
    async with kraken(tmp_path) as client:
        await placed(client)
        told: Any = await client.kraken(name)
        expected: dict[str, Any] = {
            "Balance": {"ZUSD": "100000.0000000000"},
            "BalanceEx": {"ZUSD": {"balance": "100000.0000000000", "hold_trade": "10.0400000000"}},
            "TradeBalance": told | {"eb": "100000.0000"},
        }
        assert told == expected[name]


@pytest.mark.parametrize("fees_in", ["quote", "received"])
async def test_what_is_told_of_trades_is_what_the_balances_did(tmp_path: Path, fees_in: str) -> None:
    """Prices, volumes and fees of a hundred trades make both balances, to the last digit that is told."""
    start = (("USD", Decimal(100_000)), ("BTC", Decimal(1)))
    async with kraken(tmp_path, balances=start, fees_in=fees_in) as client:
        for number in range(1, 40):
            way, volume = ("buy", "sell")[number % 2], f"0.0{number:02}{number * 12_347 % 99_999:05}"
            await placed(client, type=way, ordertype="market", price="", volume=volume)
        trades = (await client.kraken("TradesHistory"))["trades"].values()
        money, coins = Decimal(100_000), Decimal(1)
        for trade in trades:
            px, qty, fee = (Decimal(trade[name]) for name in ("price", "vol", "fee"))
            sign = 1 if trade["type"] == "buy" else -1
            in_coins = fees_in == "received" and sign > 0
            money -= sign * px * qty + (0 if in_coins else fee)
            coins += sign * qty - (fee if in_coins else 0)
        assert len(trades) >= 39
        assert sum(Decimal(trade["fee"]) for trade in trades) > 1
        balances = await client.kraken("Balance")
        assert (Decimal(balances["ZUSD"]), Decimal(balances["XXBT"])) == (money, coins)


async def test_fees_are_told_for_a_pair(tmp_path: Path) -> None:
    """In percent."""
    async with kraken(tmp_path) as client:
        told = await client.kraken("TradeVolume", pair="XBTUSD")
        assert told["fees"]["XXBTZUSD"]["fee"] == "0.4000"
        assert told["fees_maker"]["XXBTZUSD"]["fee"] == "0.2500"


_NAMES = ["pair", "type", "ordertype", "volume", "price", "price2", "oflags", "timeinforce", "expiretm", "cl_ord_id",
          "userref", "txid", "ofs", "start", "end", "count", "since", "interval", "trades", "validate", "timeout",
          "order_qty", "limit_price", "asset", "leverage", "orders[0]"]  # fmt: skip
_WORDS = ["XBTUSDT", "buy", "sell", "limit", "market", "stop-loss", "take-profit-limit", "post", "viqc", "GTD", "IOC",
          "+5", "0", "1", "0.01", "60000", "9" * 15, "9" * 19, "9" * 21, "-1", "1e5", "NaN", "", "true", "mine", "1440",
          "OAAAAA-BBBBB-CCCCCC", "1790000000.5", "0.00000001"]  # fmt: skip
_EXCHANGE = spot()
_QUERIES = Queries(_EXCHANGE, Door())
_ACCOUNT = Account(KrakenSettings(), _EXCHANGE, _QUERIES, lambda *_: None)
_ASKS = {name: ask for name, (ask, _, _) in _ACCOUNT.table().items()} | _QUERIES.table()
_PARAMS = st.dictionaries(st.sampled_from(_NAMES), st.sampled_from(_WORDS) | st.text(max_size=6), max_size=5)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(sorted(_ASKS)), _PARAMS, st.booleans())
def test_any_parameters_are_answered_or_refused(name: str, params: dict[str, str], whole: bool) -> None:
    """Of every request that there is: JSON, or an error of the venue's, and nothing else."""
    asked = {**LIMIT, "pair": "XBTUSDT", "price": "60000", **params} if whole else params
    try:
        made = _ASKS[name](asked, NOW_NS + 2 * NS)
    except ApiError as error:
        made = str(error)
        assert made.startswith("E")
    msgspec.json.encode(made)
    _EXCHANGE.drain()
