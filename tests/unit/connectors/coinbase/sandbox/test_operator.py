"""Answers and streams that the operator breaks, over real sockets."""

from __future__ import annotations

import asyncio
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from connectors.coinbase.sandbox.times import BadRequest
from connectors.local.faults import FaultScript
from tests.support.coinbase_sandbox import Client, running, sign

CONFIG = {"base_size": "0.01", "limit_price": "1000"}


async def operate(client: Client, **act: Any) -> tuple[int, Any]:
    async with client.session.post(f"{client.sandbox.rest_url}/sandbox/operator", json=act) as answer:
        return answer.status, await answer.json()


async def test_an_answer_goes_wrong_as_often_as_it_was_told_to(tmp_path: Path) -> None:
    """Two 503 with a body, then the truth again; another path is not hit."""
    async with running(tmp_path) as client:
        await operate(
            client, act="answer", path="/accounts", status=503, body="<html>", content_type="text/html", times=2
        )
        for _ in range(2):
            status, text, headers = await client.raw("GET", "/accounts")
            assert (status, text, headers["Content-Type"].partition(";")[0]) == (503, "<html>", "text/html")
            assert (await client.raw("GET", "/key_permissions"))[0] == 200
        assert (await client.raw("GET", "/accounts"))[0] == 200


async def test_an_order_is_carried_out_and_its_answer_is_lost(tmp_path: Path) -> None:
    """The line breaks after the order was taken; before it, nothing is taken."""
    async with running(tmp_path) as client:
        for applied, orders in ((False, 0), (True, 1)):
            await operate(client, act="answer", path="/orders", status=0, applied=applied)
            with pytest.raises(aiohttp.ClientError):
                await client.order("BUY", limit_limit_gtc=CONFIG)
            assert len(client.sandbox.exchange.orders) == orders


async def test_a_body_is_cut_in_the_middle(tmp_path: Path) -> None:
    """Fewer bytes than the header promised; what was not used is forgotten on request."""
    async with running(tmp_path) as client:
        await operate(client, act="answer", path="/accounts", status=200, body='{"accounts":[]}', cut=5, times=2)
        with pytest.raises(aiohttp.ClientPayloadError):
            await client.get("/accounts")
        await operate(client, act="answers")
        assert (await client.get("/accounts"))["accounts"]


async def test_streams_end_as_told_lose_a_number_and_fall_silent(tmp_path: Path) -> None:
    """A gap is one number; 1011 is a close frame of that code, 1006 none; a muted stream answers no ping."""
    async with running(tmp_path) as client:
        async with client.stream() as stream:
            await stream.say(type="subscribe", channel="ticker", product_ids=["BTC-USD"])
            last = (await stream.until(lambda m: m["channel"] == "ticker"))["sequence_num"]
            assert await operate(client, act="gap") == (200, {"done": "gap"})
            await stream.say(type="subscribe", channel="heartbeats")
            frame = await stream.ws.receive(5)
            assert json.loads(frame.data)["sequence_num"] == last + 2
        for code, kind in ((1011, aiohttp.WSMsgType.CLOSE), (1006, aiohttp.WSMsgType.CLOSED)):
            async with client.stream() as stream:
                await stream.say(type="subscribe", channel="heartbeats")
                await stream.read()
                await operate(client, act="disconnect", code=code)
                frame = await stream.ws.receive(5)
                while frame.type is aiohttp.WSMsgType.TEXT:
                    frame = await stream.ws.receive(5)
                assert frame.type in {kind, aiohttp.WSMsgType.CLOSING}
                assert stream.ws.close_code == code
        async with client.stream() as stream:
            await stream.say(type="subscribe", channel="heartbeats")
            await stream.read()
            await operate(client, act="mute")
            await stream.ws.ping()
            with pytest.raises(TimeoutError):
                await stream.ws.receive(0.3)


async def test_others_trade_up_to_a_price_and_may_rest(tmp_path: Path) -> None:
    """The ask is bought away and a bid stands where nobody offered."""
    async with running(tmp_path) as client:
        _, ask = await client.best()
        act = {"act": "trade", "product_id": "BTC-USD", "side": "BUY", "price": str(ask + 1), "rest": True}
        assert (await operate(client, **act))[0] == 200
        bid, after = await client.best()
        assert bid == ask + 1 < after
        assert (await operate(client, **act | {"side": "UP"}))[0] == 400
        assert (await operate(client, act="disconnect", code=3))[0] == 400


async def test_an_order_is_carried_out_and_answered_late(tmp_path: Path) -> None:
    """Its fill is listed before it is answered, with what it would have been answered at once."""
    async with running(tmp_path) as client:
        _, ask_px = await client.best()
        await operate(client, act="answer", path="/orders", apply="before", late=True, delay_s=0.3)
        sent = asyncio.create_task(client.order("BUY", limit_limit_gtc=CONFIG | {"limit_price": str(ask_px)}))
        async with asyncio.timeout(5):
            while not (fills := (await client.get("/orders/historical/fills"))["fills"]):
                await asyncio.sleep(0.02)
        assert not sent.done()
        assert (await sent)["order_id"] == fills[0]["order_id"]


async def test_executions_are_withheld_until_they_are_told(tmp_path: Path) -> None:
    """One of two shows in the order, the list and the balances; its order is cancelled, and then shows the other."""
    async with running(tmp_path) as client:
        bid_px, _ = await client.best()
        before = await client.balances()
        placed = await client.order("BUY", limit_limit_gtc={"base_size": "0.01", "limit_price": str(bid_px + 1)})
        await operate(client, act="withhold", count=1)
        for size in ("0.003", "0.002"):
            act = {"act": "trade", "product_id": "BTC-USD", "side": "SELL", "price": str(bid_px + 1), "size": size}
            assert (await operate(client, **act))[0] == 200
        await client.post("/orders/batch_cancel", {"order_ids": [placed["order_id"]]})

        async def shown() -> tuple[str, str, list[str], Decimal]:
            order = (await client.get(f"/orders/historical/{placed['order_id']}"))["order"]
            fills = (await client.get("/orders/historical/fills"))["fills"]
            got_qty = (await client.balances())["BTC"] - before["BTC"]
            return order["status"], order["filled_size"], [fill["size"] for fill in fills], got_qty

        assert await shown() == ("CANCELLED", "0.002", ["0.002"], Decimal("0.002"))
        await operate(client, act="tell")
        assert await shown() == ("CANCELLED", "0.005", ["0.003", "0.002"], Decimal("0.005"))
        late, early = (await client.get("/orders/historical/fills"))["fills"]
        assert late["trade_time"] < early["trade_time"] < late["sequence_timestamp"]
        assert (await operate(client, act="withhold", count=0))[0] == 400


async def test_executions_and_changes_of_orders_are_told_twice(tmp_path: Path) -> None:
    """The same entry of the list, the same message under a number of its own; then once again."""
    async with running(tmp_path) as client, client.stream(user=True) as stream:
        await stream.say(type="subscribe", channel="user", jwt=sign(client.key_file))
        await stream.until(lambda m: m["channel"] == "user")
        _, ask_px = await client.best()
        await operate(client, act="repeat")
        await client.order("BUY", limit_limit_gtc=CONFIG | {"limit_price": str(ask_px)})
        one, other = (await client.get("/orders/historical/fills"))["fills"]
        assert one == other
        told = [(await stream.until(lambda m: m["channel"] == "user"))["events"] for _ in range(2)]
        assert told[0] == told[1]
        await operate(client, act="repeat", on=False)
        assert len((await client.get("/orders/historical/fills"))["fills"]) == 1


@pytest.mark.parametrize(
    "fields", [{}, {"path": "/x", "status": 99}, {"path": "/x", "what": 1}, {"path": "/x", "times": 0}]
)
def test_what_is_no_fault_is_refused(fields: dict[str, Any]) -> None:
    """Each misses or breaks one rule."""
    with pytest.raises(BadRequest):
        FaultScript(BadRequest).add(fields)
