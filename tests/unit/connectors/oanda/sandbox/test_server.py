"""The server as a process: its line, its token, TLS, and settings that cannot be served."""

from __future__ import annotations

import asyncio
import json
import stat
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import uvloop

from connectors.certificates import client_context
from connectors.oanda.sandbox.server import serve
from connectors.oanda.sandbox.settings import (
    ACCOUNT_ID,
    AccountSettings,
    RateLimits,
    SandboxInstrument,
    SandboxSettings,
    Switches,
    instruments_named,
)
from engine.errors import ConfigError, VenueError
from tests.support.oanda import running

ROOT = Path(__file__).resolve().parents[5]
QUIET: dict[str, Any] = {"warmup_s": 1.0, "history_days": 0}


def test_it_says_where_it_listens_and_ends_with_its_parent(tmp_path: Path) -> None:
    """One JSON line, a token that only its owner reads and that is in no output."""
    code = (
        "import sys; from pathlib import Path; from connectors.oanda.sandbox.server import run;"
        "from connectors.oanda.sandbox.settings import SandboxSettings;"
        "sys.exit(run(SandboxSettings(warmup_s=1, history_days=0, token_file=Path(sys.argv[1]))))"
    )
    token_file = tmp_path / "keys" / "token.txt"
    with subprocess.Popen(
        [sys.executable, "-c", code, str(token_file)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as server:
        assert server.stdout is not None
        line = server.stdout.readline()
        told = json.loads(line)
        assert told["rest"] == told["stream"]
        assert told["account"] == ACCOUNT_ID
        token = token_file.read_text().strip()
        assert stat.S_IMODE(token_file.stat().st_mode) == 0o600
        out, err = server.communicate("", timeout=30)
        assert server.returncode == 0
        assert token not in line + out + err


async def test_it_speaks_tls_to_who_trusts_it(tmp_path: Path) -> None:
    """The same requests under a certificate of its own authority."""
    async with running(tls_folder=tmp_path) as client:
        assert client.sandbox.url.startswith("https://")
        connector = aiohttp.TCPConnector(ssl=client_context(tmp_path))
        async with aiohttp.ClientSession(connector=connector) as client.session:
            assert (await client.ask("/summary"))[0] == 200
            _, listed = await client.ask("/transactions")
            assert listed["pages"][0].startswith("https://")


def test_it_answers_over_tls_on_the_loop_that_its_command_runs_on(tmp_path: Path) -> None:
    """uvloop's connections are other objects than asyncio's: nothing may be asked of them that they cannot do."""

    async def scenario() -> None:
        async with running(tls_folder=tmp_path, rate_limits=RateLimits(connections_per_s=2)) as client:
            connector = aiohttp.TCPConnector(ssl=client_context(tmp_path))
            async with aiohttp.ClientSession(connector=connector) as client.session:
                for _ in range(5):  # one connection, however often it is used
                    assert (await client.ask("/summary"))[0] == 200

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(scenario())


async def test_a_port_that_is_taken_is_one_line(tmp_path: Path) -> None:
    """Two servers on one port."""
    async with running() as client:
        with pytest.raises(VenueError, match="in use"):
            await serve(SandboxSettings(port=client.sandbox.port, token="x", **QUIET))


@pytest.mark.parametrize("content", [b"", b"two words\n", b"\xff\xfe"])
async def test_a_token_file_that_holds_no_token_is_refused(tmp_path: Path, content: bytes) -> None:
    """One line that names the file."""
    path = tmp_path / "token.txt"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"token\.txt"):
        await serve(SandboxSettings(token_file=path, **QUIET))


@pytest.mark.parametrize(
    "settings",
    [
        {"instruments": ()},
        {"instruments": instruments_named(["EURUSD"])},
        {"instruments": instruments_named(["EUR_USD", "EUR_USD"])},
        {"instruments": instruments_named(["EUR_GBP"])},
        {"instruments": (SandboxInstrument("EUR_USD", Decimal("1.0000001")),)},
        {"instruments": (SandboxInstrument("EUR_USD", Decimal(1), hours="lunch"),)},
        {"accounts": ()},
        {"accounts": (AccountSettings(), AccountSettings())},
        {"accounts": (AccountSettings(account_id="1"),)},
        {"accounts": (AccountSettings(balance=Decimal(-1)),)},
        {"accounts": (AccountSettings(margin_rate=Decimal(2)),)},
        {"accounts": (AccountSettings(currency="EUR"),), "instruments": instruments_named(["USD_JPY"])},
        {"switches": Switches(partial_limits="some")},
        {"switches": Switches(read_lag_s=-1)},
        {"hours": "mine"},
        {"port": 70_000},
        {"speed": 0},
    ],
    ids=str,
)
def test_settings_that_cannot_be_served_are_refused(settings: dict[str, Any]) -> None:
    """Before anything is made."""
    with pytest.raises(ConfigError):
        SandboxSettings(**settings).check()


async def test_the_market_moves_by_itself() -> None:
    """Quotes change while nobody trades, and the account's worth with them."""
    async with running(step_ms=5.0, speed=20.0) as client:
        seen = set()
        for _ in range(400):
            _, body = await client.ask("/pricing?instruments=EUR_USD")
            seen.add(body["prices"][0]["closeoutBid"])
            if len(seen) > 3:
                break
        assert len(seen) > 3
