"""The stock part of the Robinhood list, by the client that other people wrote, against the sandbox, TLS and plain."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from connectors.certificates import AUTHORITY
from connectors.robin_stocks.sandbox.server import RunningSandbox, serve
from connectors.robin_stocks.sandbox.settings import AccountSettings, SandboxSettings, stocks_named
from tests.clients.running import PATIENT, Results, once, run_in_turn

pytestmark = PATIENT

SCRIPTS = ("robinhood_login.py", "robinhood_stocks.py")
NUMBERS = [str(number) for number in range(13, 22)]
FEW = stocks_named(["AAPL", "SPY"])
HELD = {"AAPL": Decimal(50)}
USERS = (
    AccountSettings("plain@example.com", "first password", "5QT00001", holdings=HELD),
    AccountSettings("code@example.com", "second password", "5QT00002", mfa="123456"),
    AccountSettings("prompt@example.com", "third password", "5QT00003", verification="prompt"),
    AccountSettings("sms@example.com", "fourth password", "5QT00004", verification="sms"),
)
OTHER = (AccountSettings("other@example.com", "fifth password", "5QT00009"),)
VENUES: dict[str, dict[str, Any]] = {
    "main": {"accounts": USERS},
    "paged": {"page_size": 2},
    "second": {"accounts": OTHER},
}


def _at(sandbox: RunningSandbox) -> dict[str, Any]:
    asked = ("username", "password", "mfa", "code")
    users = [
        {"account": one.account_number, **{name: getattr(one, name) for name in asked}}
        for one in sandbox.settings.accounts
    ]
    return {**sandbox.addresses(), "users": users}


async def _session(python: Path, home: Path) -> Results:
    at: dict[str, Any] = {"home": str(home)}
    async with AsyncExitStack() as stack:
        for name, settings in VENUES.items():
            given = {"stocks": FEW, "warmup_s": 0.5, **settings}
            if name == "main":
                given["tls_folder"] = home / "tls"
            sandbox = await serve(SandboxSettings(**given))
            stack.push_async_callback(sandbox.stop)
            at[name] = _at(sandbox)
            if "tls_folder" in given:
                at[name]["authority"] = str(given["tls_folder"] / AUTHORITY)
        return await run_in_turn(python, SCRIPTS, at, home=home)


@pytest.fixture(scope="session")
def results(clients_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Results:
    return once(tmp_path_factory, "robin_stocks", lambda home: asyncio.run(_session(clients_python, home)))


@pytest.mark.parametrize("number", NUMBERS)
def test_the_client_with_its_requests_sent_here(results: Results, number: str) -> None:
    """The client ran in its own process; each number is every case that the script has of it."""
    results.require(number)


def test_no_case_of_the_script_goes_unasked(results: Results) -> None:
    """What the process reported is what the test above requires."""
    results.require_all_of(NUMBERS)
