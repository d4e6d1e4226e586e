"""Rows of time bars with all that surrounds them: each knows what was known at its end, whoever closes it and when."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from engine.events import Bar, BookDelta, BookSnapshot, MarketEvent, Quote, Trade
from engine.features import FeatureBuffer, FeatureSpec, GapPolicy, Sampling, compute_rows
from tests.support.features import NAME, SECOND, instrument

ETH = "ETH/USDT@binance_usdm"
MINUTE = 60 * SECOND
BASE_NS = 1_723_161_240_000_000_000
DEEP = instrument(has_depth=True)
MS = 1_000_000
COLUMNS = ("close", "volume", "flow_5", "ofi_1", "book_imbalance_5", "log_age_bid", f"basis_bps({ETH})", "day_sin")


def candles(of: str, closes: list[float]) -> list[Bar]:
    ends = [BASE_NS + i * MINUTE for i in range(len(closes))]
    return [Bar(end, end + 9 * MINUTE, of, MINUTE, px, px, px, px, 1.0) for end, px in zip(ends, closes, strict=True)]


def test_history_of_another_instrument_that_comes_first_is_not_known_to_earlier_candles() -> None:
    """As venues give it at a start, one instrument after the other: the rows of the same candles in order of time."""
    spec = FeatureSpec("x", ("close", f"basis_bps({ETH})", f"peer_return({ETH},1)"), 7, Sampling.time_bar(MINUTE))
    own, other = candles(NAME, [100.0 + i for i in range(30)]), candles(ETH, [50.0 + i * i for i in range(30)])
    in_time = [event for pair in zip(other, own, strict=True) for event in pair]
    expected = compute_rows(spec, instrument(), in_time)
    assert expected.warm.sum() == 23
    found = compute_rows(spec, instrument(), [*other, *own])
    assert found.values.tobytes() == expected.values.tobytes()
    after = compute_rows(spec, instrument(), [*own, *other])
    assert np.isnan(after.values[:, 1:]).all()
    assert not after.warm.any()


def test_what_waits_for_a_bar_is_bounded() -> None:
    """An instrument that says nothing for a year does not gather the other's prices; the newest are kept."""
    spec = FeatureSpec("x", ("close", f"basis_bps({ETH})"), 1, Sampling.time_bar(SECOND), gap=GapPolicy(0, 0))
    buffer = FeatureBuffer(spec, instrument())
    for i in range(2_000):
        at_ns = BASE_NS + i * SECOND
        buffer.update(Quote(at_ns, at_ns, ETH, 50.0 + i, 1.0, 50.0 + i, 1.0))
    assert buffer._outside is not None
    assert all(len(waiting) <= spec.rows_to_warm + 256 for waiting in buffer._outside._prices.values())
    for i in (2_000, 2_001, 2_002):
        at_ns = BASE_NS + i * SECOND
        buffer.update(Quote(at_ns, at_ns, NAME, 100.0, 1.0, 100.0, 1.0))
    assert buffer.latest(f"basis_bps({ETH})") == pytest.approx(1e4 * (2_049.0 / 100.0 - 1.0), rel=1e-12)


def test_a_bar_does_not_know_the_book_after_its_end() -> None:
    """Levels that change 20 s after the minute, before the quote that closes it: of the next minute."""
    spec = FeatureSpec("x", ("book_imbalance_5",), 1, Sampling.time_bar(MINUTE), gap=GapPolicy(flat_rows_max=0))

    def book(at_ns: int, qty: float) -> BookSnapshot:
        return BookSnapshot(at_ns, at_ns, NAME, ((100.0, qty),), ((101.0, 1.0),))

    def quote(at_ns: int) -> Quote:
        return Quote(at_ns, at_ns, NAME, 100.0, 1.0, 101.0, 1.0)

    events: list[MarketEvent] = [
        book(BASE_NS, 3.0),
        quote(BASE_NS),
        book(BASE_NS + MINUTE + 20 * SECOND, 9.0),
        quote(BASE_NS + MINUTE + 30 * SECOND),
        BookSnapshot(BASE_NS + 2 * MINUTE, BASE_NS + 2 * MINUTE, NAME, (), ()),  # the book broke
        quote(BASE_NS + 2 * MINUTE + 1),
        quote(BASE_NS + 3 * MINUTE + 1),
    ]
    rows = compute_rows(spec, DEEP, events).values[:, 0].tolist()
    assert rows[:2] == [0.5, np.float32(0.8)]
    assert np.isnan(rows[2])


@pytest.mark.fault("D5")
def test_an_event_received_when_its_bar_was_due_is_late_with_and_without_a_timer() -> None:
    """A trade of the last 10 ms that takes 80 ms: too late without patience, in time where the bar waits for 100 ms."""
    sent = [(BASE_NS, 100.0), (BASE_NS + MINUTE - 10 * MS, 105.0), (BASE_NS + MINUTE + 20 * SECOND, 106.0)]
    events = [Trade(at_ns, at_ns + 80 * MS, NAME, px, 1.0, 1, "") for at_ns, px in (*sent, (BASE_NS + 2 * MINUTE, 1.0))]
    for lateness_ns, close in ((0, 100.0), (100 * MS, 105.0)):
        sampling = Sampling.time_bar(MINUTE, lateness_ns, price="trade")
        spec = FeatureSpec("x", ("close", "volume"), 1, sampling, gap=GapPolicy(flat_rows_max=0))
        assert compute_rows(spec, instrument(), events).values[0, 0] == close
        live = FeatureBuffer(spec, instrument())
        for event in events[:2]:
            live.on_timer(event.ts_recv_ns)
            live.update(event)
        live.on_timer(BASE_NS + MINUTE + 150 * MS)
        assert live.latest("close") == close
        assert live.late == (close == 100.0)


def session(seed: int) -> list[MarketEvent]:
    """Twenty minutes of all kinds in order of receipt, each up to 300 ms on its way, some seconds without any."""
    random = np.random.default_rng(seed)
    found: list[MarketEvent] = []
    for i, offset_ns in enumerate(np.sort(random.integers(0, 20 * MINUTE, 4_000)).tolist()):
        if offset_ns // (20 * SECOND) % 7 == 3:
            continue
        ts_ns, recv_ns = BASE_NS + offset_ns, BASE_NS + offset_ns + int(random.integers(5, 300)) * MS
        px, qty = 100.0 + float(random.integers(0, 5)), float(random.integers(1, 9))
        if i == 0 or random.random() < 0.02:
            found.append(BookSnapshot(ts_ns, recv_ns, NAME, ((px, qty),), ((px + 1.0, 2.0),)))
        match int(random.integers(0, 4)):
            case 0:
                found.append(Quote(ts_ns, recv_ns, NAME, px, qty, px + 1.0, 2.0))
            case 1:
                found.append(Trade(ts_ns, recv_ns, NAME, px, qty, 1, ""))
            case 2:
                found.append(Quote(ts_ns, recv_ns, ETH, px / 2.0, 1.0, px / 2.0, 1.0))
            case _:
                found.append(BookDelta(ts_ns, recv_ns, NAME, ((1, px - 3.0, qty),)))
    return sorted(found, key=lambda event: event.ts_recv_ns)


def played(spec: FeatureSpec, events: list[MarketEvent], timer_ns: int) -> Iterator[bytes]:
    """The rows of a session that has a timer each ``timer_ns``."""
    buffer = FeatureBuffer(spec, DEEP)
    rows: list[bytes] = []
    buffer.on_bar = lambda: rows.append(buffer.window()[-1].tobytes())
    next_ns = BASE_NS
    for event in events:
        while next_ns <= event.ts_recv_ns:
            buffer.on_timer(next_ns)
            next_ns += timer_ns
        buffer.update(event)
    assert buffer.late > 0 or spec.sampling.lateness_ns
    yield from rows


@pytest.mark.parametrize("lateness_ms", [0, 100, 400])
@pytest.mark.parametrize("seed", range(3))
def test_rows_do_not_depend_on_how_often_there_is_a_timer(seed: int, lateness_ms: int) -> None:
    """Bars of 2 s of a market with delays and pauses: a timer each 7 ms, 100 ms, 5 s, and none (a recording)."""
    sampling = Sampling.time_bar(2 * SECOND, lateness_ms * MS)
    spec = FeatureSpec("x", COLUMNS, 3, sampling, gap=GapPolicy(0, 2))
    events = session(seed)
    offline = compute_rows(spec, DEEP, events)
    assert len(offline.values) > 300
    assert offline.warm.sum() > 100
    recorded = [row.tobytes() for row in offline.values]
    for timer_ns in (7 * MS, 100 * MS, 5 * SECOND):
        live = list(played(spec, events, timer_ns))
        # A timer may close one more at the end.
        assert live[: len(recorded)] == recorded
        assert len(live) <= len(recorded) + 1


def test_a_timer_after_a_year_without_events_is_one_step() -> None:
    """Where empty bars make no rows: 31 million seconds would take a minute."""
    spec = FeatureSpec("x", ("close",), 1, Sampling.time_bar(SECOND), gap=GapPolicy(hole_ns_max=10**18))
    buffer = FeatureBuffer(spec, instrument())
    closed = []
    buffer._close_bar = lambda start_ns, close=buffer._close_bar: (closed.append(start_ns), close(start_ns))  # type: ignore[method-assign]
    for at_ns in (BASE_NS, BASE_NS + SECOND):
        buffer.update(Quote(at_ns, at_ns, NAME, 100.0, 1.0, 101.0, 1.0))
    later_ns = BASE_NS + 31_000_000 * SECOND
    assert buffer.on_timer(later_ns)
    assert len(closed) == 2
    assert not buffer.update(Quote(later_ns, later_ns, NAME, 102.0, 1.0, 103.0, 1.0))
    assert buffer.on_timer(later_ns + SECOND)
    assert (buffer.latest("close"), buffer.row_ts_ns) == (102.5, later_ns + SECOND)
