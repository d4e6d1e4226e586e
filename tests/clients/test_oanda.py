"""The numbered list of the OANDA sheet, by the client that other people wrote, against the sandbox, TLS and plain."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from connectors.certificates import AUTHORITY
from connectors.oanda.sandbox.server import serve
from connectors.oanda.sandbox.settings import RateLimits, SandboxSettings, Switches, instruments_named
from tests.clients.running import PATIENT, Results, once, run_in_turn

pytestmark = PATIENT

FEW = instruments_named(["EUR_USD", "USD_JPY", "SPX500_USD"])
SCRIPTS = ("oanda.py", "oanda_orders.py")
NUMBERS = [str(number) for number in range(1, 32)]
STILL: dict[str, Any] = {"warmup_s": 2.0, "heartbeat_s": 0.3, "history_days": 4, "instruments": FEW}
LIVELY: dict[str, Any] = {"warmup_s": 2.0, "heartbeat_s": 0.3, "history_days": 0, "speed": 20.0, "instruments": FEW}


async def _session(python: Path, home: Path) -> Results:
    venues: dict[str, dict[str, Any]] = {
        "main": {**STILL, "tls_folder": home / "tls"},
        "lively": LIVELY,
        "strict": {**STILL, "history_days": 0, "switches": Switches(duplicate_client_ids="reject")},
        "limited": {**STILL, "history_days": 0, "rate_limits": RateLimits(streams=1)},
    }
    at: dict[str, Any] = {}
    async with AsyncExitStack() as stack:
        for name, settings in venues.items():
            made = await serve(SandboxSettings(token_file=home / f"{name}.txt", **settings))
            stack.push_async_callback(made.stop)
            at[name] = {**made.addresses(), "token": made.token}
            if "tls_folder" in settings:
                at[name]["authority"] = str(settings["tls_folder"] / AUTHORITY)
        return await run_in_turn(python, SCRIPTS, at, home=home)


@pytest.fixture(scope="session")
def results(clients_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Results:
    return once(tmp_path_factory, "oanda", lambda home: asyncio.run(_session(clients_python, home)))


@pytest.mark.parametrize("number", NUMBERS)
def test_the_client_over_rest_and_streams(results: Results, number: str) -> None:
    """The client ran in its own process; each number is every case that the script has of it."""
    results.require(number)


def test_no_case_of_the_script_goes_unasked(results: Results) -> None:
    """What the process reported is what the test above requires."""
    results.require_all_of(NUMBERS)
