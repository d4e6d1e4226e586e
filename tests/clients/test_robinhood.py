"""The crypto numbers of the Robinhood sheet, by a client that signs on its own, against the sandbox, TLS and plain."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from connectors.robinhood.sandbox.server import serve
from connectors.robinhood.sandbox.settings import DEFAULT_PAIRS, RateLimits, SandboxSettings, Switches
from tests.clients.running import PATIENT, Results, once, run

pytestmark = PATIENT

NUMBERS = [str(number) for number in range(1, 13)]
STILL: dict[str, Any] = {"warmup_s": 1.0, "rate_per_s": 5.0, "pairs": DEFAULT_PAIRS[:2], "rate_limits": None}
OTHERWISE = Switches(duplicate_mode="reject", v1_time_in_force="reject", cancel_reply="plain")


async def _session(python: Path, home: Path) -> Results:
    venues: dict[str, dict[str, Any]] = {
        "main": {**STILL, "tls_folder": home / "tls"},
        "reject": {**STILL, "switches": OTHERWISE},
        "limited": {**STILL, "rate_limits": RateLimits(per_minute=1.0, burst=20)},
    }
    at: dict[str, Any] = {}
    async with AsyncExitStack() as stack:
        for name, settings in venues.items():
            made = await serve(SandboxSettings(key_file=home / f"{name}.json", **settings))
            stack.push_async_callback(made.stop)
            at[name] = {**made.addresses(), **json.loads(made.key_file.read_text()), "burst": 20}
        return await run(python, "robinhood.py", at, home=home)


@pytest.fixture(scope="session")
def results(clients_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Results:
    return once(tmp_path_factory, "robinhood", lambda home: asyncio.run(_session(clients_python, home)))


@pytest.mark.parametrize("number", NUMBERS)
def test_a_client_that_signs_by_the_venues_pages(results: Results, number: str) -> None:
    """The client ran in its own process; each number is every case that the script has of it."""
    results.require(number)


def test_no_case_of_the_script_goes_unasked(results: Results) -> None:
    """What the process reported is what the test above requires."""
    results.require_all_of(NUMBERS)
