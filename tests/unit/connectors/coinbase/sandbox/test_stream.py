"""Streams over a real socket: subscriptions, sequence, errors, who is disconnected and why."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from connectors.coinbase.sandbox.settings import RateLimits
from tests.support.coinbase_sandbox import Client, running, sign

REST = {"base_size": "0.001", "limit_price": "1000"}


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[Client]:
    async with running(tmp_path) as made:
        yield made


def subscriptions(message: dict[str, Any]) -> dict[str, list[str]]:
    assert message["channel"] == "subscriptions"
    found: dict[str, list[str]] = message["events"][0]["subscriptions"]
    return found


async def test_each_subscribe_is_acknowledged_with_the_whole_set_and_a_snapshot(client: Client) -> None:
    """All market channels in turn on one connection; the sequence has no hole (checked by the reader)."""
    names = {"ticker": "ticker", "level2": "l2_data", "market_trades": "market_trades", "candles": "candles"}
    async with client.stream() as stream:
        await stream.say(type="subscribe", channel="heartbeats")
        assert subscriptions(await stream.read()) == {"heartbeats": ["heartbeats"]}
        known = {"heartbeats": ["heartbeats"]}
        for channel, name in names.items():
            await stream.say(type="subscribe", channel=channel, product_ids=["BTC-USD"])
            known[channel] = ["BTC-USD"]
            ack = await stream.until(lambda m: m["channel"] == "subscriptions")
            assert subscriptions(ack) == known
            snapshot = await stream.until(lambda m, name=name: m["channel"] == name)
            assert snapshot["events"][0]["type"] == "snapshot"
        await stream.say(type="subscribe", channel="status")
        await stream.until(lambda m: m["channel"] == "status")
        await stream.say(type="subscribe", channel="ticker_batch", product_ids=["BTC-USD"])
        batch = await stream.until(lambda m: m["channel"] == "ticker_batch")
        assert "best_bid" not in batch["events"][0]["tickers"][0]


async def test_unsubscribing_from_everything_ends_with_an_empty_set(client: Client) -> None:
    """By product, then the channel that has none."""
    async with client.stream() as stream:
        await stream.say(type="subscribe", channel="level2", product_ids=["BTC-USD", "ETH-USD"])
        await stream.say(type="subscribe", channel="status")
        await stream.say(type="unsubscribe", channel="level2", product_ids=["BTC-USD"])
        ack = await stream.until(
            lambda m: (
                m["channel"] == "subscriptions"
                and "ETH-USD" in str(m)
                and "BTC" not in str(m["events"][0]["subscriptions"].get("level2"))
            )
        )
        assert subscriptions(ack)["level2"] == ["ETH-USD"]
        await stream.say(type="unsubscribe", channel="level2", product_ids=["ETH-USD"])
        await stream.say(type="unsubscribe", channel="status")
        await stream.until(lambda m: m["channel"] == "subscriptions" and subscriptions(m) == {})


async def test_a_message_that_cannot_be_served_gets_an_error_and_the_connection_lives(client: Client) -> None:
    """Garbage, unknown channels and products, missing products, binary; then a good subscribe."""
    async with client.stream() as stream:
        for text in (
            "{",
            "[]",
            '{"type":"dance"}',
            '{"type":"subscribe"}',
            '{"type":"subscribe","channel":"gossip"}',
            '{"type":"subscribe","channel":"ticker"}',
            '{"type":"subscribe","channel":"ticker","product_ids":["NO-PE"]}',
            '{"type":"subscribe","channel":"ticker","product_ids":"BTC-USD"}',
        ):
            await stream.ws.send_str(text)
            answer = await stream.read()
            assert set(answer) == {"type", "message"}, text
            assert answer["type"] == "error"
        await stream.ws.send_bytes(b"x")
        assert (await stream.read())["type"] == "error"
        await stream.say(type="subscribe", channel="ticker", product_ids=["BTC-USD"])
        assert subscriptions(await stream.read()) == {"ticker": ["BTC-USD"]}


async def test_the_user_channel_needs_a_good_token(client: Client) -> None:
    """Without, expired and garbage; then a good one without products."""
    async with client.stream(user=True) as stream:
        for extra in ({}, {"jwt": "x.y.z"}, {"jwt": sign(client.key_file, ago_s=300)}):
            await stream.say(type="subscribe", channel="user", **extra)
            assert await stream.read() == {"type": "error", "message": "authentication failure"}
        await stream.say(type="subscribe", channel="user", jwt=sign(client.key_file))
        assert list(subscriptions(await stream.read())) == ["user"]
        snapshot = await stream.read()
        assert snapshot["events"][0]["type"] == "snapshot"
        assert snapshot["events"][0]["orders"] == []


async def test_the_user_endpoint_serves_no_market_channels_but_any_other_path_serves_all(client: Client) -> None:
    """An error on /ws-user; both kinds on an arbitrary path."""
    async with client.stream(user=True) as stream:
        await stream.say(type="subscribe", channel="ticker", product_ids=["BTC-USD"])
        assert (await stream.read())["type"] == "error"
    async with client.session.ws_connect(f"http://127.0.0.1:{client.sandbox.port}/some/path") as ws:
        for message in (
            {"type": "subscribe", "channel": "ticker", "product_ids": ["BTC-USD"]},
            {"type": "subscribe", "channel": "user", "jwt": sign(client.key_file)},
        ):
            await ws.send_json(message)
            assert (await ws.receive_json())["channel"] == "subscriptions"
            assert (await ws.receive_json())["channel"] == message["channel"]


@pytest.mark.parametrize("count", [0, 50, 51])
async def test_open_orders_come_in_batches_of_fifty_that_a_shorter_one_ends(client: Client, count: int) -> None:
    """0, 50 and 51 open orders."""
    for number in range(count):
        body = {"client_order_id": str(number), "product_id": "BTC-USD", "side": "BUY"}
        client.sandbox.exchange.place(body | {"order_configuration": {"limit_limit_gtc": REST}}, 1)
    async with client.stream(user=True) as stream:
        await stream.say(type="subscribe", channel="user", jwt=sign(client.key_file))
        await stream.read()
        sizes = []
        while not sizes or sizes[-1] == 50:
            sizes.append(len((await stream.read())["events"][0]["orders"]))
        assert sizes == [50] * (count // 50) + [count % 50]


async def test_user_updates_can_be_limited_to_products(client: Client) -> None:
    """Subscribed to ETH only, the BTC order is not heard of."""
    async with client.stream(user=True) as stream:
        await stream.say(type="subscribe", channel="user", product_ids=["ETH-USD"], jwt=sign(client.key_file))
        await stream.until(lambda m: m["channel"] == "user")
        await client.order("BUY", "BTC-USD", limit_limit_gtc=REST)
        await client.order("BUY", "ETH-USD", limit_limit_gtc=REST)
        update = await stream.read()
        assert update["events"][0]["orders"][0]["product_id"] == "ETH-USD"


async def test_a_client_that_subscribes_to_nothing_is_disconnected(tmp_path: Path) -> None:
    """With a short limit; an error message alone does not count as a subscription."""
    async with running(tmp_path, subscribe_timeout_s=1.0) as client, client.stream() as stream:
        await stream.ws.send_str("{")
        assert (await stream.read())["type"] == "error"
        frame = await stream.ws.receive(5)
        assert frame.type is aiohttp.WSMsgType.CLOSE


async def test_a_silent_stream_is_closed_unless_it_has_heartbeats(tmp_path: Path) -> None:
    """Two connections on a still market with a short idle limit: one is closed, the other beats on."""
    async with running(tmp_path, idle_timeout_s=0.5) as client, client.stream() as quiet, client.stream() as beating:
        await quiet.say(type="subscribe", channel="ticker", product_ids=["BTC-USD"])
        await beating.say(type="subscribe", channel="heartbeats")
        counters = []
        while len(counters) < 3:
            message = await beating.read()
            if message["channel"] == "heartbeats":
                counters.append(message["events"][0]["heartbeat_counter"])
        assert counters == [1, 2, 3]
        async with asyncio.timeout(30):
            while (await quiet.ws.receive()).type is aiohttp.WSMsgType.TEXT:
                pass
        assert quiet.ws.closed


async def test_a_reader_that_falls_behind_is_cut_off_and_counted(tmp_path: Path) -> None:
    """A queue of five and a burst of snapshots that no task gets to write in between."""
    async with running(tmp_path, outbound_queue=5) as client, client.stream() as slow, client.stream() as other:
        await slow.say(type="subscribe", channel="status")
        await slow.until(lambda m: m["channel"] == "status")
        await other.say(type="subscribe", channel="status")
        await other.until(lambda m: m["channel"] == "status")
        hub = client.sandbox.hub
        connection = next(c for c in hub.connections if c.ws is not None)
        for _ in range(4):
            hub.receive(connection, '{"type":"subscribe","channel":"status"}')
        assert hub.slow_consumers == 1
        assert connection not in hub.connections
        assert len(hub.connections) == 1
        async with asyncio.timeout(30):
            gone = [s for s in (slow, other) if s.ws is not None]
            await asyncio.wait([asyncio.create_task(s.ws.receive()) for s in gone], return_when=asyncio.FIRST_COMPLETED)


async def test_more_dials_a_second_than_allowed_are_refused(tmp_path: Path) -> None:
    """One a second: of five at once most get the error and a close."""
    async with running(tmp_path, rate_limits=RateLimits(ws_connections_per_s=1)) as client:
        refused = 0
        for _ in range(5):
            async with client.stream() as stream:
                await stream.say(type="subscribe", channel="status")
                refused += (await stream.read()).get("message") == "rate limit exceeded"
        assert refused >= 2


async def test_stopping_the_sandbox_closes_streams_as_a_server_that_goes_away(client: Client) -> None:
    """Close code 1001."""
    async with client.stream() as stream:
        await stream.say(type="subscribe", channel="status")
        await stream.until(lambda m: m["channel"] == "status")
        stopping = asyncio.create_task(client.sandbox.stop())
        frame = await stream.ws.receive(5)
        assert (frame.type, frame.data) == (aiohttp.WSMsgType.CLOSE, 1001)
        await stopping
