"""Streams: snapshot, windows, heartbeats, every transaction once; ended, cut, muted, doubled."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import msgspec
import pytest

from connectors.oanda.sandbox.settings import RateLimits
from tests.support.oanda import TOKEN, Client, running

QUICK = {"heartbeat_s": 0.1, "price_window_s": 0.05}


class Stream:
    """Lines of one stream, decoded."""

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self.answer = answer

    async def line(self) -> dict[str, Any]:
        """The next one; raises ``StopAsyncIteration`` when the stream ended."""
        async with asyncio.timeout(30):
            raw = await self.answer.content.readline()
        if not raw:
            raise StopAsyncIteration
        made: dict[str, Any] = msgspec.json.decode(raw)
        return made

    async def drain(self) -> None:
        """Until it ends, which is an error one way or the other."""
        while True:
            await self.line()

    async def until(self, kind: str) -> dict[str, Any]:
        while (line := await self.line())["type"] != kind:
            pass
        return line


@asynccontextmanager
async def stream(client: Client, path: str, **headers: str) -> AsyncIterator[Stream]:
    sent = {"Authorization": f"Bearer {TOKEN}", **headers}
    async with client.session.get(f"{client.base}{path}", headers=sent) as answer:
        assert answer.status == 200
        assert answer.headers["Transfer-Encoding"] == "chunked"
        assert "Content-Encoding" not in answer.headers
        yield Stream(answer)


def pin(bid: str, ask: str) -> dict[str, Any]:
    return {"instrument": "EUR_USD", "bids": [[bid, "1000"]], "asks": [[ask, "1000"]]}


async def test_prices_begin_with_a_snapshot_and_go_on_with_changes() -> None:
    """One of each instrument in the order asked, then what changed, heartbeats in between."""
    async with running(**QUICK) as client, stream(client, "/pricing/stream?instruments=USD_JPY,EUR_USD") as prices:
        assert [(await prices.line())["instrument"] for _ in (0, 1)] == ["USD_JPY", "EUR_USD"]
        await client.operate("pin", **pin("1.10000", "1.10010"))
        changed = await prices.until("PRICE")
        assert (changed["bids"], changed["closeoutAsk"]) == ([{"price": "1.10000", "liquidity": 1000}], "1.10010")
        assert set(await prices.until("HEARTBEAT")) == {"type", "time"}
        await client.operate("halt")
        closed = await prices.until("PRICE")
        assert (closed["tradeable"], closed["status"]) == (False, "non-tradeable")


async def test_without_a_snapshot_only_changes_come() -> None:
    """The first line is a heartbeat."""
    path = "/pricing/stream?instruments=EUR_USD&snapshot=False"
    async with running(**QUICK) as client, stream(client, path) as prices:
        assert (await prices.line())["type"] == "HEARTBEAT"


async def test_a_window_keeps_the_last_price_alone() -> None:
    """Thirty changes are as many lines as windows went by, and the last one of them is told."""
    window_s = 0.3
    settings = {"heartbeat_s": 5.0, "price_window_s": window_s}
    async with running(**settings) as client, stream(client, "/pricing/stream?instruments=EUR_USD") as prices:
        await prices.line()
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        for cents in range(10, 40):
            await client.operate("pin", **pin(f"1.{cents}000", f"1.{cents}010"))
        told = 1
        while (await prices.until("PRICE"))["bids"][0]["price"] != "1.39000":
            told += 1
        assert told <= 2 + (loop.time() - began_s) / window_s


async def test_every_transaction_comes_once_in_order() -> None:
    """Of requests and of the market; nothing of the past; the heartbeat says the last id; times may be unix."""
    async with running(**QUICK) as client:
        await client.order(units="1")
        async with stream(client, "/transactions/stream", **{"Accept-Datetime-Format": "UNIX"}) as lines:
            beat = await lines.line()
            assert (beat["type"], beat["lastTransactionID"]) == ("HEARTBEAT", "5")
            await client.order("LIMIT", units="10", price="1.05")
            await client.order(units="0")
            await client.operate("pin", **pin("1.04000", "1.04010"))
            made = [await lines.until(kind) for kind in ("LIMIT_ORDER", "MARKET_ORDER_REJECT", "ORDER_FILL")]
            assert [each["id"] for each in made] == ["6", "7", "8"]
            assert made[0]["time"].replace(".", "").isdecimal()


@pytest.mark.parametrize("act", ["end", "disconnect"])
async def test_a_stream_ends_well_or_is_cut(act: str) -> None:
    """The last chunk, or nothing at all."""
    async with running(**QUICK) as client, stream(client, "/transactions/stream") as lines:
        await lines.line()
        await client.operate(act, kind="transactions")
        with pytest.raises(StopAsyncIteration if act == "end" else aiohttp.ClientError):
            await lines.drain()
        assert not client.sandbox.hub.lines


async def test_a_muted_stream_says_nothing() -> None:
    """No heartbeat, no transaction."""
    async with running(**QUICK) as client, stream(client, "/transactions/stream") as lines:
        await lines.line()
        await client.operate("mute")
        await client.order(units="1")
        silence = asyncio.create_task(lines.drain())
        assert await asyncio.wait([silence], timeout=0.3) == (set(), {silence})
        silence.cancel()


async def test_a_stream_may_stammer_and_babble() -> None:
    """Every line twice; a line that is no JSON."""
    async with running(**QUICK) as client, stream(client, "/transactions/stream") as lines:
        await client.operate("double")
        await client.order("LIMIT", units="1", price="1")
        assert await lines.until("LIMIT_ORDER") == await lines.line()
        await client.operate("double", on=False)
        await client.operate("say", text="{broken")
        async with asyncio.timeout(30):
            while b"{broken" not in await lines.answer.content.readline():
                pass


async def test_only_so_many_streams_may_be_open() -> None:
    """One more is 429; one that ended makes room."""
    limits = RateLimits(streams=1, connections_per_s=50)
    async with running(rate_limits=limits, **QUICK) as client:
        async with stream(client, "/transactions/stream") as lines:
            await lines.line()
            assert (await client.ask("/transactions/stream"))[0] == 429
            await client.operate("end")
            with pytest.raises(StopAsyncIteration):
                await lines.drain()
        async with stream(client, "/transactions/stream") as lines:
            await lines.line()


async def test_a_reader_that_falls_behind_is_cut_off() -> None:
    """Two transactions are kept for it; a reject in a batch of four is one too many."""
    async with running(outbound_queue=2, heartbeat_s=5.0) as client:
        async with stream(client, "/transactions/stream") as lines:
            await asyncio.sleep(0.05)
            exits = {"takeProfitOnFill": {"price": "9"}, "stopLossOnFill": {"price": "0.1"}}
            await client.order(units="1", **exits)
            with pytest.raises(aiohttp.ClientError):
                await lines.drain()
        assert client.sandbox.hub.slow_readers == 1


async def test_a_reader_that_leaves_is_forgotten() -> None:
    """Its listener goes with it."""
    async with running(**QUICK) as client:
        async with stream(client, "/transactions/stream") as lines:
            await lines.line()
            log = next(iter(client.sandbox.exchange.accounts.values())).log
            assert len(log.listeners) == 1
        async with asyncio.timeout(30):
            while log.listeners:
                await asyncio.sleep(0.02)
        assert not client.sandbox.hub.lines
