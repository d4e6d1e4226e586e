"""Binance's past, page by page, from a scripted server."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from connectors.binance import archive, klines
from connectors.binance.archive import BinanceHistory
from connectors.binance.settings import BinanceSettings
from connectors.history import Page
from connectors.paced import PacedRest
from connectors.rest import RestClient, RestError
from engine.data.kinds import kind_named
from engine.errors import ConfigError, VenueError
from tests.support.binance import BinanceServer, binance_server

MINUTE_MS = 60_000
MS = 1_000_000
BEGIN_MS = 1_700_000_040_000 // MINUTE_MS * MINUTE_MS


@asynccontextmanager
async def history(venue: str = "binance_spot") -> AsyncIterator[tuple[BinanceServer, BinanceHistory]]:
    def pace(client: RestClient) -> PacedRest:
        return PacedRest(client, venue, rate_per_s=10_000.0, rng=random.Random(1))

    async with binance_server(venue) as server:
        made = BinanceHistory(BinanceSettings(venue=venue, rest_urls=(server.url,)), pace=pace)
        try:
            await made.start()
            yield server, made
        finally:
            await made.stop()


def candle(number: int, **more: Any) -> list[Any]:
    first = BEGIN_MS + number * MINUTE_MS
    row = {"o": "1.0", "h": "3.0", "l": "0.5", "c": "2.0", "v": "7.5"} | more
    return [first, *row.values(), first + MINUTE_MS - 1, "15.0", 4, "1", "2", "0"]


def joined(pages: list[Page], start_ns: int, end_ns: int) -> list[dict[str, Any]]:
    """The rows of pages that follow each other without hole or overlap from start to end."""
    assert [page.start_ns for page in pages] == [start_ns, *(page.end_ns for page in pages[:-1])]
    assert pages[-1].end_ns == end_ns
    return [row for page in pages for row in page.rows.to_pylist()]


async def test_candles_in_pages_without_hole_and_years_without_any_in_one_question() -> None:
    """2,500 candles that begin long after what was asked: three full answers, two that find the beginning.  What a
    server on this machine tells is never taken for the venue's past."""
    async with history() as (server, past):
        instrument = await past.instrument("BTC/USDT")
        assert (past.name, instrument.id) == ("binance_spot_sandbox", "BTC/USDT@binance_spot_sandbox")
        server.candles = [candle(n) for n in range(5_000, 7_500)]
        start_ns, end_ns = BEGIN_MS * MS, (BEGIN_MS + 7_500 * MINUTE_MS) * MS
        server.asked.clear()
        pages = [page async for page in past.bars(instrument, 60_000 * MS, start_ns, end_ns)]
        rows = joined(pages, start_ns, end_ns)
    assert [row["ts_ns"] for row in rows] == [(BEGIN_MS + n * MINUTE_MS) * MS for n in range(5_000, 7_500)]
    assert tuple(rows[0].values())[1:] == (60_000 * MS, 1.0, 3.0, 0.5, 2.0, 7.5, 15.0, 4)
    assert server.asked == ["klines"] * 5
    assert {column.name for column in pages[0].rows.schema} <= {field.name for field in kind_named("bars").schema}


async def test_candles_that_are_none_are_dropped_and_a_year_that_never_was_ends_at_once() -> None:
    """Off the grid, high below low, no number; a span that begins after the last one."""
    odd = candle(3)
    odd[0] += 1
    async with history("binance_usdm") as (server, past):
        instrument = await past.instrument("BTC/USDT")
        server.candles = [candle(0), candle(1, h="0.1"), candle(2, v="NaN"), odd, candle(4)]
        end_ns = (BEGIN_MS + 5 * MINUTE_MS) * MS
        (page,) = [page async for page in past.bars(instrument, 60_000 * MS, BEGIN_MS * MS, end_ns)]
        assert (page.rows.num_rows, page.dropped) == (2, 3)
        later = end_ns + 10**18
        (empty,) = [page async for page in past.bars(instrument, 60_000 * MS, end_ns, later)]
        assert (empty.rows.num_rows, empty.end_ns) == (0, later)
        with pytest.raises(ConfigError, match="makes no candles of 7 s"):
            [page async for page in past.bars(instrument, 7_000 * MS, 0, later)]


async def test_trades_by_the_id_that_comes_next(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seven trades in pages of three, four of them in one millisecond; ends are exact, aggressors told."""
    monkeypatch.setattr(archive, "PAGE", 3)
    async with history() as (server, past):
        instrument = await past.instrument("BTC/USDT")
        times = [0, 1, 1, 1, 1, 2, 3]
        server.trades = [
            {"a": 50 + n, "p": "2.5", "q": "0.1", "f": n, "l": n, "T": BEGIN_MS + at, "m": n % 2 == 0}
            for n, at in enumerate(times)
        ]
        start_ns, end_ns = (BEGIN_MS + 1) * MS, (BEGIN_MS + 3) * MS
        rows = joined([page async for page in past.trades(instrument, start_ns, end_ns)], start_ns, end_ns)
    assert [(row["trade_id"], row["side"]) for row in rows] == [
        *(("a51", "buy"), ("a52", "sell"), ("a53", "buy"), ("a54", "sell"), ("a55", "buy")),
    ]


async def test_an_answer_that_never_ends_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that does not look at the id it is asked from."""
    monkeypatch.setattr(archive, "PAGE", 1)
    async with history() as (server, past):
        instrument = await past.instrument("BTC/USDT")
        row = {"a": 50, "p": "2.5", "q": "0.1", "f": 1, "l": 1, "T": BEGIN_MS, "m": True}
        monkeypatch.setattr(server, "_aggTrades", lambda _query: [row])
        with pytest.raises(RestError, match="the same trades again"):
            [page async for page in past.trades(instrument, BEGIN_MS * MS, (BEGIN_MS + 5) * MS)]


async def test_an_unknown_symbol_is_told_with_its_neighbours_and_a_foreign_answer_as_one() -> None:
    async with history() as (server, past):
        with pytest.raises(VenueError, match=r"BTCUSDC: not listed by the venue.*BTCUSDT"):
            await past.instrument("BTC/USDC")
        instrument = await past.instrument("BTC/USDT")
        server.candles = [["no candle"] * 12]  # type: ignore[list-item]
        server._klines = lambda _query: {"no": "list"}  # type: ignore[method-assign,assignment]
        with pytest.raises(RestError, match="GET /klines: unreadable answer"):
            [page async for page in past.bars(instrument, 60_000 * MS, BEGIN_MS * MS, (BEGIN_MS + MINUTE_MS) * MS)]


def test_what_candles_there_are() -> None:
    """Seconds on spot alone; nothing that does not begin on a grid of UTC days."""
    assert klines.interval_name("binance_spot", 10**9) == "1s"
    assert klines.interval_name("binance_usdm", 10**9) == ""
    assert klines.interval_name("binance_usdm", 86_400 * 10**9) == "1d"
    assert klines.interval_name("binance_spot", 7 * 86_400 * 10**9) == ""
    assert klines.interval_name("binance_spot", 60 * 10**9 + 1) == ""
    for venue in ("binance_spot", "binance_usdm"):
        assert all(klines.interval_name(venue, each) for each in klines.intervals_ns(venue))
