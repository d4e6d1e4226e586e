"""Bars of the past for storage, from the sandbox: whole spans, sound rows, and a name that says who made them."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from connectors.robin_stocks.archive import RobinStocksHistory, _page
from connectors.robin_stocks.history import MINUTE_NS
from connectors.robin_stocks.sandbox.server import serve
from connectors.robin_stocks.sandbox.settings import SandboxSettings, stocks_named
from connectors.robin_stocks.settings import RobinStocksSettings
from connectors.robin_stocks.wire import BarRow
from engine.errors import ConfigError, VenueError

pytestmark = pytest.mark.asyncio(loop_scope="module")
DAY_NS = 1_440 * MINUTE_NS


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def history(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RobinStocksHistory]:
    key_file = tmp_path_factory.mktemp("archive") / "login.json"
    sandbox = await serve(SandboxSettings(stocks=stocks_named(["AAPL"]), warmup_s=0.0), key_file)
    made = RobinStocksHistory(
        RobinStocksSettings(key_file=str(key_file), rest_url=sandbox.url, requests_per_min=100_000)
    )
    await made.start()
    yield made
    await made.stop()
    await sandbox.stop()


async def test_what_a_sandbox_tells_is_stored_under_a_name_of_its_own(history: RobinStocksHistory) -> None:
    """Nobody can mistake it for the market's prices."""
    instrument = await history.instrument("AAPL/USD")
    assert (history.name, instrument.venue) == ("robin_stocks_sandbox", "robin_stocks_sandbox")
    with pytest.raises(VenueError, match="NOPE"):
        await history.instrument("NOPE/USD")
    with pytest.raises(ConfigError, match="no bars of"):
        await history.instrument("AAPL/USD:USD-261218-200-C")


@pytest.mark.parametrize(
    ("interval_ns", "days", "least"), [(5 * MINUTE_NS, 2, 50), (60 * MINUTE_NS, 20, 60), (DAY_NS, 900, 500)]
)
async def test_bars_of_a_span_are_one_page(
    history: RobinStocksHistory, interval_ns: int, days: int, least: int
) -> None:
    """Within the bounds, in order, each once, for a short question and for a long one."""
    instrument = await history.instrument("AAPL/USD")
    end_ns = history.settled_ns(interval_ns)
    start_ns = end_ns - days * DAY_NS
    (page,) = [page async for page in history.bars(instrument, interval_ns, start_ns, end_ns)]
    starts = page.rows["ts_ns"].to_pylist()
    assert len(starts) >= least
    assert starts == sorted(set(starts))
    assert start_ns <= starts[0] <= starts[-1] < end_ns
    assert (page.dropped, page.conflicts) == (0, 0)


async def test_what_the_venue_does_not_have_is_said(history: RobinStocksHistory) -> None:
    """Bars of a minute, trades of others."""
    instrument = await history.instrument("AAPL/USD")
    with pytest.raises(ConfigError, match="no bars of 60 s"):
        _ = [page async for page in history.bars(instrument, MINUTE_NS, 0, 1)]
    with pytest.raises(ConfigError, match="no trades"):
        _ = [page async for page in history.trades(instrument, 0, 1)]


async def test_rows_that_are_no_bars_are_counted() -> None:
    """A price that is none, a high below the low, one told twice otherwise, one outside."""
    good = BarRow("2026-11-20T15:00:00Z", 10.0, 11.0, 9.0, 10.5, 5.0)
    rows = [
        good,
        BarRow("2026-11-20T15:00:00Z", 10.0, 11.0, 9.0, 10.6, 5.0),
        BarRow("2026-11-20T15:05:00Z", float("nan"), 11.0, 9.0, 10.5, 5.0),
        BarRow("2026-11-20T15:10:00Z", 10.0, 8.0, 9.0, 10.5, 5.0),
        BarRow("words", 10.0, 11.0, 9.0, 10.5, 5.0),
        BarRow("2030-11-20T15:00:00Z", 10.0, 11.0, 9.0, 10.5, 5.0),
    ]
    page = _page(rows, 1, 0, 1_900_000_000 * 10**9, 5 * MINUTE_NS)
    assert page.rows["close"].to_pylist() == [10.5]
    assert (page.dropped, page.conflicts) == (4, 1)
