"""Recorded files played as a venue: order, data time, timers, fills, pace, and what bad data does."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from connectors.replay.feed import ReplayVenue
from engine.errors import DataError
from engine.events import (
    BalanceReported,
    FeedDown,
    FeedUp,
    InstrumentDefined,
    Observation,
    OrderCancelled,
    OrderFilled,
    Quote,
    Side,
    Timer,
    Trade,
)
from engine.instruments import Instrument
from tests.support.matching import NAN, D, cancel, new

MS = 1_000_000
SECOND = 1_000 * MS
START = 1_723_161_600 * SECOND


class RealClock:
    def now_ns(self) -> int:
        return time.monotonic_ns()

    wall_ns = now_ns


class JumpingClock:
    """Time that only passes while somebody sleeps, and then exactly as long as asked for."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ns = 1
        self.slept: list[float] = []

        @contextlib.asynccontextmanager
        async def timeout(delay):
            """Of a wait that nothing ends earlier."""
            self.slept.append(delay)
            self.ns += round(delay * SECOND)
            await asyncio.sleep(0)
            raise TimeoutError
            yield

        monkeypatch.setattr(asyncio, "timeout", timeout)

    def now_ns(self) -> int:
        return self.ns

    wall_ns = now_ns


def write(path: Path, symbol: str = "BTCUSDT", venue: str = "Binance USD-M futures", **columns) -> Path:
    pq.write_table(pa.table(columns).replace_schema_metadata({"venue": venue, "symbol": symbol}), path)
    return path


def quotes(path: Path, times_ms, bids=None, **more) -> Path:
    bids = [100.0 + n for n in range(len(times_ms))] if bids is None else bids
    return write(
        path,
        ts_ns=[START + int(t * MS) for t in times_ms],
        bid=bids,
        bid_size=[2.0] * len(bids),
        ask=[bid + 0.1 for bid in bids],
        ask_size=[2.0] * len(bids),
        **more,
    )


def trades(path: Path, times_ms, px=100.0, size=1.0, **more) -> Path:
    return write(
        path,
        ts_ns=[START + int(t * MS) for t in times_ms],
        price=[px] * len(times_ms),
        size=[size] * len(times_ms),
        side=["sell"] * len(times_ms),
        **more,
    )


async def play(paths, *, stop=None, act=None, **settings):
    """Everything a session would see, start to stop; ``act(event, venue)`` is the core."""
    events: list = []
    lines: list[str] = []

    def publish(event) -> None:
        events.append(event)
        if act is not None:
            act(event, venue)

    venue = ReplayVenue(paths, publish, report=lines.append, **({"clock": RealClock()} | settings))
    await venue.start()
    result = await venue.run(stop or asyncio.Event())
    await venue.stop()
    return events, result, lines, venue


def of(events, *kinds):
    return [event for event in events if isinstance(event, kinds)]


def ms(event) -> float:
    return (event.ts_recv_ns - START) / MS


async def test_a_session_starts_with_rules_money_and_streams_at_the_first_rows_time(tmp_path):
    """Then rows and timers, then the streams go down."""
    events, result, _, venue = await play([quotes(tmp_path / "q.parquet", [5, 6])])
    assert [type(e) for e in events] == [
        InstrumentDefined, BalanceReported, FeedUp, FeedUp, Quote, Quote, FeedDown, FeedDown,
    ]  # fmt: skip
    assert {ms(e) for e in events[:5]} == {5}
    assert venue.name == "binance_usdm"
    assert (result.events, result.finished, result.last_ns) == (2, True, START + 6 * MS)


async def test_files_merge_in_time(tmp_path):
    """Quotes at 0, 20, 40 and trades at 10, 20: the tie goes to the file named first."""
    paths = [quotes(tmp_path / "q.parquet", [0, 20, 40]), trades(tmp_path / "t.parquet", [10, 20])]
    events, *_ = await play(paths)
    assert [(type(e).__name__, ms(e)) for e in of(events, Quote, Trade)] == [
        ("Quote", 0), ("Trade", 10), ("Quote", 20), ("Trade", 20), ("Quote", 40),
    ]  # fmt: skip


async def test_timers_come_from_data_time_and_before_the_row_of_their_moment(tmp_path):
    """One each 100 ms while rows come; time never steps back over everything published."""
    events, *_ = await play([quotes(tmp_path / "q.parquet", range(0, 1000, 50))], timer_ms=100)
    assert [ms(e) for e in of(events, Timer)] == [100 * n for n in range(1, 10)]
    times = [e.ts_recv_ns for e in events]
    assert times == sorted(times)
    at = next(i for i, e in enumerate(events) if isinstance(e, Timer))
    assert isinstance(events[at + 1], Quote)
    assert ms(events[at + 1]) == 100


async def test_timers_thin_out_in_a_pause_and_come_back_with_the_data(tmp_path):
    """A weekend without data: about one a minute, then each 100 ms again."""
    weekend_ms = 2 * 24 * 3600 * 1000
    rows = [0, weekend_ms, weekend_ms + 50, weekend_ms + 250]
    events, *_ = await play([quotes(tmp_path / "q.parquet", rows)], timer_ms=100)
    timers = [ms(e) for e in of(events, Timer)]
    assert timers[:4] == [100, 400, 1600, 6400]
    assert 2 * 24 * 60 <= len(timers) <= 2 * 24 * 60 + 20
    assert max(b - a for a, b in itertools.pairwise(timers)) <= 60_000
    assert [t - weekend_ms for t in timers if t > weekend_ms] == [100, 200]


async def test_rows_that_step_back_are_played_in_file_order_at_the_time_reached(tmp_path):
    """50 after 80: second in the file, second in the stream, its own event time kept, one line, counted."""
    path = quotes(tmp_path / "q.parquet", [0, 80, 50, 60, 90])
    events, result, lines, _ = await play([path])
    rows = of(events, Quote)
    assert [e.bid_px for e in rows] == [100, 101, 102, 103, 104]
    assert [ms(e) for e in rows] == [0, 80, 80, 80, 90]
    assert [(e.ts_event_ns - START) / MS for e in rows] == [0, 80, 50, 60, 90]
    assert result.backwards == 2
    assert len(lines) == 2
    assert all("\n" not in line for line in lines)
    assert "expected rows in order of time" in lines[0]
    assert lines[1].startswith("2 rows")


async def test_bad_rows_are_published_for_the_core_to_count_and_trade_with_nobody(tmp_path):
    """NaN, zero and a negative price reach the bus; an order under way fills at the last good quote."""

    def act(event, venue):
        if isinstance(event, Quote) and ms(event) == 0:
            venue.gateway.submit(new("c", Side.BUY, "0.5", of=definition(venue)))

    path = quotes(tmp_path / "q.parquet", [0, 10, 20, 30, 400], bids=[1000.0, NAN, 0.0, -1.0, 1000.0])
    events, result, _, venue = await play([path], act=act, latency_ns=50 * MS)
    assert result.events == len(of(events, Quote)) == 5
    assert [fill.px for fill in of(events, OrderFilled)] == [D("1000.1")]
    assert venue.gateway.ignored() == 3


def definition(venue) -> Instrument:
    return venue.gateway.instruments()[0]


async def test_an_order_fills_at_the_quote_that_stands_when_it_arrives(tmp_path):
    """Sent at 0, arrives at 20: the quote of 15 counts, that of 25 does not."""

    def act(event, venue):
        if isinstance(event, Quote) and ms(event) == 0:
            venue.gateway.submit(new("c", Side.BUY, "1", of=definition(venue)))

    path = quotes(tmp_path / "q.parquet", [0, 15, 25, 300], bids=[1000.0, 1010.0, 1020.0, 1030.0])
    events, *_ = await play([path], act=act, latency_ns=20 * MS)
    (fill,) = of(events, OrderFilled)
    assert (fill.px, ms(fill)) == (D("1010.1"), 20)


async def test_what_is_under_way_at_the_end_still_arrives(tmp_path):
    """An order sent on the last row fills; a cancel sent after the run is answered by drain."""

    def act(event, venue):
        if isinstance(event, Quote) and ms(event) == 10:
            venue.gateway.submit(new("rest", Side.BUY, "1", "900.0", of=definition(venue)))
            venue.gateway.submit(new("take", Side.BUY, "1", of=definition(venue)))

    path = quotes(tmp_path / "q.parquet", [0, 10], bids=[1000.0, 1000.0])
    events: list = []
    venue = ReplayVenue([path], lambda e: (events.append(e), act(e, venue)), clock=RealClock())
    await venue.start()
    await venue.run(asyncio.Event())
    assert [f.client_order_id for f in of(events, OrderFilled)] == ["take"]
    venue.gateway.cancel(cancel("rest", definition(venue)))
    venue.drain()
    assert [c.client_order_id for c in of(events, OrderCancelled)] == ["rest"]
    assert venue.now_ns() == events[-1].ts_recv_ns > START + 10 * MS


async def test_files_of_two_venues_get_a_gateway_each(tmp_path):
    """Asking for the only gateway says what to do instead; money is per venue."""
    times = [START + MS, START + 2 * MS]
    fx = write(tmp_path / "b.parquet", "EURUSD", "OANDA", ts_ns=times, bid=[1.1, 1.2], ask=[1.2, 1.3])
    paths = [quotes(tmp_path / "a.parquet", [0, 10]), fx]
    events, result, _, venue = await play(paths)
    assert [gateway.venue for gateway in venue.gateways] == ["binance_usdm", "oanda"]
    assert {(e.venue, e.currency) for e in of(events, BalanceReported)} == {("binance_usdm", "USDT"), ("oanda", "USD")}
    assert result.events == 4
    with pytest.raises(DataError, match="2 venues"):
        _ = venue.gateway


async def test_instruments_can_be_chosen_and_their_rules_overridden(tmp_path):
    """Only the chosen one plays, with the fee that was given."""
    paths = [
        quotes(tmp_path / "a.parquet", [0, 10]),
        write(tmp_path / "b.parquet", "EURUSD", "OANDA", ts_ns=[START + MS], bid=[1.1], ask=[1.2]),
    ]
    known = ReplayVenue(paths, lambda e: None, clock=RealClock()).files[0].instrument
    dear = msgspec.structs.replace(known, taker_fee_rate=D("0.01"))
    events, result, *_ = await play(paths, instruments=[known.id], overrides={known.id: dear})
    assert result.events == 2
    assert [e.definition.taker_fee_rate for e in of(events, InstrumentDefined)] == [D("0.01")]


async def test_a_stop_ends_the_run_early_and_says_so(tmp_path):
    """Stopped before it began: a long file is not finished."""
    stop = asyncio.Event()
    stop.set()
    path = quotes(tmp_path / "q.parquet", range(100_000), bids=[100.0] * 100_000)
    _, result, *_ = await play([path], stop=stop)
    assert not result.finished
    assert result.events < 100_000


async def test_at_full_speed_other_tasks_get_their_turns(tmp_path):
    """A task that counts its turns runs many times during a long play."""
    turns = 0

    async def other():
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(other())
    await play([quotes(tmp_path / "q.parquet", range(50_000), bids=[100.0] * 50_000)])
    task.cancel()
    assert turns > 5


async def test_paced_play_sleeps_the_recorded_time_over_the_speed(tmp_path, monkeypatch):
    """10 s of rows at speed 4 sleep 2.5 s in all, timers included, whatever the machine does."""
    clock = JumpingClock(monkeypatch)
    path = quotes(tmp_path / "q.parquet", range(0, 10_001, 500))
    events, result, *_ = await play([path], speed=4.0, clock=clock)
    assert result.finished
    assert sum(clock.slept) == pytest.approx(2.5, abs=0.01)
    times = [e.ts_recv_ns for e in events]
    assert times == sorted(times)
    assert len(of(events, Timer)) >= 20


@pytest.mark.parametrize("speed", [0, -1.0, float("nan"), float("inf")])
def test_a_speed_that_is_none_is_refused(tmp_path, speed):
    """One line that says what is expected."""
    with pytest.raises(DataError, match="positive number"):
        ReplayVenue([quotes(tmp_path / "q.parquet", [0])], lambda e: None, clock=RealClock(), speed=speed)


def test_a_missing_file_is_one_line(tmp_path):
    """The reader's own error, at construction and not in the middle of a session."""
    with pytest.raises(DataError, match="does not exist"):
        ReplayVenue([tmp_path / "none.parquet"], lambda e: None, clock=RealClock())


async def test_real_futures_data_fills_passive_and_aggressive_orders(market_data):
    """20,000 real events, an order each 200 quotes: both kinds fill, near the market, and equally twice."""

    async def once():
        folder = market_data / "ticks"
        paths = [folder / f"binance_usdm_btcusdt_20240808_{kind}.parquet" for kind in ("quotes", "trades")]
        stop, count, tops = asyncio.Event(), 0, []

        def act(event, venue):
            nonlocal count
            if not isinstance(event, Quote):
                return
            count += 1
            tops.append((event.ts_recv_ns, event.bid_px, event.ask_px))
            if count == 20_000:
                stop.set()
            if count % 200 == 0:
                k = count // 200
                side = Side.BUY if k % 2 else Side.SELL
                px = str(event.bid_px if side > 0 else event.ask_px) if k % 4 < 2 else None
                venue.gateway.submit(new(f"c{k}", side, "0.01", px, of=definition(venue)))

        events, *_ = await play(paths, act=act, stop=stop)
        return of(events, OrderFilled)[:60], tops

    fills, tops = await once()
    assert {fill.liquidity.value for fill in fills} == {"maker", "taker"}
    for fill in fills:
        near = [(bid, ask) for at, bid, ask in tops if abs(at - fill.ts_recv_ns) < SECOND]
        assert min(b for b, _ in near) <= float(fill.px) <= max(a for _, a in near)
    assert fills == (await once())[0]


def told(at_ms: float, value: float, series: str = "CPI") -> Observation:
    """Published at that time, of a period that ended a day before the start."""
    published_ns = START + int(at_ms * MS)
    return Observation(published_ns, published_ns, series, value, START - 86_400 * SECOND)


async def test_published_series_come_before_the_instruments_and_between_the_rows(tmp_path):
    """One published before the first row, two between rows, one after the last; timers go on in between."""
    series = [told(-5000, 1.0), told(1, 2.0), told(250, 3.0), told(900, 4.0)]
    events, result, lines, _ = await play([quotes(tmp_path / "q.parquet", [0, 1, 400])], published=series)
    assert type(events[0]) is Observation
    assert (events[0].ts_event_ns, events[0].ts_recv_ns, events[0].value) == (START - 5 * SECOND, START, 1.0)
    order = [(type(event).__name__, ms(event)) for event in of(events, Quote, Observation, Timer)]
    assert order == [
        ("Observation", 0), ("Quote", 0), ("Quote", 1), ("Observation", 1), ("Timer", 100), ("Timer", 200),
        ("Observation", 250), ("Timer", 350), ("Quote", 400),
    ]  # fmt: skip
    assert not lines
    assert (result.finished, result.last_ns) == (True, START + 400 * MS)


async def test_only_the_last_word_of_long_ago_and_all_of_the_history_is_told_at_the_start(tmp_path):
    """Three revisions of one period long ago, two within the history of ten seconds."""
    series = [told(-90_000, 1.0), told(-80_000, 2.0), told(-70_000, 3.0), told(-9_000, 4.0), told(-1_000, 5.0)]
    events, *_ = await play([quotes(tmp_path / "q.parquet", [0, 1])], published=series, history_ns=10 * SECOND)
    assert [event.value for event in of(events, Observation)] == [3.0, 4.0, 5.0]
