"""Local venues as processes: their line, TLS, the leash, and a port that is taken."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import aiohttp
import pytest

from connectors.binance.sandbox.server import serve
from connectors.binance.sandbox.settings import BinanceSettings
from connectors.certificates import client_context
from engine.errors import VenueError
from tests.support.local_venues import STILL, binance, kraken

ROOT = Path(__file__).resolve().parents[4]
RUN = """
import typer
from connectors.{name}.sandbox.commands import sandbox_{name}
app = typer.Typer()
app.command()(sandbox_{name})
app()
"""


@pytest.mark.parametrize(("name", "product"), [("binance", "SOL/USDT"), ("kraken", "SOL/USD")])
def test_the_command_serves_with_its_options_until_its_parent_is_gone(name: str, product: str, tmp_path: Path) -> None:
    """TLS and a key file of its own; the line says where, never the secret, and the end of stdin ends it."""
    key_file, tls = tmp_path / "key.json", tmp_path / "tls"
    options = ["--history", "1", "--product", product, "--balance", "USD=500", "--rate", "9", "--limits"]
    options += ["--fees", "quote"] if name == "binance" else []
    done = subprocess.run(
        [sys.executable, "-c", RUN.format(name=name), *options, "--key-file", str(key_file), "--tls", str(tls)],
        cwd=ROOT,
        input="",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["rest"].startswith("https://")
    assert told["ws"].startswith("wss://")
    assert told["key_file"] == str(key_file)
    assert Path(told["authority"]).exists()
    assert json.loads(key_file.read_text())["secret"] not in done.stdout + done.stderr


async def test_tls_for_who_trusts_it(tmp_path: Path) -> None:
    """REST and a stream under a certificate of its own authority."""
    async with kraken(tmp_path, tls_folder=tmp_path) as client:
        connector = aiohttp.TCPConnector(ssl=client_context(tmp_path))
        async with aiohttp.ClientSession(connector=connector) as session:
            async with session.get(f"{client.venue.url}/0/public/Time") as answer:
                assert (await answer.json())["error"] == []
            async with session.ws_connect(f"{client.venue.ws_url}/v2") as ws:
                assert json.loads((await ws.receive()).data)["channel"] == "status"


async def test_a_port_that_is_taken_is_one_line(tmp_path: Path) -> None:
    """Two servers on one port."""
    async with binance(tmp_path) as client:
        with pytest.raises(VenueError, match="in use"):
            await serve(BinanceSettings(port=client.venue.port, key_file=tmp_path / "other.json", **STILL))


async def test_it_stops_twice_and_its_streams_end(tmp_path: Path) -> None:
    """A connected client sees a close frame of a server that goes away."""
    async with binance(tmp_path) as client, client.session.ws_connect(f"{client.venue.ws_url}/ws") as ws:
        await client.venue.stop()
        await client.venue.stop()
        last = await ws.receive()
        assert (last.type, last.data) == (aiohttp.WSMsgType.CLOSE, 1001)
