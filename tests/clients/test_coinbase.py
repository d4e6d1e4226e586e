"""The numbered list of the Coinbase sheet, by clients that other people wrote, against the sandbox over TLS."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from connectors.coinbase.sandbox.keys import make_key_file
from connectors.coinbase.sandbox.server import serve
from connectors.coinbase.sandbox.settings import DEFAULT_PRODUCTS, FUTURES, RateLimits, SandboxSettings
from tests.clients.running import PATIENT, Results, once, run_in_turn
from tests.support.coinbase_sandbox import STILL_MS

pytestmark = PATIENT

STILL: dict[str, Any] = {"step_ms": STILL_MS, "warmup_s": 10.0}
BALANCES = (("USD", Decimal(1_000_000)), ("BTC", Decimal(5)), ("ETH", Decimal(50)))
LIVELY: dict[str, Any] = {"step_ms": 10.0, "rate_per_s": 200.0, "warmup_s": 3.0}
VENUES: dict[str, dict[str, Any]] = {
    "main": {**STILL, "products": (*DEFAULT_PRODUCTS, *FUTURES)},
    "stops": STILL,
    "plain": {**STILL, "tls_folder": None},
    "lively": LIVELY,
    "late": {**STILL, "duplicate_mode": "reject", "post_only_mode": "fail"},
    "strict": {**STILL, "subscribe_timeout_s": 2.0, "idle_timeout_s": 2.0},
    "limited": {**STILL, "rate_limits": RateLimits(private_per_s=2)},
}
"""What stands still is asked for exact numbers; what lives, for what only a market can do."""
REST = [str(number) for number in range(1, 22)]
STREAMS = [str(number) for number in range(22, 32)]
CCXT = [*(str(number) for number in range(1, 19)), "21"]
REST_VENUES = ("main", "stops", "plain", "lively", "late", "limited")
CCXT_VENUES = ("main", "tls", "plain", "lively", "limited")
STREAM_VENUES = ("main", "plain", "lively", "strict")


async def _session(
    python: Path, scripts: Sequence[str], home: Path, venues: Sequence[str], *, tls: bool = True
) -> Results:
    make_key_file(home / "ed25519.json", algorithm="EdDSA")
    make_key_file(home / "stranger.json")
    at: dict[str, Any] = {name: str(home / f"{name}.json") for name in ("ed25519", "stranger")}
    common: dict[str, Any] = {"balances": BALANCES, "tls_folder": home / "tls" if tls else None}
    async with AsyncExitStack() as stack:
        for name in venues:
            extra = (home / "ed25519.json",) if name == "main" else ()
            given = {
                **common,
                **VENUES.get(name, {**STILL, "tls_folder": home / "tls"}),
                "key_file": home / f"key-{name}.json",
                "extra_key_files": extra,
            }
            sandbox = await serve(SandboxSettings(**given))
            stack.push_async_callback(sandbox.stop)
            at[name] = sandbox.addresses()
        return await run_in_turn(python, scripts, at, home=home)


@pytest.fixture(scope="session")
def rest(clients_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Results:
    def make(home: Path) -> Results:
        return asyncio.run(_session(clients_python, ("coinbase_rest.py", "coinbase_orders.py"), home, REST_VENUES))

    return once(tmp_path_factory, "coinbase-rest", make)


@pytest.fixture(scope="session")
def streams(clients_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Results:
    def make(home: Path) -> Results:
        return asyncio.run(_session(clients_python, ("coinbase_streams.py",), home, STREAM_VENUES))

    return once(tmp_path_factory, "coinbase-streams", make)


@pytest.mark.parametrize("number", REST)
def test_the_official_library_over_rest(rest: Results, number: str) -> None:
    """The library ran in its own process; each number is every case that the script has of it."""
    rest.require(number)


@pytest.mark.parametrize("number", STREAMS)
def test_the_official_library_over_streams(streams: Results, number: str) -> None:
    """Its two WebSocket clients, with their own threads and their own retries."""
    streams.require(number)


@pytest.fixture(scope="session")
def ccxt(clients_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Results:
    def make(home: Path) -> Results:
        return asyncio.run(_session(clients_python, ("coinbase_ccxt.py",), home, CCXT_VENUES, tls=False))

    return once(tmp_path_factory, "coinbase-ccxt", make)


@pytest.mark.parametrize("number", CCXT)
def test_ccxt_over_rest_and_streams(ccxt: Results, number: str) -> None:
    """One exchange object of ccxt.pro a case, plain HTTP and WebSockets, the markets over TLS as well."""
    ccxt.require(number)


def test_no_case_of_a_script_goes_unasked(rest: Results, streams: Results, ccxt: Results) -> None:
    """What the processes reported is what the tests above require, number by number."""
    rest.require_all_of(REST)
    streams.require_all_of(STREAMS)
    ccxt.require_all_of(CCXT)
