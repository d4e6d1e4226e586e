"""Levels and queues: a live book against the recorded top ten, and both against sums over arrays."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from engine.errors import DataError
from engine.events import Bar, BookDelta, BookSnapshot, MarketEvent, Quote
from engine.features import FeatureBuffer, FeatureSpec, GapPolicy, Sampling, compute_rows, jit
from engine.features import column as registry
from tests.support.core import MemoryRecorder, Scripted, build_core, open_market
from tests.support.features import NAME, START_NS, instrument, quote, recorded_events
from tests.support.plain import digest_of, plain_digest

BOOK = ("book_imbalance_5", "book_imbalance_10", "book_imbalance_weighted", "book_price_bps")
QUEUES = ("log_age_bid", "log_age_ask", "queue_left_bid", "queue_left_ask", "queue_ahead_bid", "queue_ahead_ask")
COLUMNS = (*BOOK, *QUEUES, "imbalance", "spread_bps")
SPEC = FeatureSpec("depth", COLUMNS, 1, gap=GapPolicy(silence_ns_max=60 * 10**9))
DEEP = instrument(has_depth=True)
STEM = "binance_spot_btcusdt_20240808"


def values(buffer: FeatureBuffer) -> list[float]:
    return [buffer.latest(name) for name in COLUMNS]


def live_messages(market_data: Path) -> Iterator[tuple[int, MarketEvent]]:
    """The snapshot, then the differences that follow it, with the update id that each ends at."""
    snapshot = pq.read_table(market_data / "lob" / f"{STEM}_l2_snapshot.parquet").to_pydict()
    sides = {
        side: tuple(
            (px, qty)
            for where, px, qty in zip(snapshot["side"], snapshot["price"], snapshot["size"], strict=True)
            if where == side
        )
        for side in ("bid", "ask")
    }
    first, time = snapshot["last_update_id"][0], snapshot["ts_ns"][0]
    yield first, BookSnapshot(time, time, NAME, sides["bid"], sides["ask"])
    rows = pq.read_table(market_data / "lob" / f"{STEM}_l2_deltas.parquet")
    ids = rows["last_update_id"].to_numpy()
    starts = [0, *(np.flatnonzero(np.diff(ids)) + 1).tolist(), len(ids)]
    side = np.where(np.array(rows["side"].to_pylist()) == "bid", 1, -1).tolist()
    price, size, times = (rows[name].to_pylist() for name in ("price", "size", "ts_ns"))
    for begin, end in pairwise(starts):
        if ids[begin] > first:
            changes = tuple(zip(side[begin:end], price[begin:end], size[begin:end], strict=True))
            yield int(ids[begin]), BookDelta(times[begin], times[begin], NAME, changes)


def top_ten(market_data: Path) -> dict[int, tuple[int, np.ndarray, np.ndarray]]:
    """Update id -> time, bids (10, 2), asks (10, 2) of the file that was rebuilt from the same messages."""
    rows = pq.read_table(market_data / "lob" / f"{STEM}_book10.parquet")
    parts = []
    for side in ("bid", "ask"):
        names = [(f"{side}_price_{i}", f"{side}_size_{i}") for i in range(1, 11)]
        parts.append(np.array([[rows[a].to_numpy(), rows[b].to_numpy()] for a, b in names]).transpose(2, 0, 1))
    ids, times = rows["update_id"].to_pylist(), rows["ts_ns"].to_pylist()
    return {i: (t, bids, asks) for i, t, bids, asks in zip(ids, times, *parts, strict=True)}


def naive(bids: np.ndarray, asks: np.ndarray) -> list[float]:
    """The columns of ``BOOK`` from their formulas, in exact sums."""
    found = []
    weights = 1.0 / np.arange(1, 11)
    for b, a in ((bids[:5, 1], asks[:5, 1]), (bids[:, 1], asks[:, 1]), (weights * bids[:, 1], weights * asks[:, 1])):
        found.append((math.fsum(b) - math.fsum(a)) / (math.fsum(b) + math.fsum(a)))
    both = np.concatenate([bids, asks])
    mid = 0.5 * (bids[0, 0] + asks[0, 0])
    found.append(1e4 * math.fsum(both[:, 1] * (both[:, 0] - mid)) / math.fsum(both[:, 1]) / mid)
    return found


@pytest.fixture(scope="module")
def live(market_data: Path) -> dict[int, list[float]]:
    """Update id -> column values of the rows that a core makes of the venue's own messages."""
    buffer = FeatureBuffer(SPEC, DEEP)
    core = build_core(MemoryRecorder(), Scripted(), features=lambda: buffer)
    open_market(core, DEEP)
    made = {}
    for update_id, event in live_messages(market_data):
        rows = buffer.rows
        core.on_event(event)
        if buffer.rows > rows:
            made[update_id] = values(buffer)
    assert not core.counters.dropped
    return made


def test_a_live_book_gives_what_its_recorded_levels_give(market_data: Path, live: dict[int, list[float]]) -> None:
    """Every row of 5 minutes: differences through the core, against the file's ten levels, bit for bit."""
    buffer = FeatureBuffer(SPEC, DEEP)
    compared = 0
    for update_id, (time, bids, asks) in top_ten(market_data).items():
        levels = (tuple(map(tuple, side.tolist())) for side in (bids, asks))
        assert not buffer.update(BookSnapshot(time, time, NAME, *levels))
        best = Quote(time, time, NAME, bids[0, 0], bids[0, 1], asks[0, 0], asks[0, 1])
        # The first row of the live book is the snapshot's, before the file begins.
        if buffer.update(best) and update_id in live:
            ours, theirs = live[update_id], values(buffer)
            assert [ours[i] for i in (0, 1, 2, 3, 10, 11)] == [theirs[i] for i in (0, 1, 2, 3, 10, 11)]
            compared += 1
    assert compared == len(live) - 1 > 2_000


def test_levels_equal_sums_over_the_recorded_book(market_data: Path, live: dict[int, list[float]]) -> None:
    """Cao, Hansch and Wang's sums from the file's arrays; the price is a difference of numbers of 61,837."""
    recorded = top_ten(market_data)
    expected = np.array([naive(*recorded[i][1:]) for i in live if i in recorded])
    ours = np.array([found[:4] for i, found in live.items() if i in recorded])
    np.testing.assert_allclose(ours, expected, rtol=1e-9, atol=1e-12)
    assert (np.abs(ours[:, :3]) <= 1.0).all()


def test_queues_equal_a_walk_over_the_recorded_quotes(market_data: Path) -> None:
    """20,000 quotes of a perpetual, each side's age and shortest moment kept in plain variables."""
    real, both = recorded_events(market_data, "binance_usdm_btcusdt", 26_000)
    events = [event for event in both if isinstance(event, Quote)]
    spec = FeatureSpec("queues", QUEUES, 1)
    rows = compute_rows(spec, real, events)
    expected = []
    before: dict[str, float] = {}
    last: dict[str, tuple[float, float]] = {}
    for event in events:
        now = {"bid": (event.bid_px, event.bid_qty), "ask": (event.ask_px, event.ask_qty)}
        for side, (px, qty) in now.items():
            if before.get(side) != px:
                before |= {side: px, f"{side}_since": event.ts_event_ns, f"{side}_first": qty, f"{side}_least": qty}
            before[f"{side}_least"] = min(before[f"{side}_least"], qty)
        if now != last:
            sides = ("bid", "ask")
            expected.append(
                [math.log1p((event.ts_event_ns - before[f"{side}_since"]) / 1e9) for side in sides]
                + [before[f"{side}_least"] / before[f"{side}_first"] for side in sides]
                + [before[f"{side}_least"] / now[side][1] for side in sides]
            )
        last = now
    np.testing.assert_allclose(rows.values, np.float32(expected), rtol=1e-6, atol=1e-9)
    assert len(rows.values) > 15_000
    buffer = FeatureBuffer(spec, real)
    made = [[buffer.latest(name) for name in QUEUES] for event in events[:3_000] if buffer.update(event)]
    np.testing.assert_allclose(made, expected[: len(made)], rtol=1e-9, atol=1e-12)


def book(ts_ns: int, bids: int, asks: int, qty: float = 1.0) -> BookSnapshot:
    return BookSnapshot(
        ts_ns,
        ts_ns,
        NAME,
        tuple((100.0 - i, qty) for i in range(bids)),
        tuple((101.0 + i, qty) for i in range(asks)),
    )


def test_a_thin_book_counts_what_it_has() -> None:
    """Two bids against one ask: (2 - 1) / 3; empty levels weigh nothing."""
    buffer = FeatureBuffer(SPEC, DEEP)
    buffer.update(book(START_NS, 2, 1))
    assert buffer.update(quote(START_NS, 100.0, 101.0))
    assert buffer.latest("book_imbalance_5") == pytest.approx(1 / 3, rel=1e-15)
    assert buffer.latest("book_imbalance_weighted") == pytest.approx(0.5 / 2.5, rel=1e-15)
    assert buffer.latest("book_price_bps") == pytest.approx(1e4 * (-0.5 - 1.5 + 0.5) / 3 / 100.5, rel=1e-12)
    assert buffer.warm


def test_a_side_without_a_level_has_no_price() -> None:
    """All bids: an imbalance of 1, and no mid to measure from, so the window is cold."""
    buffer = FeatureBuffer(SPEC, DEEP)
    buffer.update(book(START_NS, 3, 0))
    assert buffer.update(quote(START_NS, 100.0, 101.0))
    assert buffer.latest("book_imbalance_5") == 1.0
    assert buffer.reason == "no value for book_price_bps"


def test_before_a_snapshot_and_after_a_gap_there_are_no_levels() -> None:
    """Differences alone build no book; after a gap the old levels are not used until the venue has sent new ones."""
    buffer = FeatureBuffer(SPEC, DEEP)
    buffer.update(BookDelta(START_NS, START_NS, NAME, ((1, 100.0, 1.0),)))
    assert buffer.update(quote(START_NS, 100.0, 101.0))
    assert math.isnan(buffer.latest("book_imbalance_5"))
    buffer.update(book(START_NS + 1, 10, 10))
    buffer.update(quote(START_NS + 1, 100.0, 102.0))
    assert buffer.warm
    buffer.mark_gap("test")
    buffer.update(quote(START_NS + 2, 100.0, 101.0))
    assert buffer.reason.startswith("no value for book_imbalance_5")
    buffer.update(book(START_NS + 3, 10, 10))
    assert buffer.update(quote(START_NS + 3, 100.0, 102.0))
    assert buffer.warm


def test_a_broken_book_is_not_rebuilt_of_differences() -> None:
    """An empty snapshot says that the book broke: a change of one level after it is no book of one level."""
    buffer = FeatureBuffer(SPEC, DEEP)
    buffer.update(book(START_NS, 10, 10))
    buffer.update(quote(START_NS, 100.0, 101.0))
    assert buffer.warm
    buffer.update(book(START_NS + 1, 0, 0))
    for later in (2, 3):
        change = BookDelta(START_NS + later, START_NS + later, NAME, ((1, 100.0, 5.0 * later), (-1, 101.0, 2.0)))
        buffer.update(change)
        assert buffer.update(quote(START_NS + later, 100.0, 101.0, 5.0 * later))
        assert buffer.reason.startswith("no value for book_imbalance_5")
    buffer.update(book(START_NS + 4, 10, 10))
    assert buffer.update(quote(START_NS + 4, 100.0, 102.0))
    assert buffer.warm


def test_a_silence_loses_no_levels() -> None:
    """Nothing was missed: the venue sends no new snapshot, so the book before the silence must serve."""
    buffer = FeatureBuffer(SPEC, DEEP)
    buffer.update(book(START_NS, 10, 10))
    buffer.update(quote(START_NS, 100.0, 101.0))
    later = START_NS + 3_600 * 10**9
    buffer.update(BookDelta(later, later, NAME, ((1, 100.0, 3.0),)))
    assert buffer.update(quote(later, 100.0, 101.0, 3.0))
    assert buffer.restarts == 1
    assert buffer.warm
    assert buffer.latest("book_imbalance_5") == (7.0 - 5.0) / 12.0


def test_a_row_of_a_candle_has_no_levels_and_no_queue() -> None:
    """History that comes after the first quotes is not given today's book."""
    minute = 60 * 10**9
    spec = FeatureSpec("depth", COLUMNS, 1, Sampling.time_bar(minute), gap=GapPolicy(flat_rows_max=0))
    buffer = FeatureBuffer(spec, DEEP)
    buffer.update(book(START_NS, 10, 10))
    buffer.update(quote(START_NS, 100.0, 101.0))
    end_ns = START_NS - START_NS % minute
    assert buffer.update(Bar(end_ns, end_ns, NAME, minute, 1.0, 2.0, 1.0, 2.0, 5.0))
    assert all(math.isnan(buffer.latest(name)) for name in COLUMNS)
    assert buffer.mid_px == 2.0


def test_an_instrument_without_levels_is_refused() -> None:
    """By column, in one line."""
    with pytest.raises(DataError, match=r"cannot feed book_imbalance_5 \(depth\)"):
        FeatureBuffer(SPEC, instrument())


def digest() -> str:
    """The seeded books and quotes of the test below."""
    return digest_of(SPEC, DEEP, any_market(0))


@pytest.mark.skipif(not jit.enabled(), reason="numba is off")
def test_plain_python_gives_the_same_bits() -> None:
    """The same columns in a process without numba."""
    assert plain_digest(__name__) == digest()


def any_market(seed: int) -> Iterator[MarketEvent]:
    """Random depths, huge and tiny sizes, prices that jump, best queues that empty."""
    random = np.random.default_rng(seed)
    for i in range(300):
        t = START_NS + int(random.integers(0, 10**9)) + i * 10**8
        bid = float(random.integers(50, 200))
        sides = [
            tuple((bid + sign * (k + (sign > 0)), float(10.0 ** random.integers(-9, 12))) for k in range(n))
            for sign, n in ((-1, int(random.integers(1, 14))), (1, int(random.integers(1, 14))))
        ]
        yield BookSnapshot(t, t, NAME, *sides)
        sizes = (float(x) for x in random.choice([0.0, 1e-9, 1.0, 1e12], 2))
        yield quote(t, sides[0][0][0], sides[1][0][0], *sizes)


@pytest.mark.parametrize("seed", range(3))
def test_any_book_stays_within_the_declared_bounds(seed: int) -> None:
    """Finite and in range after each quote."""
    buffer = FeatureBuffer(SPEC, DEEP)
    rows = 0
    for event in any_market(seed):
        if not buffer.update(event):
            continue
        rows += 1
        for name in COLUMNS:
            low, high = registry.lookup(name).bounds
            assert low <= buffer.latest(name) <= high, name
    assert rows > 250
