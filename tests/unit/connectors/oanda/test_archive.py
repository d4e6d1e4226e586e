"""The past of the sandbox: pages without hole or overlap, on the grid of UTC, finished and sound."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from connectors.history import Page
from connectors.oanda import archive, wire
from connectors.oanda.archive import NS, OandaHistory
from connectors.oanda.candles import GRANULARITIES
from connectors.oanda.sandbox.rest import SANDBOX_TAG
from connectors.oanda.sandbox.settings import ACCOUNT_ID, AccountSettings, instruments_named
from connectors.paced import PacedRest
from connectors.rest import RestError
from engine.errors import ConfigError, VenueError
from engine.venues import INVENTED
from tests.support.oanda import TOKEN, Client, running

MINUTE_NS = 60 * NS


@asynccontextmanager
async def history(
    *, token: str = TOKEN, account: str = "", **settings: Any
) -> AsyncIterator[tuple[OandaHistory, Client]]:
    given = {"history_days": 2, "instruments": instruments_named(["EUR_USD", "USD_JPY"]), **settings}
    async with running(**given) as client:
        made = OandaHistory(
            client.sandbox.url,
            token,
            account=account,
            pace=lambda rest: PacedRest(rest, "oanda", rate_per_s=1e6, rng=random.Random(1)),
        )
        try:
            await made.start()
            yield made, client
        finally:
            await made.stop()


async def pages(made: OandaHistory, interval_ns: int, start_ns: int, end_ns: int) -> list[Page]:
    instrument = await made.instrument("EUR/USD")
    return [page async for page in made.bars(instrument, interval_ns, start_ns, end_ns)]


def starts(found: list[Page]) -> list[int]:
    return [ts_ns for page in found for ts_ns in page.rows["ts_ns"].to_pylist()]


async def test_pages_follow_each_other_and_hold_every_minute_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two days in pages of 700, from a start beside the grid; the minute under way is not told."""
    monkeypatch.setattr(archive, "PAGE_BARS", 700)
    async with history() as (made, _):
        end_ns = made.settled_ns(MINUTE_NS)
        start_ns = end_ns - 2_000 * MINUTE_NS - 7
        found = await pages(made, MINUTE_NS, start_ns, end_ns)
        assert len(found) == 3
        assert [page.start_ns for page in found] == [start_ns, *(page.end_ns for page in found[:-1])]
        assert found[-1].end_ns == end_ns
        assert len(starts(found)) > 1_990
        assert all(ts_ns % MINUTE_NS == 0 for ts_ns in starts(found))
        assert starts(found) == sorted(set(starts(found)))
        assert sum(page.dropped + page.conflicts for page in found) == 0


@pytest.mark.parametrize("seconds", [seconds for seconds in GRANULARITIES if seconds >= 3_600])
async def test_longer_bars_begin_on_the_grid_of_utc(seconds: int) -> None:
    """The venue's own days begin at 17:00 New York; ours do not."""
    async with history() as (made, _):
        end_ns = made.settled_ns(seconds * NS)
        found = await pages(made, seconds * NS, end_ns - 3 * 86_400 * NS, end_ns)
        assert starts(found)
        assert all(ts_ns % (seconds * NS) == 0 for ts_ns in starts(found))
        assert max(starts(found)) < end_ns


async def test_rules_and_unknown_symbols() -> None:
    """The sandbox's instruments are of a venue whose prices are made up; the nearest name is told."""
    async with history() as (made, _):
        assert made.name == f"oanda{INVENTED}"
        assert (await made.instrument("USD/JPY")).id == f"USD/JPY@{made.name}"
        with pytest.raises(ConfigError, match="EUR/USD"):
            await made.instrument("EUR/USX")
        with pytest.raises(ConfigError, match="no bars of 7 s"):
            await pages(made, 7 * NS, 0, NS)
        with pytest.raises(ConfigError, match="no trades"):
            _ = [page async for page in made.trades(await made.instrument("EUR/USD"), 0, 1)]
        assert SANDBOX_TAG == wire.SANDBOX_TAG


async def test_the_account_is_the_tokens_first_or_the_one_that_is_named() -> None:
    """Another one is refused in one line, and so is a wrong token."""
    other = "101-004-1000001-002"
    accounts = (AccountSettings(), AccountSettings(account_id=other))
    for account, expected in (("", ACCOUNT_ID), (other, other)):
        async with history(account=account, accounts=accounts, history_days=0) as (made, _):
            assert made._account == expected
    with pytest.raises(VenueError, match="no account"):
        async with history(account="101-004-9-009", history_days=0):
            pass
    with pytest.raises(RestError, match="401"):
        async with history(token="wrong", history_days=0):
            pass


async def test_what_is_no_candle_is_dropped_and_what_is_no_answer_is_refused() -> None:
    """Prices that are none, off the grid, unfinished, told twice; then an answer of another shape."""
    sound = (
        '{"complete":true,"volume":1,"time":"2026-11-20T14:00:00.000000000Z","mid":{"o":"2","h":"3","l":"1","c":"2"}}'
    )
    body = ",".join(
        [
            sound,
            sound.replace('"o":"2"', '"o":"2.5"'),
            sound.replace("14:00:00", "14:01:00").replace('"l":"1"', '"l":"-1"'),
            sound.replace("14:00:00", "14:02:00").replace('"h":"3"', '"h":"NaN"'),
            sound.replace("14:00:00", "14:03:07"),
            sound.replace("14:00:00", "14:04:00").replace("true", "false"),
            sound.replace("14:00:00", "15:00:00"),
        ]
    )
    start_ns = 1_795_183_200 * NS
    async with history(history_days=0) as (made, client):
        await client.operate("answer", path="/candles", status=200, body=f'{{"candles":[{body}]}}')
        (page,) = await pages(made, MINUTE_NS, start_ns, start_ns + 3_600 * NS)
        assert page.rows["ts_ns"].to_pylist() == [start_ns]
        assert (page.dropped, page.conflicts) == (3, 1)
        await client.operate("answer", path="/candles", status=200, body='{"candles":7}')
        with pytest.raises(VenueError, match="answered something else"):
            await pages(made, MINUTE_NS, start_ns, start_ns + 3_600 * NS)
