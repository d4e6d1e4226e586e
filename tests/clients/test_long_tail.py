"""The numbered list of the ccxt sheet for Binance and Kraken, by ccxt.pro against their sandboxes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from connectors.binance.sandbox import server as binance_server
from connectors.binance.sandbox.settings import USDM_PRODUCTS, BinanceSettings
from connectors.binance.sandbox.settings import RateLimits as BinanceLimits
from connectors.binance.streams import USDM
from connectors.kraken.sandbox import server as kraken_server
from connectors.kraken.sandbox.settings import KrakenSettings
from connectors.kraken.sandbox.settings import RateLimits as KrakenLimits
from connectors.local.serving import RunningVenue
from tests.clients.running import PATIENT, Results, once, run

pytestmark = PATIENT

STILL: dict[str, Any] = {"step_ms": 1e9, "warmup_s": 5.0}
LIVELY: dict[str, Any] = {"step_ms": 10.0, "rate_per_s": 200.0, "warmup_s": 3.0}
BINANCE = ["2", "3", "4", "6", "7", "8", "9", "10", "11", "12", "13", "14", "15", "16", "20", "21"]
BINANCE_USDM = ["2", "9", "10", "11", "12", "13", "14", "15", "20", "21"]
KRAKEN = ["2", "3", "4", "6", "7", "9", "10", "11", "12", "14", "15", "16", "19", "21"]
MONEY = (("USD", Decimal(1_000_000)), ("USDT", Decimal(1_000_000)), ("BTC", Decimal(5)), ("ETH", Decimal(50)))


Starts = dict[str, Callable[[Path], Awaitable[RunningVenue]]]


async def _session(python: Path, script: str, home: Path, starts: Starts) -> Results:
    """One client against its venues."""
    home.mkdir(exist_ok=True)
    at: dict[str, Any] = {}
    async with AsyncExitStack() as stack:
        for name, start in starts.items():
            venue = await start(home / f"{name}.json")
            stack.push_async_callback(venue.stop)
            at[name] = venue.addresses()
        return await run(python, script, at, home=home)


async def _all(python: Path, home: Path) -> Results:
    """At the same time: most of what a client does is waiting."""
    binance, usdm, kraken = home / "binance", home / "binance_usdm", home / "kraken"
    made = await asyncio.gather(
        _session(python, "binance_ccxt.py", binance, _binance(binance)),
        _session(python, "binance_usdm_ccxt.py", usdm, _binance_usdm(usdm)),
        _session(python, "kraken_ccxt.py", kraken, _kraken(kraken)),
    )
    return Results([result for one in made for result in one.found], "\n".join(one.said for one in made))


def _binance(home: Path) -> Starts:
    def start(**given: Any) -> Callable[[Path], Awaitable[RunningVenue]]:
        return lambda key_file: binance_server.serve(BinanceSettings(balances=MONEY, key_file=key_file, **given))

    limits = BinanceLimits(weight_per_min=100, ban_after=2)
    return {
        "main": start(**STILL),
        "lively": start(**LIVELY),
        "tls": start(**LIVELY, tls_folder=home / "tls"),
        "strict": start(**STILL, duplicate_client_ids="ever"),
        "limited": start(**STILL, rate_limits=limits),
    }


def _binance_usdm(home: Path) -> Starts:
    def start(**given: Any) -> Callable[[Path], Awaitable[RunningVenue]]:
        made = BinanceSettings(venue=USDM, products=USDM_PRODUCTS, balances=(), **given)
        return lambda _key_file: binance_server.serve(made)

    return {
        "main": start(**STILL),
        "lively": start(**LIVELY),
        "tls": start(**LIVELY, tls_folder=home / "tls"),
        "limited": start(**STILL, rate_limits=BinanceLimits(weight_per_min=100, ban_after=2)),
    }


def _kraken(home: Path) -> Starts:
    def start(**given: Any) -> Callable[[Path], Awaitable[RunningVenue]]:
        return lambda key_file: kraken_server.serve(KrakenSettings(balances=MONEY, key_file=key_file, **given))

    limits = KrakenLimits(calls=5.0, orders=4.0, orders_decay_per_s=0.01)
    other: dict[str, Any] = {"duplicate_client_ids": "accept", "signature_error": "EAPI:Invalid key"}
    return {
        "main": start(**STILL),
        "lively": start(**LIVELY),
        "tls": start(**LIVELY, tls_folder=home / "tls"),
        "strict": start(**STILL, **other),
        "limited": start(**STILL, rate_limits=limits),
    }


@pytest.fixture(scope="session")
def long_tail(clients_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Results:
    return once(tmp_path_factory, "long-tail", lambda home: asyncio.run(_all(clients_python, home)))


def _of(results: Results, venue: str) -> Results:
    return Results([result for result in results.found if result.venue == venue], results.said)


@pytest.mark.parametrize("number", KRAKEN)
def test_ccxt_against_kraken(long_tail: Results, number: str) -> None:
    """As above."""
    _of(long_tail, "kraken").require(number)


@pytest.mark.parametrize("number", BINANCE)
def test_ccxt_against_binance(long_tail: Results, number: str) -> None:
    """One exchange object of ccxt.pro a case; each number is every case that the script has of it."""
    _of(long_tail, "binance").require(number)


@pytest.mark.parametrize("number", BINANCE_USDM)
def test_ccxt_against_binance_usdm(long_tail: Results, number: str) -> None:
    """As above, of the market alone."""
    _of(long_tail, "binance_usdm").require(number)


def test_no_case_of_a_script_goes_unasked(long_tail: Results) -> None:
    """What the processes reported is what the tests above require, number by number."""
    _of(long_tail, "binance").require_all_of(BINANCE)
    _of(long_tail, "binance_usdm").require_all_of(BINANCE_USDM)
    _of(long_tail, "kraken").require_all_of(KRAKEN)
