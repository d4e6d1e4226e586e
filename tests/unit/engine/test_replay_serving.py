"""A session whose models answer later and change replays from its record, and computed anew it says the same."""

from __future__ import annotations

import msgspec
import pytest

from engine import events as e
from engine.bus import EventBus
from engine.codec import encode
from engine.commands import RiskStateChanged, TimeInForce
from engine.core import NullProbe
from engine.replay import ReplayAssembly, ReplayRecorder, ReplayResult, replay
from engine.router import OrderRouter
from engine.seats import ServingRules
from tests.support.core import BTC, D, MemoryJournal, Scripted, Written, build_core, intent, quote, spot
from tests.support.serving import Answers, Shelf


class Nowhere:
    venue = "coinbase"

    def submit(self, order) -> None:
        pass

    def cancel(self, cancel) -> None:
        pass


def strategy() -> Scripted:
    """Buys at the bid where the prediction is above a half, under the name of the version."""

    def on_prediction(prediction, seq, view):
        if not prediction.values or prediction.values[0] <= 0.5:
            return []
        px = view.instrument(BTC).price(view.top(BTC).bid_px, 1)
        return [intent(limit_px=px, model=prediction.model, prediction_seq=seq)]

    return Scripted(on_prediction=on_prediction)


def shelf(*, asynchronous: bool) -> Shelf:
    return Shelf(Answers("a@1", asynchronous=asynchronous), Answers("b@1", 0.1, asynchronous=asynchronous))


def recorded() -> list[Written]:
    """60 quotes; of each three rows the last is answered, one late, one from a version that was replaced meanwhile."""
    journal, models = MemoryJournal(), shelf(asynchronous=True)
    bus = EventBus(journal, NullProbe(), lambda text, error: pytest.fail(f"{text}: {error!r}"))
    core = build_core(bus, strategy(), assembly=models)
    bus.attach(core, OrderRouter(bus.publish, lambda: [Nowhere()]))
    bus.publish(e.InstrumentDefined(1, 1, spot()))
    serving = models.models["a@1"]
    for step in range(60):
        bus.publish(quote(100 + 10 * step, 100.0 + step * 0.03, 100.01 + step * 0.03))
        if step == 30:
            bus.publish(models.offer(101 + 10 * step, "b@1"))
            bus.publish(serving.answer(102 + 10 * step))
            serving = models.models["b@1"]
        elif step % 3 == 2:
            status = e.PredictionStatus.LATE if step == 20 else e.PredictionStatus.OK
            bus.publish(serving.answer(105 + 10 * step, status=status))
    bus.publish(models.offer(1000, "lost@1"))
    bus.publish(quote(1001))
    assert core.counters.stale_predictions == 1
    return journal.written


def run(records: list[Written], fresh: Shelf | None = None, tolerance: float = 0.0) -> ReplayResult:
    recorder = ReplayRecorder()
    assembly = ReplayAssembly(
        recorder, fresh or shelf(asynchronous=False), recompute=fresh is not None, tolerance=lambda: tolerance
    )
    return replay(records, recorder, build_core(recorder, strategy(), assembly=assembly))


def test_answers_and_changes_replay_from_the_record() -> None:
    """Both versions have traded, and one could not be had; the record alone says all of it."""
    records = recorded()
    models = {w.record.intent.model for w in records if hasattr(w.record, "intent")}
    assert models == {"a@1", "b@1"}
    result = run(records)
    assert (result.identical, result.first_difference) == (True, None)
    assert result.decisions >= 10
    told = sum(isinstance(w.record, e.Prediction) for w in records)
    answered = sum(isinstance(w.record, e.PredictionMade) for w in records)
    assert (result.predictions, answered) == (told, told + 1), "as the session's summary counts, not each answer"


def test_computed_anew_the_answers_are_the_same_wherever_they_are_computed() -> None:
    """Models that answer inline here: each answer is compared with the row it was about, the dropped one included."""
    result = run(recorded(), fresh=shelf(asynchronous=False))
    assert (result.identical, result.first_difference) == (True, None)
    assert result.recomputed_decisions == 21


def test_an_answer_that_comes_out_otherwise_is_named() -> None:
    """The number of the answer, with what it says and what is computed; nothing within the tolerance."""
    records = recorded()
    other = shelf(asynchronous=False)
    other.models["b@1"].offset += 1e-4
    difference = run(records, fresh=other).first_difference
    first = next(w for w in records if isinstance(w.record, e.PredictionMade) and w.record.model == "b@1")
    assert difference is not None
    assert difference.seq == first.seq
    assert "b@1" in difference.replayed
    assert run(records, fresh=other, tolerance=1e-3).identical


def test_an_answer_about_a_row_that_was_never_made_is_named() -> None:
    """Its row's time moved by 1 ns."""
    records = recorded()
    place = next(i for i, w in enumerate(records) if isinstance(w.record, e.PredictionMade))
    moved = msgspec.structs.replace(records[place].record, row_ns=records[place].record.row_ns - 1)  # type: ignore[union-attr]
    records[place] = Written(records[place].seq, encode(moved), moved)
    difference = run(records, fresh=shelf(asynchronous=False)).first_difference
    assert difference is not None
    assert difference.seq == records[place].seq
    assert difference.replayed == "nobody asked about that row"


def test_a_changed_answer_shows_at_the_prediction_made_of_it() -> None:
    """Without computing anything: the derived record differs."""
    records = recorded()
    place = next(i for i, w in enumerate(records) if isinstance(w.record, e.PredictionMade))
    changed = msgspec.structs.replace(records[place].record, values=(0.9,))
    records[place] = Written(records[place].seq, encode(changed), changed)
    difference = run(records).first_difference
    assert difference is not None
    assert difference.seq == records[place].seq + 1


def test_a_session_killed_anywhere_replays_to_its_last_record() -> None:
    """Cut after each record."""
    records = recorded()
    for end in range(2, len(records)):
        result = run(records[:end])
        assert result.identical, (end, result.first_difference)


@pytest.mark.fault("E4")
@pytest.mark.parametrize("refused", [e.ModelStanding, e.ModelAssigned])
def test_a_standing_that_the_journal_refused_is_refused_again(refused: type) -> None:
    """The disk is full when a model breaks and another is offered; after a resume the session goes on and replays."""
    journal, models = MemoryJournal(), shelf(asynchronous=False)
    rules = ServingRules(2, 50)
    bus = EventBus(journal, NullProbe(), lambda text, error: pytest.fail(f"{text}: {error!r}"))
    core = build_core(bus, strategy(), assembly=models, rules=rules)
    bus.attach(core, OrderRouter(bus.publish, lambda: [Nowhere()]))
    bus.publish(e.InstrumentDefined(1, 1, spot()))
    for step in range(30):
        now_ns = 100 + 10 * step
        if step == 5:
            models.models["a@1"].statuses = [e.PredictionStatus.FAILED] * 3
            journal.full_for = (refused,)
        if step == 10:
            bus.publish(models.offer(now_ns, "b@1"))
        if step == 20:
            journal.full_for = ()
            bus.publish(e.Resumed(now_ns, now_ns, "operator", "room again"))
        bus.publish(quote(now_ns, 100.0 + step * 0.03, 100.01 + step * 0.03))
    seat = core.lanes[BTC].seat
    assert seat is not None
    assert seat.version == "b@1"
    assert any(isinstance(one.record, e.Resumed) for one in journal.written)
    assert any(isinstance(one.record, RiskStateChanged) for one in journal.written)
    recorder = ReplayRecorder()
    assembly = ReplayAssembly(recorder, shelf(asynchronous=False), recompute=False, tolerance=lambda: 0.0)
    result = replay(journal.written, recorder, build_core(recorder, strategy(), assembly=assembly, rules=rules))
    assert (result.identical, result.first_difference) == (True, None)


@pytest.mark.fault("E4")
def test_a_model_that_is_lost_and_finds_no_room_for_that_ends_the_session() -> None:
    """Nothing on record would tell it from one that took its seat: what came after a resume would not replay."""
    journal, models, told = MemoryJournal(), shelf(asynchronous=False), list[str]()
    bus = EventBus(journal, NullProbe(), lambda text, error: told.append(text))
    core = build_core(bus, strategy(), assembly=models)
    bus.attach(core, OrderRouter(bus.publish, lambda: [Nowhere()]))
    bus.publish(e.InstrumentDefined(1, 1, spot()))
    bus.publish(quote(100))
    journal.full_for = (e.ModelStanding,)
    bus.publish(models.offer(110, "lost@1"))
    journal.full_for = ()
    bus.publish(e.Resumed(120, 120, "operator", "room again"))
    for step in range(5):
        bus.publish(quote(130 + step))
    result = run(journal.written)
    assert (result.identical, result.first_difference) == (True, None)
    assert told == ["the journal takes no more records; nothing is sent any more"]
    assert [type(one.record) for one in journal.written[-2:]] == [e.ModelOffered, RiskStateChanged]


@pytest.mark.fault("E4")
def test_a_session_that_a_lost_model_ends_takes_its_open_orders_back() -> None:
    """Nobody is left to look after what rests: the kill switch is thrown before the journal counts as dead."""
    journal, models, cancelled = MemoryJournal(), shelf(asynchronous=False), list[str]()

    class Noting(Nowhere):
        def cancel(self, cancel) -> None:
            cancelled.append(cancel.client_order_id)

    def resting() -> Scripted:
        wishes = iter([[intent(time_in_force=TimeInForce.GTC)]])
        return Scripted(on_quote=lambda *_: next(wishes, []), on_prediction=lambda *_: [])

    bus = EventBus(journal, NullProbe(), lambda text, error: None)
    core = build_core(bus, resting(), assembly=models)
    bus.attach(core, OrderRouter(bus.publish, lambda: [Noting()]))
    for event in (
        e.InstrumentDefined(1, 1, spot()),
        e.BalanceReported(1, 1, "coinbase", "USD", D("1000"), D("1000")),
        e.FeedUp(1, 1, "coinbase", "market"),
        e.FeedUp(1, 1, "coinbase", "user"),
        quote(100),
    ):
        bus.publish(event)
    (name,) = [order.client_order_id for order in core.orders.open_orders()]
    journal.full_for = (e.ModelStanding,)
    bus.publish(models.offer(110, "lost@1"))
    assert bus.dead
    assert cancelled == [name]
    recorder = ReplayRecorder()
    assembly = ReplayAssembly(recorder, shelf(asynchronous=False), recompute=False, tolerance=lambda: 0.0)
    result = replay(journal.written, recorder, build_core(recorder, resting(), assembly=assembly))
    assert (result.identical, result.first_difference) == (True, None)
