"""The sandbox as a server: key file, TLS, its market, and what it refuses to start with.

Its command line is run by ``tests/unit/config/test_venue_robinhood.py``.
"""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from connectors.certificates import client_context
from connectors.robinhood.sandbox.server import serve
from connectors.robinhood.sandbox.settings import DEFAULT_PAIRS, SandboxSettings, Switches, pairs_named
from engine.errors import ConfigError, VenueError
from tests.support.robinhood import Client, running

QUICK: dict[str, Any] = {"warmup_s": 0.5, "pairs": DEFAULT_PAIRS[:1]}


async def test_a_key_file_is_kept_and_tls_is_spoken(tmp_path: Path) -> None:
    """The second start takes the same key; over TLS the certificate is of the sandbox's own authority."""
    async with running(tmp_path) as client:
        before = client.sandbox.key_file.read_text()
        assert (await client.get("/trading/accounts/"))[0] == 200
    sandbox = await serve(SandboxSettings(key_file=tmp_path / "key.json", tls_folder=tmp_path / "tls", **QUICK))
    try:
        assert sandbox.key_file.read_text() == before
        said = sandbox.addresses()
        assert said["rest"].startswith("https://")
        assert Path(said["authority"]).exists()
        connector = aiohttp.TCPConnector(ssl=client_context(tmp_path / "tls"))
        async with aiohttp.ClientSession(connector=connector) as session:
            assert (await Client(sandbox, session).get("/trading/accounts/"))[0] == 200
        async with aiohttp.ClientSession() as session:
            with pytest.raises((aiohttp.ClientError, ssl.SSLError)):
                await Client(sandbox, session).get("/trading/accounts/")
    finally:
        await sandbox.stop()


async def test_a_taken_port_is_one_line(tmp_path: Path) -> None:
    """And nothing is left open."""
    async with running(tmp_path) as client:
        with pytest.raises(VenueError, match="is in use"):
            await serve(SandboxSettings(port=client.sandbox.port, key_file=tmp_path / "key.json", **QUICK))


@pytest.mark.parametrize(
    "settings",
    [
        {"pairs": ()},
        {"pairs": pairs_named(["BTC-EUR"])},
        {"pairs": DEFAULT_PAIRS[:1] * 2},
        {"port": 70_000},
        {"speed": float("nan")},
        {"page_size": 0},
        {"switches": Switches(duplicate_mode="both")},
    ],
)
def test_settings_that_cannot_be_served(settings: dict[str, Any]) -> None:
    """Each is named in one line before anything starts."""
    with pytest.raises(ConfigError):
        SandboxSettings(**settings).check()


async def test_the_market_lives_and_orders_meet_it(tmp_path: Path) -> None:
    """Prices move by themselves at the pace that was asked for, and an order that reaches them is traded with."""
    async with running(tmp_path, speed=4.0, rate_per_s=100.0) as client:
        await client.operate("unpin", symbol="BTC-USD")
        _, first = await client.get("/marketdata/best_bid_ask/?symbol=BTC-USD")
        seen = first
        async with asyncio.timeout(30):
            while seen == first:
                _, seen = await client.get("/marketdata/best_bid_ask/?symbol=BTC-USD")
        row = seen["results"][0]
        assert float(row["bid"]) < float(row["ask"])
        _, made = await client.place("limit", asset_quantity="0.0001", limit_price="90000.00")
        assert (await client.order(made["id"]))["state"] == "filled"
