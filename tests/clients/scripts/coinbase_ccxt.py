"""The ccxt list as far as it is Coinbase's, by ccxt.pro (REST and streams in one object)."""

from __future__ import annotations

import asyncio
import base64
import datetime
import json
import time
import uuid
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import cases as running
import ccxt.pro as ccxt
from cases import List, operate
from cryptography.hazmat.primitives import serialization
from long_tail import HASTY_MS, PATIENT_MS, PING_MS, raised

cases = List("coinbase", "ccxt")
BTC = "BTC/USD"
PERPETUAL, DATED = "BTC/USD:USD", "BTC/USD:USD-301227"


@asynccontextmanager
async def exchange(at: dict[str, Any], *, keyed: bool = True, key_file: str = "", **given: Any) -> AsyncIterator[Any]:
    config: dict[str, Any] = {"urls": {"api": {"rest": at["rest"], "ws": at["ws_market"]}}, "timeout": PATIENT_MS}
    # Its own pace is most of the time that all of this would take; case 15 is about it.
    config |= {"enableRateLimit": False, **given}
    if "authority" in at:
        config["cafile"] = at["authority"]
    if keyed:
        key = json.loads(Path(key_file or at["key_file"]).read_text())
        config = {"apiKey": key["name"], "secret": key["privateKey"], **config}
    made = ccxt.coinbase(config)
    try:
        yield made
    finally:
        await made.close()


def mine(params: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"client_order_id": uuid.uuid4().hex, **(params or {})}


def in_time(seconds: float) -> str:
    return (
        (datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=seconds)).isoformat().replace("+00:00", "Z")
    )


@cases.case(1, "markets: steps, minima, contracts; over TLS as well")
async def markets(at: dict[str, Any]) -> None:
    for where in ("main", "tls"):
        async with exchange(at[where]) as ex:
            found = await ex.load_markets()
            spot = found[BTC]
            assert (spot["precision"]["amount"], spot["precision"]["price"]) == (1e-08, 0.01)
            assert spot["limits"]["cost"]["min"] == 1
            assert (spot["taker"], spot["maker"]) == (0.006, 0.004)
            if where == "main":
                assert (found[PERPETUAL]["contractSize"], found[PERPETUAL]["swap"]) == (0.01, True)
                assert found[DATED]["future"] is True
                assert found[DATED]["expiryDatetime"].startswith("2030-12-27")
                assert {"BTC", "ETH", "USD"} <= set(ex.currencies)


@cases.case(2, "public data: time, tickers, book, trades, candles of each width")
async def public(at: dict[str, Any]) -> None:
    async with exchange(at["main"], keyed=False) as ex:
        assert abs(await ex.fetch_time() - time.time() * 1000) < 60_000
        ticker = await ex.fetch_ticker(BTC)
        assert 0 < ticker["bid"] < ticker["ask"]
        tickers = await ex.fetch_tickers([BTC, "ETH/USD"])
        assert set(tickers) == {BTC, "ETH/USD"}
        book = await ex.fetch_order_book(BTC, 5)
        assert len(book["bids"]) == len(book["asks"]) == 5
        assert book["bids"][0][0] < book["asks"][0][0]
        trades = await ex.fetch_trades(BTC, limit=20)
        assert 0 < len(trades) <= 20
        assert {one["side"] for one in trades} <= {"buy", "sell"}
        now_ms = ex.milliseconds()
        for name in ex.timeframes:
            width_ms = ex.parse_timeframe(name) * 1000
            rows = await ex.fetch_ohlcv(BTC, name, since=now_ms - 290 * width_ms, limit=300)
            assert 0 < len(rows) <= 300
            assert [row[0] for row in rows] == sorted({row[0] for row in rows})
            assert all(row[0] % width_ms == 0 and row[3] <= row[1] <= row[2] for row in rows)


@cases.case(3, "balances, with holds where the newer API is asked")
async def balance(at: dict[str, Any]) -> None:
    async with exchange(at["main"]) as ex:
        await ex.load_markets()
        made = await ex.create_order(BTC, "limit", "buy", 0.1, 1000, mine())
        newer = await ex.fetch_balance({"v3": True})
        older = await ex.fetch_balance()
        assert newer["USD"]["used"] == 100.6
        assert abs(newer["USD"]["total"] - newer["USD"]["free"] - 100.6) < 1e-6
        assert older["USD"]["used"] == 0
        assert older["USD"]["free"] == newer["USD"]["free"]
        await ex.cancel_order(made["id"])
        assert (await ex.fetch_balance({"v3": True}))["USD"]["used"] == 0


@cases.case(4, "every kind of order arrives as the configuration it stands for")
async def order_kinds(at: dict[str, Any]) -> None:
    async with exchange(at["main"]) as ex:
        await ex.load_markets()
        ask = (await ex.fetch_order_book(BTC, 1))["asks"][0][0]
        high, higher = round(ask + 4_000, 2), round(ask + 4_500, 2)
        low = 1_000
        for kind, side, px, params, wanted in (
            ("limit", "buy", low, {}, "limit_limit_gtc"),
            ("limit", "buy", low, {"postOnly": True}, "limit_limit_gtc"),
            ("limit", "buy", low, {"timeInForce": "IOC"}, "sor_limit_ioc"),
            ("limit", "buy", low, {"timeInForce": "FOK"}, "limit_limit_fok"),
            ("limit", "buy", low, {"timeInForce": "GTD", "end_time": in_time(600)}, "limit_limit_gtd"),
            ("market", "buy", None, {"cost": 100}, "market_market_ioc"),
            ("market", "sell", None, {}, "market_market_ioc"),
            ("limit", "sell", higher, {"triggerPrice": high}, "stop_limit_stop_limit_gtc"),
            ("limit", "sell", low, {"stopLossPrice": low}, "stop_limit_stop_limit_gtc"),
        ):
            made = await ex.create_order(BTC, kind, side, 0.01, px, mine(params))
            info = (await ex.fetch_order(made["id"]))["info"]
            (name, fields), *_ = info["order_configuration"].items()
            assert name == wanted, (params, info)
            if "postOnly" in params:
                assert fields["post_only"] is True
            if "stop_limit" in name:
                assert fields["stop_direction"].endswith("UP" if "triggerPrice" in params else "DOWN")
            if info["status"] == "OPEN":
                await ex.cancel_order(made["id"])


@cases.case(5, "the venue's own name of the client id arrives, the unified one does not")
async def client_ids(at: dict[str, Any]) -> None:
    async with exchange(at["main"]) as ex:
        await ex.load_markets()
        wanted = uuid.uuid4().hex
        one = await ex.create_order(BTC, "limit", "buy", 0.01, 1000, {"client_order_id": wanted})
        assert (await ex.fetch_order(one["id"]))["clientOrderId"] == wanted
        lost = uuid.uuid4().hex
        two = await ex.create_order(BTC, "limit", "buy", 0.01, 1000, {"clientOrderId": lost})
        assert (await ex.fetch_order(two["id"]))["clientOrderId"] != lost
        await ex.cancel_orders([one["id"], two["id"]])


@cases.case(6, "edits, cancels of one and of several, of a filled order")
async def changes(at: dict[str, Any]) -> None:
    async with exchange(at["main"]) as ex:
        await ex.load_markets()
        one = await ex.create_order(BTC, "limit", "buy", 0.01, 1000, mine())
        await ex.edit_order(one["id"], BTC, "limit", "buy", 0.02, 1100)
        changed = await ex.fetch_order(one["id"])
        assert (changed["price"], changed["amount"], changed["status"]) == (1100, 0.02, "open")
        two = await ex.create_order(BTC, "limit", "buy", 0.01, 1000, mine())
        said = await ex.cancel_orders([one["id"], two["id"]])
        assert [row["id"] for row in said] == [one["id"], two["id"]]
        assert (await ex.fetch_order(one["id"]))["status"] == "canceled"
        filled = await ex.create_order(BTC, "market", "buy", 0.01, None, mine({"cost": 50}))
        await raised(ccxt.BadRequest, ex.cancel_order(filled["id"]))


@cases.case(7, "orders by state, fills by pages of a hundred")
async def listings(at: dict[str, Any]) -> None:
    async with exchange(at["main"]) as ex:
        await ex.load_markets()
        opened = [(await ex.create_order(BTC, "limit", "buy", 0.002, 1000, mine()))["id"] for _ in range(3)]
        found = {row["id"] for row in await ex.fetch_open_orders(BTC)}
        assert set(opened) <= found
        await ex.cancel_orders(opened)
        assert set(opened) <= {row["id"] for row in await ex.fetch_canceled_orders(BTC)}
        for _ in range(51):
            await ex.create_order(BTC, "market", "buy", 1, None, mine({"cost": 2}))
            await ex.create_order(BTC, "market", "sell", 0.00003, None, mine())
        closed = await ex.fetch_closed_orders(BTC)
        assert len(closed) == 100
        assert {row["status"] for row in closed} == {"closed"}
        trades = await ex.fetch_my_trades(BTC, limit=250)
        assert len(trades) > 100
        assert len({row["info"]["entry_id"] for row in trades}) == len(trades)
        assert all(row["fee"]["cost"] > 0 and row["takerOrMaker"] == "taker" for row in trades[:20])


@cases.case(8, "both kinds of keys sign, a wrong one does not")
async def keys(at: dict[str, Any]) -> None:
    async with exchange(at["main"]) as ex:
        assert (await ex.fetch_balance({"v3": True}))["USD"]["free"] > 0
    key = json.loads(Path(at["ed25519"]).read_text())
    private = serialization.load_pem_private_key(key["privateKey"].encode(), None)
    raw = private.private_bytes_raw() + private.public_key().public_bytes_raw()
    secret = base64.b64encode(raw).decode()
    async with exchange(at["main"], apiKey=key["name"], secret=secret) as ex:
        assert (await ex.fetch_balance({"v3": True}))["USD"]["free"] > 0
    async with exchange(at["main"], key_file=at["stranger"]) as ex:
        await raised(ccxt.AuthenticationError, ex.fetch_balance({"v3": True}))


@cases.case(9, "each of the venue's errors has its class")
async def errors(at: dict[str, Any]) -> None:
    main = at["main"]
    door = main["rest"]
    path = "/accounts"
    error = json.dumps({"error": "X", "error_details": "x", "message": "x"})
    async with exchange(main) as ex:
        await ex.load_markets()
        ask = {"v3": True}
        for status, body, kind in (
            (429, json.dumps({"errors": [{"id": "rate_limit_exceeded", "message": "x"}]}), ccxt.RateLimitExceeded),
            (401, "Unauthorized", ccxt.AuthenticationError),
            (403, error.replace("X", "PERMISSION_DENIED"), ccxt.PermissionDenied),
            (400, error.replace("X", "INVALID_ARGUMENT"), ccxt.BadRequest),
            (500, "<html>", ccxt.ExchangeNotAvailable),
            (502, "<html>", ccxt.ExchangeNotAvailable),
            (503, error.replace("X", "UNAVAILABLE"), ccxt.ExchangeError),
        ):
            operate(door, act="answer", path=path, status=status, body=body)
            await raised(kind, ex.fetch_balance(ask))
        await raised(ccxt.ExchangeError, ex.fetch_order("nobody"))
        # Its transport asks once more by itself when a kept connection breaks under a GET.
        operate(door, act="answer", path=path, status=0, times=2)
        await raised(ccxt.ExchangeNotAvailable, ex.fetch_balance(ask))
        await raised(ccxt.InsufficientFunds, ex.create_order(BTC, "limit", "buy", 2_000, 50_000, mine()))
        best = (await ex.fetch_order_book(BTC, 1))["asks"][0][0]
        crossing = ex.create_order(BTC, "limit", "buy", 0.01, best, mine({"postOnly": True}))
        await raised(ccxt.ExchangeError, crossing)
    async with exchange(main) as ex:
        await ex.load_markets()
        ex.timeout = HASTY_MS
        operate(door, act="answer", path=path, status=200, delay_s=5.0)
        await raised(ccxt.RequestTimeout, ex.fetch_balance(ask))


@cases.case(10, "streams: tickers, trades, the book, an order from open to its end")
async def streams(at: dict[str, Any]) -> None:
    async with exchange(at["lively"]) as ex, asyncio.timeout(60):
        await ex.load_markets()
        ticker = await ex.watch_ticker(BTC)
        assert 0 < ticker["bid"] < ticker["ask"]
        seen: set[str] = set()
        while seen != {BTC, "ETH/USD"}:
            seen |= set(await ex.watch_tickers([BTC, "ETH/USD"]))
        trades = await ex.watch_trades(BTC)
        assert trades[0]["price"] > 0
        book = await ex.watch_order_book(BTC)
        for _ in range(30):
            book = await ex.watch_order_book(BTC)
            assert book["bids"][0][0] < book["asks"][0][0]
    async with exchange(at["main"]) as ex, asyncio.timeout(60):
        await ex.load_markets()
        book = await ex.watch_order_book(BTC)
        rest = await ex.fetch_order_book(BTC, 5)
        assert [row[:2] for row in book["bids"][:5]] == rest["bids"]
        watching = asyncio.create_task(_watch(ex))
        await asyncio.sleep(0.3)

        async def until(order_id: str, status: str, filled: float) -> None:
            # What comes between two calls is only in its cache: a known trap of the library.
            while (status, filled) not in [(o["status"], o["filled"]) for o in ex.orders or () if o["id"] == order_id]:
                await asyncio.sleep(0.01)

        inside = round(rest["asks"][0][0] - 0.01, 2)
        one = (await ex.create_order(BTC, "limit", "sell", 0.02, inside, mine()))["id"]
        await until(one, "open", 0)
        for size, end in (("0.005", ("open", 0.005)), ("0.015", ("closed", 0.02))):
            act = {"act": "trade", "product_id": "BTC-USD", "side": "BUY", "price": str(inside), "size": size}
            await asyncio.to_thread(operate, at["main"]["rest"], **act)
            await until(one, *end)
        two = (await ex.create_order(BTC, "limit", "buy", 0.01, 1000, mine()))["id"]
        await until(two, "open", 0)
        await ex.cancel_order(two)
        await until(two, "canceled", 0)
        watching.cancel()


async def _watch(ex: Any) -> None:
    while True:
        await ex.watch_orders(BTC)


@cases.case(11, "a stream that ends is an error once; the next call dials again")
async def closes(at: dict[str, Any]) -> None:
    for code in (1001, 1006, 1011):
        async with exchange(at["main"], keyed=False) as ex, asyncio.timeout(60):
            await ex.load_markets()
            await ex.watch_ticker(BTC)
            waiting = asyncio.create_task(ex.watch_ticker("ETH/USD"))
            await waiting
            waiting = asyncio.create_task(ex.watch_ticker(BTC))
            await asyncio.sleep(0.1)
            await asyncio.to_thread(operate, at["main"]["rest"], act="disconnect", code=code)
            await raised(ccxt.NetworkError, waiting)
            assert (await ex.watch_ticker(BTC))["bid"] > 0


@cases.case(12, "a venue that answers no ping is noticed")
async def mute(at: dict[str, Any]) -> None:
    async with exchange(at["plain"], keyed=False, streaming={"keepAlive": PING_MS}) as ex, asyncio.timeout(60):
        await ex.load_markets()
        await ex.watch_ticker(BTC)
        await asyncio.to_thread(operate, at["plain"]["rest"], act="mute")
        await raised(ccxt.RequestTimeout, ex.watch_ticker(BTC))


@cases.case(13, "unwatching is over when nothing is left")
async def unwatch(at: dict[str, Any]) -> None:
    async with exchange(at["main"], keyed=False) as ex, asyncio.timeout(60):
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
    before = len(asyncio.all_tasks())
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        async with exchange(at["plain"], keyed=False) as ex:
            await ex.load_markets()
            await ex.watch_ticker(BTC)
            waiting = asyncio.create_task(ex.watch_ticker(BTC))
            await asyncio.sleep(0.1)
            await ex.close()
            # The library's documents speak of its own error; this version cancels what waits.
            (ended,) = await asyncio.gather(waiting, return_exceptions=True)
            assert isinstance(ended, (ccxt.ExchangeClosedByUser, asyncio.CancelledError))
            await raised(ccxt.ExchangeClosedByUser, ex.fetch_time())
        del ex
    assert not [one for one in caught if "nclosed" in str(one.message)]
    await asyncio.sleep(0.5)
    assert len(asyncio.all_tasks()) == before


@cases.case(15, "its own pace")
async def pace(at: dict[str, Any]) -> None:
    async with exchange(at["main"], keyed=False, enableRateLimit=True) as ex:
        newer = {"method": "v3PublicGetBrokerageTime"}
        began_s = time.monotonic()
        await asyncio.gather(*(ex.fetch_time(newer) for _ in range(30)))
        assert time.monotonic() - began_s >= 29 * ex.rateLimit / 1_000
    async with exchange(at["limited"]) as ex:
        said = await asyncio.gather(*(ex.fetch_balance({"v3": True}) for _ in range(30)), return_exceptions=True)
        assert any(type(one) is ccxt.RateLimitExceeded for one in said)


@cases.case(16, "an order whose answer is lost is found by its id, and there is one")
async def lost(at: dict[str, Any]) -> None:
    async with exchange(at["main"]) as ex:
        await ex.load_markets()
        params = mine()
        operate(at["main"]["rest"], act="answer", path="/orders", applied=True, status=200, delay_s=5.0)
        ex.timeout = HASTY_MS
        await raised(ccxt.RequestTimeout, ex.create_order(BTC, "limit", "buy", 0.01, 1000, params))
        ex.timeout = PATIENT_MS
        found = [o for o in await ex.fetch_open_orders(BTC) if o["clientOrderId"] == params["client_order_id"]]
        assert len(found) == 1
        again = await ex.create_order(BTC, "limit", "buy", 0.01, 1000, params)
        assert again["id"] == found[0]["id"]
        await ex.cancel_order(again["id"])


@cases.case(17, "reduce-only closes a position, and wants the unified client id")
async def reduce_only(at: dict[str, Any]) -> None:
    async with exchange(at["main"]) as ex:
        await ex.load_markets()
        await ex.create_order(PERPETUAL, "market", "buy", 2, None, mine())
        asked = ex.create_order(PERPETUAL, "market", "sell", 2, None, {"reduceOnly": True})
        await raised(ccxt.ArgumentsRequired, asked)
        params = {"reduceOnly": True, "clientOrderId": uuid.uuid4().hex}
        await ex.create_order(PERPETUAL, "market", "sell", 2, None, params)
        assert not await ex.fetch_positions([PERPETUAL])


@cases.case(18, "there is no sandbox mode to switch on")
async def sandbox_mode(at: dict[str, Any]) -> None:
    ex = ccxt.coinbase({"urls": {"api": {"rest": at["main"]["rest"]}}})
    failed = ""
    try:
        ex.set_sandbox_mode(True)
    except TypeError as error:
        failed = str(error)
    await ex.close()
    assert failed


@cases.case(21, "nothing of all this left the machine")
async def stayed(at: dict[str, Any]) -> None:
    assert running.leaks == []
    async with exchange(at["main"] | {"rest": "https://api.coinbase.com"}, keyed=False) as ex:
        await raised(ccxt.ExchangeNotAvailable, ex.fetch_time())
    assert set(running.leaks) == {"api.coinbase.com"}, "the guard sees a missed address"
    running.leaks.clear()


if __name__ == "__main__":
    cases.main()
