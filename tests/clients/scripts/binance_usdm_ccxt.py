"""The ccxt list as far as it is of the market of Binance USD-M futures, by ccxt.pro (REST and streams)."""

from __future__ import annotations

import asyncio
import time
import warnings
from itertools import pairwise
from typing import Any

import cases as running
import ccxt.pro as ccxt
from cases import List, operate
from long_tail import HASTY_MS, PATIENT_MS, PING_MS, closing_leaves_nothing, exchange, raised

cases = List("binance_usdm", "ccxt")
BTC, ETH = "BTC/USDT:USDT", "ETH/USDT:USDT"
EIGHT_HOURS_MS = 8 * 3_600_000


def usdm(at: dict[str, Any], **given: Any) -> Any:
    """Pointed at a sandbox: every key of ``urls.api`` that is used; the library puts the path of a stream in itself."""
    rest = {f"fapiPublic{version}": f"{at['rest']}/fapi/v{version[1:] or 1}" for version in ("", "V2", "V3")}
    return exchange(ccxt.binanceusdm, at, rest | {"ws": {"linear": at["ws"]}}, keyed=False, **given)


@cases.case(2, "public data: time, ticker, tickers, book, trades, candles of each width")
async def public(at: dict[str, Any]) -> None:
    async with usdm(at["main"]) as ex:
        await ex.load_markets()
        assert abs(await ex.fetch_time() - time.time() * 1_000) < 5_000
        assert (await ex.fetch_ticker(BTC))["last"] > 0
        assert set(await ex.fetch_tickers([BTC, ETH])) == {BTC, ETH}
        best = (await ex.fetch_bids_asks([BTC]))[BTC]
        book = await ex.fetch_order_book(BTC, 5)
        assert len(book["bids"]) == len(book["asks"]) == 5
        assert book["nonce"] > 0
        assert (best["bid"], best["ask"]) == (book["bids"][0][0], book["asks"][0][0])
        trades = await ex.fetch_trades(BTC, limit=10)
        assert [one["timestamp"] for one in trades] == sorted(one["timestamp"] for one in trades)
        for width in ("1m", "5m", "15m", "1h", "4h", "1d"):
            rows = await ex.fetch_ohlcv(BTC, width, limit=3)
            assert rows
            assert all(low <= min(opened, closed) <= high for _, opened, high, low, closed, _ in rows)
        rows = await ex.fetch_ohlcv(BTC, "1m", limit=300)
        assert len(rows) == 300
        assert {later[0] - before[0] for before, later in pairwise(rows)} == {60_000}
        since = await ex.fetch_ohlcv(BTC, "1m", since=rows[10][0], limit=5)
        assert [row[0] for row in since] == [row[0] for row in rows[10:15]]


@cases.case(2, "mark price and funding: what it is, what was paid, how often")
async def funding(at: dict[str, Any]) -> None:
    async with usdm(at["main"]) as ex:
        await ex.load_markets()
        now = await ex.fetch_funding_rate(BTC)
        assert now["markPrice"] > 0
        assert now["indexPrice"] > 0
        assert abs(now["fundingRate"]) < 0.02
        assert now["fundingTimestamp"] % EIGHT_HOURS_MS == 0
        assert (await ex.fetch_mark_price(BTC))["markPrice"] > 0
        paid = await ex.fetch_funding_rate_history(BTC, limit=2)
        assert [row["timestamp"] % EIGHT_HOURS_MS for row in paid] == [0, 0]
        assert now["fundingTimestamp"] - paid[-1]["timestamp"] == EIGHT_HOURS_MS
        assert (await ex.fetch_funding_intervals([BTC]))[BTC]["interval"] == "8h"


@cases.case(9, "errors by their class")
async def errors(at: dict[str, Any]) -> None:
    rest = at["main"]["rest"]
    async with usdm(at["main"]) as ex:
        await ex.load_markets()
        await raised(ccxt.BadSymbol, ex.fapiPublicGetDepth({"symbol": "NOSUCH"}))
        await raised(ccxt.BadRequest, ex.fetch_order_book(BTC, 7))
        for kind, fault in (
            (ccxt.DDoSProtection, {"status": 429, "body": '{"code":-1003,"msg":"Too many requests."}'}),
            (ccxt.DDoSProtection, {"status": 418}),
            (ccxt.ExchangeNotAvailable, {"status": 503, "body": "<html>", "content_type": "text/html"}),
            (ccxt.RequestTimeout, {"status": 504}),
            (ccxt.ExchangeNotAvailable, {"status": 0, "times": 2}),
            (ccxt.RequestTimeout, {"late": True, "delay_s": 1.4}),
        ):
            ex.timeout = HASTY_MS if "delay_s" in fault else PATIENT_MS
            operate(rest, act="answer", path="/time", **fault)
            await raised(kind, ex.fetch_time())
            ex.timeout = PATIENT_MS
        operate(rest, act="maintenance")
        await raised(ccxt.ExchangeNotAvailable, ex.fetch_time())
        operate(rest, act="maintenance", on=False)


@cases.case(10, "streams: tickers, best prices, trades both ways, candles, mark prices; the book as REST has it")
async def streams(at: dict[str, Any]) -> None:
    async with usdm(at["lively"]) as ex, asyncio.timeout(30):
        await ex.load_markets()
        ticker, best, trades, candles, mark = await asyncio.gather(
            ex.watch_ticker(BTC),
            ex.watch_bids_asks([BTC]),
            ex.watch_trades(BTC),
            ex.watch_ohlcv(BTC, "1m"),
            ex.watch_mark_price(BTC),
        )
        assert min(ticker["last"], trades[0]["price"], candles[-1][4], mark["markPrice"]) > 0
        assert 0 < best[BTC]["bid"] < best[BTC]["ask"]
        assert (await ex.watch_trades(ETH, params={"name": "aggTrade"}))[0]["price"] > 0
        for _ in range(5):
            book = await ex.watch_order_book(BTC)
            assert book["bids"][0][0] < book["asks"][0][0]
    async with usdm(at["main"]) as ex, asyncio.timeout(30):
        await ex.load_markets()
        book = await ex.watch_order_book(BTC)
        ask = book["asks"][0][0]
        act = {"act": "trade", "symbol": "BTC/USDT", "side": "BUY", "price": f"{ask + 10:.1f}", "rest": True}
        await asyncio.to_thread(operate, at["main"]["rest"], **act)
        while book["bids"][0][0] <= ask:
            book = await ex.watch_order_book(BTC)
        rest = await ex.fetch_order_book(BTC, 5)
        assert [row[:2] for row in book["bids"][:5]] == rest["bids"]


async def _forever(watch: Any) -> None:
    while True:
        await watch(BTC)


@cases.case(11, "a stream that ends is an error once; the next call dials again")
async def closes(at: dict[str, Any]) -> None:
    for code in (1001, 1006, 1011):
        async with usdm(at["lively"]) as ex, asyncio.timeout(60):
            await ex.load_markets()
            await ex.watch_trades(BTC)
            waiting = asyncio.create_task(_forever(ex.watch_trades))
            await asyncio.sleep(0.02)
            await asyncio.to_thread(operate, at["lively"]["rest"], act="disconnect", code=code)
            await raised(ccxt.NetworkError, waiting)
            assert (await ex.watch_trades(BTC))[0]["price"] > 0


@cases.case(11, "a lost update of the book is noticed, and the book made anew")
async def gap(at: dict[str, Any]) -> None:
    async with usdm(at["lively"]) as ex, asyncio.timeout(60):
        await ex.load_markets()
        await ex.watch_order_book(BTC)
        await asyncio.to_thread(operate, at["lively"]["rest"], act="gap")
        failed = None
        while failed is None:
            (made,) = await asyncio.gather(ex.watch_order_book(BTC), return_exceptions=True)
            failed = made if isinstance(made, BaseException) else None
        assert type(failed) is ccxt.ChecksumError, failed
        assert (await ex.watch_order_book(BTC))["bids"]


@cases.case(12, "a venue that answers no ping is noticed")
async def mute(at: dict[str, Any]) -> None:
    async with usdm(at["tls"], streaming={"keepAlive": PING_MS}) as ex, asyncio.timeout(60):
        await ex.load_markets()
        await ex.watch_trades(BTC)
        await asyncio.to_thread(operate, at["tls"]["rest"], act="mute")
        await raised(ccxt.RequestTimeout, _forever(ex.watch_trades))


@cases.case(13, "unwatching is over when nothing is left")
async def unwatch(at: dict[str, Any]) -> None:
    async with usdm(at["lively"]) as ex, asyncio.timeout(60):
        await ex.load_markets()
        for watch, undo in (
            (ex.watch_ticker, ex.un_watch_ticker),
            (ex.watch_trades, ex.un_watch_trades),
            (ex.watch_order_book, ex.un_watch_order_book),
        ):
            await watch(BTC)
            await undo(BTC)


@cases.case(14, "closing ends what waits and leaves nothing behind")
async def closing(at: dict[str, Any]) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        await closing_leaves_nothing(usdm(at["main"]), BTC, told=False)
    assert not [one for one in caught if "nclosed" in str(one.message)]


@cases.case(15, "its own pace; the venue's weights, then a ban")
async def pace(at: dict[str, Any]) -> None:
    async with usdm(at["main"], enableRateLimit=True) as ex:
        began_s = time.monotonic()
        await asyncio.gather(*(ex.fetch_time() for _ in range(12)))
        assert time.monotonic() - began_s >= 11 * ex.rateLimit / 1_000 / 10
    async with usdm(at["limited"]) as ex:
        await ex.load_markets()
        said = await asyncio.gather(*(ex.fetch_order_book(BTC, 1_000) for _ in range(12)), return_exceptions=True)
        assert {type(one) for one in said if isinstance(one, BaseException)} == {ccxt.DDoSProtection}
        texts = [str(one) for one in said]
        assert any("429" in text for text in texts)
        assert any("418" in text and "banned" in text for text in texts)


@cases.case(20, "markets: perpetuals, their steps and minima; over TLS as well")
async def markets(at: dict[str, Any]) -> None:
    for name in ("main", "tls"):
        async with usdm(at[name]) as ex:
            market = (await ex.load_markets())[BTC]
            assert (market["precision"]["price"], market["precision"]["amount"]) == (0.1, 0.001)
            assert market["limits"]["cost"]["min"] == 100
            assert market["active"]
            assert (market["swap"], market["linear"], market["contractSize"]) == (True, True, 1)
            assert market["settle"] == "USDT"


@cases.case(21, "nothing of all this left the machine")
async def stayed(at: dict[str, Any]) -> None:
    assert running.leaks == []
    async with usdm(at["main"] | {"rest": "https://fapi.binance.com"}) as ex:
        await raised(ccxt.ExchangeNotAvailable, ex.fetch_time())
    assert set(running.leaks) == {"fapi.binance.com"}, "the guard sees a missed address"
    running.leaks.clear()


if __name__ == "__main__":
    cases.main()
