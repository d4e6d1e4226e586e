"""The market of USD-M futures in the Binance sandbox: routed streams, numbers of books, funding, limits."""

from __future__ import annotations

import asyncio
import json
from decimal import Decimal
from typing import Any

import pytest

from connectors.binance.directory import read_directory
from connectors.binance.protocol import BinanceMarketProtocol
from connectors.binance.sandbox import funding, names
from connectors.binance.sandbox.settings import RateLimits
from connectors.local.tape import PublicTrade
from engine.book import OrderBook
from engine.events import BookDelta, BookSnapshot, InstrumentDefined, Observation, Quote, Trade
from engine.instruments import AssetClass
from tests.support.local_venues import NOW_NS, Client, binance_usdm, spot, stream

LIVELY = {"step_ms": 5.0, "rate_per_s": 400.0}
HOUR_NS = 3_600_000_000_000
PRODUCTS = {"BTCUSDT": ("BTC/USDT@binance_usdm",), "ETHUSDT": ("ETH/USDT@binance_usdm",)}


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("btcusdt@depth", names.StreamName("btcusdt@depth", "BTCUSDT", "depth", "", 250)),
        ("btcusdt@depth20@500ms", names.StreamName("btcusdt@depth20@500ms", "BTCUSDT", "partial", "20", 500)),
        ("btcusdt@markPrice", names.StreamName("btcusdt@markPrice", "BTCUSDT", "markPrice", "", 3_000)),
        ("!markPrice@arr@1s", names.StreamName("!markPrice@arr@1s", "", "markPrice", "", 1_000)),
        ("btcusdt@avgPrice", None),
        ("btcusdt@depth@1000ms", None),
        ("btcusdt@markPrice@5s", None),
    ],
)
def test_names_are_those_of_futures(text: str, wanted: names.StreamName | None) -> None:
    """Other paces than spot's, and kinds of their own."""
    assert names.parse(text, "binance_usdm") == wanted


async def _ask(client: Client, path: str, **params: Any) -> Any:
    return (await client.get(f"/fapi/v1/{path}", **params))[1]


async def test_our_parser_understands_both_connections() -> None:
    """Books, best prices and single trades under ``/public``, the rest under ``/market``: no message is unknown, no
    change is missing, and the books have the best prices of REST once the market stands still."""
    public = [
        f"{symbol}@{kind}" for symbol in ("btcusdt", "ethusdt") for kind in ("depth@100ms", "bookTicker", "trade")
    ]
    market = [f"btcusdt@{kind}" for kind in ("aggTrade", "kline_1m", "markPrice@1s", "ticker", "miniTicker")]
    parser = BinanceMarketProtocol("binance_usdm", PRODUCTS, (), quotes=True)
    books = {each: OrderBook(each) for ids in PRODUCTS.values() for each in ids}
    tops: dict[str, Any] = {}
    kinds: set[type] = set()
    holes = 0
    async with (
        binance_usdm(**LIVELY) as client,
        stream(client, f"/public/stream?streams={'/'.join(public)}") as first,
        stream(client, f"/market/stream?streams={'/'.join(market)}") as second,
    ):
        seen: set[str] = set()

        async def take(text: str) -> None:
            nonlocal holes
            told = json.loads(text)
            seen.add(told["stream"])
            data = told["data"]
            holes += data.get("pu", data.get("U", 1) - 1) < data.get("U", 1) - 1
            made = list(parser.receive_frame(text.encode(), 1))
            for symbol in sorted(parser.snapshots_wanted):
                parser.snapshots_wanted.discard(symbol)
                url = f"{client.venue.url}/fapi/v1/depth?symbol={symbol}&limit=1000"
                async with client.session.get(url) as answer:
                    made += parser.receive_answer(url, await answer.read(), 1)
            for event in made:
                kinds.add(type(event))
                if isinstance(event, BookSnapshot):
                    tops[event.instrument] = books[event.instrument].apply_snapshot(event)
                elif isinstance(event, BookDelta) and books[event.instrument].has_levels:
                    tops[event.instrument] = books[event.instrument].apply_delta(event) or tops[event.instrument]

        async with asyncio.timeout(30):
            for line, wanted in ((first, {*public}), (second, {*market})):
                while not wanted <= seen or not (line is second or len(tops) == 2):
                    await take(await line.raw())
            await client.operate(act="halt")
            last = {row["symbol"]: row for row in await _ask(client, "ticker/bookTicker")}
            while any(parser._books[symbol].last_id < row["lastUpdateId"] for symbol, row in last.items()):
                await take(await first.raw())
    counters = parser.counters
    assert (counters.unknown_message, counters.malformed, counters.unknown_product, counters.gaps) == (0, 0, 0, 0)
    assert {Quote, Trade, BookSnapshot, BookDelta, Observation} <= kinds
    assert holes, "numbers of two symbols have holes"
    for symbol, (instrument,) in PRODUCTS.items():
        row, top = last[symbol], tops[instrument]
        assert (float(row["bidPrice"]), float(row["askPrice"])) == (top.bid_px, top.ask_px)


async def test_a_lost_change_is_a_gap() -> None:
    """``pu`` of the next one is not the ``u`` before; a new snapshot is wanted."""
    parser = BinanceMarketProtocol("binance_usdm", PRODUCTS, ())
    async with binance_usdm(**LIVELY) as client, stream(client, "/public/ws/btcusdt@depth@100ms") as line:

        async def take() -> None:
            parser.receive_frame((await line.raw()).encode(), 1)
            if parser.snapshots_wanted:
                parser.snapshots_wanted.clear()
                url = f"{client.venue.url}/fapi/v1/depth?symbol=BTCUSDT&limit=1000"
                async with client.session.get(url) as answer:
                    parser.receive_answer(url, await answer.read(), 1)

        async with asyncio.timeout(30):
            while parser._books.get("BTCUSDT") is None or parser._books["BTCUSDT"].last_id < 0:
                await take()
            await take()
            assert parser.counters.gaps == 0
            await client.operate(act="gap")
            while not parser.counters.gaps:
                await take()


async def test_what_belongs_under_another_path_stays_silent() -> None:
    """Taken and listed, and nothing is told of it; without a path nothing is served."""
    async with binance_usdm(**LIVELY) as client, stream(client, "/market/ws/0") as line:
        params = ["btcusdt@bookTicker", "btcusdt@markPrice@1s"]
        await line.say(method="SUBSCRIBE", params=params, id=1)
        assert await line.read() == {"result": None, "id": 1}
        assert (await line.read())["e"] == "markPriceUpdate"
        await line.say(method="LIST_SUBSCRIPTIONS", id=2)
        assert (await line.until(id=2))["result"] == params
        assert (await client.get("/ws"))[0] == 404
        assert (await client.get("/api/v3/time"))[0] == 404


async def test_the_directory_lists_perpetuals() -> None:
    """As our connector reads it: margin, steps, minima; a halted market says so."""
    async with binance_usdm() as client:
        async with client.session.get(f"{client.venue.url}/fapi/v1/exchangeInfo") as answer:
            body = await answer.read()
        _, events = read_directory("binance_usdm", body, ["BTCUSDT"], NOW_NS)
        (defined,) = [event.definition for event in events if isinstance(event, InstrumentDefined)]
        assert (defined.id, defined.asset_class) == ("BTC/USDT@binance_usdm", AssetClass.PERPETUAL)
        rules = (defined.tick_px, defined.lot_qty, defined.min_notional, defined.settlement)
        assert rules == (Decimal("0.1"), Decimal("0.001"), Decimal(100), "USDT")
        await client.operate(act="halt", symbol="BTC/USDT")
        assert [row["status"] for row in (await _ask(client, "exchangeInfo"))["symbols"]] == ["SETTLING", "TRADING"]


async def test_answers_by_rest() -> None:
    """Depth of the sizes that there are, trades, candles, tickers, mark price and what was paid."""
    async with binance_usdm(history_minutes=2 * 1_440) as client:
        book = await _ask(client, "depth", symbol="BTCUSDT", limit=5)
        assert [len(book["bids"]), len(book["asks"])] == [5, 5]
        assert {"E", "T", "lastUpdateId"} <= book.keys()
        assert (await _ask(client, "depth", symbol="BTCUSDT", limit=7))["code"] == -1130
        await client.operate(act="trade", symbol="BTC/USDT", side="BUY", price="70000", size="5")
        trades = await _ask(client, "trades", symbol="BTCUSDT", limit=3)
        assert [
            row["id"] for row in await _ask(client, "historicalTrades", symbol="BTCUSDT", fromId=trades[1]["id"])
        ] == [row["id"] for row in trades[1:]]
        assert "M" not in (await _ask(client, "aggTrades", symbol="BTCUSDT"))[-1]
        assert len(await _ask(client, "klines", symbol="BTCUSDT", interval="1m", limit=1_500)) == 1_500
        day = await _ask(client, "ticker/24hr", symbol="BTCUSDT")
        assert "bidPrice" not in day
        assert (await _ask(client, "ticker/price", symbol="BTCUSDT"))["price"] == f"{float(day['lastPrice']):.2f}"
        assert (await client.get("/fapi/v2/ticker/price"))[0] == 200
        now = await _ask(client, "premiumIndex", symbol="BTCUSDT")
        assert float(now["markPrice"]) > 0
        assert now["nextFundingTime"] % (8 * 3_600_000) == 0
        paid = await _ask(client, "fundingRate", symbol="BTCUSDT")
        times = [row["fundingTime"] for row in paid]
        assert len(times) in (5, 6)  # of two days without the first eight hours: six in the minute after one
        assert times == list(range(times[0], times[-1] + 1, 8 * 3_600_000))
        assert times[0] % (8 * 3_600_000) == 0
        since = paid[1]["fundingTime"]
        assert (await _ask(client, "fundingRate", symbol="BTCUSDT", startTime=since, limit=1))[0] == paid[1]
        assert [row["symbol"] for row in await _ask(client, "fundingInfo")] == ["BTCUSDT", "ETHUSDT"]


async def test_weights_are_those_of_futures() -> None:
    """Told in a header, and refused where there are none left."""
    async with binance_usdm(rate_limits=RateLimits(weight_per_min=25)) as client:
        url = f"{client.venue.url}/fapi/v1/depth?symbol=BTCUSDT&limit=1000"
        async with client.session.get(url) as answer:
            assert answer.headers["X-MBX-USED-WEIGHT-1M"] == "20"
        async with client.session.get(url) as answer:
            assert (answer.status, (await answer.json())["code"]) == (429, -1003)


def test_funding_follows_the_premium() -> None:
    """Nothing traded beside the mean: the interest alone.  Closes one per cent above it: the premium less the clamp,
    and a mark price above the index that comes down to it at the funding."""
    exchange = spot()
    market = exchange.markets["BTC/USDT"]
    begin_ns = (NOW_NS // (8 * HOUR_NS) + 1) * 8 * HOUR_NS
    market.tape._minutes.clear()

    def traded(at_ns: int, *prices: str) -> None:
        for px in prices:
            market.tape.add(PublicTrade(1, Decimal(px), Decimal(1), False, at_ns))

    traded(begin_ns, "60000", "60000")
    assert funding.mark(market, begin_ns).rate == Decimal("0.0001")
    market.tape._minutes.clear()
    traded(begin_ns, "59400", "60600")  # a mean of 60000 and a close one per cent above it
    now = funding.mark(market, begin_ns)
    assert now.rate == Decimal("0.0095")
    assert now.index_px == 60_000
    assert now.mark_px == Decimal("60000") * (1 + now.rate)
    later = funding.mark(market, begin_ns + 4 * HOUR_NS)
    assert later.mark_px == Decimal("60000") * (1 + now.rate / 2)
    assert later.next_ms == (begin_ns + 8 * HOUR_NS) // 1_000_000
    assert funding.paid(market, 0, 1 << 62, begin_ns + 8 * HOUR_NS) == [
        ((begin_ns + 8 * HOUR_NS) // 1_000_000, Decimal("0.0095"), Decimal(60_000))
    ]
    assert funding.paid(market, 0, 1 << 62, begin_ns + 7 * HOUR_NS) == []
