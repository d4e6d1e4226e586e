"""What is missing is fetched, what is stored stays: against a real catalogue, with a venue of numbers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from connectors.download import Download, Tally, Wanted, unknown_rows
from connectors.history import Page
from engine.data.catalogue import Catalogue
from engine.data.commits import CommitLog
from engine.data.kinds import conform
from engine.data.parts import Source
from engine.errors import DataError, VenueError
from engine.instruments import AssetClass, Instrument
from tests.support.stored import meanwhile

MINUTE_NS = 60_000_000_000
START_NS = 1_704_067_200_000_000_000
"""2024-01-01."""
one = Decimal(1)
BTC = Instrument(
    id="BTC/USD@coinbase",
    venue="coinbase",
    venue_symbol="BTC-USD",
    base="BTC",
    quote="USD",
    settlement="USD",
    asset_class=AssetClass.SPOT,
    tick_px=Decimal("0.01"),
    lot_qty=one,
    min_qty=one,
    max_qty=one,
    min_notional=one,
    maker_fee_rate=one,
    taker_fee_rate=one,
)


class Venue:
    """Bars of every minute, ten a page; ``price`` of a minute's number.  ``before_page`` may raise, by page number."""

    name = "coinbase"
    requests = 0
    intervals_ns = (MINUTE_NS,)

    def __init__(self, price: Callable[[int], float] = float) -> None:
        self.price = price
        self.pages = 0
        self.asked: list[tuple[int, int]] = []
        self.before_page: Callable[[int], None] = lambda _number: None

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def instrument(self, symbol: str) -> Instrument:
        return BTC

    def settled_ns(self, interval_ns: int) -> int:
        return START_NS * 2

    async def bars(self, instrument: Instrument, interval_ns: int, start_ns: int, end_ns: int) -> AsyncIterator[Page]:
        self.asked.append(((start_ns - START_NS) // MINUTE_NS, (end_ns - START_NS) // MINUTE_NS))
        while start_ns < end_ns:
            self.before_page(self.pages)
            await asyncio.sleep(0)
            until_ns = min(start_ns + 10 * MINUTE_NS, end_ns)
            numbers = range((start_ns - START_NS) // MINUTE_NS, (until_ns - START_NS) // MINUTE_NS)
            yield Page(start_ns, until_ns, bars_of(numbers, self.price))
            self.pages += 1
            start_ns = until_ns

    async def trades(self, instrument: Instrument, start_ns: int, end_ns: int) -> AsyncIterator[Page]:
        raise AssertionError("this venue has bars only")
        yield


def bars_of(numbers: range, price: Callable[[int], float] = float) -> pa.Table:
    prices = [price(number) + 1.0 for number in numbers]
    return pa.table(
        {
            "ts_ns": pa.array([START_NS + number * MINUTE_NS for number in numbers], pa.int64()),
            "interval_ns": pa.array([MINUTE_NS] * len(prices), pa.int64()),
            **{name: pa.array(prices, pa.float64()) for name in ("open", "high", "low", "close", "volume")},
        }
    )


def minutes(count: int, first: int = 0) -> Wanted:
    return Wanted(BTC, "bars", MINUTE_NS, START_NS + first * MINUTE_NS, START_NS + (first + count) * MINUTE_NS)


def download(venue: Venue, root: Path, *, flush_rows: int = 1) -> Download:
    return Download(venue, Catalogue(root), flush_rows=flush_rows)


def stored(root: Path) -> list[tuple[int, float]]:
    """(number of the minute, close) of every row, as a new process reads them."""
    tables = [pa.Table.from_batches([batch]) for batch in Catalogue(root).read("bars", instrument="BTC/USD@coinbase")]
    rows = [row for table in tables for row in table.to_pylist()]
    return [((row["ts_ns"] - START_NS) // MINUTE_NS, row["close"]) for row in rows]


def expected(count: int, first: int = 0) -> list[tuple[int, float]]:
    return [(number, number + 1.0) for number in range(first, first + count)]


async def test_everything_asked_for_is_stored_once(tmp_path: Path) -> None:
    """95 minutes in ten pages; then nothing is missing and the venue is not asked."""
    venue = Venue()
    tally = await download(venue, tmp_path).run(minutes(95))
    assert stored(tmp_path) == expected(95)
    assert (tally.rows, tally.resumed) == (95, False)
    tally = await download(venue, tmp_path).run(minutes(95))
    assert (tally.rows, tally.resumed, len(venue.asked)) == (0, True, 1)


async def test_pages_are_stored_together(tmp_path: Path) -> None:
    """1,000 minutes are a hundred pages and, with the usual size of a batch, two files: the first page comes alone."""
    await download(Venue(), tmp_path, flush_rows=50_000).run(minutes(1_000))
    assert [part.rows for part in Catalogue(tmp_path).parts()] == [10, 990]
    assert stored(tmp_path) == expected(1_000)


@pytest.mark.parametrize("flush_rows", [1, 25, 10**6])
async def test_a_venue_that_gives_up_keeps_what_came_and_the_next_run_goes_on(tmp_path: Path, flush_rows: int) -> None:
    """Pages 0 to 3 come, page 4 does not: 40 minutes stay, and only the other 60 are asked for."""
    venue = Venue()

    def refuse(number: int) -> None:
        if number == 4:
            raise VenueError("coinbase refused 7 times in a row")

    venue.before_page = refuse
    tally = Tally()
    with pytest.raises(VenueError):
        await download(venue, tmp_path, flush_rows=flush_rows).run(minutes(100), tally=tally)
    assert tally.rows == 40
    assert stored(tmp_path) == expected(40)
    venue.before_page = lambda _number: None
    tally = await download(venue, tmp_path, flush_rows=flush_rows).run(minutes(100))
    assert (tally.rows, tally.resumed) == (60, True)
    assert venue.asked == [(0, 100), (40, 100)]
    assert stored(tmp_path) == expected(100)


async def test_an_interrupted_run_keeps_whole_pages(tmp_path: Path) -> None:
    """Cancelled as by Ctrl-C while page 3 is under way."""
    venue = Venue()
    task: asyncio.Task[Any] | None = None

    def interrupt(number: int) -> None:
        if number == 3 and task is not None:
            task.cancel()

    venue.before_page = interrupt
    task = asyncio.create_task(download(venue, tmp_path, flush_rows=10**6).run(minutes(100)))
    with pytest.raises(asyncio.CancelledError):
        await task
    assert stored(tmp_path) == expected(30)


async def test_a_commit_that_fails_stores_neither_rows_nor_the_note_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk is full at the third commit: 20 minutes are there, and the next run asks from there on."""
    commits = 0
    append = CommitLog.append

    def full(self: CommitLog, *args: Any) -> None:
        nonlocal commits
        commits += 1
        if commits == 3:
            raise OSError(28, "No space left on device")
        append(self, *args)

    venue = Venue()
    monkeypatch.setattr(CommitLog, "append", full)
    with pytest.raises(DataError, match="No space left"):
        await download(venue, tmp_path).run(minutes(50))
    assert stored(tmp_path) == expected(20)
    await download(venue, tmp_path).run(minutes(50))
    assert venue.asked[-1] == (20, 50)
    assert stored(tmp_path) == expected(50)


async def test_spans_before_and_after_join(tmp_path: Path) -> None:
    """First the middle, then all of it: only the two ends are asked for."""
    venue = Venue()
    await download(venue, tmp_path).run(minutes(20, first=30))
    await download(venue, tmp_path).run(minutes(100))
    assert venue.asked == [(30, 50), (0, 30), (50, 100)]
    assert sorted(stored(tmp_path)) == expected(100)


async def test_rows_that_another_source_stored_stay_and_differences_are_counted(tmp_path: Path) -> None:
    """Minutes 5 to 14 were imported, with other prices from 10 on: the first version wins."""
    with Catalogue(tmp_path).writer(
        "coinbase", "BTC-USD", "bars", MINUTE_NS, source=Source("file.csv", "f" * 64)
    ) as writer:
        writer.write(bars_of(range(5, 15), lambda number: number + (100.0 if number >= 10 else 0.0)))
    tally = await download(Venue(), tmp_path).run(minutes(20))
    assert (tally.rows, tally.present, tally.revised) == (10, 10, 5)
    got = dict(stored(tmp_path))
    assert len(stored(tmp_path)) == 20
    assert (got[9], got[10], got[15]) == (10.0, 111.0, 16.0)


async def test_rows_that_an_import_stores_meanwhile_are_not_doubled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Minutes 5 to 14 are published while the download is about to: chosen anew, they are there once."""

    def imported() -> None:
        with Catalogue(tmp_path).writer(
            "coinbase", "BTC-USD", "bars", MINUTE_NS, source=Source("file.csv", "f" * 64)
        ) as writer:
            writer.write(bars_of(range(5, 15)))

    meanwhile(monkeypatch, imported)
    tally = await download(Venue(), tmp_path, flush_rows=1000).run(minutes(20))
    assert (tally.rows, tally.present) == (10, 10)
    assert sorted(stored(tmp_path)) == expected(20)


async def test_asking_again_tells_what_the_venue_revised_and_changes_nothing(tmp_path: Path) -> None:
    """Three of fifty closes are told otherwise the second time; ten more minutes were never asked for."""
    await download(Venue(), tmp_path).run(minutes(50))
    venue = Venue(lambda number: number + (0.5 if number in (3, 17, 49) else 0.0))
    tally = await download(venue, tmp_path).run(minutes(60), again=True)
    assert (tally.rows, tally.present, tally.revised, tally.resumed) == (10, 50, 3, True)
    assert stored(tmp_path) == expected(60)
    assert venue.asked == [(0, 50), (50, 60)]
    quiet = Venue()
    await download(quiet, tmp_path).run(minutes(60))
    assert quiet.asked == []


async def test_rows_that_were_set_aside_are_fetched_again(tmp_path: Path) -> None:
    """A file of the catalogue is damaged and put away: its span is missing again, the others are not."""
    venue = Venue()
    await download(venue, tmp_path).run(minutes(10))
    await download(venue, tmp_path).run(minutes(10, first=20))
    victim = next(part for part in Catalogue(tmp_path).parts() if part.first_ns == START_NS).path
    victim.write_bytes(victim.read_bytes()[:-9] + b"123456789")
    assert len(Catalogue(tmp_path).verify()) == 1
    assert stored(tmp_path) == expected(10, first=20)
    await download(venue, tmp_path).run(minutes(30))
    assert venue.asked[-1] == (0, 20)
    assert sorted(stored(tmp_path)) == expected(30)


@pytest.mark.parametrize("first", [0, 5])
async def test_two_downloads_of_one_series_double_nothing(tmp_path: Path, first: int) -> None:
    """Both run at once, over the same minutes or such that overlap: one of them ends with one line."""
    ends = await asyncio.gather(
        download(Venue(), tmp_path).run(minutes(20)),
        download(Venue(), tmp_path).run(minutes(20, first=first)),
        return_exceptions=True,
    )
    (error,) = [end for end in ends if isinstance(end, BaseException)]
    assert isinstance(error, DataError)
    assert "stored by another process meanwhile" in str(error)
    numbers = [number for number, _ in stored(tmp_path)]
    assert len(numbers) == len(set(numbers)) >= 10


async def test_a_span_without_a_row_is_known_as_fetched(tmp_path: Path) -> None:
    """Nothing was traded: no file, and no second question."""

    class Silent(Venue):
        async def bars(self, instrument: Instrument, interval_ns: int, start_ns: int, end_ns: int) -> Any:
            self.asked.append((0, 0))
            yield Page(start_ns, end_ns, bars_of(range(0)))

    venue = Silent()
    await download(venue, tmp_path).run(minutes(50))
    await download(venue, tmp_path).run(minutes(50))
    assert len(venue.asked) == 1
    assert not list(tmp_path.rglob("*.parquet"))


async def test_the_source_of_a_file_says_the_instruments_steps(tmp_path: Path) -> None:
    """Whoever reads the file later can round as the venue did."""
    await download(Venue(), tmp_path).run(minutes(5))
    (part,) = Catalogue(tmp_path).parts()
    assert part.source.name == "coinbase history; price step 0.01, size step 1"


def trades_of(*rows: tuple[int, float, str | None]) -> pa.Table:
    table = pa.table(
        {
            "ts_ns": pa.array([START_NS + at for at, _, _ in rows], pa.int64()),
            "price": pa.array([price for _, price, _ in rows], pa.float64()),
            "size": pa.array([1.0 for _ in rows], pa.float64()),
            "trade_id": pa.array([id_ for _, _, id_ in rows], pa.string()),
        }
    )
    return conform(table, "trades")


def test_trades_are_known_by_their_id() -> None:
    """Two equal prints are two trades; one id with another price is a revision."""
    there = trades_of((1, 5.0, "a"), (2, 6.0, "b"))
    came = trades_of((1, 5.0, "a"), (2, 7.0, "b"), (1, 5.0, "c"))
    fresh, revised = unknown_rows(came, there, "trades")
    assert fresh.column("trade_id").to_pylist() == ["c"]
    assert revised == 1


def test_stored_trades_without_an_id_stand_for_one_equal_print_each() -> None:
    """Recorded twice without ids, told three times by the venue: one is new."""
    there = trades_of((1, 5.0, None), (1, 5.0, None))
    came = trades_of((1, 5.0, "a"), (1, 5.0, "b"), (1, 5.0, "c"), (2, 5.0, "d"))
    fresh, revised = unknown_rows(came, there, "trades")
    assert fresh.column("trade_id").to_pylist() == ["c", "d"]
    assert revised == 0
