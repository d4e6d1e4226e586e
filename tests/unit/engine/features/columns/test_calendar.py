"""Time of day, day of the week and session against Python's own calendar."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from engine.data.calendars import calendar
from engine.features import FeatureBuffer, FeatureSpec, GapPolicy, Sampling, compute_candles, jit
from engine.features.column import lookup
from engine.features.columns.calendar import CALENDAR
from engine.features.rows import Candles
from tests.support.features import drive, instrument, quote
from tests.support.plain import digest_of, plain_digest
from tests.support.recorded_bars import candles_of

HOUR_NS = 3_600 * 10**9
SPEC = FeatureSpec("calendar", CALENDAR, 1, gap=GapPolicy(silence_ns_max=0))
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def expected(ts_ns: int, open_ns: int, close_ns: int) -> list[float]:
    """The columns of one row, by ``datetime``."""
    moment = EPOCH + timedelta(seconds=ts_ns // 10**9)
    since = (moment.hour * 3600 + moment.minute * 60 + moment.second) * 10**9 + ts_ns % 10**9
    day, week = 2.0 * math.pi * since / 86_400e9, 2.0 * math.pi * moment.weekday() / 7
    held = open_ns <= ts_ns
    share = (ts_ns - open_ns) / (close_ns - open_ns) if held else 0.0
    turn = 2.0 * math.pi * share
    wait_s = 0.0 if held else (open_ns - ts_ns) / 1e9
    return [
        *(math.sin(day), math.cos(day), math.sin(week), math.cos(week)),
        *(float(held), share, math.sin(turn), math.cos(turn), wait_s, (close_ns - ts_ns) / 1e9),
    ]


@pytest.mark.parametrize("name", [None, "XNYS", "FX", "CMES"])
def test_every_column_equals_pythons_calendar(name: str | None) -> None:
    """1,500 moments over 30 years, to the nanosecond, and the edges of sessions."""
    random = np.random.default_rng(7)
    low, high = 800_000_000 * 10**9, 1_900_000_000 * 10**9
    times = sorted(random.integers(low, high, 1_500).tolist())
    hours = None if name is None else calendar(name)
    if hours is not None:
        times = sorted([*times, *hours.opens_ns[6_000:6_050].tolist(), *(hours.closes_ns[6_000:6_050] + 1).tolist()])
    buffer = FeatureBuffer(SPEC, instrument(session_calendar=name))
    ours = drive(buffer, [quote(t, 100.0 + i % 2, 101.0 + i % 2) for i, t in enumerate(times)])
    theirs = []
    for t in times:
        if hours is None:
            begin = (t - 1) // (24 * HOUR_NS) * 24 * HOUR_NS
            theirs.append(expected(t, begin, begin + 24 * HOUR_NS))
        else:
            i = int(np.flatnonzero(hours.closes_ns >= t)[0])
            theirs.append(expected(t, int(hours.opens_ns[i]), int(hours.closes_ns[i])))
    for i, column in enumerate(CALENDAR):
        np.testing.assert_allclose(ours[column], np.array(theirs)[:, i], rtol=1e-9, atol=1e-12, err_msg=column)
        bounds = lookup(column).bounds
        assert (ours[column] >= bounds[0]).all()
        assert (ours[column] <= bounds[1]).all()


def test_recorded_hours_of_a_share_are_within_the_session(market_data: Path) -> None:
    """Every candle of SPY that ends in regular hours says so, and the last one of a day has no time left."""
    _, candles = next(candles_of(market_data / "bars" / "us_1h_spy.parquet"))
    candles = Candles(*(part[-7_000:] for part in candles))
    spec = FeatureSpec("c", CALENDAR, 1, Sampling.time_bar(HOUR_NS), gap=GapPolicy(0, 0, 4 * 24 * HOUR_NS))
    rows = compute_candles(spec, instrument(session_calendar="XNYS"), candles)
    ours = dict(zip(CALENDAR, rows.values.T, strict=True))
    assert rows.warm.all()
    # Outside are candles after early closes alone.
    assert int((ours["session_open"] == 0.0).sum()) < 15
    last = ours["to_close_s"] == 0.0
    assert (ours["session_progress"][last] == 1.0).all()
    assert 950 < int(last.sum()) < 1_050  # 7 candles a day


def digest() -> str:
    """Some 900 moments of 40 days."""
    events = [quote(1_700_000_000 * 10**9 + i * 3_666_123_456_789, 100.0 + i % 2, 101.0 + i % 2) for i in range(900)]
    return digest_of(SPEC, instrument(session_calendar="XNYS"), events)


@pytest.mark.skipif(not jit.enabled(), reason="numba is off")
def test_plain_python_gives_the_same_bits() -> None:
    """The same columns in a process without numba, sines and all."""
    assert plain_digest(__name__) == digest()


def test_a_restart_does_not_change_the_time() -> None:
    """Columns of time are known from the first row on."""
    buffer = FeatureBuffer(SPEC, instrument(session_calendar="FX"))
    buffer.update(quote(1_700_000_000 * 10**9, 100.0, 101.0))
    before = [buffer.latest(name) for name in CALENDAR]
    buffer.mark_gap("test")
    buffer.update(quote(1_700_000_000 * 10**9, 100.0, 101.0))
    assert [buffer.latest(name) for name in CALENDAR] == before
    assert buffer.warm
