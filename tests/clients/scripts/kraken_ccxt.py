"""The ccxt list as far as it is of Kraken spot, by ccxt.pro (REST and WebSocket v2 in one object)."""

from __future__ import annotations

import asyncio
import base64
import time
import uuid
import warnings
from itertools import pairwise
from typing import Any

import cases as running
import ccxt.pro as ccxt
from cases import List, operate
from long_tail import HASTY_MS, PATIENT_MS, PING_MS, closing_leaves_nothing, exchange, raised, until_order

cases = List("kraken", "ccxt")
BTC, ETH = "BTC/USD", "ETH/USD"


def kraken(at: dict[str, Any], *, keyed: bool = True, **given: Any) -> Any:
    """Pointed at a sandbox: every key of ``urls.api`` that is used."""
    ws = {"public": at["ws"], "private": at["ws_auth"], "publicV2": at["ws"], "privateV2": at["ws_auth"]}
    urls = {"public": at["rest"], "private": at["rest"], "ws": ws}
    return exchange(ccxt.kraken, at, urls, keyed=keyed, **given)


def mine() -> str:
    return str(uuid.uuid4())


@cases.case(2, "public data: time, status, ticker, tickers, book, trades, candles of each width")
async def public(at: dict[str, Any]) -> None:
    async with kraken(at["main"], keyed=False) as ex:
        await ex.load_markets()
        assert abs(await ex.fetch_time() - time.time() * 1_000) < 5_000
        assert (await ex.fetch_status())["status"] == "ok"
        ticker = await ex.fetch_ticker(BTC)
        assert 0 < ticker["bid"] < ticker["ask"]
        assert set(await ex.fetch_tickers([BTC, ETH])) == {BTC, ETH}
        book = await ex.fetch_order_book(BTC, 5)
        assert len(book["bids"]) == len(book["asks"]) == 5
        trades = await ex.fetch_trades(BTC, limit=10)
        assert [one["timestamp"] for one in trades] == sorted(one["timestamp"] for one in trades)
        for width in ex.timeframes:
            rows = await ex.fetch_ohlcv(BTC, width, limit=3)
            assert rows
            assert all(low <= min(opened, closed) <= high for _, opened, high, low, closed, _ in rows)
        rows = await ex.fetch_ohlcv(BTC, "1m")
        assert len(rows) == 720
        assert {later[0] - before[0] for before, later in pairwise(rows[:-1])} == {60_000}


@cases.case(3, "balances: free, used and total, with what orders hold")
async def balances(at: dict[str, Any]) -> None:
    async with kraken(at["main"]) as ex:
        await ex.load_markets()
        before = (await ex.fetch_balance())["USD"]
        order = await ex.create_order(BTC, "limit", "buy", 0.01, 1_000)
        held = (await ex.fetch_balance())["USD"]
        assert round(held["used"] - before["used"], 8) == 10.04
        assert held["total"] == before["total"]
        await ex.cancel_order(order["id"], BTC)
        assert (await ex.fetch_balance())["USD"] == before


@cases.case(4, "every kind of order")
async def kinds(at: dict[str, Any]) -> None:
    async with kraken(at["main"]) as ex:
        await ex.load_markets()
        book = await ex.fetch_order_book(BTC, 5)
        bid, ask = book["bids"][0][0], book["asks"][0][0]

        async def state(made: Any) -> tuple[str, float]:
            found = await ex.fetch_order(made["id"])
            return found["status"], found["filled"]

        bought = await ex.create_order(BTC, "market", "buy", 0.002)
        assert await state(bought) == ("closed", 0.002)
        spent = await ex.fetch_order((await ex.create_market_order_with_cost(BTC, "buy", 50))["id"])
        assert spent["status"] == "closed"
        assert 49 < spent["filled"] * spent["average"] <= 50
        sold = await ex.fetch_order((await ex.create_order(BTC, "market", "sell", 0.001))["id"])
        assert sold["fee"]["currency"] == "USD"
        assert float(sold["fee"]["cost"]) > 0
        never = await ex.create_order(BTC, "limit", "buy", 0.001, 1_000, {"timeInForce": "IOC"})
        assert await state(never) == ("canceled", 0)
        resting = await ex.create_order(BTC, "limit", "buy", 0.001, bid - 100, {"postOnly": True})
        assert await state(resting) == ("open", 0)
        text = str(
            await raised(ccxt.ExchangeError, ex.create_order(BTC, "limit", "buy", 0.001, ask + 100, {"postOnly": True}))
        )
        assert "EOrder:Post only order" in text
        dated = {"timeInForce": "GTD", "expiretm": "+1"}
        brief = await ex.create_order(BTC, "limit", "buy", 0.001, 1_000, dated)
        stop = await ex.create_order(BTC, "market", "sell", 0.001, None, {"stopLossPrice": round(bid / 2, 1)})
        target = await ex.create_order(BTC, "limit", "sell", 0.001, ask * 2, {"takeProfitPrice": round(ask * 2, 1)})
        seen = {one["id"]: one["info"]["descr"]["ordertype"] for one in await ex.fetch_open_orders(BTC)}
        assert (seen[stop["id"]], seen[target["id"]]) == ("stop-loss", "take-profit-limit")
        checked = await ex.create_order(BTC, "limit", "buy", 0.001, 1_000, {"validate": "true"})
        assert checked["id"] is None
        async with asyncio.timeout(60):
            while await state(brief) != ("expired", 0):
                await asyncio.sleep(0.1)
        await ex.cancel_all_orders()
        assert not await ex.fetch_open_orders(BTC)


@cases.case(6, "edits, cancels of one and of several, of a filled order")
async def cancels(at: dict[str, Any]) -> None:
    async with kraken(at["main"]) as ex:
        await ex.load_markets()
        first = await ex.create_order(BTC, "limit", "buy", 0.01, 1_000)
        await ex.edit_order(first["id"], BTC, "limit", "buy", 0.02, 1_100)
        edited = await ex.fetch_order(first["id"])
        assert (edited["price"], edited["amount"], edited["status"]) == (1_100, 0.02, "open")
        await ex.cancel_order(first["id"], BTC)
        both = [(await ex.create_order(BTC, "limit", "buy", 0.01, 1_000))["id"] for _ in range(2)]
        (told,) = await ex.cancel_orders(both)
        assert told["info"]["result"]["count"] == 2
        filled = await ex.create_order(BTC, "market", "buy", 0.001)
        for number in (first["id"], filled["id"], "OAAAAA-BBBBB-CCCCCC"):
            await raised(ccxt.OrderNotFound, ex.cancel_order(number, BTC))


@cases.case(6, "the dead man's switch")
async def switch(at: dict[str, Any]) -> None:
    async with kraken(at["main"]) as ex:
        await ex.load_markets()
        assert (await ex.cancel_all_orders_after(60_000))["result"]["triggerTime"] != "0"
        assert (await ex.cancel_all_orders_after(0))["result"]["triggerTime"] == "0"


@cases.case(7, "orders by state; fills, page by page")
async def lists(at: dict[str, Any]) -> None:
    async with kraken(at["main"]) as ex:
        await ex.load_markets()
        done = await ex.create_order(ETH, "market", "buy", 0.1)
        gone = await ex.create_order(ETH, "limit", "buy", 0.1, 100)
        await ex.cancel_order(gone["id"], ETH)
        rests = await ex.create_order(ETH, "limit", "buy", 0.1, 100)
        states = {one["id"]: one["status"] for one in await ex.fetch_closed_orders(ETH)}
        assert [states[one["id"]] for one in (done, gone)] == ["closed", "canceled"]
        assert [one["id"] for one in await ex.fetch_open_orders(ETH)] == [rests["id"]]
        both = await ex.fetch_orders_by_ids([done["id"], rests["id"]])
        assert {one["status"] for one in both} == {"closed", "open"}
        fills = [one for one in await ex.fetch_my_trades(ETH) if one["order"] == done["id"]]
        assert round(sum(one["amount"] for one in fills), 8) == 0.1
        assert all(one["fee"]["cost"] > 0 and one["takerOrMaker"] == "taker" for one in fills)
        named = {"trades": [one["id"] for one in fills]}
        trades = await ex.fetch_order_trades(done["id"], ETH, params=named)
        assert {one["id"] for one in trades} == {one["id"] for one in fills}
        await ex.cancel_order(rests["id"], ETH)
        await asyncio.gather(*(ex.create_order(ETH, "market", "buy", 0.002) for _ in range(60)))
        first = await ex.fetch_my_trades(ETH)
        second = await ex.fetch_my_trades(ETH, params={"ofs": 50})
        assert len(first) == 50
        assert not {one["id"] for one in first} & {one["id"] for one in second}


@cases.case(9, "errors by their class")
async def errors(at: dict[str, Any]) -> None:
    rest = at["main"]["rest"]
    async with kraken(at["main"]) as ex:
        await ex.load_markets()
        exact = {"price_to_precision": lambda _, px: f"{px}", "amount_to_precision": lambda _, qty: f"{qty:.8f}"}
        ex.__dict__.update(exact)
        for kind, order in (
            (ccxt.ExchangeError, (BTC, "limit", "buy", 0.01, 1_000.05)),
            (ccxt.InvalidOrder, (BTC, "limit", "buy", 0.000_01, 60_000)),
            (ccxt.InsufficientFunds, (BTC, "limit", "buy", 100, 60_000)),
        ):
            await raised(kind, ex.create_order(*order))
        # Unknown pairs have two texts at the venue; the library knows the other one.
        said = await raised(ccxt.ExchangeError, ex.publicGetDepth({"pair": "NOSUCH"}))
        assert "EQuery:Unknown asset pair" in str(said)
        for kind, fault in (
            (ccxt.ExchangeNotAvailable, {"status": 200, "body": '{"error":["EService:Unavailable"]}'}),
            (ccxt.DDoSProtection, {"status": 200, "body": '{"error":["EAPI:Rate limit exceeded"]}'}),
            (ccxt.ExchangeNotAvailable, {"status": 520}),
            (ccxt.ExchangeNotAvailable, {"status": 503, "body": "<html>", "content_type": "text/html"}),
            (ccxt.RateLimitExceeded, {"status": 429, "body": "slow down", "content_type": "text/plain"}),
            (ccxt.ExchangeNotAvailable, {"status": 0}),
            (ccxt.RequestTimeout, {"late": True, "delay_s": 0.8}),
        ):
            ex.timeout = HASTY_MS if "delay_s" in fault else PATIENT_MS
            operate(rest, act="answer", path="/BalanceEx", **fault)
            await raised(kind, ex.fetch_balance())
            ex.timeout = PATIENT_MS
        operate(rest, act="halt", symbol=BTC)
        await raised(ccxt.OnMaintenance, ex.create_order(BTC, "limit", "buy", 0.01, 1_000))
        operate(rest, act="open", symbol=BTC)
        operate(rest, act="maintenance")
        await raised(ccxt.ExchangeNotAvailable, ex.fetch_time())
        assert (await ex.fetch_status())["status"] == "maintenance"
        operate(rest, act="maintenance", on=False)
        operate(rest, act="permit", can_trade=False)
        await raised(ccxt.PermissionDenied, ex.create_order(BTC, "limit", "buy", 0.01, 1_000))
        operate(rest, act="permit", can_trade=True)


@cases.case(10, "streams: tickers, best prices, trades, candles, the book as REST has it, the life of an order")
async def streams(at: dict[str, Any]) -> None:
    async with kraken(at["lively"], keyed=False) as ex, asyncio.timeout(30):
        await ex.load_markets()
        ticker, best, trades, candles = await asyncio.gather(
            ex.watch_ticker(BTC), ex.watch_bids_asks([BTC]), ex.watch_trades(ETH), ex.watch_ohlcv(BTC, "1m")
        )
        assert 0 < ticker["bid"] < ticker["ask"]
        assert set(best) == {BTC}
        assert min(trades[0]["price"], candles[-1][4]) > 0
        for _ in range(30):
            book = await ex.watch_order_book(BTC)
            assert book["bids"][0][0] < book["asks"][0][0]
            assert len(book["bids"]) == len(book["asks"]) == 10
    async with kraken(at["main"]) as ex, asyncio.timeout(30):
        await ex.load_markets()
        watching = [asyncio.create_task(_watch(ex.watch_orders)), asyncio.create_task(_watch(ex.watch_my_trades))]
        book = await ex.watch_order_book(BTC)
        rest = await ex.fetch_order_book(BTC, 5)
        assert [row[0] for row in book["bids"][:5]] == [row[0] for row in rest["bids"]]
        await asyncio.sleep(0.3)
        ask = rest["asks"][0][0]
        # Nobody bids within five dollars of it: an offer below the best one rests.
        clear = {"act": "trade", "symbol": BTC, "side": "SELL", "price": f"{ask - 5:.1f}"}
        await asyncio.to_thread(operate, at["main"]["rest"], **clear)
        inside = round(ask - 0.1, 1)
        one = (await ex.create_order(BTC, "limit", "sell", 0.02, inside + 1_000))["id"]
        await until_order(ex, one, "open", None)
        two = (await ex.create_order(BTC, "limit", "sell", 0.02, inside))["id"]
        await until_order(ex, two, "open", None)
        for size in ("0.005", "0.015"):
            act = {"act": "trade", "symbol": BTC, "side": "BUY", "price": str(inside), "size": size}
            await asyncio.to_thread(operate, at["main"]["rest"], **act)
        # A fill comes as one of its own trades; the order is told of when it ends.
        while not [each for each in ex.orders if each["id"] == two and each["status"] == "closed"]:
            await asyncio.sleep(0.01)
        told = [each for each in ex.myTrades if each["order"] == two]
        assert round(sum(each["amount"] for each in told), 8) == 0.02
        assert {each["takerOrMaker"] for each in told} == {"maker"}
        await ex.cancel_order(one, BTC)
        while not [each for each in ex.orders if each["id"] == one and each["status"] == "canceled"]:
            await asyncio.sleep(0.01)
        for task in watching:
            task.cancel()
    async with kraken(at["main"]) as ex, asyncio.timeout(30):
        await ex.load_markets()
        assert (await ex.watch_balance())["USD"]["total"] > 0
        placed = await ex.create_order_ws(BTC, "limit", "buy", 0.01, 1_000)
        await ex.edit_order_ws(placed["id"], BTC, "limit", "buy", 0.02, 1_100)
        assert (await ex.fetch_order(placed["id"]))["amount"] == 0.02
        await ex.cancel_order_ws(placed["id"])
        assert (await ex.fetch_order(placed["id"]))["status"] == "canceled"
        # Of streams the library knows the longer texts of an older version alone.
        said = await raised(ccxt.ExchangeError, ex.create_order_ws(BTC, "limit", "buy", 100, 60_000))
        assert str(said) == "EOrder:Insufficient funds"


async def _watch(watch: Any) -> None:
    while True:
        await watch()


@cases.case(11, "a stream that ends is an error once; the next call dials again")
async def closes(at: dict[str, Any]) -> None:
    for code in (1001, 1006, 1011):
        async with kraken(at["lively"], keyed=False) as ex, asyncio.timeout(60):
            await ex.load_markets()
            await ex.watch_order_book(BTC)
            waiting = asyncio.create_task(ex.watch_ticker(BTC))
            await waiting
            waiting = asyncio.create_task(_watch(lambda ex=ex: ex.watch_ticker(BTC)))
            await asyncio.sleep(0.05)
            await asyncio.to_thread(operate, at["lively"]["rest"], act="disconnect", code=code)
            await raised(ccxt.NetworkError, waiting)
            assert (await ex.watch_ticker(BTC))["last"] > 0


@cases.case(12, "a venue that answers no ping is noticed")
async def mute(at: dict[str, Any]) -> None:
    streaming = {"keepAlive": PING_MS}
    async with kraken(at["tls"], keyed=False, streaming=streaming) as ex, asyncio.timeout(60):
        await ex.load_markets()
        await ex.watch_ticker(BTC)
        await asyncio.to_thread(operate, at["tls"]["rest"], act="mute")
        await raised(ccxt.RequestTimeout, _watch(lambda: ex.watch_ticker(BTC)))


@cases.case(14, "closing ends what waits and leaves nothing behind")
async def closing(at: dict[str, Any]) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        await closing_leaves_nothing(kraken(at["main"], keyed=False), BTC, told=True)
    assert not [one for one in caught if "nclosed" in str(one.message)]


@cases.case(15, "the venue's counters")
async def pace(at: dict[str, Any]) -> None:
    async with kraken(at["limited"]) as ex:
        await ex.load_markets()
        said = await asyncio.gather(*(ex.fetch_balance() for _ in range(8)), return_exceptions=True)
        assert {type(one) for one in said if isinstance(one, BaseException)} == {ccxt.DDoSProtection}
        orders = (ex.create_order(BTC, "limit", "buy", 0.001, 1_000) for _ in range(6))
        said = await asyncio.gather(*orders, return_exceptions=True)
        assert {type(one) for one in said if isinstance(one, BaseException)} == {ccxt.DDoSProtection}
        assert "EOrder:Rate limit exceeded" in str(said)


@cases.case(16, "an order whose answer is lost is found by its id, and there is one")
async def lost(at: dict[str, Any]) -> None:
    async with kraken(at["main"]) as ex:
        await ex.load_markets()
        for fault, kind in (
            ({"status": 200, "delay_s": 0.8}, ccxt.RequestTimeout),
            ({"status": 0}, ccxt.ExchangeNotAvailable),
            ({"status": 504}, ccxt.RequestTimeout),
        ):
            name = mine()
            operate(at["main"]["rest"], act="answer", path="/AddOrder", apply="before", **fault)
            ex.timeout = HASTY_MS if "delay_s" in fault else PATIENT_MS
            await raised(kind, ex.create_order(BTC, "limit", "buy", 0.01, 1_000, {"clientOrderId": name}))
            ex.timeout = PATIENT_MS
            (found,) = await ex.fetch_open_orders(BTC, params={"clientOrderId": name})
            assert found["clientOrderId"] == name
            await ex.cancel_order(found["id"], BTC)


@cases.case(19, "markets: steps and minima; over TLS as well")
async def markets(at: dict[str, Any]) -> None:
    for name in ("main", "tls"):
        async with kraken(at[name], keyed=False) as ex:
            market = (await ex.load_markets())[BTC]
            assert (market["precision"]["price"], market["precision"]["amount"]) == (0.1, 1e-8)
            assert (market["limits"]["amount"]["min"], market["limits"]["cost"]["min"]) == (0.00005, 0.5)
            assert market["id"] == "XXBTZUSD"
            assert market["active"]


@cases.case(19, "an order from its creation to its end, by its client id as well")
async def by_client_id(at: dict[str, Any]) -> None:
    for name, again in (("main", False), ("strict", True)):
        async with kraken(at[name]) as ex:
            await ex.load_markets()
            client_id = mine()
            order = await ex.create_order(BTC, "limit", "buy", 0.01, 1_000, {"clientOrderId": client_id})
            found = await ex.fetch_order(order["id"])
            assert (found["status"], found["clientOrderId"], found["price"]) == ("open", client_id, 1_000)
            twice = ex.create_order(BTC, "limit", "buy", 0.01, 1_000, {"clientOrderId": client_id})
            if again:
                await ex.cancel_order((await twice)["id"], BTC)
                await ex.cancel_order(order["id"], BTC)
            else:
                assert "cl_ord_id" in str(await raised(ccxt.ExchangeError, twice))
                await ex.cancel_order(None, BTC, {"clientOrderId": client_id})
            assert (await ex.fetch_order(order["id"]))["status"] == "canceled"
            reused = await ex.create_order(BTC, "limit", "buy", 0.01, 1_000, {"clientOrderId": client_id})
            await ex.cancel_order(reused["id"], BTC)
            far = ex.create_order(BTC, "limit", "buy", 0.01, 1_000, {"clientOrderId": "é" * 9})
            assert "Invalid arguments:cl_ord_id" in str(await raised(ccxt.ExchangeError, far))


@cases.case(19, "wrong key, wrong signature in the venue's two ways, a nonce that was used")
async def signed(at: dict[str, Any]) -> None:
    wrong = base64.b64encode(b"wrong").decode()
    async with kraken(at["main"]) as ex:
        await ex.fetch_balance()
        good, ex.secret = ex.secret, wrong
        # The text that the venue documents; the library has no class for it.
        assert "EAPI:Invalid signature" in str(await raised(ccxt.ExchangeError, ex.fetch_balance()))
        ex.secret, ex.apiKey, key = good, "nobody", ex.apiKey
        await raised(ccxt.AuthenticationError, ex.fetch_balance())
        ex.apiKey, ex.incrementing_nonce = key, lambda: 1_700_000_000_000
        await raised(ccxt.InvalidNonce, ex.fetch_balance())
    async with kraken(at["strict"], secret=wrong) as ex:
        await raised(ccxt.AuthenticationError, ex.fetch_balance())


@cases.case(21, "nothing of all this left the machine")
async def stayed(at: dict[str, Any]) -> None:
    assert running.leaks == []
    async with kraken(at["main"] | {"rest": "https://api.kraken.com"}, keyed=False) as ex:
        await raised(ccxt.ExchangeNotAvailable, ex.fetch_time())
    assert set(running.leaks) == {"api.kraken.com"}, "the guard sees a missed address"
    running.leaks.clear()


if __name__ == "__main__":
    cases.main()
