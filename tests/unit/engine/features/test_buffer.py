"""The buffer: window content and shape, warmth, gaps, tick and time bars, history, bad input."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from engine.errors import DataError
from engine.events import Bar, BookDelta, Quote, Trade
from engine.features import FeatureBuffer, FeatureSpec, GapPolicy, Sampling, core40_spec, quote40_spec
from tests.support.features import NAME, SECOND, START_NS, drive, instrument, naive_rows, quote, seeded_events, trade

MINUTE = 60 * SECOND
BASE_NS = START_NS - START_NS % MINUTE


def small(window: int = 4, columns: tuple[str, ...] = ("close", "sma_20", "volume"), **spec: Any) -> FeatureBuffer:
    """A few columns and a short window."""
    return FeatureBuffer(FeatureSpec(name="small", columns=columns, window=window, **spec), instrument())


def bars(columns: tuple[str, ...] = ("close", "volume"), window: int = 3, **spec: Any) -> FeatureBuffer:
    """One-minute bars."""
    spec = {"gap": GapPolicy(flat_rows_max=2), "sampling": Sampling.time_bar(MINUTE, SECOND), **spec}
    return small(window, columns, **spec)


def candle(index: int, close: float, **changes: Any) -> Bar:
    """The candle that ends ``index`` minutes after the base time."""
    end = BASE_NS + index * MINUTE
    fields = {"open_px": close, "high_px": close + 1, "low_px": close - 1, "close_px": close, "volume_qty": 5.0}
    return Bar(end, end, NAME, MINUTE, **{**fields, **changes})


# --- window ------------------------------------------------------------------------------------------------------


def test_the_window_equals_a_naive_list_after_every_row() -> None:
    """Rows kept in a Python list, compared bit for bit over several turns of the ring."""
    buffer = small()
    seen: list[list[float]] = []
    for event in seeded_events(250):
        if buffer.update(event):
            seen.append([buffer.latest(name) for name in buffer.spec.columns])
            expected = np.full((4, 3), np.nan, np.float32)
            kept = np.array(seen[-4:], np.float32)
            expected[4 - len(kept) :] = kept
            np.testing.assert_array_equal(buffer.window(), expected)
    assert len(seen) > 100


def test_the_window_is_a_contiguous_float32_view() -> None:
    """Shape, type, layout and shared memory at each of the W positions of the ring."""
    buffer = small()
    for event in seeded_events(60):
        buffer.update(event)
        window = buffer.window()
        assert window.shape == (4, 3)
        assert window.dtype == np.float32
        assert window.flags.c_contiguous
        assert not window.flags.owndata
    assert np.shares_memory(buffer.window(), buffer.window())


def test_a_repeated_quote_makes_no_row_and_a_changed_size_does() -> None:
    """Where sizes are used a change of size is a change of the best quote; where not, it is none."""
    quotes = [
        quote(1, 100.0, 101.0),
        quote(2, 100.0, 101.0),
        quote(3, 100.0, 101.0, bid_qty=2.0),
        quote(4, 100.5, 101.0),
    ]
    sized = small(columns=("imbalance",))
    plain = small(columns=("close",))
    assert [sized.update(q) for q in quotes] == [True, False, True, True]
    assert [plain.update(q) for q in quotes] == [True, False, False, True]


def test_latest_is_nan_before_the_first_row_and_unknown_names_raise() -> None:
    """Both halves of the port's contract."""
    buffer = small()
    assert np.isnan(buffer.latest("close"))
    with pytest.raises(KeyError):
        buffer.latest("nonsense")


# --- warmth and gaps -----------------------------------------------------------------------------------------------


def test_warm_comes_exactly_when_the_window_is_full_of_clean_rows() -> None:
    """core40 needs 51 rows and a window of 30: warm at row 80, and never with a NaN in the window."""
    buffer = FeatureBuffer(core40_spec(window=30), instrument())
    for event in seeded_events(200):
        if buffer.update(event):
            assert buffer.warm == (buffer.rows >= 80)
            assert np.isfinite(buffer.window()).all() == buffer.warm
            assert (buffer.reason == "") == buffer.warm
    assert buffer.spec.rows_to_warm == 80
    assert buffer.warm


def test_the_reason_counts_the_rows() -> None:
    """What an operator reads while nothing trades."""
    buffer = small()
    assert buffer.reason == "waiting for the first row"
    buffer.update(quote(1, 100.0, 101.0))
    assert buffer.reason == "warming up: 1 of 23 rows"


@pytest.mark.fault("E8")
@pytest.mark.fault("C5")
def test_a_gap_restarts_the_indicators_and_names_itself() -> None:
    """After the gap the values equal those of a buffer that saw only what came later; the old rows are gone."""
    events = seeded_events(400)
    half = len(events) // 2
    buffer, fresh = (FeatureBuffer(core40_spec(window=10), instrument()) for _ in range(2))
    drive(buffer, events[:half])
    assert buffer.warm
    buffer.mark_gap("feed of binance_usdm down: reset by peer")
    assert not buffer.warm
    assert np.isnan(buffer.window()).all()
    assert buffer.reason == "feed of binance_usdm down: reset by peer; waiting for the first row"
    rows = 0
    for event in events[half:]:
        made = buffer.update(event)
        assert made == fresh.update(event)
        rows += made
        np.testing.assert_array_equal(buffer.window(), fresh.window())
        assert buffer.warm == fresh.warm == (rows >= 60)
    assert buffer.warm
    assert buffer.restarts == 1


@pytest.mark.fault("D6")
def test_silence_beyond_the_policy_is_a_gap() -> None:
    """A recording with a hole of an hour behaves as a feed that reported one."""
    buffer = small(gap=GapPolicy(silence_ns_max=10 * SECOND))
    events = [quote(START_NS + i * SECOND, 100.0 + i, 101.0 + i) for i in range(30)]
    drive(buffer, events)
    assert buffer.warm
    assert buffer.update(quote(START_NS + 40 * SECOND, 200.0, 201.0))
    assert not buffer.warm
    assert buffer.reason == "no event for more than 10 s; warming up: 1 of 23 rows"
    assert np.isnan(buffer.latest("sma_20"))


# --- sampling --------------------------------------------------------------------------------------------------------


def test_tick_bars_equal_a_naive_grouping() -> None:
    """Five changes a bar: open, high, low, close and volume of naive lists, through columns that expose them."""
    events = seeded_events(800)
    rows = naive_rows(events, 5)
    buffer = small(columns=("close", "volume", "range_5_bps", "imbalance"), sampling=Sampling.tick_bar(5))
    ours = drive(buffer, events)
    np.testing.assert_array_equal(ours["close"], rows["close"])
    np.testing.assert_allclose(ours["volume"], rows["volume"], rtol=1e-12)
    np.testing.assert_array_equal(ours["imbalance"], rows["imbalance"])


def test_time_bars_equal_a_naive_grouping_by_minute() -> None:
    """Grouped by ts // minute; the first bar, whose beginning nobody saw, and the open last one are left out."""
    events = seeded_events(3000, step_ns=300_000_000)
    groups: dict[int, list[Any]] = {}
    for event in events:
        groups.setdefault(event.ts_event_ns // MINUTE, []).append(event)
    keys = sorted(groups)[1:-1]
    closes = [[0.5 * (q.bid_px + q.ask_px) for q in groups[k] if isinstance(q, Quote)] for k in keys]
    volumes = [sum(t.qty for t in groups[k] if isinstance(t, Trade)) for k in keys]
    buffer = bars(("close", "volume", "range_5_bps", "atr_14"))
    ours = drive(buffer, events)
    assert len(keys) > 10
    np.testing.assert_array_equal(ours["close"], [mids[-1] for mids in closes])
    np.testing.assert_allclose(ours["volume"], volumes, rtol=1e-12)
    highs, lows = [max(mids) for mids in closes], [min(mids) for mids in closes]
    expected = [
        1e4 * (max(highs[i - 4 : i + 1]) - min(lows[i - 4 : i + 1])) / closes[i][-1] for i in range(4, len(keys))
    ]
    np.testing.assert_allclose(ours["range_5_bps"][4:], expected, rtol=1e-12)


def test_a_timer_closes_a_bar_after_its_lateness_and_not_before() -> None:
    """Boundary plus one second; the same row as the next quote would have made."""
    buffer = bars()
    buffer.update(quote(BASE_NS, 100.0, 101.0))
    assert not buffer.on_timer(BASE_NS + MINUTE)
    assert not buffer.on_timer(BASE_NS + MINUTE + SECOND - 1)
    assert buffer.on_timer(BASE_NS + MINUTE + SECOND)
    assert buffer.rows == 1
    assert buffer.row_ts_ns == BASE_NS + MINUTE
    assert not buffer.on_timer(BASE_NS + MINUTE + SECOND)


@pytest.mark.fault("D5")
def test_an_event_older_than_the_open_bar_is_counted_and_dropped() -> None:
    """The bar was closed by timer; its late quote changes nothing."""
    buffer = bars()
    buffer.update(quote(BASE_NS, 100.0, 101.0))
    buffer.on_timer(BASE_NS + MINUTE + SECOND)
    before = buffer.window().copy()
    assert not buffer.update(quote(BASE_NS + MINUTE - 1, 500.0, 501.0))
    assert buffer.late == 1
    np.testing.assert_array_equal(buffer.window(), before)
    buffer.update(quote(BASE_NS + MINUTE + 5, 102.0, 103.0))
    buffer.update(quote(BASE_NS + 2 * MINUTE, 104.0, 105.0))
    assert buffer.latest("close") == 102.5


def test_minutes_without_a_quote_repeat_the_price_until_the_policy_ends_it() -> None:
    """Two flat bars are rows without volume; a third restarts."""
    buffer = bars(window=3)
    buffer.update(quote(BASE_NS, 100.0, 101.0))
    buffer.update(trade(BASE_NS + 1, 100.0, 2.0))
    assert buffer.update(quote(BASE_NS + 3 * MINUTE, 102.0, 103.0))
    assert buffer.window().tolist() == [[100.5, 2.0], [100.5, 0.0], [100.5, 0.0]]
    assert buffer.warm
    buffer.update(quote(BASE_NS + 7 * MINUTE + 1, 104.0, 105.0))
    assert not buffer.warm
    assert buffer.reason == "no quote for 3 bars; waiting for the first row"


# --- history ----------------------------------------------------------------------------------------------------


def test_history_warms_time_bars_and_live_bars_continue_it() -> None:
    """Three candles make it warm; the live minute that follows directly is the fourth row."""
    buffer = bars(("close", "volume"))
    assert [buffer.update(candle(i, 100.0 + i)) for i in (1, 2, 3)] == [True, True, True]
    assert buffer.warm
    buffer.update(quote(BASE_NS + 3 * MINUTE + 20 * SECOND, 110.0, 111.0))
    assert buffer.update(quote(BASE_NS + 4 * MINUTE, 112.0, 113.0))
    assert buffer.window().tolist() == [[102.0, 5.0], [103.0, 5.0], [110.5, 0.0]]
    assert buffer.warm


def test_columns_that_candles_cannot_give_keep_it_cold_and_are_named() -> None:
    """A candle has no spread: not zero, not warm."""
    buffer = bars(("close", "spread_bps", "flow_5"))
    for i in range(1, 30):
        buffer.update(candle(i, 100.0))
    assert not buffer.warm
    assert buffer.reason == "no value for spread_bps, flow_5"


@pytest.mark.fault("D6")
def test_a_hole_in_history_is_not_filled() -> None:
    """Minutes 4 and 5 are missing: the rows before them are gone and the reason says how many lack."""
    buffer = bars()
    for i in (1, 2, 3, 6):
        buffer.update(candle(i, 100.0))
    assert not buffer.warm
    assert buffer.reason == "history lacks 2 bars; warming up: 1 of 3 rows"


@pytest.mark.fault("D6")
def test_a_hole_between_history_and_feed_is_not_filled() -> None:
    """History ends at minute 3, the feed begins in minute 5."""
    buffer = bars()
    for i in (1, 2, 3):
        buffer.update(candle(i, 100.0))
    buffer.update(quote(BASE_NS + 5 * MINUTE + 1, 100.0, 101.0))
    buffer.update(quote(BASE_NS + 6 * MINUTE, 100.0, 101.0))
    assert not buffer.warm
    assert buffer.reason.startswith("2 bars are missing between history and feed")


def test_history_that_arrives_during_the_first_live_minute_is_taken() -> None:
    """Candles are fetched while quotes already flow: the row being built is left alone."""
    buffer = bars()
    buffer.update(quote(BASE_NS + 3 * MINUTE + SECOND, 110.0, 111.0))
    buffer.update(trade(BASE_NS + 3 * MINUTE + SECOND, 110.0, 7.0))
    assert [buffer.update(candle(i, 100.0 + i)) for i in (1, 2, 3, 4)] == [True, True, True, False]
    buffer.update(quote(BASE_NS + 4 * MINUTE, 112.0, 113.0))
    assert buffer.window().tolist() == [[102.0, 5.0], [103.0, 5.0], [110.5, 7.0]]


@pytest.mark.fault("D6")
@pytest.mark.parametrize(
    "bad",
    [{"high_px": float("nan")}, {"low_px": -5.0}, {"volume_qty": -1.0}, {"close_px": 200.0}, {"open_px": None}],
    ids=["nan", "negative", "volume", "close above high", "none"],
)
def test_a_bad_candle_is_a_hole(bad: dict[str, Any]) -> None:
    """It makes no row, and the next one does not continue the last."""
    buffer = bars()
    buffer.update(candle(1, 100.0))
    assert not buffer.update(candle(2, 100.0, **bad))
    assert buffer.rejected == 1
    buffer.update(candle(3, 100.0))
    assert buffer.reason.startswith("history lacks 1 bars")


def test_candles_of_another_interval_or_of_another_volume_are_ignored() -> None:
    """Five-minute candles; and traded volume where the spec counts ticks."""
    assert not bars(sampling=Sampling.time_bar(5 * MINUTE)).update(candle(1, 100.0))
    assert not bars(volume="ticks").update(candle(1, 100.0))
    assert not small().update(candle(1, 100.0))


# --- bad input ----------------------------------------------------------------------------------------------------

NAN, INF = float("nan"), float("inf")
BAD: list[Any] = [
    quote(1, NAN, 101.0),
    quote(1, 100.0, INF),
    quote(1, 101.0, 100.0),
    quote(1, -100.0, 101.0),
    quote(1, 0.0, 101.0),
    quote(1, 100.0, 101.0, bid_qty=NAN),
    quote(1, 100.0, 101.0, ask_qty=-1.0),
    quote(1, 1e300, 1e301),
    quote(1, None, 101.0),  # type: ignore[arg-type]
    quote(None, 100.0, 101.0),  # type: ignore[arg-type]
    quote(2**80, 100.0, 101.0),
    trade(1, 100.0, NAN),
    trade(1, 100.0, -1.0),
    trade(1, 100.0, 1.0, aggressor=7),
    trade(1, 100.0, "x"),  # type: ignore[arg-type]
]


@pytest.mark.fault("D1")
@pytest.mark.parametrize("by_time", [False, True], ids=["tick", "time bar"])
@pytest.mark.parametrize("bad", BAD, ids=[str(i) for i in range(len(BAD))])
def test_bad_events_change_nothing_and_raise_nothing(bad: Any, by_time: bool) -> None:
    """With the bad event in the middle the rows equal those without it."""
    sampling = Sampling.time_bar(SECOND) if by_time else Sampling.tick()
    spec = FeatureSpec(name="x", columns=("close", "imbalance", "volume", "flow_5"), window=6, sampling=sampling)
    dirty, clean = FeatureBuffer(spec, instrument()), FeatureBuffer(spec, instrument())
    events = seeded_events(200)
    if isinstance(bad.ts_event_ns, int) and bad.ts_event_ns == 1:
        bad = type(bad)(events[99].ts_event_ns, *(getattr(bad, name) for name in bad.__struct_fields__[1:]))
    drive(clean, events)
    drive(dirty, events[:100])
    assert not dirty.update(bad)
    drive(dirty, events[100:])
    assert dirty.rejected == 1
    np.testing.assert_array_equal(dirty.window(), clean.window())


def test_a_negative_price_counts_where_the_instrument_allows_it() -> None:
    """Oil in April 2020: a row is made; a logarithm of it is not invented."""
    spec = FeatureSpec(name="oil", columns=("close", "ret_1"), window=2)
    buffer = FeatureBuffer(spec, instrument(allows_negative_px=True))
    for i in range(4):
        assert buffer.update(quote(i, -37.0 - i, -36.0 - i))
    assert buffer.latest("close") == -39.5
    assert not buffer.warm
    assert buffer.reason == "no value for ret_1"


def test_book_events_are_left_to_the_book() -> None:
    """The core hands over a quote of the new best instead."""
    assert not small().update(BookDelta(1, 1, NAME, ((1, 100.0, 2.0),)))


def test_an_instrument_that_cannot_feed_the_columns_is_refused_by_name() -> None:
    """FX without sizes and trades: the error lists the columns; quote40 is accepted and becomes warm."""
    eurusd = instrument(id="EUR/USD@oanda", has_quote_sizes=False, has_trades=False)
    with pytest.raises(DataError, match=r"EUR/USD@oanda cannot feed .*imbalance \(sizes\).*flow_5 \(trades\)"):
        FeatureBuffer(core40_spec(), eurusd)
    buffer = FeatureBuffer(quote40_spec(window=10), eurusd)
    drive(buffer, seeded_events(200, sizes=False))
    assert buffer.warm
