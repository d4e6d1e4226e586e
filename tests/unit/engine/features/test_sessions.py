"""Sessions in the record: the same hours live and in bulk, through restarts, and none where no calendar reaches."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from engine.data.calendars import calendar
from engine.errors import DataError
from engine.events import Bar, Quote
from engine.features import FeatureBuffer, FeatureSpec, GapPolicy, Sampling, Ticks, compute_candles, compute_rows, tape
from engine.features.columns.calendar import CALENDAR
from engine.features.rows import compute_ticks
from engine.features.sessions import DAY_NS, Sessions
from engine.instruments import Instrument
from tests.support.features import NAME, instrument, quote
from tests.support.recorded_bars import candles_of, interval_ns
from tests.unit.engine.data.test_calendars import ns

HOUR_NS = 3_600 * 10**9
MINUTE_NS = 60 * 10**9
OPEN, CLOSE = ns("2024-07-03T13:30"), ns("2024-07-03T17:00")
BEFORE, NEXT = ns("2024-07-02T20:00"), ns("2024-07-05T13:30")
SHARE = instrument(session_calendar="XNYS")
BARS = FeatureSpec("calendar", CALENDAR, 2, Sampling.time_bar(MINUTE_NS), gap=GapPolicy(flat_rows_max=1))


def test_a_time_lies_in_the_session_that_has_not_ended_before_it() -> None:
    """Around an early close and a holiday: edges to the nanosecond."""
    sessions = Sessions(calendar("XNYS"))
    for ts_ns in (BEFORE + 1, OPEN - 1, OPEN, OPEN + 1, CLOSE - 1, CLOSE):
        assert sessions.at(ts_ns) == (BEFORE, OPEN, CLOSE)
    assert sessions.at(CLOSE + 1) == (CLOSE, NEXT, ns("2024-07-05T20:00"))


def test_a_market_without_a_calendar_has_a_session_a_day() -> None:
    """Midnight ends the day before."""
    sessions = Sessions(None)
    day = 19_000 * DAY_NS
    assert sessions.at(day) == (day - DAY_NS, day - DAY_NS, day)
    assert sessions.at(day + 1) == (day, day, day + DAY_NS)


@pytest.mark.parametrize("hours", [None, "XNYS"])
def test_changes_are_where_another_session_begins(hours: str | None) -> None:
    """Against ``at`` of each time, one by one; times run back and leave the calendar too."""
    random = np.random.default_rng(5)
    times = np.concatenate(
        [ns("2024-06-28") + np.cumsum(random.integers(0, 5 * HOUR_NS, 300)), random.integers(0, ns("2040-01-01"), 200)]
    )
    sessions = Sessions(None if hours is None else calendar(hours))
    found = [sessions.at(int(t)) for t in times]
    # Between two times that no calendar covers a change more does no harm.
    known = [i for i in range(1, len(times)) if found[i] is not None or found[i - 1] is not None]
    assert [i for i in known if found[i] != found[i - 1]] == [i for i in sessions.changes(times) if i in known]


def test_an_unknown_calendar_is_refused_when_the_buffer_is_made() -> None:
    """By name."""
    with pytest.raises(DataError, match="unknown trading calendar 'XNYZ'"):
        FeatureBuffer(BARS, instrument(session_calendar="XNYZ"))


@pytest.mark.parametrize("stem", ["us_1h_spy", "fx_1h_oanda_eurusd"])
def test_recorded_hours_give_the_same_bits_live_and_in_bulk(market_data: Path, stem: str) -> None:
    """All candles of a file, once through ``update`` and once through the compiled loop, which knows no calendar."""
    path = market_data / "bars" / f"{stem}.parquet"
    _, candles = next(candles_of(path))
    candles = type(candles)(*(part[-12_000:] for part in candles))
    step_ns = interval_ns(path)
    spec = FeatureSpec("x", CALENDAR, 4, Sampling.time_bar(step_ns), gap=GapPolicy(0, 0, 4 * DAY_NS))
    share = instrument(session_calendar="XNYS" if stem.startswith("us") else "FX")
    bulk = compute_candles(spec, share, candles)
    events = [
        Bar(int(end), int(end), NAME, step_ns, *(float(x) for x in numbers))
        for end, *numbers in zip(*candles, strict=True)
    ]
    live = compute_rows(spec, share, events)
    assert live.values.tobytes() == bulk.values.tobytes()
    assert live.warm.tobytes() == bulk.warm.tobytes()
    assert bulk.warm.sum() > 10_000


def test_ticks_give_the_same_bits_live_and_in_bulk() -> None:
    """Twelve days of a tick a minute or two, over nights, a weekend and a holiday."""
    spec = FeatureSpec("x", CALENDAR, 4, gap=GapPolicy(silence_ns_max=0))
    steps = np.random.default_rng(3).integers(MINUTE_NS // 2, 2 * MINUTE_NS, 14_000)
    times = ns("2024-06-28") + np.cumsum(steps)
    quotes = [quote(int(t), 100.0 + i % 7, 101.0 + i % 7) for i, t in enumerate(times)]
    numbers = np.array([(q.bid_px, q.bid_qty, q.ask_px, q.ask_qty) for q in quotes])
    live = compute_rows(spec, SHARE, quotes)
    bulk = compute_ticks(spec, SHARE, Ticks(np.full(len(times), tape.QUOTE), numbers, times, times))
    assert live.values.tobytes() == bulk.values.tobytes()
    assert len(bulk.warm) == len(times)


def last(buffer: FeatureBuffer) -> dict[str, float]:
    return {name: buffer.latest(name) for name in CALENDAR}


def test_a_bar_is_of_its_own_session_whatever_closes_it() -> None:
    """The last bar before the close: by a timer, by the next morning's first quote, as a candle; all the same."""
    end_ns = CLOSE

    def until_the_last_bar(share: Instrument) -> FeatureBuffer:
        buffer = FeatureBuffer(FeatureSpec("x", CALENDAR, 2, BARS.sampling, gap=GapPolicy(0, 1, 4 * DAY_NS)), share)
        for minute in (3, 2, 1):
            buffer.update(quote(end_ns - minute * MINUTE_NS + 1, 100.0 + minute, 101.0 + minute))
        return buffer

    by_timer = until_the_last_bar(SHARE)
    assert by_timer.on_timer(end_ns + HOUR_NS)
    by_quote = until_the_last_bar(SHARE)
    assert by_quote.update(quote(NEXT + 1, 99.0, 100.0))
    as_candle = until_the_last_bar(SHARE)
    as_candle = FeatureBuffer(as_candle.spec, SHARE)
    assert as_candle.update(Bar(end_ns, end_ns, NAME, MINUTE_NS, 100.0, 101.0, 99.0, 100.0, 1.0))
    for buffer in (by_timer, by_quote, as_candle):
        assert buffer.row_ts_ns == end_ns
        assert last(buffer)["session_open"] == 1.0
        assert last(buffer)["session_progress"] == 1.0
        assert last(buffer)["to_close_s"] == 0.0


def test_a_restart_after_a_silence_does_not_lose_the_session() -> None:
    """The quote that ends the silence makes a row, and that row knows its session."""
    buffer = FeatureBuffer(FeatureSpec("x", CALENDAR, 1), SHARE)
    buffer.update(quote(OPEN + 1, 100.0, 101.0))
    assert buffer.update(quote(OPEN + HOUR_NS, 100.0, 102.0))
    assert buffer.restarts == 1
    assert last(buffer)["session_progress"] == pytest.approx(1 / 3.5, rel=1e-12)
    assert buffer.warm


def test_beyond_the_calendar_nothing_is_known_and_the_window_is_cold() -> None:
    """After 2035 and before 1990; within it again, all is well."""
    buffer = FeatureBuffer(FeatureSpec("x", CALENDAR, 1, gap=GapPolicy(silence_ns_max=0)), SHARE)
    for moment, ask in (("1989-06-01", 101.0), ("2037-01-01", 102.0)):
        assert buffer.update(quote(ns(moment), 100.0, ask))
        assert not buffer.warm
        assert buffer.reason.startswith("no value for session_open")
        assert np.isfinite(buffer.latest("day_sin"))
    assert buffer.update(quote(OPEN + 1, 100.0, 103.0))
    assert buffer.warm


@pytest.mark.parametrize("ts_ns", [None, "now", 1.5, -1, 2**70])
def test_a_time_that_is_none_raises_nothing(ts_ns: object) -> None:
    """As everywhere in the buffer: counted, never raised."""
    buffer = FeatureBuffer(FeatureSpec("x", CALENDAR, 1), SHARE)
    buffer.update(quote(OPEN + 1, 100.0, 101.0))
    buffer.update(Quote(ts_ns, OPEN, NAME, 100.0, 1.0, 102.0, 1.0))  # type: ignore[arg-type]
    buffer.update(quote(OPEN + 2, 100.0, 103.0))
    assert last(buffer)["session_open"] == 1.0
