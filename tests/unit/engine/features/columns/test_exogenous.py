"""Published series in rows: as of publication, revised as published, the same live and offline."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import pytest

from engine import events as e
from engine.core import TradingCore
from engine.errors import DataError
from engine.features import FeatureBuffer, FeatureSpec, GapPolicy, Sampling, compute_rows
from engine.features.column import lookup
from engine.features.sets import expand
from engine.lanes import StrategySlot
from tests.support.core import FixedAssembly, MemoryRecorder, OpenGate, Scripted
from tests.support.features import NAME, SECOND, START_NS, instrument, quote

MINUTE = 60 * SECOND
DAY = 24 * 60 * MINUTE
COLUMNS = ("close", *expand(["published(CPI)"]))
TICKS = FeatureSpec("ticks", COLUMNS, 2)
MINUTES = FeatureSpec("minutes", COLUMNS, 2, Sampling.time_bar(MINUTE), gap=GapPolicy(flat_rows_max=1))
Found = list[tuple[float, float, float]]
NOTHING = (math.nan, math.nan, math.nan)


def seen(at_ns: int, period: int, value: float, series: str = "CPI") -> e.Observation:
    """Published ``at_ns`` after the start, of the period that ended so many days before it."""
    published_ns = START_NS + at_ns
    return e.Observation(published_ns, published_ns, series, value, START_NS + period * DAY)


def tick(at_ns: int, n: int = 0) -> e.Quote:
    return quote(START_NS + at_ns, 100.0 + n, 101.0 + n)


def after_each(buffer: FeatureBuffer, events: Iterable[e.MarketEvent]) -> Found:
    """Value, change and age after each row."""
    return [tuple(buffer.latest(name) for name in COLUMNS[1:]) for event in events if buffer.update(event)]


def test_a_value_counts_from_its_publication_and_never_from_its_periods_end() -> None:
    """The period ended ten days before the first row; published between the second row and the third."""
    events = [tick(0), tick(SECOND, 1), seen(2 * SECOND, -10, 3.5), tick(5 * SECOND, 2)]
    found = after_each(FeatureBuffer(TICKS, instrument()), events)
    np.testing.assert_array_equal(found, [NOTHING, NOTHING, (3.5, math.nan, 3.0)])


def test_a_revision_replaces_the_value_from_its_own_publication_on() -> None:
    """A first figure, the next period's, then revisions of both and of a third, older one: each from when it came."""
    events: list[e.MarketEvent] = []
    for n, told in enumerate(
        [(-30, 1.0), (-1, 2.0), (-1, 2.5), (-30, 1.25), (-60, 9.0), (0, 4.0), (-30, 7.0), (-1, 3.0)]
    ):
        events += [seen(n * SECOND, *told), tick(n * SECOND + 1, n)]
    found = after_each(FeatureBuffer(TICKS, instrument()), events)
    values = [(value, change) for value, change, _ in found]
    assert values[1:] == [(2.0, 1.0), (2.5, 1.5), (2.5, 1.25), (2.5, 1.25), (4.0, 1.5), (4.0, 1.5), (4.0, 1.0)]
    assert values[0][0] == 1.0
    assert math.isnan(values[0][1])
    # Only what replaces the value is news.
    ages = [round(age) for *_, age in found]
    assert ages == [0, 0, 0, 1, 2, 0, 1, 2]


def test_an_older_period_that_comes_late_becomes_the_one_before() -> None:
    """The newest first: there is a change as soon as two are known."""
    events = [seen(0, -1, 2.0), tick(1), seen(2, -30, 1.5), tick(3, 1)]
    found = after_each(FeatureBuffer(TICKS, instrument()), events)
    assert math.isnan(found[0][1])
    assert found[1][:2] == (2.0, 0.5)


def test_a_value_that_is_unknown_or_not_finite_leaves_the_window_not_warm() -> None:
    """Nothing published, then NaN and another series: not warm, and the reason says what is missing."""
    buffer = FeatureBuffer(TICKS, instrument())
    after_each(buffer, [tick(0), seen(1, -1, math.nan), seen(1, -1, 5.0, "GDP"), tick(2, 1), tick(3, 2)])
    assert not buffer.warm
    assert "exogenous(CPI)" in buffer.reason
    after_each(buffer, [seen(4, -1, 1.0), seen(4, -2, 1.0), tick(5, 3), tick(6, 4)])
    assert buffer.warm


def test_what_was_published_outlasts_a_gap() -> None:
    """The feed of prices breaks; the value is still the last one."""
    buffer = FeatureBuffer(TICKS, instrument())
    after_each(buffer, [seen(0, -1, 3.0), tick(1)])
    buffer.mark_gap("test")
    assert after_each(buffer, [tick(SECOND, 1)])[0][0] == 3.0


def minute_rows(events: list[e.MarketEvent]) -> np.ndarray:
    return compute_rows(MINUTES, instrument(), events).values[:, 1:]


def test_a_bar_knows_what_was_published_before_its_end() -> None:
    """Published within the bar, at its very end, after it and before the quote that closes it, and long after."""
    # A start on the minute: 2024-08-08 23:54:16 is not one.
    shift = MINUTE - START_NS % MINUTE
    base: list[e.MarketEvent] = [tick(shift), tick(shift + MINUTE, 1), tick(shift + 2 * MINUTE + 30 * SECOND, 2)]
    cases = {
        10 * SECOND: [1.0, 1.0],
        MINUTE - 1: [1.0, 1.0],
        MINUTE: [math.nan, 1.0],
        2 * MINUTE: [math.nan, math.nan],
        2 * MINUTE + 20 * SECOND: [math.nan, math.nan],
    }
    for at, expected in cases.items():
        events = sorted([*base, seen(shift + at, -3, 1.0)], key=lambda event: event.ts_event_ns)
        np.testing.assert_array_equal(minute_rows(events)[:, 0], expected, err_msg=str(at))


def test_bars_closed_by_timers_are_those_closed_by_the_next_quote() -> None:
    """Observations and quotes for five minutes; live a timer each 100 ms, offline none: bit-equal rows."""
    shift = MINUTE - START_NS % MINUTE
    random = np.random.default_rng(2)
    events: list[e.MarketEvent] = [tick(shift + int(t), i) for i, t in enumerate(random.integers(0, 5 * MINUTE, 40))]
    events += [seen(shift + int(t), i, float(i)) for i, t in enumerate(np.sort(random.integers(0, 5 * MINUTE, 12)))]
    events.append(tick(shift))
    events.sort(key=lambda event: event.ts_event_ns)
    buffer = FeatureBuffer(MINUTES, instrument())
    live: list[bytes] = []
    buffer.on_bar = lambda: live.append(buffer.window()[-1].tobytes())
    timer_ns = START_NS + shift
    for event in events:
        while timer_ns <= event.ts_event_ns:
            buffer.on_timer(timer_ns)
            timer_ns += SECOND // 10
        buffer.update(event)
    offline = compute_rows(MINUTES, instrument(), events)
    assert len(live) == 4
    assert offline.values.tobytes() == b"".join(live)
    assert np.unique(offline.values[:, 1]).size == 4


def test_candles_know_what_was_published_before_their_end() -> None:
    """Minute candles of the venue's history, one value published within the third minute."""
    ends = [(START_NS // MINUTE + 1 + i) * MINUTE for i in range(5)]
    events: list[e.MarketEvent] = [e.Bar(end, end, NAME, MINUTE, 9.0, 9.0, 1.0, 2.0, 1.0) for end in ends]
    published = ends[2] - SECOND
    events.insert(0, e.Observation(published, ends[4], "CPI", 2.0, 0))
    np.testing.assert_array_equal(minute_rows(events)[:, 0], [math.nan, math.nan, 2.0, 2.0, 2.0])
    np.testing.assert_array_equal(minute_rows(events)[:, 2], [math.nan, math.nan, 1.0, 61.0, 121.0])


def test_an_instrument_that_is_defined_later_knows_what_was_published_before() -> None:
    """Through the core: two periods first, then the instrument, then quotes; one more while it runs."""
    buffers: list[FeatureBuffer] = []

    def features() -> FeatureBuffer:
        buffers.append(FeatureBuffer(TICKS, instrument()))
        return buffers[-1]

    core = TradingCore(
        recorder=MemoryRecorder(),
        gate=OpenGate(),
        slots=[StrategySlot(Scripted())],
        assembly=FixedAssembly(features, None),
        currency="USDT",
        id_prefix="t",
    )
    core.on_event(seen(-2 * DAY, -60, 1.0))
    core.on_event(seen(-DAY, -30, 4.0))
    core.on_event(e.InstrumentDefined(START_NS, START_NS, instrument()))
    (buffer,) = buffers
    core.on_event(tick(0))
    assert [buffer.latest(name) for name in COLUMNS[1:]] == [4.0, 3.0, DAY / SECOND]
    core.on_event(seen(SECOND, -1, 6.0))
    core.on_event(tick(2 * SECOND, 1))
    assert [buffer.latest(name) for name in COLUMNS[1:]] == [6.0, 2.0, 1.0]


@pytest.mark.parametrize("name", ["exogenous(a b)", "exogenous(5)", "exogenous(a(b))", "exogenous_age()"])
def test_a_name_that_is_none_is_refused(name: str) -> None:
    """Spaces, a number, parentheses, nothing."""
    with pytest.raises(DataError, match="expected"):
        lookup(name)
