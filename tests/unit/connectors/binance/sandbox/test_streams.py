"""Market streams of the Binance sandbox: names, requests, numbers of updates, and what our own parser makes of them."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.binance.protocol import BinanceMarketProtocol
from connectors.binance.sandbox import names
from connectors.binance.sandbox.queries import Queries
from connectors.binance.sandbox.settings import BinanceSettings
from connectors.binance.sandbox.streams import Streams
from connectors.local.lines import Line, Lines
from engine.book import OrderBook
from engine.events import BookDelta, BookSnapshot, Trade
from tests.support.local_venues import NOW_NS, binance, spot, stream

LIVELY = {"step_ms": 5.0, "rate_per_s": 400.0}


@pytest.mark.parametrize(
    ("text", "symbol", "kind", "detail", "pace_ms"),
    [
        ("btcusdt@trade", "BTCUSDT", "trade", "", 0),
        ("btcusdt@depth", "BTCUSDT", "depth", "", 1_000),
        ("btcusdt@depth@100ms", "BTCUSDT", "depth", "", 100),
        ("btcusdt@depth5@100ms", "BTCUSDT", "partial", "5", 100),
        ("btcusdt@kline_1m", "BTCUSDT", "kline", "1m", 0),
        ("!miniTicker@arr", "", "miniTicker", "", 0),
    ],
)
def test_names_are_read(text: str, symbol: str, kind: str, detail: str, pace_ms: int) -> None:
    """Symbol, kind, detail and pace."""
    assert names.parse(text) == names.StreamName(text, symbol, kind, detail, pace_ms)


@pytest.mark.parametrize(
    "text",
    ["", "@trade", "BTCUSDT@trade", "btcusdt@nothing", "btcusdt@depth7", "btcusdt@kline_7m", "btcusdt@trade@100ms"],
)
def test_what_is_no_name_is_none(text: str) -> None:
    """Also where it nearly is."""
    assert names.parse(text) is None


async def test_requests_are_answered_each_by_its_number(tmp_path: Path) -> None:
    """Subscribe, list, unsubscribe, combined or not; what is wrong is told and changes nothing."""
    async with binance(tmp_path) as client, stream(client, "/ws/0") as line:
        for message, answer in (
            ({"method": "SUBSCRIBE", "params": ["btcusdt@trade", "xyz@trade"], "id": 1}, {"result": None, "id": 1}),
            ({"method": "LIST_SUBSCRIPTIONS", "id": "a"}, {"result": ["btcusdt@trade", "xyz@trade"], "id": "a"}),
            ({"method": "UNSUBSCRIBE", "params": ["xyz@trade", "no"], "id": 2}, {"result": None, "id": 2}),
            ({"method": "GET_PROPERTY", "params": ["combined"], "id": 3}, {"result": False, "id": 3}),
            ({"method": "SET_PROPERTY", "params": ["combined", True], "id": 4}, {"result": None, "id": 4}),
            ({"method": "GET_PROPERTY", "params": ["combined"], "id": 5}, {"result": True, "id": 5}),
        ):
            await line.say(**message)
            assert await line.read() == answer
        for wrong in (
            {"method": "SUBSCRIBE", "params": ["btcusdt@nothing"], "id": 6},
            {"method": "SUBSCRIBE", "params": [["btcusdt@trade"]], "id": 6},
            {"method": "SUBSCRIBE", "params": "btcusdt@trade", "id": 6},
            {"method": ["SUBSCRIBE"], "id": 6},
            {"method": "SET_PROPERTY", "params": ["colour"], "id": 6},
            {"method": "SUBSCRIBE", "params": [f"s{number}@trade" for number in range(1_025)], "id": 6},
        ):
            await line.say(**wrong)
            said = await line.read()
            assert (said["error"]["code"], said["id"]) == (2, 6)
        await line.ws.send_str("{")
        assert (await line.read())["error"]["code"] == 3
        await line.say(method="LIST_SUBSCRIPTIONS", id=7)
        assert (await line.read())["result"] == ["btcusdt@trade"]


async def test_too_many_messages_end_the_line(tmp_path: Path) -> None:
    """Where limits are on."""
    from connectors.binance.sandbox.settings import RateLimits

    limits = RateLimits(ws_messages_per_s=2)
    async with binance(tmp_path, rate_limits=limits) as client, stream(client, "/ws") as line:
        for _ in range(6):
            await line.say(method="LIST_SUBSCRIPTIONS", id=1)
        assert await line.ended() == 1008


async def test_a_line_ends_when_its_life_is_over(tmp_path: Path) -> None:
    """A day at the venue, a moment here."""
    async with binance(tmp_path, connection_life_s=0.05) as client, stream(client, "/ws") as line:
        assert await line.ended() == 1001


async def test_the_book_of_the_stream_is_the_book_of_rest(tmp_path: Path) -> None:
    """Numbers follow on each other without a hole; snapshot and changes together are what REST then shows."""
    async with binance(tmp_path, **LIVELY) as client, stream(client, "/ws/btcusdt@depth@100ms") as line:
        first = await line.until(e="depthUpdate")
        _, snapshot = await client.get("/api/v3/depth", symbol="BTCUSDT", limit=5_000)
        sides = {side: dict(snapshot[side]) for side in ("bids", "asks")}
        known = first["u"]
        assert snapshot["lastUpdateId"] >= known
        for _ in range(4):
            told = await line.until(e="depthUpdate")
            assert told["U"] == known + 1
            known = told["u"]
            _apply(sides, told, snapshot["lastUpdateId"])
        await client.operate(act="halt")
        while True:
            _, now = await client.get("/api/v3/depth", symbol="BTCUSDT", limit=5_000)
            if now["lastUpdateId"] <= known:
                break
            told = await line.until(e="depthUpdate")
            assert told["U"] == known + 1
            known = told["u"]
            _apply(sides, told, snapshot["lastUpdateId"])
        assert now["lastUpdateId"] == known
        for side in ("bids", "asks"):
            assert sides[side] == dict(now[side])


def _apply(sides: dict[str, dict[str, str]], told: Any, after: int) -> None:
    if told["u"] <= after:
        return
    for side, key in (("bids", "b"), ("asks", "a")):
        for px, qty in told[key]:
            if float(qty):
                sides[side][px] = qty
            else:
                sides[side].pop(px, None)


async def test_a_lost_message_is_a_hole_in_the_numbers(tmp_path: Path) -> None:
    """The next one does not follow on the one before."""
    async with binance(tmp_path, **LIVELY) as client, stream(client, "/ws/btcusdt@depth@100ms") as line:
        known = (await line.until(e="depthUpdate"))["u"]
        await client.operate(act="gap")
        while (told := await line.until(e="depthUpdate"))["U"] == known + 1:
            known = told["u"]
        assert told["U"] > known + 1


async def test_our_parser_understands_every_message(tmp_path: Path) -> None:
    """Combined streams of every kind that it knows; the book that it keeps has the best prices of REST."""
    kinds = ("depth@100ms", "trade", "aggTrade", "kline_1m", "miniTicker", "ticker", "depth5")
    wanted = [f"{symbol}@{kind}" for symbol in ("btcusdt", "ethusdt") for kind in kinds]
    products = {"BTCUSDT": ("BTC/USDT@binance_spot",), "ETHUSDT": ("ETH/USDT@binance_spot",)}
    parser = BinanceMarketProtocol("binance_spot", products, ())
    book, best, events = OrderBook("BTC/USDT@binance_spot"), None, []
    async with binance(tmp_path, **LIVELY) as client, stream(client, f"/stream?streams={'/'.join(wanted)}") as line:
        seen: set[str] = set()
        async with asyncio.timeout(30):
            while seen < set(wanted) or best is None:
                text = await line.raw()
                seen.add(json.loads(text).get("stream", ""))
                made = list(parser.receive_frame(text.encode(), 1))
                if "BTCUSDT" in parser.snapshots_wanted:
                    parser.snapshots_wanted.clear()
                    url = f"{client.venue.url}/api/v3/depth?symbol=BTCUSDT&limit=5000"
                    async with client.session.get(url) as answer:
                        made += parser.receive_answer(url, await answer.read(), 1)
                events += made
                for event in made:
                    if isinstance(event, BookSnapshot) and "BTC" in event.instrument and len(event.bids) > 5:
                        best = book.apply_snapshot(event) or best
                    elif isinstance(event, BookDelta) and "BTC" in event.instrument and book.has_levels:
                        best = book.apply_delta(event) or best
    counters = parser.counters
    assert (counters.unknown_message, counters.malformed, counters.unknown_product, counters.gaps) == (0, 0, 0, 0)
    assert any(isinstance(event, Trade) for event in events)
    assert best is not None
    assert 0 < best.bid_px < best.ask_px


async def test_candles_grow_and_tickers_come_each_second(tmp_path: Path) -> None:
    """Also where the market stands still."""
    async with binance(tmp_path) as client, stream(client, "/ws") as line:
        params = ["btcusdt@kline_1m", "btcusdt@miniTicker", "!ticker@arr", "btcusdt@avgPrice", "xyz@kline_1m"]
        await line.say(method="SUBSCRIBE", params=params, id=1)
        await line.read()
        seen: dict[str, Any] = {}
        while len(seen) < 4:
            told = await line.read()
            seen[told[0]["e"] if isinstance(told, list) else told["e"]] = told
        assert seen["kline"]["k"]["i"] == "1m"
        assert not seen["kline"]["k"]["x"]
        assert [row["s"] for row in seen["24hrTicker"]] == ["BTCUSDT", "ETHUSDT"]
        _, day = await client.get("/api/v3/ticker/24hr", symbol="BTCUSDT")
        assert seen["24hrMiniTicker"]["v"] == day["volume"]
        assert float(seen["avgPrice"]["w"]) > 0


class _Heard:
    """What a connection without a socket is told."""

    def __init__(self) -> None:
        self.texts: list[bytes] = []

    def say(self, _: Line, text: bytes) -> None:
        self.texts.append(text)


def unplugged(clock: list[int]) -> tuple[Streams, Line, _Heard]:
    """Streams without sockets, at the time that ``clock`` shows."""
    exchange, heard = spot(), _Heard()
    lines = Lines(10)
    lines.say = heard.say  # type: ignore[method-assign]
    queries = Queries(exchange, None, lambda _: 1)
    streams = Streams(BinanceSettings(), exchange, queries, lines, lambda: clock[0])
    line = object.__new__(Line)
    streams._names[line] = {}
    return streams, line, heard


def test_a_candle_is_told_once_as_finished() -> None:
    """At the first second of the next one, also where nothing was traded in that."""
    minute_ns = 60_000_000_000
    clock = [NOW_NS // minute_ns * minute_ns + 59_000_000_000]
    streams, line, heard = unplugged(clock)
    streams.hear(line, '{"method":"SUBSCRIBE","params":["btcusdt@kline_1m"],"id":1}')
    heard.texts.clear()
    for _ in range(4):
        streams.every_second(clock[0])
        clock[0] += 1_000_000_000
    told = [json.loads(text)["k"] for text in heard.texts]
    first = told[0]["t"]
    assert [(one["t"] - first, one["x"]) for one in told] == [
        (0, False), (0, True), (60_000, False), (60_000, False), (60_000, False),
    ]  # fmt: skip
    assert told[-1]["o"] == told[0]["c"]
    assert told[-1]["n"] == 0


_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 5)
    | st.text(max_size=8)
    | st.sampled_from(["SUBSCRIBE", "btcusdt@trade"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["method", "params", "id"]), inner),
    max_leaves=8,
)


@settings(max_examples=40, deadline=None)
@given(st.lists(_JSON | st.text(max_size=10), max_size=6))
def test_any_request_gets_one_answer(requests: list[Any]) -> None:
    """Whatever comes from outside: JSON of any type or no JSON."""
    streams, line, heard = unplugged([NOW_NS])
    for number, request in enumerate(requests):
        streams.hear(line, request if isinstance(request, str) else json.dumps(request))
        assert len(heard.texts) == number + 1
        assert {"result", "error"} & json.loads(heard.texts[-1]).keys()
