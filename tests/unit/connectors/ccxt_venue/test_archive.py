"""An exchange's past through the library, stored as ``data fetch`` stores it: from the local Binance and Kraken, also
where they refuse, tell nonsense, or nothing."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from connectors.ccxt_venue.archive import TRIES, CcxtHistory
from connectors.ccxt_venue.settings import CcxtSettings
from connectors.download import Download, Wanted
from engine.data.catalogue import Catalogue
from engine.errors import ConfigError, VenueError
from tests.support.ccxt_venue import LocalExchange, local_exchange

MINUTE_NS = 60_000_000_000
DAY_NS = 1_440 * MINUTE_NS


@asynccontextmanager
async def history(local: LocalExchange, **given: Any) -> AsyncIterator[CcxtHistory]:
    made = CcxtHistory(CcxtSettings(exchange=local.exchange, rest_url=local.said["rest"]), **given)
    try:
        await made.start()
        yield made
    finally:
        await made.stop()


def tape(local: LocalExchange, end_ns: int) -> list[tuple[float, ...]]:
    """What the market has of its minutes, made without the exchange's own answers."""
    minutes = local.running.venue.exchange.markets[local.symbol].tape.candles(lambda second: second, 0, end_ns // 10**9)
    return [
        (one.start_s * 10**9, *map(float, (one.open_px, one.high_px, one.low_px, one.close_px, one.volume_qty)))
        for one in minutes
        if one.start_s * 10**9 < end_ns
    ]


def stored(catalogue: Catalogue, instrument: str) -> list[tuple[float, ...]]:
    columns = ("ts_ns", "open", "high", "low", "close", "volume")
    catalogue.refresh()
    batches = catalogue.read("bars", instrument=instrument, interval_ns=MINUTE_NS)
    return [tuple(row[name] for name in columns) for batch in batches for row in batch.to_pylist()]


async def test_a_day_of_minutes_is_what_the_exchange_had(tmp_path: Path) -> None:
    """Two pages of a thousand; days before the first candle are looked through by days and are empty; run again,
    nothing is asked for but the symbol."""
    catalogue = Catalogue(tmp_path / "catalogue")
    async with local_exchange("binance", tmp_path, history_minutes=1_500) as local, history(local) as past:
        instrument = await past.instrument("BTC/USDT")
        assert instrument.id == "BTC/USDT@ccxt_binance_sandbox"
        assert {MINUTE_NS, 60 * MINUTE_NS, DAY_NS} <= {*past.intervals_ns}
        assert 7 * DAY_NS not in past.intervals_ns, "weeks begin on another day at each exchange"
        end_ns = past.settled_ns(MINUTE_NS)
        wanted = Wanted(instrument, "bars", MINUTE_NS, end_ns - 40 * DAY_NS, end_ns)
        tally = await Download(past, catalogue).run(wanted)
        assert tally.rows == len(tape(local, end_ns))
        assert stored(catalogue, instrument.id) == tape(local, end_ns)
        asked = past.requests
        assert asked < 20, "forty days of minutes are sixty pages"
        again = await Download(past, catalogue).run(wanted)
        assert (again.rows, again.resumed, past.requests) == (0, True, asked)


async def test_what_an_exchange_does_not_keep_is_told(tmp_path: Path) -> None:
    """Kraken has its newest 720 candles whatever is asked: they are stored, and that days are missing is said."""
    catalogue, said = Catalogue(tmp_path / "catalogue"), list[str]()
    async with (
        local_exchange("kraken", tmp_path, history_minutes=1_500) as local,
        history(local, say=said.append) as past,
    ):
        instrument = await past.instrument("BTC/USD")
        end_ns = past.settled_ns(MINUTE_NS)
        await Download(past, catalogue).run(Wanted(instrument, "bars", MINUTE_NS, end_ns - 5 * DAY_NS, end_ns))
        found = stored(catalogue, instrument.id)
        assert len(found) in (718, 719), "the one under way is the 720th, and another minute may have begun meanwhile"
        assert found == tape(local, end_ns)[-len(found) :]
    assert [line for line in said if line] == [
        "BTC/USD: ccxt_kraken_sandbox tells nothing of the 4.5 days before its first candle"
    ]


async def test_a_limit_is_waited_for_and_an_end_is_told(tmp_path: Path) -> None:
    """Refused twice, then answered; refused for good, it ends in a line after its tries; what cannot be, at once."""
    pauses: list[float] = []

    async def sleep(pause_s: float) -> None:
        pauses.append(pause_s)

    async with local_exchange("kraken", tmp_path) as local, history(local, sleep=sleep) as past:
        instrument = await past.instrument("BTC/USD")
        end_ns = past.settled_ns(MINUTE_NS)

        async def ask() -> list[Any]:
            return [page async for page in past.bars(instrument, MINUTE_NS, end_ns - 3 * MINUTE_NS, end_ns)]

        busy = {"status": 200, "body": '{"error":["EAPI:Rate limit exceeded"]}'}
        await local.operate("answer", path="/OHLC", times=2, **busy)
        assert sum(page.rows.num_rows for page in await ask()) == 3
        assert pauses == [1.0, 2.0]
        await local.operate("answer", path="/OHLC", times=TRIES, status=503, body="<html>")
        with pytest.raises(VenueError, match=f"kraken refused {TRIES} times in a row"):
            await ask()
        assert pauses[2:] == [1.0, 2.0, 4.0, 8.0, 8.0, 8.0]
        with pytest.raises(VenueError, match=r"unknown symbol 'BTC/USX'.*did you mean BTC/USD"):
            await past.instrument("BTC/USX")
        with pytest.raises(ConfigError, match="expected --kind bars"):
            [page async for page in past.trades(instrument, 0, 1)]
        with pytest.raises(ConfigError, match="no candles of 7 s"):
            [page async for page in past.bars(instrument, 7 * 10**9, 0, 1)]


async def test_rows_that_are_no_candles_are_left_out(tmp_path: Path) -> None:
    """Off the grid, crossed prices, no price, told twice: counted, not stored."""
    async with local_exchange("kraken", tmp_path) as local, history(local) as past:
        instrument = await past.instrument("BTC/USD")
        minute_ms = time.time_ns() // MINUTE_NS * 60_000 - 3_600_000
        rows = [
            [minute_ms, 2.0, 3.0, 1.0, 2.0, 5.0],
            [minute_ms, 2.0, 3.0, 1.0, 2.5, 5.0],
            [minute_ms + 1, 2.0, 3.0, 1.0, 2.0, 5.0],
            [minute_ms + 60_000, 2.0, 1.0, 3.0, 2.0, 5.0],
            [minute_ms + 120_000, None, 3.0, 1.0, 2.0, 5.0],
            "nothing",
        ]

        async def fetch_ohlcv(*_: Any) -> list[Any]:
            return rows

        past._open().ex.fetch_ohlcv = fetch_ohlcv
        begin_ns = minute_ms * 1_000_000
        (page,) = [one async for one in past.bars(instrument, MINUTE_NS, begin_ns, begin_ns + 3 * MINUTE_NS)]
        assert (page.rows.num_rows, page.dropped, page.conflicts) == (1, 3, 1)
