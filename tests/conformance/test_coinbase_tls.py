"""The Coinbase connector against the sandbox over TLS, while lines break, numbers get lost and answers go wrong."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from connectors.certificates import AUTHORITY, client_context
from connectors.coinbase.sandbox.server import serve
from connectors.coinbase.sandbox.settings import SandboxSettings
from connectors.coinbase.venue import CoinbaseVenue
from connectors.fakes import EventLog
from engine.errors import VenueError
from engine.events import FeedUp, Gap, OrderAccepted, OrderCancelled, OrderFilled, Quote
from tests.conformance.test_coinbase_venue import MARKET, Session, SystemTime, settings_for
from tests.support.waiting import until

RESTING: dict[str, Any] = {"qty": Decimal("0.01"), "limit_px": Decimal("1000.00")}


@asynccontextmanager
async def over_tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **options: Any) -> AsyncIterator[Session]:
    """The authority is trusted as a user would have it trusted: by the variable that OpenSSL reads."""
    folder = tmp_path / "tls"
    sandbox = await serve(SandboxSettings(key_file=tmp_path / "key.json", warmup_s=2.0, tls_folder=folder))
    monkeypatch.setenv("SSL_CERT_FILE", str(folder / AUTHORITY))
    log = EventLog()
    venue = CoinbaseVenue(settings_for(sandbox, **options), log, SystemTime())
    try:
        await venue.start()
        yield Session(sandbox, venue, log)
    finally:
        await venue.stop()
        await sandbox.stop()


async def operate(session: Session, **act: Any) -> None:
    trust = client_context(session.sandbox.settings.tls_folder or Path())
    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trust)) as http,
        http.post(f"{session.sandbox.rest_url}/sandbox/operator", json=act) as answer,
    ):
        assert answer.status == 200, await answer.text()


@pytest.mark.parametrize("transport", ["websockets", "picows"])
async def test_streams_come_back_after_each_way_to_end_and_after_a_gap(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, transport: str
) -> None:
    """Sheet 28, 29 for us: closed with 1001 and 1011, cut without a frame, a number lost; then orders still trade."""
    async with over_tls(tmp_path, monkeypatch, transport=transport) as s:
        s.submit("rests", **RESTING)
        await until(lambda: any(isinstance(e, OrderAccepted) for e in s.of("rests")))
        for code in (1001, 1006, 1011):
            ups, quotes = len(s.log.of(FeedUp)), len(s.log.of(Quote))
            await operate(s, act="disconnect", code=code)
            await until(lambda ups=ups: len(s.log.of(FeedUp)) >= ups + 2)  # both: what ends next must be the new ones
            await until(lambda quotes=quotes: len(s.log.of(Quote)) > quotes)
        gaps = len(s.log.of(Gap))
        await operate(s, act="gap")
        await until(lambda: len(s.log.of(Gap)) > gaps)
        s.submit("buys", **MARKET, qty=Decimal("0.01"))
        await until(lambda: sum(e.qty for e in s.of("buys") if isinstance(e, OrderFilled)) == Decimal("0.01"))
        s.cancel("rests")
        await until(lambda: any(isinstance(e, OrderCancelled) for e in s.of("rests")))


async def test_an_order_whose_answer_is_lost_is_found_and_there_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Accepted by the venue, the answer cut off in the middle: the id is asked for, and nothing is sent again."""
    async with over_tls(tmp_path, monkeypatch) as s:
        await operate(s, act="answer", path="/orders", method="POST", status=200, applied=True, body="{}" * 50, cut=9)
        s.submit("lost", **RESTING)
        await until(lambda: any(isinstance(e, OrderAccepted) for e in s.of("lost")))
        ours = [r for r in s.sandbox.exchange.orders.values() if r.spec.client_order_id == "lost"]
        assert len(ours) == 1
        s.cancel("lost")
        await until(lambda: any(isinstance(e, OrderCancelled) for e in s.of("lost")))


@pytest.mark.fault("C11")
async def test_a_server_that_nobody_vouches_for_is_not_talked_to(tmp_path: Path) -> None:
    """Without the variable: refused at the start, and no order could have left."""
    folder = tmp_path / "tls"
    sandbox = await serve(SandboxSettings(key_file=tmp_path / "key.json", warmup_s=0.0, tls_folder=folder))
    venue = CoinbaseVenue(settings_for(sandbox), EventLog(), SystemTime())
    try:
        with pytest.raises(VenueError, match=r"(?i)certificate|connect"):
            async with asyncio.timeout(30):
                await venue.start()
    finally:
        await venue.stop()
        await sandbox.stop()
