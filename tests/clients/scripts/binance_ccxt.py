"""The ccxt list as far as it is of Binance spot, by ccxt.pro (REST, streams and the WebSocket API in one object)."""

from __future__ import annotations

import asyncio
import time
import uuid
import warnings
from itertools import pairwise
from typing import Any

import cases as running
import ccxt.pro as ccxt
from cases import List, operate
from long_tail import HASTY_MS, PATIENT_MS, PING_MS, closing_leaves_nothing, exchange, raised, until_order

cases = List("binance", "ccxt")
BTC, ETH = "BTC/USDT", "ETH/USDT"


def binance(at: dict[str, Any], *, keyed: bool = True, **given: Any) -> Any:
    """Pointed at a sandbox: every key of ``urls.api`` that is used; the others lead nowhere."""
    rest = f"{at['rest']}/api/v3"
    ws = {"spot": at["ws"], "ws-api": {"spot": at["ws_api"]}}
    urls = {"public": rest, "private": rest, "sapi": f"{at['rest']}/sapi/v1", "ws": ws}
    options = {"fetchMarkets": {"types": ["spot"]}, "defaultType": "spot", **given.pop("options", {})}
    return exchange(ccxt.binance, at, urls, keyed=keyed, options=options, **given)


def mine() -> str:
    return "x" + uuid.uuid4().hex[:30]


@cases.case(2, "public data: time, ticker, tickers, book, trades, candles of each width")
async def public(at: dict[str, Any]) -> None:
    async with binance(at["main"], keyed=False) as ex:
        await ex.load_markets()
        assert abs(await ex.fetch_time() - time.time() * 1_000) < 5_000
        assert 0 < (await ex.fetch_ticker(BTC))["bid"] < (await ex.fetch_ticker(BTC))["ask"]
        assert set(await ex.fetch_tickers([BTC, ETH])) == {BTC, ETH}
        book = await ex.fetch_order_book(BTC, 5)
        assert len(book["bids"]) == len(book["asks"]) == 5
        assert book["nonce"] > 0
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


@cases.case(3, "balances: free, used and total, with what orders hold")
async def balances(at: dict[str, Any]) -> None:
    async with binance(at["main"]) as ex:
        await ex.load_markets()
        before = (await ex.fetch_balance())["USDT"]
        assert before["total"] == before["free"] + before["used"]
        order = await ex.create_order(BTC, "limit", "buy", 0.01, 1_000)
        held = (await ex.fetch_balance())["USDT"]
        assert round(held["used"] - before["used"], 8) == 10
        assert held["total"] == before["total"]
        await ex.cancel_order(order["id"], BTC)
        assert (await ex.fetch_balance())["USDT"] == before


@cases.case(4, "every kind of order")
async def kinds(at: dict[str, Any]) -> None:
    async with binance(at["main"]) as ex:
        await ex.load_markets()
        book = await ex.fetch_order_book(BTC, 5)
        bid, ask = book["bids"][0][0], book["asks"][0][0]
        bought = await ex.create_order(BTC, "market", "buy", 0.002)
        assert (bought["status"], bought["filled"]) == ("closed", 0.002)
        assert bought["fees"][0]["currency"] == "BTC"
        spent = await ex.create_order(BTC, "market", "buy", None, None, {"cost": 50})
        assert 0 < spent["cost"] <= 50
        sold = await ex.create_order(BTC, "market", "sell", 0.001)
        assert sold["fees"][0]["currency"] == "USDT"
        now = await ex.create_order(BTC, "limit", "buy", 0.001, ask, {"timeInForce": "IOC"})
        assert now["status"] in ("closed", "expired")
        never = await ex.create_order(BTC, "limit", "buy", 0.01, 1_000, {"timeInForce": "FOK"})
        assert never["status"] == "expired"
        resting = await ex.create_order(BTC, "limit", "buy", 0.001, bid - 100, {"postOnly": True})
        assert resting["status"] in ("open", None)
        await raised(
            ccxt.OrderImmediatelyFillable,
            ex.create_order(BTC, "limit", "buy", 0.001, round(ask + 100, 2), {"postOnly": True}),
        )
        stop = await ex.create_order(BTC, "limit", "sell", 0.01, 1_000, {"stopLossPrice": round(bid / 2, 2)})
        target = await ex.create_order(BTC, "limit", "sell", 0.001, ask * 2, {"takeProfitPrice": round(ask * 2, 2)})
        seen = {one["id"]: one["info"]["type"] for one in await ex.fetch_open_orders(BTC)}
        assert seen[stop["id"]] == "STOP_LOSS_LIMIT"
        assert seen[target["id"]] == "TAKE_PROFIT_LIMIT"
        await raised(
            ccxt.OrderImmediatelyFillable,
            ex.create_order(BTC, "limit", "sell", 0.01, 1_000, {"stopLossPrice": round(ask * 2, 2)}),
        )
        await ex.cancel_all_orders(BTC)
        assert not await ex.fetch_open_orders(BTC)


@cases.case(6, "edits, cancels; of a filled order")
async def cancels(at: dict[str, Any]) -> None:
    async with binance(at["main"]) as ex:
        await ex.load_markets()
        first = await ex.create_order(BTC, "limit", "buy", 0.01, 1_000)
        second = await ex.edit_order(first["id"], BTC, "limit", "buy", 0.02, 1_100)
        assert (await ex.fetch_order(first["id"], BTC))["status"] == "canceled"
        assert (await ex.fetch_order(second["id"], BTC))["price"] == 1_100
        assert (await ex.cancel_order(second["id"], BTC))["status"] == "canceled"
        filled = await ex.create_order(BTC, "market", "buy", 0.001)
        for number in (second["id"], filled["id"], "17"):
            await raised(ccxt.OrderNotFound, ex.cancel_order(number, BTC))


@cases.case(7, "orders by state; fills")
async def lists(at: dict[str, Any]) -> None:
    async with binance(at["main"]) as ex:
        await ex.load_markets()
        done = await ex.create_order(ETH, "market", "buy", 0.1)
        gone = await ex.create_order(ETH, "limit", "buy", 0.1, 100)
        await ex.cancel_order(gone["id"], ETH)
        rests = await ex.create_order(ETH, "limit", "buy", 0.1, 100)
        states = {one["id"]: one["status"] for one in await ex.fetch_orders(ETH)}
        assert [states[one["id"]] for one in (done, gone, rests)] == ["closed", "canceled", "open"]
        assert done["id"] in [one["id"] for one in await ex.fetch_closed_orders(ETH)]
        assert gone["id"] in [one["id"] for one in await ex.fetch_canceled_orders(ETH)]
        assert [one["id"] for one in await ex.fetch_open_orders(ETH)] == [rests["id"]]
        fills = [one for one in await ex.fetch_my_trades(ETH) if one["order"] == done["id"]]
        assert round(sum(one["amount"] for one in fills), 8) == 0.1
        assert all(one["fee"]["cost"] > 0 and one["takerOrMaker"] == "taker" for one in fills)
        await ex.cancel_order(rests["id"], ETH)


@cases.case(8, "a wrong key and a wrong secret; a key that may not trade")
async def keys(at: dict[str, Any]) -> None:
    for wrong in ({"apiKey": "a" * 64}, {"secret": "wrong"}):
        async with binance(at["main"], **wrong) as ex:
            await raised(ccxt.AuthenticationError, ex.fetch_balance())
    async with binance(at["main"]) as ex:
        await ex.load_markets()
        operate(at["main"]["rest"], act="permit", can_trade=False)
        try:
            await ex.fetch_balance()
            # It takes -2015 for a ban once a request of the key has been answered: a trap of the library.
            await raised(ccxt.DDoSProtection, ex.create_order(BTC, "limit", "buy", 0.01, 1_000))
        finally:
            operate(at["main"]["rest"], act="permit", can_trade=True)


@cases.case(9, "errors by their class")
async def errors(at: dict[str, Any]) -> None:
    rest = at["main"]["rest"]
    async with binance(at["main"]) as ex:
        await ex.load_markets()
        for kind, order in (
            (ccxt.InvalidOrder, (BTC, "limit", "buy", 0.01, 1_000.005)),
            (ccxt.InvalidOrder, (BTC, "limit", "buy", 0.000_001, 60_000)),
            (ccxt.InsufficientFunds, (BTC, "limit", "buy", 100, 60_000)),
        ):
            exact = {"price_to_precision": lambda _, px: f"{px}", "amount_to_precision": lambda _, qty: f"{qty:.8f}"}
            ex.__dict__.update(exact)
            await raised(kind, ex.create_order(*order))
        await raised(ccxt.OrderNotFound, ex.fetch_order("17", BTC))
        await raised(ccxt.BadSymbol, ex.publicGetDepth({"symbol": "NOSUCH"}))
        await raised(ccxt.InvalidNonce, ex.fetch_balance({"timestamp": ex.milliseconds() - 60_000}))
        await raised(ccxt.InvalidNonce, ex.fetch_balance({"timestamp": ex.milliseconds() + 10_000}))
        for kind, fault in (
            (ccxt.DDoSProtection, {"status": 429, "body": '{"code":-1003,"msg":"Too many requests."}'}),
            (ccxt.DDoSProtection, {"status": 418}),
            (ccxt.ExchangeNotAvailable, {"status": 503, "body": "<html>", "content_type": "text/html"}),
            (ccxt.OperationFailed, {"status": 500, "body": '{"code":-1000,"msg":"unknown"}'}),
            (ccxt.RequestTimeout, {"status": 504}),
            # A GET on a line that was open before is asked again by its transport, once.
            (ccxt.ExchangeNotAvailable, {"status": 0, "times": 2}),
            (ccxt.RequestTimeout, {"late": True, "delay_s": 1.4}),
        ):
            ex.timeout = HASTY_MS if "delay_s" in fault else PATIENT_MS
            operate(rest, act="answer", path="/account", **fault)
            await raised(kind, ex.fetch_balance())
            ex.timeout = PATIENT_MS
        operate(rest, act="halt", symbol=BTC)
        await raised(ccxt.MarketClosed, ex.create_order(BTC, "limit", "buy", 0.01, 1_000))
        operate(rest, act="open", symbol=BTC)
        operate(rest, act="maintenance")
        await raised(ccxt.ExchangeNotAvailable, ex.fetch_time())
        operate(rest, act="maintenance", on=False)


@cases.case(10, "streams: tickers, best prices, trades, candles, the book as REST has it, the life of an order")
async def streams(at: dict[str, Any]) -> None:
    async with binance(at["lively"], keyed=False) as ex, asyncio.timeout(30):
        await ex.load_markets()
        ticker, best, trades, candles = await asyncio.gather(
            ex.watch_ticker(BTC), ex.watch_bids_asks([BTC]), ex.watch_trades(BTC), ex.watch_ohlcv(BTC, "1m")
        )
        assert min(ticker["last"], trades[0]["price"], candles[-1][4]) > 0
        assert 0 < best[BTC]["bid"] < best[BTC]["ask"]
        for _ in range(5):
            book = await ex.watch_order_book(BTC)
            assert book["bids"][0][0] < book["asks"][0][0]
    async with binance(at["main"]) as ex, asyncio.timeout(30):
        await ex.load_markets()
        watching = asyncio.create_task(_forever(ex.watch_orders))
        book = await ex.watch_order_book(BTC)
        rest = await ex.fetch_order_book(BTC, 5)
        assert [row[:2] for row in book["bids"][:5]] == rest["bids"]
        await ex.create_order(BTC, "market", "buy", 0.05)
        ask = (await ex.fetch_order_book(BTC, 5))["asks"][0][0]
        # Nobody bids within five dollars of it: an offer below the best one rests.
        clear = {"act": "trade", "symbol": BTC, "side": "SELL", "price": f"{ask - 5:.2f}"}
        await asyncio.to_thread(operate, at["main"]["rest"], **clear)
        inside = round(ask - 0.01, 2)
        one = (await ex.create_order(BTC, "limit", "sell", 0.02, inside + 1_000))["id"]
        await until_order(ex, one, "open", 0)
        two = (await ex.create_order(BTC, "limit", "sell", 0.02, inside))["id"]
        await until_order(ex, two, "open", 0)
        for size, end in (("0.005", ("open", 0.005)), ("0.015", ("closed", 0.02))):
            act = {"act": "trade", "symbol": BTC, "side": "BUY", "price": str(inside), "size": size}
            await asyncio.to_thread(operate, at["main"]["rest"], **act)
            await until_order(ex, two, *end)
        await ex.cancel_order(one, BTC)
        await until_order(ex, one, "canceled", 0)
        watching.cancel()
    async with binance(at["main"]) as ex, asyncio.timeout(30):
        await ex.load_markets()
        waiting = asyncio.create_task(ex.watch_balance())
        placed = []
        while not waiting.done():  # what was placed before the stream was there it does not tell
            placed.append((await ex.create_order_ws(BTC, "limit", "buy", 0.01, 1_000))["id"])
            await asyncio.wait({waiting}, timeout=1.0)
        assert (await waiting)["USDT"]["used"] >= 10
        for one in placed:
            assert (await ex.fetch_order_ws(one, BTC))["status"] == "open"
            assert (await ex.cancel_order_ws(one, BTC))["status"] == "canceled"


async def _forever(watch: Any) -> None:
    while True:
        await watch(BTC)


@cases.case(11, "a stream that ends is an error once; the next call dials again")
async def closes(at: dict[str, Any]) -> None:
    for code in (1001, 1006, 1011):
        async with binance(at["lively"], keyed=False) as ex, asyncio.timeout(60):
            await ex.load_markets()
            await ex.watch_trades(BTC)
            waiting = asyncio.create_task(_forever(ex.watch_trades))
            await asyncio.sleep(0.02)
            await asyncio.to_thread(operate, at["lively"]["rest"], act="disconnect", code=code)
            await raised(ccxt.NetworkError, waiting)
            assert (await ex.watch_trades(BTC))[0]["price"] > 0


@cases.case(11, "a lost update of the book is noticed, and the book made anew")
async def gap(at: dict[str, Any]) -> None:
    async with binance(at["lively"], keyed=False) as ex, asyncio.timeout(60):
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
    async with binance(at["tls"], keyed=False, streaming={"keepAlive": PING_MS}) as ex, asyncio.timeout(60):
        await ex.load_markets()
        await ex.watch_trades(BTC)
        await asyncio.to_thread(operate, at["tls"]["rest"], act="mute")
        await raised(ccxt.RequestTimeout, _forever(ex.watch_trades))


@cases.case(13, "unwatching is over when nothing is left")
async def unwatch(at: dict[str, Any]) -> None:
    async with binance(at["lively"], keyed=False) as ex, asyncio.timeout(60):
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
        await closing_leaves_nothing(binance(at["main"], keyed=False), BTC, told=False)
    assert not [one for one in caught if "nclosed" in str(one.message)]


@cases.case(15, "its own pace; the venue's weights, then a ban")
async def pace(at: dict[str, Any]) -> None:
    async with binance(at["main"], keyed=False, enableRateLimit=True) as ex:
        began_s = time.monotonic()
        await asyncio.gather(*(ex.fetch_time() for _ in range(12)))
        assert time.monotonic() - began_s >= 11 * ex.rateLimit / 1_000 / 10
    async with binance(at["limited"]) as ex:
        said = await asyncio.gather(*(ex.fetch_balance() for _ in range(12)), return_exceptions=True)
        assert {type(one) for one in said if isinstance(one, BaseException)} == {ccxt.DDoSProtection}
        texts = [str(one) for one in said]
        assert any("429" in text for text in texts)
        assert any("418" in text and "banned" in text for text in texts)


@cases.case(16, "an order whose answer is lost is found by its id, and there is one")
async def lost(at: dict[str, Any]) -> None:
    async with binance(at["main"]) as ex:
        await ex.load_markets()
        for fault, kind in (
            ({"status": 200, "delay_s": 0.8}, ccxt.RequestTimeout),
            ({"status": 0}, ccxt.ExchangeNotAvailable),
            ({"status": 500, "body": '{"code":-1006,"msg":"Execution status unknown."}'}, None),
        ):
            name = mine()
            operate(at["main"]["rest"], act="answer", path="/order", method="POST", apply="before", **fault)
            ex.timeout = HASTY_MS if "delay_s" in fault else PATIENT_MS
            asked = ex.create_order(BTC, "limit", "buy", 0.01, 1_000, {"clientOrderId": name})
            if kind is None:
                (said,) = await asyncio.gather(asked, return_exceptions=True)
                assert isinstance(said, ccxt.BaseError)
            else:
                await raised(kind, asked)
            ex.timeout = PATIENT_MS
            found = [one for one in await ex.fetch_open_orders(BTC) if one["clientOrderId"] == name]
            assert len(found) == 1
            await ex.cancel_order(found[0]["id"], BTC)


@cases.case(20, "markets: steps and minima; over TLS as well")
async def markets(at: dict[str, Any]) -> None:
    for name in ("main", "tls"):
        async with binance(at[name], keyed=False) as ex:
            market = (await ex.load_markets())[BTC]
            assert (market["precision"]["price"], market["precision"]["amount"]) == (0.01, 0.00001)
            assert market["limits"]["cost"]["min"] == 5
            assert market["active"]
    async with binance(at["main"]) as ex:
        await ex.load_markets()
        assert ex.currencies["BTC"]["active"] is not False


@cases.case(20, "an order by its client id, a time outside of recvWindow, a client id twice")
async def by_client_id(at: dict[str, Any]) -> None:
    for name, again in (("main", True), ("strict", False)):
        async with binance(at[name]) as ex:
            await ex.load_markets()
            client_id = mine()
            order = await ex.create_order(BTC, "limit", "buy", 0.01, 1_000, {"clientOrderId": client_id})
            found = await ex.fetch_order(None, BTC, {"origClientOrderId": client_id})
            assert (found["id"], found["clientOrderId"]) == (order["id"], client_id)
            twice = ex.create_order(BTC, "limit", "buy", 0.01, 1_000, {"clientOrderId": client_id})
            # The venue has a code of its own for this; without its host's name the library knows the general one.
            assert "Duplicate order sent" in str(await raised(ccxt.InvalidOrder, twice))
            gone = await ex.cancel_order(None, BTC, {"clientOrderId": client_id})
            assert gone["status"] == "canceled"
            late = ex.create_order(BTC, "limit", "buy", 0.01, 1_000, {"clientOrderId": client_id})
            if again:
                await ex.cancel_order((await late)["id"], BTC)
            else:
                await raised(ccxt.InvalidOrder, late)
            for off_ms in (-3_000, 2_000):
                old = {"timestamp": ex.milliseconds() + off_ms, "recvWindow": 1_000}
                await raised(ccxt.InvalidNonce, ex.create_order(BTC, "limit", "buy", 0.01, 1_000, old))


@cases.case(21, "nothing of all this left the machine")
async def stayed(at: dict[str, Any]) -> None:
    assert running.leaks == []
    async with binance(at["main"] | {"rest": "https://api.binance.com"}, keyed=False) as ex:
        await raised(ccxt.ExchangeNotAvailable, ex.fetch_time())
    assert set(running.leaks) == {"api.binance.com"}, "the guard sees a missed address"
    running.leaks.clear()


if __name__ == "__main__":
    cases.main()
