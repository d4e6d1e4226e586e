"""The venue asked before a session, by a real sandbox: what it says of clock, key, instruments, fees and account."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest

from config import doctor_venue
from config.doctor import subject_of
from config.doctor_venue import PARTS, ask, venue_findings
from config.load import load
from connectors.certificates import AUTHORITY, client_context
from connectors.coinbase import cancel_only
from connectors.coinbase.sandbox.server import RunningSandbox, serve
from connectors.coinbase.sandbox.settings import SandboxSettings, products_named
from engine.errors import VenueError, WrongAccount
from engine.events import InstrumentDefined, InstrumentStatus, TradingStatus
from engine.findings import Finding, Outcome, look
from engine.instruments import AssetClass
from engine.runtime.clocks import SystemClock
from tests.support import oanda
from tests.support.live import write_live

ALL = ("connection", *PARTS)


@pytest.fixture(autouse=True)
def _trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "tls" / AUTHORITY))


@asynccontextmanager
async def exchange(folder: Path, **options: Any) -> AsyncIterator[RunningSandbox]:
    """Over TLS, one product, a short history."""
    settings = {"key_file": folder / "key.json", "tls_folder": folder / "tls", "warmup_s": 0.5, **options}
    running = await serve(SandboxSettings(products=products_named(["BTC-USD"]), **settings))
    try:
        yield running
    finally:
        await running.stop()


async def operate(running: RunningSandbox, act: dict[str, Any]) -> None:
    trust = client_context(running.settings.tls_folder or Path())
    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trust)) as http,
        http.post(f"{running.rest_url}/sandbox/operator", json=act) as answer,
    ):
        assert answer.status == 200, await answer.text()


async def asked(folder: Path, url: str, **changes: Any) -> dict[str, Finding]:
    subject = subject_of(load([write_live(folder, url, **changes)], env={}), live=True)
    return {one.check: one for one in await ask(subject, SystemClock())}


def of(found: dict[str, Finding], outcome: Outcome) -> list[str]:
    return [name for name, one in found.items() if one.outcome is outcome]


async def test_a_venue_that_is_ready_answers_every_question_and_nothing_is_left_there(tmp_path: Path) -> None:
    """The account as the exchange has it; what rests there by hand is seen and stays."""
    async with exchange(tmp_path) as running:
        found = await asked(tmp_path, running.rest_url)
        assert of(found, Outcome.OK) == list(ALL)
        assert found["connection"].seen == "coinbase answers; streams up: market, user"
        assert found["permissions"].seen == "the key may view, trade"
        assert found["fees"].seen == "maker 0.4 %, taker 0.6 %"
        assert found["balances"].seen == "100000 USD"
        assert found["orders"].seen == "none open"
        assert "BTC/USD@coinbase at market would cost 1." in found["preview"].seen
        assert found["cancels"].seen == "the watchdog's own connection sees no open orders"
        assert found["instruments"].seen.startswith("BTC/USD@coinbase trading (step ")
        assert "clock is +" in found["clock"].seen or "clock is -" in found["clock"].seen
        assert running.exchange.orders == {}


@pytest.mark.parametrize(
    ("act", "check", "outcome", "said"),
    [
        ({"act": "permit", "can_trade": False}, "permissions", Outcome.FAILED, "may view and trade"),
        ({"act": "permit", "can_transfer": True}, "permissions", Outcome.FAILED, "cannot move money out"),
        ({"act": "product", "trading_disabled": True}, "instruments", Outcome.FAILED, "leave out BTC/USD@coinbase"),
        ({"act": "product", "post_only": True}, "instruments", Outcome.WARNING, "every kind of order"),
        ({"act": "expire_key"}, "connection", Outcome.FAILED, "401"),
        ({"act": "product", "listed": False}, "connection", Outcome.FAILED, "unknown symbol"),
    ],
)
async def test_what_the_venue_does_not_let_us_do_is_told(
    tmp_path: Path, act: dict[str, Any], check: str, outcome: Outcome, said: str
) -> None:
    """The venue's people change one thing; what was told before it counts, the rest could not be asked."""
    async with exchange(tmp_path) as running:
        await operate(running, {**act, "product_id": "BTC-USD"} if act["act"] == "product" else act)
        found = await asked(tmp_path, running.rest_url)
        one = found[check]
        assert one.outcome is outcome
        assert said in f"{one.seen}; expected {one.expected}; {one.do}"
        assert set(ALL) <= set(found)
        if found["connection"].outcome is Outcome.FAILED:
            assert {found[name].outcome for name in ("instruments", "balances", "orders")} == {Outcome.SKIPPED}
            assert found["clock"].outcome is Outcome.OK


@pytest.mark.parametrize(
    ("options", "outcome", "said"),
    [
        ({"balances": (("USD", Decimal(5)), ("EUR", Decimal(7)))}, Outcome.FAILED, "portfolio.rates.EUR"),
        ({"balances": (("USD", Decimal(0)),)}, Outcome.WARNING, "the account is empty"),
        ({"balances": (("USD", Decimal(5)), ("BTC", Decimal(1)))}, Outcome.OK, "5 USD, 1 BTC"),
    ],
)
async def test_money_that_nobody_could_value_is_told_before_it_stops_every_entry(
    tmp_path: Path, options: dict[str, Any], outcome: Outcome, said: str
) -> None:
    """By the account that is really there."""
    async with exchange(tmp_path, **options) as running:
        found = (await asked(tmp_path, running.rest_url))["balances"]
        assert found.outcome is outcome
        assert said in f"{found.seen}; {found.do}"


async def test_the_wrong_account_and_a_server_that_nobody_vouches_for_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the venue's own id of the account; by its certificate."""

    def refuse(identity: str) -> None:
        assert identity
        raise WrongAccount("account coinbase-1 is another one than its sessions so far")

    async with exchange(tmp_path) as running:
        subject = subject_of(load([write_live(tmp_path, running.rest_url)], env={}), live=True)
        first = (await ask(subject, SystemClock(), refuse))[0]
        assert first.outcome is Outcome.FAILED
        assert "another one than its sessions" in first.seen
        monkeypatch.delenv("SSL_CERT_FILE")
        first = (await ask(subject, SystemClock()))[0]
        assert first.outcome is Outcome.FAILED
        assert "certificate" in first.seen.lower()


async def test_another_venue_answers_the_same_questions(tmp_path: Path) -> None:
    """OANDA: what it does not tell is skipped and says so, all else is the same."""
    (tmp_path / "key.json").write_text(oanda.TOKEN)
    (tmp_path / "key.json").chmod(0o600)
    async with oanda.running(tls_folder=tmp_path / "tls") as client:
        url = client.sandbox.url
        venue = {"name": "oanda", "symbols": ["EUR/USD"], "stream_url": url}
        risk = {"allowed_instruments": ["EUR/USD@oanda"]}
        found = await asked(tmp_path, url, venue=venue, risk=risk)
        assert of(found, Outcome.SKIPPED) == ["permissions", "preview"]
        assert of(found, Outcome.OK) == [name for name in ALL if name not in ("permissions", "preview")]
        assert found["balances"].seen == "100000 USD"


async def test_a_watchdog_that_would_not_get_there_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its way is a connection of its own; by the certificates of the settings it gets there as the daemon does."""
    monkeypatch.delenv("SSL_CERT_FILE")
    trust = {"ca_file": str(tmp_path / "tls" / AUTHORITY)}
    async with exchange(tmp_path) as running:
        found = await asked(tmp_path, running.rest_url, venue=trust)
        assert of(found, Outcome.OK) == list(ALL)
        off = await asked(tmp_path, running.rest_url, venue=trust, watchdog={"enabled": False})
        assert off["cancels"].seen == "no watchdog is started"

        def nowhere(_settings: object) -> None:
            raise VenueError("GET /orders: certificate verify failed")

        monkeypatch.setattr(cancel_only, "open_account", nowhere)
        assert (await asked(tmp_path, running.rest_url, venue=trust))["cancels"].outcome is Outcome.FAILED


async def test_a_venue_that_never_gets_ready_ends_the_question(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers come later than anybody waits."""
    monkeypatch.setattr(doctor_venue, "ASK_S", 0.2)
    async with exchange(tmp_path, latency_ms=400.0) as running:
        found = await asked(tmp_path, running.rest_url)
        assert found["connection"].seen.startswith("coinbase was not ready within 0.2 s")
        assert found["orders"].seen == "could not be asked"


@pytest.mark.parametrize(
    ("asset_class", "outcome"), [("spot", Outcome.FAILED), ("fx", Outcome.WARNING), ("equity", Outcome.WARNING)]
)
def test_a_market_that_has_hours_may_be_closed_at_the_start(asset_class: str, outcome: Outcome) -> None:
    """The day before, the weekend: entries wait.  What has no hours and does not trade is halted."""
    answers, subject = doctor_venue.Answers(), subject_of(load(env={}), live=False)
    for one in subject.instruments:
        kind = msgspec.structs.replace(one, asset_class=AssetClass(asset_class))
        answers.events += [InstrumentDefined(1, 1, kind), InstrumentStatus(1, 1, one.id, TradingStatus.HALTED)]
    found = look("instruments", lambda: doctor_venue._instruments(subject, answers))
    assert found.outcome is outcome
    assert "BTC/USD@coinbase halted" in found.seen


class CoarseConnector:
    """Of a venue that tells whole seconds, of which nothing is left."""

    offset_ns = 0


def test_a_clock_that_agrees_to_the_second_agrees() -> None:
    """After a start it is known; after one that failed, nobody had asked yet."""
    connector: Any = CoarseConnector()
    assert doctor_venue._clock(connector, started=True) == "this machine's clock is +0.000 s off the venue's"
    with pytest.raises(doctor_venue._UntoldError):
        doctor_venue._clock(connector, started=False)


def test_what_starts_with_the_session_cannot_be_asked() -> None:
    """The built-in exchange, and recorded files."""
    for feed in ("sandbox", "replay"):
        found = venue_findings(subject_of(load(env={}, overrides={"venue.feed": feed}), live=False), SystemClock())
        assert [one.check for one in found] == list(ALL)
        assert {one.outcome for one in found} == {Outcome.SKIPPED}
