"""The process side: one JSON line, stdin as a leash, signals, a port in use."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

import aiohttp
import msgspec
import pytest

from connectors.coinbase.sandbox.server import main, serve
from connectors.coinbase.sandbox.settings import SandboxSettings
from engine.errors import ConfigError, VenueError
from tests.support.coinbase_sandbox import PREFIX, STILL_MS, running

ROOT = Path(__file__).resolve().parents[5]
PROGRAM = """
import sys
from pathlib import Path
from connectors.coinbase.sandbox.server import run
from connectors.coinbase.sandbox.settings import SandboxSettings
sys.exit(run(SandboxSettings(key_file=Path(sys.argv[1]), port=int(sys.argv[2]), warmup_s=1.0)))
"""


async def child(tmp_path: Path, port: int = 0, stdin: int = asyncio.subprocess.PIPE) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        PROGRAM,
        str(tmp_path / "key.json"),
        str(port),
        cwd=ROOT,
        stdin=stdin,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def ready(process: asyncio.subprocess.Process) -> dict[str, str]:
    assert process.stdout is not None
    addresses: dict[str, str] = json.loads(await asyncio.wait_for(process.stdout.readline(), 60))
    return addresses


async def test_a_child_tells_where_it_listens_serves_and_ends_with_its_parents_pipe(tmp_path: Path) -> None:
    """A real process: the line, a request, a stream that ticks, then stdin closes."""
    process = await child(tmp_path)
    addresses = await ready(process)
    assert set(addresses) == {"rest", "ws_market", "ws_user", "key_file"}
    assert addresses["key_file"] == str(tmp_path / "key.json")
    async with aiohttp.ClientSession() as session:
        async with session.get(addresses["rest"] + PREFIX + "/time") as answer:
            assert answer.status == 200
        async with session.ws_connect(addresses["ws_market"]) as ws:
            await ws.send_json({"type": "subscribe", "channel": "ticker", "product_ids": ["BTC-USD"]})
            kinds = []
            async with asyncio.timeout(30):
                while "update" not in kinds:
                    kinds.append((await ws.receive_json())["events"][0].get("type"))
    assert process.stdin is not None
    process.stdin.close()
    assert await asyncio.wait_for(process.wait(), 20) == 0
    assert process.stdout is not None
    assert process.stderr is not None
    assert await process.stdout.read() == b""
    assert await process.stderr.read() == b""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_it_in_order_and_dev_null_is_no_leash(tmp_path: Path, number: signal.Signals) -> None:
    """Started without a pipe it lives on until told."""
    process = await child(tmp_path, stdin=asyncio.subprocess.DEVNULL)
    addresses = await ready(process)
    async with aiohttp.ClientSession() as session, session.get(addresses["rest"] + PREFIX + "/time") as answer:
        assert answer.status == 200
    process.send_signal(number)
    assert await asyncio.wait_for(process.wait(), 20) == 0


async def test_a_port_in_use_is_refused(tmp_path: Path) -> None:
    """Through both doors; the command makes one line of it."""
    async with running(tmp_path) as client:
        port = client.sandbox.port
        taken = SandboxSettings(port=port, key_file=tmp_path / "key.json", warmup_s=0.0)
        for door in (serve, main):
            with pytest.raises(VenueError, match=rf"127.0.0.1:{port} is in use.*--port 0"):
                await door(taken)


async def test_settings_that_cannot_be_served_are_refused_before_anything_starts(tmp_path: Path) -> None:
    """A port out of range through both doors; no key file is left."""
    wrong = SandboxSettings(port=70_000, key_file=tmp_path / "key.json")
    for door in (serve, main):
        with pytest.raises(ConfigError, match="port 70000"):
            await door(wrong)
    assert not (tmp_path / "key.json").exists()


async def test_an_existing_key_file_is_used_again(tmp_path: Path) -> None:
    """The same bytes before and after a second start."""
    async with running(tmp_path):
        before = (tmp_path / "key.json").read_bytes()
    async with running(tmp_path) as client:
        assert (tmp_path / "key.json").read_bytes() == before
        await client.get("/accounts")


async def test_without_a_path_the_key_file_is_private_in_a_folder_of_its_own() -> None:
    """Mode bits of file and folder."""
    settings = SandboxSettings(warmup_s=0.0, step_ms=STILL_MS)
    sandbox = await serve(settings)
    try:
        assert sandbox.key_file.stat().st_mode & 0o777 == 0o600
        assert sandbox.key_file.parent.stat().st_mode & 0o777 == 0o700
    finally:
        await sandbox.stop()
        os.unlink(sandbox.key_file)
        sandbox.key_file.parent.rmdir()


async def test_a_market_that_fails_ends_the_sandbox(tmp_path: Path) -> None:
    """A step that raises sets ``failed``, on which ``main`` leaves with 1."""

    class Broken:
        def step(self, now_ns: int) -> None:
            raise RuntimeError("no market")

    async with running(tmp_path, step_ms=5.0) as client:
        client.sandbox.market = Broken()
        await asyncio.wait_for(client.sandbox.failed.wait(), 10)


async def test_latency_is_waited_for_on_both_ways(tmp_path: Path, monkeypatch) -> None:
    """The two halves are asked of the loop's sleep; no clock is read."""
    slept = []
    real = asyncio.sleep

    async def sleep(seconds: float) -> None:
        if seconds == 0.004:
            slept.append(seconds)
        await real(0)

    async with running(tmp_path, latency_ms=8.0) as client:
        monkeypatch.setattr("connectors.coinbase.sandbox.rest.asyncio.sleep", sleep)
        await client.order("BUY", limit_limit_gtc={"base_size": "0.001", "limit_price": "1000"})
        monkeypatch.undo()
    assert slept == [0.004, 0.004]


def test_settings_survive_replacement() -> None:
    """Frozen settings are changed by copy, as run.py does."""
    changed = msgspec.structs.replace(SandboxSettings(), seed=7)
    assert (changed.seed, SandboxSettings().seed) == (7, 1)
    changed.check()
