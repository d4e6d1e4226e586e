"""Answers that go wrong on purpose, asked for at a sandbox's door and seen by a client."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.support.local_venues import Client, binance


async def placed(client: Client) -> int:
    """How many orders are open."""
    status, found = await client.binance("GET", "openOrders")
    assert status == 200
    return len(found)


async def order(client: Client) -> tuple[int, Any]:
    return await client.order(quantity="0.01", price="1000")


async def test_each_kind_of_fault_does_what_it_says(tmp_path: Path) -> None:
    """Refused, applied and refused, cut, garbled, late, twice; each is used up by one request."""
    async with binance(tmp_path) as client:

        async def fault(**fields: Any) -> None:
            await client.operate(act="answer", path="/order", method="POST", **fields)

        await fault(status=503, body='{"code":-1,"msg":"no"}', headers={"Retry-After": "3"})
        assert await order(client) == (503, {"code": -1, "msg": "no"})
        assert await placed(client) == 0

        await fault(status=500, body="{}", apply="before")
        assert (await order(client))[0] == 500
        assert await placed(client) == 1

        for how in ({"status": 0}, {"status": 200, "body": '{"orderId":1}', "cut": 5}):
            await fault(apply="before", **how)
            with pytest.raises((aiohttp.ClientError, ValueError)):
                await order(client)
        assert await placed(client) == 3

        await fault(late=True, delay_s=0.01)
        assert (await order(client))[0] == 200
        await fault(twice=True)
        assert (await order(client))[0] == 200
        assert await placed(client) == 6

        await fault(status=504, body="{}", apply="after", delay_s=0.01)
        assert (await order(client))[0] == 504
        async with client.session.get(f"{client.venue.url}/api/v3/time"):
            pass
        while await placed(client) != 7:
            pass


async def test_what_is_no_fault_is_refused(tmp_path: Path) -> None:
    """In the venue's shape; a forgotten one hits nobody."""
    async with binance(tmp_path) as client:
        for fields in (
            {},
            {"path": ""},
            {"path": "/order", "times": 0},
            {"path": "/order", "status": 99},
            {"path": "/order", "delay_s": -1},
            {"path": "/order", "apply": "maybe"},
            {"path": "/order", "colour": "red"},
            {"path": ["/order"]},
            {"path": "/order", "headers": {"A": "b\r\nc"}},
        ):
            said = await client.operate(400, act="answer", **fields)
            assert said["code"] == -1100
        await client.operate(act="answer", path="/time")
        await client.operate(act="answers")
        assert (await client.get("/api/v3/time"))[0] == 200


async def test_the_door_refuses_what_is_no_act(tmp_path: Path) -> None:
    """Names, markets, numbers and codes that are none."""
    async with binance(tmp_path) as client:
        for act in (
            {"act": "dance"},
            {"act": ["halt"]},
            {},
            {"act": "halt", "symbol": "NO/SUCH"},
            {"act": "halt", "symbol": ["BTC/USDT"]},
            {"act": "trade", "symbol": "BTC/USDT", "side": ["BUY"], "price": "1"},
            {"act": "trade", "symbol": "BTC/USDT", "side": "BUY", "price": "much"},
            {"act": "trade", "symbol": "BTC/USDT", "side": "BUY", "price": "1.001"},
            {"act": "fund", "asset": ["USDT"], "amount": "1"},
            {"act": "fund", "asset": "USDT", "amount": "NaN"},
            {"act": "disconnect", "code": "1006"},
        ):
            await client.operate(400, **act)
        for raw in ("no json", "[1]"):
            async with client.session.post(f"{client.venue.url}/sandbox/operator", data=raw) as answer:
                assert answer.status == 400


async def test_money_comes_and_goes(tmp_path: Path) -> None:
    """As the account then says."""
    async with binance(tmp_path) as client:
        await client.operate(act="fund", asset="USDT", amount="-40000")
        _, told = await client.binance("GET", "account", omitZeroBalances="true")
        assert told["balances"] == [{"asset": "USDT", "free": "60000.00000000", "locked": "0.00000000"}]
