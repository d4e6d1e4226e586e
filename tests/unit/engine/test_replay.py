"""Replay finds exactly the first decision that differs, and nothing where nothing differs."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from engine import events as e
from engine.bus import EventBus
from engine.codec import encode
from engine.commands import (
    CancelIntent,
    GroupEnded,
    GroupIntent,
    GroupMoved,
    GroupOpened,
    NewOrder,
    OrderType,
    Rejected,
    RiskState,
    RiskStateChanged,
    TimeInForce,
)
from engine.core import NullProbe
from engine.errors import BundleError
from engine.events import Side
from engine.instruments import Instrument
from engine.replay import ReplayAssembly, ReplayRecorder, ReplayResult, replay
from engine.router import OrderRouter
from tests.support.core import (
    BTC,
    D,
    EveryQuote,
    FixedAssembly,
    MemoryJournal,
    MidModel,
    OpenGate,
    Scripted,
    Written,
    build_core,
    intent,
    quote,
    spot,
)


class Nowhere:
    venue = "coinbase"

    def submit(self, order) -> None:
        pass

    def cancel(self, cancel) -> None:
        pass


def strategy(threshold: float) -> Scripted:
    """Buys at the bid when the prediction is above the threshold."""

    def on_prediction(prediction, seq, view):
        if prediction.values[0] <= threshold:
            return []
        top = view.top(BTC)
        return [intent(limit_px=view.instrument(BTC).price(top.bid_px, 1), prediction_seq=seq)]

    return Scripted(on_prediction=on_prediction)


def recorded(threshold: float = 0.5) -> list[Written]:
    """A session of 60 quotes whose mids climb through two fractions."""
    journal = MemoryJournal()
    bus = EventBus(journal, NullProbe(), lambda text, error: pytest.fail(text))
    core = build_core(bus, strategy(threshold), model=MidModel())
    router = OrderRouter(bus.publish, lambda: [Nowhere()])
    bus.attach(core, router)
    bus.publish(e.InstrumentDefined(1, 1, spot()))
    for step in range(60):
        bus.publish(quote(10 + step, 100.0 + step * 0.03, 100.01 + step * 0.03))
    return journal.written


def run(
    records: list[Written], threshold: float = 0.5, fresh: MidModel | None = None, tolerance: float = 0.0
) -> ReplayResult:
    recorder = ReplayRecorder()
    assembly = ReplayAssembly(
        recorder,
        FixedAssembly(EveryQuote, fresh or MidModel()),
        recompute=fresh is not None,
        tolerance=lambda: tolerance,
    )
    core = build_core(recorder, strategy(threshold), assembly=assembly)
    return replay(records, recorder, core)


def test_the_same_core_makes_the_same_decisions() -> None:
    """Identical, and it did decide something."""
    result = run(recorded())
    assert result.identical
    assert result.decisions > 10
    assert result.predictions == 60
    assert result.unfinished == 0


def test_recompute_counts_what_it_ran_again() -> None:
    """The model runs on each recorded prediction."""
    model = MidModel()
    result = run(recorded(), fresh=model)
    assert result.identical
    assert result.recomputed_decisions == model.calls == 60


def test_a_changed_threshold_shows_at_the_first_decision_it_changes() -> None:
    """Raised: the first recorded order above only the old threshold is missing; its seq is named."""
    records = recorded(0.5)
    first = next(w.seq for w in records if isinstance(w.record, NewOrder) and w.record.intent.limit_px < D("100.70"))
    difference = run(records, threshold=0.7).first_difference
    assert difference is not None
    assert difference.seq == first
    assert "NewOrder" in difference.recorded
    assert difference.replayed == ""


def test_a_moved_quote_shows_at_the_decision_that_rests_on_it() -> None:
    """One tick on the bid of a quote that led to an order."""
    records = recorded()
    place = next(i for i, w in enumerate(records) if isinstance(w.record, NewOrder))
    source = max(i for i in range(place) if isinstance(records[i].record, e.Quote))
    moved = msgspec.structs.replace(records[source].record, bid_px=records[source].record.bid_px - 0.01)
    records[source] = Written(records[source].seq, encode(moved), moved)
    difference = run(records).first_difference
    assert difference is not None
    assert difference.seq == records[place].seq
    assert difference.recorded != difference.replayed


@pytest.mark.fault("E13")
def test_recompute_finds_a_model_that_answers_otherwise() -> None:
    """Beyond the tolerance: the prediction's seq; within it: identical."""
    other = MidModel()
    other.offset = 1e-4
    records = recorded()
    difference = run(records, fresh=other).first_difference
    assert difference is not None
    assert difference.seq == next(w.seq for w in records if isinstance(w.record, e.Prediction))
    assert run(records, fresh=other, tolerance=1e-3).identical


def test_an_extra_and_a_missing_record_are_differences() -> None:
    """A recorded order that nobody makes again; a made one that nobody recorded."""
    records = recorded()
    place = next(i for i, w in enumerate(records) if isinstance(w.record, NewOrder))
    without = records[:place] + records[place + 1 :]
    missing = run(without).first_difference
    assert missing is not None
    assert (missing.seq, missing.recorded) == (records[place].seq, "")
    doubled = [*records[: place + 1], Written(records[place].seq + 1, records[place].raw, records[place].record)]
    doubled += records[place + 1 :]
    extra = run(doubled).first_difference
    assert extra is not None
    assert extra.replayed == ""


def test_a_killed_session_replays_to_its_last_record() -> None:
    """Cut after each record: identical, with what the process had no time to write counted as unfinished."""
    records = recorded()[:60]
    for end in range(2, len(records)):
        result = run(records[:end])
        assert result.identical, (end, result.first_difference)


def test_a_session_replays_without_its_bundle() -> None:
    """The record holds every prediction and what served: an assembly that can load nothing does not matter."""

    class Gone(FixedAssembly):
        def assign(self, instrument: Instrument, uses_model: bool):
            raise BundleError("bundle is gone")

        def model(self, instrument: Instrument, assignment):
            raise BundleError("bundle is gone")

    recorder = ReplayRecorder()
    assembly = ReplayAssembly(recorder, Gone(EveryQuote, None), recompute=False, tolerance=lambda: 0.0)
    core = build_core(recorder, strategy(0.5), assembly=assembly)
    assert replay(recorded(), recorder, core).identical


def test_a_recomputed_nan_is_a_difference_whatever_the_tolerance() -> None:
    """NaN compares false with everything: it must not pass as near enough."""
    broken = MidModel()
    broken.offset = float("nan")
    records = recorded()
    difference = run(records, fresh=broken, tolerance=1e9).first_difference
    assert difference is not None
    assert difference.seq == next(w.seq for w in records if isinstance(w.record, e.Prediction))


@pytest.mark.fault("A8")
@pytest.mark.parametrize("refused", [NewOrder, Rejected, e.Prediction])
@pytest.mark.parametrize(
    "before",
    [None, e.JournalFailed(31, 31, "no room"), e.Halted(31, 31, "operator", ""), e.Halted(31, 31, "journal", "")],
)
@pytest.mark.parametrize("room_again", [False, True])
def test_what_the_journal_refused_is_refused_again(
    refused: type, before: e.InputEvent | None, room_again: bool
) -> None:
    """The journal takes no decision of one kind, while trading is halted or not, for a while or for good: the session
    halts, goes on and replays."""
    journal = MemoryJournal()
    bus = EventBus(journal, NullProbe(), lambda text, error: pytest.fail(text))
    gate = OpenGate()
    core = build_core(bus, strategy(0.5), model=MidModel(), gate=gate)
    bus.attach(core, OrderRouter(bus.publish, lambda: [Nowhere()]))
    bus.publish(e.InstrumentDefined(1, 1, spot()))
    for step in range(90):
        if step == 30:
            journal.full_for = (refused,)
            if refused is Rejected:
                bus.publish(e.Reduced(30, 30, "operator", "so that entries are refused"))
            if before is not None:
                bus.publish(before)
        if step == 60 and room_again:
            journal.full_for = ()
        bus.publish(quote(40 + step, 100.0 + step % 40 * 0.03, 100.01 + step % 40 * 0.03))
    assert gate.state is RiskState.HALTED
    records = journal.written
    result = run(records)
    assert result.identical, result.first_difference
    # What did get on record must still come: a decision that is not made again is missed.
    decided = [written for written in records if isinstance(written.record, NewOrder | Rejected)]
    foreign = msgspec.structs.replace(decided[-1].record, ts_ns=7)
    place = records.index(decided[-1])
    records[place] = Written(records[place].seq, encode(foreign), foreign)
    difference = run(records).first_difference
    assert difference is not None
    assert difference.seq == records[place].seq


def halted_session(*before: e.InputEvent, threshold: float = 0.95) -> list[Written]:
    """Quotes that no order rests on, ``before``, an operator's halt, then quotes on which a lower one would buy."""
    journal = MemoryJournal()
    bus = EventBus(journal, NullProbe(), lambda text, error: pytest.fail(text))
    core = build_core(bus, strategy(threshold), model=MidModel())
    bus.attach(core, OrderRouter(bus.publish, lambda: [Nowhere()]))
    bus.publish(e.InstrumentDefined(1, 1, spot()))
    for step in range(10):
        bus.publish(quote(10 + step, 100.0 + step * 0.01, 100.01 + step * 0.01))
    for event in (*before, e.Halted(50, 50, "operator", "lunch")):
        bus.publish(event)
    for step in range(10):
        bus.publish(quote(60 + step, 100.7 + step * 0.01, 100.71 + step * 0.01))
    return journal.written


@pytest.mark.parametrize(
    "before",
    [
        (),
        (e.JournalFailed(40, 40, "no room"), e.Resumed(41, 41, "operator", "")),
    ],
    ids=["no trouble", "trouble that is over"],
)
def test_a_decision_too_many_while_halted_is_a_difference(before: tuple[e.InputEvent, ...]) -> None:
    """Nothing was refused since trading last went on, so that nothing may be missing."""
    records = halted_session(*before)
    assert run(records, threshold=0.95).identical
    difference = run(records, threshold=0.5).first_difference
    assert difference is not None
    assert "Rejected" in difference.replayed


def test_exits_that_the_journal_refused_are_refused_again() -> None:
    """They may leave while risk is HALTED: one is on record, two find no room, one is on record again."""
    journal = MemoryJournal()
    bus = EventBus(journal, NullProbe(), lambda text, error: pytest.fail(text))

    def leaving() -> Scripted:
        wish = intent(Side.SELL, limit_px=D("101"), reduce_only=True)
        return Scripted(on_quote=lambda instrument, view: [msgspec.structs.replace(wish, ts_ns=view.now_ns)])

    core = build_core(bus, leaving())
    bus.attach(core, OrderRouter(bus.publish, lambda: [Nowhere()]))
    bus.publish(e.InstrumentDefined(1, 1, spot()))
    bus.publish(e.Halted(5, 5, "operator", "lunch"))
    for ts_ns, full_for in ((10, ()), (20, (NewOrder,)), (30, (NewOrder,)), (40, ())):
        journal.full_for = full_for
        bus.publish(quote(ts_ns))
    assert [w.record.ts_ns for w in journal.written if isinstance(w.record, NewOrder)] == [10, 40]
    recorder = ReplayRecorder()
    core = build_core(recorder, leaving())
    result = replay(journal.written, recorder, core)
    assert result.identical, result.first_difference


@pytest.mark.fault("A8")
@pytest.mark.parametrize("refused", [GroupOpened, GroupMoved, GroupEnded])
def test_what_waits_here_and_the_journal_refused_is_refused_again(refused: type) -> None:
    """Stops that are wished for, reached and called off; one of the three finds no room, later there is room again."""
    journal = MemoryJournal()
    bus = EventBus(journal, NullProbe(), lambda text, error: pytest.fail(text))

    def stopping() -> Scripted:
        wish = intent(
            Side.SELL, order_type=OrderType.STOP, limit_px=None, trigger_px=D("99.9"), time_in_force=TimeInForce.GTC
        )

        def on_timer(timer: e.Timer, view: Any) -> list[Any]:
            ended = [CancelIntent(view.now_ns, "s", one.group_id) for one in view.groups(BTC) if timer.ts_recv_ns > 40]
            return [*ended, GroupIntent(view.now_ns, "s", (wish,))]

        return Scripted(on_timer=on_timer)

    core = build_core(bus, stopping())
    bus.attach(core, OrderRouter(bus.publish, lambda: [Nowhere()]))
    bus.publish(e.InstrumentDefined(1, 1, spot()))
    for ts_ns, px, full_for in ((20, 100.0, ()), (30, 99.95, (refused,)), (40, 99.85, (refused,)), (50, 99.84, ())):
        journal.full_for = full_for
        bus.publish(quote(ts_ns, px, px + 0.01))
        bus.publish(e.Timer(ts_ns + 1, ts_ns + 1, "tick"))
    assert [w.record.reason for w in journal.written if isinstance(w.record, RiskStateChanged)] == [
        "journal: disk full"
    ]
    recorder = ReplayRecorder()
    result = replay(journal.written, recorder, build_core(recorder, stopping()))
    assert result.identical, result.first_difference


def test_a_decision_under_another_number_is_a_difference() -> None:
    """The same bytes, but one number later than the core gives them: something was lost before them."""
    records = recorded()
    place = next(i for i, w in enumerate(records) if isinstance(w.record, NewOrder))
    for later in records[place:]:
        later.seq += 1
    difference = run(records).first_difference
    assert difference is not None
    assert difference.seq == records[place].seq
    assert difference.recorded == difference.replayed
