"""What the core does with a verdict of the quality gate: who sees the event, and what may be traded meanwhile."""

from __future__ import annotations

from decimal import Decimal
from math import nan
from typing import Any

import msgspec
import pytest

from engine import events as e
from engine.codec import encode
from engine.core import TradingCore
from engine.features import FeatureBuffer, FeatureSpec, GapPolicy, Sampling
from engine.quality.gate import QualityGate
from engine.quality.tolerances import Tolerances
from engine.replay import ReplayRecorder
from engine.replay import replay as run_again
from tests.support.core import (
    BTC,
    EveryQuote,
    MemoryRecorder,
    MidModel,
    Scripted,
    build_core,
    buyer,
    open_market,
    spot,
)
from tests.support.quality import MS, START, S, bar, quote, trade

VENUE = "coinbase"


class Seen(EveryQuote):
    """Features that remember what reached them."""

    def __init__(self) -> None:
        super().__init__()
        self.events: list[e.Event] = []

    def update(self, event: e.Event) -> bool:
        self.events.append(event)
        return super().update(event)


def calm(core: TradingCore, n: int = 41) -> None:
    """Quotes that move by a cent, so that there is a scale."""
    for i in range(n):
        core.on_event(quote(i * MS, 100.0 + 0.01 * (i % 2)))


def market(*strategies: Any, **options: Any) -> tuple[TradingCore, Seen]:
    features = Seen()
    core = build_core(MemoryRecorder(), *(strategies or (Scripted(),)), features=lambda: features, **options)
    open_market(core)
    return core, features


@pytest.mark.fault("D3")
def test_a_suspect_quote_reaches_nobody_until_the_next_one_confirms_it() -> None:
    """Held back: features, book and strategies see nothing, entries wait; the second is applied and ends the wait."""
    strategy = Scripted()
    core, features = market(strategy)
    calm(core)
    before, asked, top = len(features.events), len(strategy.calls), core.view.top(BTC)
    core.on_event(quote(S, 105.0))
    assert (len(features.events), len(strategy.calls), top.mid_px, top.suspect) == (before, asked, 100.0, True)
    assert (core.counters.suspect, core.counters.quotes) == ({"outlier": 1}, 41)
    core.on_event(quote(S + MS, 105.01))
    assert (len(features.events), top.mid_px, top.suspect) == (before + 1, 105.01, False)
    assert core.counters.remarked == {"confirmed": 1}


@pytest.mark.fault("D3")
def test_no_order_rests_on_a_spike() -> None:
    """A model that buys on every row: none on the spike, and the mark stays where it was."""
    core, _ = market(buyer(), model=MidModel())
    calm(core)
    mark = core.view.mark_px(BTC)
    assert not core.on_event(quote(S, 50.0))
    assert core.view.mark_px(BTC) == mark
    assert core.on_event(quote(S + MS, 100.01))
    assert core.counters.remarked == {"spike": 1}


@pytest.mark.fault("D5")
@pytest.mark.parametrize(
    ("late", "issue", "suspect"),
    [
        (quote(2 * S, 100.02), "late", False),
        (quote(4 * S, 100.0), "duplicate", False),
        (quote(4 * S, 100.02, delay_ns=60 * S), "stale", True),
        (quote(60 * S, 100.02, delay_ns=-56 * S), "future", True),
    ],
)
def test_events_out_of_time_move_nothing(late: e.Quote, issue: str, suspect: bool) -> None:
    """Neither prices nor features; only what casts doubt on the prices there are blocks entries."""
    core, features = market()
    calm(core)
    core.on_event(quote(4 * S, 100.0))
    before, top = len(features.events), msgspec.structs.replace(core.view.top(BTC))
    core.on_event(late)
    after = core.view.top(BTC)
    assert core.counters.dropped == {issue: 1}
    assert (len(features.events), after.mid_px, after.ts_recv_ns) == (before, top.mid_px, top.ts_recv_ns)
    assert after.suspect is suspect


@pytest.mark.fault("D3")
def test_a_suspect_trade_is_no_last_price_and_no_volume() -> None:
    """It blocks entries until the next good quote, which says what the price is."""
    core, features = market()
    calm(core)
    for i in range(41):
        core.on_event(trade((50 + i) * MS, 100.0 + 0.01 * (i % 2)))
    before, top = len(features.events), core.view.top(BTC)
    core.on_event(trade(S, 150.0))
    assert (len(features.events), top.last_px, top.suspect) == (before, 100.0, True)
    core.on_event(quote(S + MS, 100.01))
    assert not top.suspect


@pytest.mark.fault("D5")
def test_a_trade_told_twice_counts_once() -> None:
    """By its id; the second reaches no feature."""
    core, features = market()
    for _ in range(2):
        core.on_event(trade(0, trade_id="7"))
    assert len(features.events) == 1
    assert core.counters.dropped == {"duplicate": 1}


def snapshot(at_ns: int, bid_px: float = 99.0, ask_px: float = 101.0) -> e.BookSnapshot:
    return e.BookSnapshot(START + at_ns, START + at_ns, BTC, ((bid_px, 1.0),), ((ask_px, 1.0),))


def delta(at_ns: int, *changes: tuple[int, float, float], delay_ns: int = 0) -> e.BookDelta:
    return e.BookDelta(START + at_ns, START + at_ns + delay_ns, BTC, changes)


@pytest.mark.fault("D1")
def test_a_level_that_is_no_number_ends_the_book() -> None:
    """Nobody knows what the change was: no levels until the next snapshot, entries wait."""
    core, _ = market()
    core.on_event(snapshot(0))
    core.on_event(delta(1, (1, nan, 1.0)))
    book = core.lanes[BTC].book
    assert (book.has_levels, core.view.top(BTC).suspect) == (False, True)
    core.on_event(snapshot(2))
    assert (book.has_levels, core.view.top(BTC).suspect) == (True, False)
    core.on_event(snapshot(3, nan))
    assert (book.has_levels, core.view.top(BTC).suspect) == (False, True)
    assert core.counters.dropped == {"not_finite": 2}


@pytest.mark.fault("D5")
def test_a_change_that_comes_too_late_is_in_the_book_and_no_news() -> None:
    """A minute old: the level is set, for features too, and makes no row and no price until a change comes in time."""
    core, features = market()
    core.on_event(snapshot(0))
    rows, top, late = core.counters.rows, core.view.top(BTC), delta(S, (1, 99.5, 2.0), delay_ns=60 * S)
    core.on_event(late)
    assert (features.events[-1], core.counters.rows, top.bid_px, top.suspect) == (late, rows, 99.0, True)
    core.on_event(delta(61 * S, (1, 98.0, 1.0)))
    assert (top.bid_px, top.suspect) == (99.5, False)


@pytest.mark.parametrize("jump_ns", [20 * S, -20 * S])
def test_prices_go_on_for_exits_after_a_venues_clock_was_set(jump_ns: int) -> None:
    """Five seconds later the book, the mark and the strategy have them; features, models and entries do not."""
    strategy = Scripted()
    core, features = market(strategy)
    calm(core)
    before, mark = len(features.events), core.view.mark_px(BTC)

    def told(at_ns: int, mid_px: float) -> None:
        core.on_event(quote(at_ns + jump_ns, mid_px, delay_ns=-jump_ns))

    told(S, 99.9)
    asked = len(strategy.calls)
    assert core.view.mark_px(BTC) == mark
    told(6 * S, 99.8)
    top = core.view.top(BTC)
    assert (top.mid_px, top.suspect, len(strategy.calls)) == (99.8, True, asked + 1)
    assert (core.view.mark_px(BTC), len(features.events)) == (Decimal("99.80"), before)
    core.on_event(quote(7 * S, 99.7))
    assert (top.mid_px, top.suspect, len(features.events)) == (99.7, False, before + 1)


def test_a_books_prices_go_on_too_after_a_venues_clock_was_set() -> None:
    """Changes at refused times are in the book; five seconds later their best prices are shown, wild ones are not."""
    strategy = Scripted()
    core, _ = market(strategy)
    core.on_event(snapshot(0, 99.0, 99.2))
    for i in range(30):
        core.on_event(delta(i * MS, (1, 99.0 + 0.01 * (i % 2), 1.0), (1, 99.01 - 0.01 * (i % 2), 0.0)))
    top = core.view.top(BTC)
    for at_ns in (S, 6 * S):
        core.on_event(delta(at_ns + 20 * S, (1, 99.0 + at_ns / S / 100, 1.0), delay_ns=-20 * S))
    asked = len(strategy.calls)
    assert (top.bid_px, top.suspect) == (99.06, True)
    core.on_event(delta(27 * S, (-1, 99.1, 1.0), (1, 99.06, 0.0), delay_ns=-20 * S))
    assert (top.bid_px, len(strategy.calls)) == (99.01, asked + 1)
    core.on_event(delta(28 * S, (-1, 60.0, 1.0), (1, 99.01, 0.0), (1, 99.0, 0.0), (1, 59.0, 1.0), delay_ns=-20 * S))
    assert (top.bid_px, len(strategy.calls)) == (99.01, asked + 1)
    assert set(core.counters.suspect) == {"future"}


@pytest.mark.parametrize("ahead_ns", [-1_500 * MS, 1_500 * MS])
def test_a_book_told_anew_without_a_venue_time_is_not_lost(ahead_ns: int) -> None:
    """Our clock is 1.5 s off and the second snapshot bears its receive time: late or early to the gate.  No quote is
    made of it, its levels are those that the next changes build on."""
    core, _ = market()

    def told(at_ns: int, *changes: tuple[int, float, float]) -> None:
        core.on_event(e.BookDelta(START + at_ns, START + at_ns + ahead_ns, BTC, changes))

    core.on_event(e.BookSnapshot(START, START + ahead_ns, BTC, ((99.0, 1.0),), ((101.0, 1.0),)))
    for i in range(30):
        told(6 * S + i * MS, (1, 99.0, 1.0 + i % 2))
    core.on_event(snapshot(6 * S + 100 * MS + ahead_ns, 98.0, 102.0))
    top, book = core.view.top(BTC), core.lanes[BTC].book
    assert core.counters.dropped == {"late" if ahead_ns < 0 else "future": 1}
    assert (top.bid_px, top.suspect, book.levels(1, 1)) == (99.0, True, [(98.0, 1.0)])
    told(7 * S, (-1, 101.5, 1.0))
    assert (top.bid_px, top.ask_px, top.suspect) == (98.0, 101.5, False)


def test_a_book_that_returns_to_its_prices_is_trusted_again() -> None:
    """Crossed for a moment, then exactly as before: the same prices, seen again, end the wait."""
    core, _ = market()
    core.on_event(snapshot(0))
    core.on_event(delta(1, (1, 102.0, 1.0)))
    top = core.view.top(BTC)
    assert (top.bid_px, top.crossed, top.suspect) == (99.0, True, True)
    core.on_event(delta(2, (1, 102.0, 0.0)))
    assert (top.bid_px, top.crossed, top.suspect) == (99.0, False, False)


@pytest.mark.fault("D7")
def test_a_candle_of_history_that_contradicts_another_is_left_out() -> None:
    """Its first version stands; features see each candle once."""
    core, features = market()
    for one in (bar(0), bar(60 * S), bar(60 * S, 100.5), bar(0)):
        core.on_event(one)
    assert len(features.events) == 2
    assert core.counters.dropped == {"revised": 1, "late": 1}


def test_a_gate_that_breaks_lets_nothing_through(monkeypatch: pytest.MonkeyPatch) -> None:
    """A defect of ours inside the judge: dropped and counted, no price, no order."""

    def broken(*_: object) -> int:
        raise RuntimeError("defect")

    core, features = market(buyer(), model=MidModel())
    core.lanes[BTC].quality = gate = QualityGate(core.lanes[BTC].instrument)
    monkeypatch.setattr(gate, "_step", broken)
    for event in (quote(0), trade(1), bar(2), snapshot(3), delta(4)):
        assert not core.on_event(event)
    assert core.counters.dropped == {"gate_failed": 5}
    assert core.view.top(BTC) is None
    # Of the book features are told that nobody knows it.
    assert [(type(event), event.bids, event.asks) for event in features.events] == [(e.BookSnapshot, (), ())] * 2  # type: ignore[attr-defined]


def test_tolerances_are_those_of_the_session() -> None:
    """The same jump passes a gate that bears a thousand standard deviations."""
    core, _ = market(tolerances=Tolerances(outlier_z=10_000.0))
    calm(core)
    core.on_event(quote(S, 105.0))
    assert core.view.top(BTC).mid_px == 105.0
    assert not core.counters.suspect


def test_what_is_held_back_is_held_back_again_on_replay() -> None:
    """Spikes, repeats and late events in a session with orders: the same decisions from the same record."""
    recorder = MemoryRecorder()
    core = build_core(recorder, buyer(), model=MidModel())
    stream = [quote(i * MS, 100.0 + 0.01 * (i % 2)) for i in range(60)]
    stream[45] = quote(45 * MS, 130.0)
    stream[50] = stream[49]
    records: list[Any] = []

    class Kept:
        def __init__(self, seq: int, record: Any) -> None:
            self.seq, self.record, self.raw = seq, record, encode(record)

    def feed(event: e.InputEvent) -> None:
        recorder.seq += 1
        records.append(Kept(recorder.seq, event))
        done = len(recorder.records)
        core.on_event(event)
        first = records[-1].seq + 1
        records.extend(Kept(first + i, record) for i, record in enumerate(recorder.records[done:]))

    feed(e.InstrumentDefined(1, 1, spot()))
    for stream_name in ("market", "user"):
        feed(e.FeedUp(1, 1, VENUE, stream_name))
    for event in stream:
        feed(event)
    assert core.counters.suspect == {"outlier": 1}
    assert core.counters.dropped == {"duplicate": 1}
    assert core.counters.orders == 58
    again = ReplayRecorder()
    result = run_again(records, again, build_core(again, buyer(), model=MidModel()))
    assert (result.identical, result.events) == (True, 63)


# --- holes ------------------------------------------------------------------------------------------------------


def buffered(**spec: Any) -> tuple[TradingCore, MidModel, FeatureBuffer]:
    """A core with the real feature buffer and a model that counts its calls."""
    model = MidModel()
    wanted = FeatureSpec(**{"name": "x", "columns": ("close", "sma_10"), "window": 3, **spec})
    core = build_core(MemoryRecorder(), Scripted(), model=model, features=lambda: FeatureBuffer(wanted, spot()))
    open_market(core)
    features = core.lanes[BTC].features
    assert isinstance(features, FeatureBuffer)
    return core, model, features


@pytest.mark.fault("D1")
@pytest.mark.fault("D6")
def test_quotes_that_are_no_numbers_are_not_filled_in_for_a_model() -> None:
    """NaN for longer than the silence policy: no row, no prediction; the next good quote finds a cold window."""
    core, model, features = buffered(gap=GapPolicy(silence_ns_max=10 * S))
    for i in range(20):
        core.on_event(quote(i * S, 100.0 + 0.01 * (i % 2)))
    assert features.warm
    calls, rows = model.calls, features.rows
    for i in range(20, 40):
        core.on_event(quote(i * S, nan))
    assert (model.calls, features.rows) == (calls, rows)
    core.on_event(quote(40 * S, 100.0))
    assert not features.warm
    assert features.reason.startswith("no event for more than 10 s")
    assert model.calls == calls


@pytest.mark.fault("D1")
def test_one_bad_quote_is_no_hole() -> None:
    """Between two good ones: the window goes on as if it had never come."""
    core, _, features = buffered(gap=GapPolicy(silence_ns_max=10 * S))
    for i in range(20):
        core.on_event(quote(i * S, nan if i == 10 else 100.0 + 0.01 * (i % 3)))
    assert (features.warm, features.rows, features.restarts) == (True, 19, 0)


@pytest.mark.fault("D6")
def test_time_bars_of_quotes_that_are_no_numbers_end_in_a_cold_window() -> None:
    """Timers close the bars; two flat ones may repeat the last price, the third says that nobody knows it."""
    gap = GapPolicy(flat_rows_max=2)
    core, model, features = buffered(gap=gap, sampling=Sampling.time_bar(S), volume="ticks")
    for i in range(20):
        core.on_event(quote(i * S, 100.0 + 0.01 * (i % 2)))
    assert features.warm
    for i in range(20, 30):
        core.on_event(quote(i * S, nan))
        core.on_event(e.Timer(START + i * S, START + i * S, "tick"))
    assert not features.warm
    assert features.reason.startswith("no quote for 3 bars")
    calls = model.calls
    core.on_event(quote(30 * S, 100.0))
    core.on_event(quote(31 * S, 100.01))
    assert model.calls == calls


@pytest.mark.fault("D6")
def test_a_candle_that_is_no_number_is_a_hole_in_history() -> None:
    """The next one does not continue the last: the window starts anew, and says why."""
    core, model, features = buffered(gap=GapPolicy(flat_rows_max=2), sampling=Sampling.time_bar(60 * S))
    for i in range(20):
        core.on_event(bar(i * 60 * S, nan if i == 15 else 100.0 + 0.1 * (i % 2)))
    assert core.counters.dropped == {"not_finite": 1}
    assert not features.warm
    assert features.reason.startswith("history lacks 1 bars")
    assert model.calls == 0


@pytest.mark.fault("D3")
def test_the_first_price_of_a_first_session_is_judged_by_the_newest_candle() -> None:
    """A tenth less is held back, so nothing is entered or left by it; a second one that agrees is believed, and from
    the first price of now on candles judge nothing any more."""
    core, _ = market()
    for minute, px in ((-2, 60.0), (-1, 100.0)):
        core.on_event(bar(60 * S * minute, px))
    core.on_event(quote(0, 90.0))
    assert core.view.top(BTC) is None
    core.on_event(quote(MS, 90.01))
    top = core.view.top(BTC)
    assert top is not None
    core.on_event(bar(60 * S))
    core.on_event(quote(2 * MS, 90.0))
    assert not top.suspect
