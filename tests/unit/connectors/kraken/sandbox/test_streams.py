"""WebSocket v2 of the Kraken sandbox: requests, checksums, executions, and what our own parser makes of it."""

from __future__ import annotations

import asyncio
import json
import re
from decimal import Decimal
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.kraken.sandbox.access import Access
from connectors.kraken.sandbox.account import Account
from connectors.kraken.sandbox.queries import Queries
from connectors.kraken.sandbox.settings import KrakenSettings
from connectors.kraken.sandbox.streams import Streams
from connectors.kraken.spot_v2 import KrakenV2Protocol
from connectors.local.keys import make_key
from connectors.local.lines import Line, Lines
from connectors.local.operator import Door
from engine.events import BookSnapshot, Quote, Trade
from tests.support.local_venues import NOW_NS, Client, Stream, kraken, spot, stream

LIVELY = {"step_ms": 5.0, "rate_per_s": 400.0}
_LEVEL = re.compile(r'\{"price":([0-9.]+),"qty":([0-9.]+)\}')


async def subscribe(line: Stream, number: int = 1, **params: Any) -> Any:
    await line.say(method="subscribe", params=params, req_id=number)
    return await line.until(req_id=number)


async def token(client: Client) -> str:
    return str((await client.kraken("GetWebSocketsToken"))["token"])


async def test_requests_are_answered_each_by_its_number(tmp_path: Path) -> None:
    """A welcome, a ping, subscriptions one a symbol; what is wrong is told and changes nothing."""
    async with kraken(tmp_path) as client, stream(client, "/v2") as line:
        welcome = await line.read()
        assert (welcome["channel"], welcome["data"][0]["system"]) == ("status", "online")
        await line.say(method="ping", req_id=5)
        pong = await line.read()
        assert (pong["method"], pong["req_id"]) == ("pong", 5)
        await line.say(method="subscribe", params={"channel": "trade", "symbol": ["BTC/USD", "ETH/USD"]}, req_id=6)
        said = [await line.read() for _ in range(4)]
        assert [one["result"]["symbol"] for one in said if "result" in one] == ["BTC/USD", "ETH/USD"]
        assert [one["type"] for one in said if "channel" in one] == ["snapshot", "snapshot"]
        for params, text in (
            ({"channel": "trade", "symbol": ["NO/SUCH"]}, "Currency pair not supported NO/SUCH"),
            ({"channel": "trade", "symbol": "BTC/USD"}, "Symbol field must be an array"),
            ({"channel": "trade", "symbol": [["BTC/USD"]]}, "Symbol field must be an array"),
            ({"channel": "dreams"}, "Subscription name invalid"),
            ({"channel": ["trade"]}, "Subscription name invalid"),
            ({"channel": "book", "symbol": ["BTC/USD"], "depth": 11}, "Subscription depth not supported"),
            ({"channel": "book", "symbol": ["BTC/USD"], "depth": True}, "Subscription depth not supported"),
            ({"channel": "ohlc", "symbol": ["BTC/USD"], "interval": 7}, "Subscription ohlc interval not supported"),
            (
                {"channel": "executions", "token": "x"},
                "Private data and trading are unavailable on this endpoint. Try ws-auth.kraken.com",
            ),
        ):
            told = await subscribe(line, 7, **params)
            assert (told["success"], told["error"]) == (False, text)
        for text in ("{", "[]", '{"method":["ping"]}', '{"method":"dance"}', '{"method":"ping","params":[]}'):
            await line.ws.send_str(text)
            assert not (await line.read())["success"]
        await line.say(method="unsubscribe", params={"channel": "trade", "symbol": ["BTC/USD"]}, req_id=8)
        assert (await line.until(req_id=8))["success"]
        await client.operate(act="trade", symbol="BTC/USD", side="BUY", price="70000", size="0.5")
        await client.operate(act="trade", symbol="ETH/USD", side="BUY", price="4000", size="0.5")
        assert (await line.until(channel="trade"))["data"][0]["symbol"] == "ETH/USD"


@pytest.mark.parametrize("depth", [10, 25])
async def test_a_books_checksum_is_that_of_what_was_told(depth: int, tmp_path: Path) -> None:
    """Kept as the venue wants it kept, by the texts of the numbers, over some dozen updates; then it is REST's."""
    async with kraken(tmp_path, **LIVELY) as client, stream(client, "/v2") as line:
        told = await subscribe(line, channel="book", symbol=["BTC/USD"], depth=depth)
        assert told["result"]["depth"] == depth
        sides: dict[str, dict[str, str]] = {"bids": {}, "asks": {}}
        updates = 0
        while updates < 60:
            text = await line.raw()
            message = json.loads(text)
            if message.get("channel") != "book":
                continue
            _keep(sides, text, depth)
            assert _checksum(sides) == message["data"][0]["checksum"], updates
            updates += 1
        await client.operate(act="halt")
        _, rest = await client.get("/0/public/Depth", pair="XBTUSD", count=depth)
        shown = {side: [row[0] for row in rest["result"]["XXBTZUSD"][side]] for side in sides}
        async with asyncio.timeout(30):  # what was told before the halt is on its way
            while {side: list(levels) for side, levels in sides.items()} != shown:
                _keep(sides, await line.raw(), depth)


def _keep(sides: dict[str, dict[str, str]], text: str, depth: int) -> None:
    """Apply, sort, cut: no number is turned into one but for the sorting."""
    if '"channel":"book"' not in text:
        return
    for side, part in (("bids", text.partition('"asks"')[0]), ("asks", text.partition('"asks"')[2])):
        kept = sides[side]
        for px, qty in _LEVEL.findall(part):
            if float(qty):
                kept[px] = qty
            else:
                kept.pop(px, None)
        best_first = sorted(kept, key=float, reverse=side == "bids")[:depth]
        sides[side] = {px: kept[px] for px in best_first}


def _checksum(sides: dict[str, dict[str, str]]) -> int:
    parts = [
        text.replace(".", "").lstrip("0")
        for side in ("asks", "bids")
        for level in list(sides[side].items())[:10]
        for text in level
    ]
    return crc32("".join(parts).encode())


async def test_our_parser_understands_every_message(tmp_path: Path) -> None:
    """Every channel of both products: books, trades and best prices, nothing unknown."""
    products = {f"{base}/USD": (f"{base}/USD@kraken",) for base in ("BTC", "ETH")}
    parser, events = KrakenV2Protocol("kraken", products), []
    async with kraken(tmp_path, **LIVELY) as client, stream(client, "/v2") as line:
        symbols = list(products)
        for channel, more in (
            ("ticker", {"event_trigger": "bbo"}),
            ("trade", {}),
            ("book", {"depth": 25}),
            ("ohlc", {"interval": 1}),
        ):
            params = {"channel": channel, "symbol": symbols, **more}
            await line.say(method="subscribe", params=params)
        await line.say(method="subscribe", params={"channel": "instrument"})
        kinds: set[tuple[str, str]] = set()
        wanted = {(name, kind) for name in ("ticker", "trade", "book", "ohlc") for kind in ("snapshot", "update")}
        async with asyncio.timeout(30):
            while not wanted <= kinds:
                text = await line.raw()
                message = json.loads(text)
                kinds.add((message.get("channel", ""), message.get("type", "")))
                events += parser.receive_frame(text.encode(), 1)
    counters = parser.counters
    assert (counters.unknown_message, counters.malformed, counters.unknown_product) == (0, 0, 0)
    assert {type(event) for event in events} >= {BookSnapshot, Quote, Trade}
    assert ("instrument", "snapshot") in kinds


async def test_the_instrument_channel_tells_the_decimals_of_the_checksum(tmp_path: Path) -> None:
    """Of prices and sizes."""
    async with kraken(tmp_path) as client, stream(client, "/v2") as line:
        await subscribe(line, channel="instrument")
        told = (await line.until(channel="instrument"))["data"]
        assert [(pair["symbol"], pair["price_precision"], pair["qty_precision"]) for pair in told["pairs"]] == [
            ("BTC/USD", 1, 8),
            ("ETH/USD", 2, 8),
        ]


async def test_executions_tell_an_order_from_its_beginning_to_its_end(tmp_path: Path) -> None:
    """Numbered without a hole; a snapshot of what is open and what was traded for who comes later."""
    balances = (("USD", Decimal(100_000)), ("BTC", Decimal(1)))
    async with kraken(tmp_path, balances=balances) as client, stream(client, "/auth/v2") as line:
        secret = await token(client)
        assert not (await subscribe(line, channel="executions", token="wrong"))["success"]
        assert (await subscribe(line, 2, channel="executions", token=secret))["success"]
        assert (await line.until(channel="executions"))["data"] == []
        await subscribe(line, 3, channel="balances", token=secret)
        _, best = await client.get("/0/public/Ticker", pair="XBTUSD")
        ask = float(best["result"]["XXBTZUSD"]["a"][0])
        # Nobody bids within five dollars of it: an offer below the best one rests.
        await client.operate(act="trade", symbol="BTC/USD", side="SELL", price=f"{ask - 5:.1f}")
        px = round(ask - 0.1, 1)
        order = {"order_type": "limit", "side": "sell", "order_qty": 0.02, "symbol": "BTC/USD", "limit_price": px}
        await line.say(method="add_order", params={**order, "cl_ord_id": "mine", "token": secret}, req_id=4)
        number = (await line.until(req_id=4))["result"]["order_id"]
        for size in ("0.005", "0.015"):
            await client.operate(act="trade", symbol="BTC/USD", side="BUY", price=f"{px}", size=size)
        told, sequence = [], 1
        while not told or told[-1]["exec_type"] != "filled":
            message = await line.until(channel="executions")
            sequence += 1
            assert message["sequence"] == sequence
            told += message["data"]
        assert [one["exec_type"] for one in told] == ["pending_new", "new", "trade", "trade", "filled"]
        assert {(one["order_id"], one["cl_ord_id"]) for one in told} == {(number, "mine")}
        assert [one["order_status"] for one in told][2:4] == ["partially_filled", "filled"]
        assert [one["last_qty"] for one in told if "last_qty" in one] == [0.005, 0.015]
        rests = {**order, "limit_price": 90_000, "token": secret}
        await line.say(method="add_order", params=rests, req_id=5)
        second = (await line.until(req_id=5))["result"]["order_id"]
        amend = {"order_id": second, "order_qty": 0.03, "token": secret}
        await line.say(method="amend_order", params=amend, req_id=6)
        assert (await line.until(req_id=6))["result"]["order_id"] == second
        async with stream(client, "/auth/v2") as other:
            await subscribe(other, channel="executions", token=secret, snap_orders=True, snap_trades=True)
            snapshot = (await other.until(channel="executions"))["data"]
            assert [(one["exec_type"], one["order_id"]) for one in snapshot] == [
                ("new", second), ("trade", number), ("trade", number),
            ]  # fmt: skip
        await line.say(method="cancel_order", params={"order_id": [second], "token": secret}, req_id=7)
        assert (await line.until(req_id=7))["success"]
        while (last := (await line.until(channel="executions"))["data"][0])["exec_type"] != "canceled":
            pass
        assert (last["order_id"], last["reason"], last["order_qty"]) == (second, "User requested", 0.03)
        await line.say(method="cancel_all", params={"token": secret}, req_id=8)
        assert (await line.until(req_id=8))["result"] == {"count": 0}


async def test_balances_follow_each_fill(tmp_path: Path) -> None:
    """Both currencies, amount and fee apart; the last one told is REST's."""
    async with kraken(tmp_path) as client, stream(client, "/auth/v2") as line:
        await subscribe(line, channel="balances", token=await token(client))
        snapshot = await line.until(channel="balances")
        assert [(row["asset"], row["balance"]) for row in snapshot["data"]] == [("USD", 100_000)]
        await client.kraken("AddOrder", pair="XBTUSD", type="buy", ordertype="market", volume="0.01")
        rows = (await line.until(channel="balances", type="update"))["data"]
        by = {row["asset"]: row for row in rows}
        assert by["BTC"]["amount"] == by["BTC"]["balance"] == 0.01
        assert by["USD"]["fee"] == pytest.approx(-by["USD"]["amount"] * 0.004, abs=1e-5)
        assert float((await client.kraken("Balance"))["ZUSD"]) == by["USD"]["balance"]


async def test_an_end_may_be_told_without_what_is_known(tmp_path: Path) -> None:
    """As the venue does: a cancel without symbol, side and size, by a switch."""
    async with kraken(tmp_path, full_reports=False) as client, stream(client, "/auth/v2") as line:
        await subscribe(line, channel="executions", token=await token(client))
        await client.kraken("AddOrder", pair="XBTUSD", type="buy", ordertype="limit", volume="0.01", price="1000")
        await client.kraken("CancelAll")
        while (last := await line.until(channel="executions"))["data"] == [] or (
            last["data"][0]["exec_type"] != "canceled"
        ):
            pass
        assert not {"symbol", "side", "order_qty"} & last["data"][0].keys()


async def test_a_quiet_line_has_heartbeats(tmp_path: Path) -> None:
    """Once it has a subscription and nothing else is said."""
    async with kraken(tmp_path) as client, stream(client, "/v2") as line:
        await subscribe(line, channel="trade", symbol=["BTC/USD"])
        await line.until(channel="heartbeat")


class _Heard:
    """What a connection without a socket is told."""

    def __init__(self) -> None:
        self.texts: list[bytes] = []

    def say(self, _: Line, text: bytes) -> None:
        self.texts.append(text)


_NAMES = ["method", "params", "channel", "symbol", "req_id", "token", "depth", "order_id", "order_type", "triggers"]
_WORDS = ["subscribe", "add_order", "amend_order", "cancel_order", "book", "executions", "BTC/USD", "limit", "buy"]
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 25) | st.floats(allow_nan=False) | st.sampled_from(_WORDS),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(_NAMES), inner, max_size=5),
    max_leaves=10,
)


@settings(max_examples=40, deadline=None)
@given(st.lists(_JSON | st.text(max_size=10), max_size=6), st.booleans())
def test_any_request_gets_an_answer(requests: list[Any], private: bool) -> None:
    """Whatever comes from outside: JSON of any type or no JSON, with and without a token."""
    exchange, heard, door = spot(), _Heard(), Door()
    config = KrakenSettings()
    lines = Lines(10)
    lines.say = heard.say  # type: ignore[method-assign]
    queries = Queries(exchange, door)
    access = Access(make_key(), door, config)
    account = Account(config, exchange, queries, access.take_order)
    streams = Streams(config, exchange, queries, account, access, lines, now_ns=lambda: NOW_NS, pump=lambda: None)
    line = object.__new__(Line)
    line.path = "/auth/v2" if private else "/v2"
    streams._subscribed[line] = {}
    good = access.new_token(NOW_NS)
    for request in requests:
        if private and isinstance(request, dict) and isinstance(request.get("params"), dict):
            request["params"]["token"] = good
        before = len(heard.texts)
        streams.hear(line, request if isinstance(request, str) else json.dumps(request))
        assert len(heard.texts) > before
        assert all(isinstance(json.loads(text), dict) for text in heard.texts[before:])
