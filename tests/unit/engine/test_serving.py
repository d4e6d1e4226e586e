"""Who serves: answers that come later, versions that change between two events, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from engine import events as e
from engine.commands import NewOrder, Rejected
from engine.core import TradingCore
from engine.lanes import StrategySlot
from engine.seats import ServingRules
from tests.support.core import BTC, MemoryRecorder, OpenGate, Scripted, build_core, buyer, intent, open_market, quote
from tests.support.serving import Answers, Shelf


def opened(recorder: MemoryRecorder, shelf: Shelf, *strategies: Scripted) -> TradingCore:
    core = build_core(recorder, *strategies, assembly=shelf)
    open_market(core)
    return core


def standings(recorder: MemoryRecorder) -> list[tuple[str, str, str]]:
    return [(one.role, one.model, one.state) for one in recorder.of(e.ModelStanding)]


def test_an_answer_that_comes_later_is_a_prediction_of_its_row() -> None:
    """Asked at the row, recorded and traded on at the answer, with the row's times and the answer's number."""
    recorder, model = MemoryRecorder(), Answers(asynchronous=True)
    core = opened(recorder, Shelf(model), buyer())
    core.on_event(quote(10, 100.25, 100.27))
    assert recorder.of(e.Prediction) == []
    assert core.counters.asked == 1
    out = list(core.on_event(model.answer(25)))
    (prediction,) = recorder.of(e.Prediction)
    assert (prediction.ts_event_ns, prediction.ts_recv_ns, prediction.model) == (10, 10, "mid@1")
    assert prediction.values == pytest.approx((0.26,), abs=1e-4)
    assert isinstance(out[0], NewOrder)
    assert out[0].intent.prediction_seq == recorder.records.index(prediction) + 1
    assert out[0].ts_ns == 25
    assert core.counters.predictions == 1


def test_rows_are_told_when_they_are_made() -> None:
    """``on_row`` does not wait for a model that answers later."""
    model, strategy = Answers(asynchronous=True), Scripted()
    core = opened(MemoryRecorder(), Shelf(model), strategy)
    core.on_event(quote(10))
    assert [name for name, _ in strategy.calls] == ["on_row", "on_quote"]


@pytest.mark.fault("E7")
def test_an_answer_of_a_version_that_serves_no_more_is_dropped() -> None:
    """Asked, swapped, answered: nothing is predicted, one stale answer is counted."""
    recorder, before, after = MemoryRecorder(), Answers("a@1", asynchronous=True), Answers("b@1", asynchronous=True)
    shelf = Shelf(before, after)
    core = opened(recorder, shelf, buyer())
    core.on_event(quote(10))
    core.on_event(shelf.offer(11, "b@1"))
    assert not core.on_event(before.answer(12))
    assert recorder.of(e.Prediction) == []
    assert core.counters.stale_predictions == 1


@pytest.mark.fault("E8")
def test_an_answer_from_before_a_hole_in_the_feed_is_dropped() -> None:
    """The row was whole when it was asked about; at the answer nobody knows what came between."""
    recorder, model = MemoryRecorder(), Answers(asynchronous=True)
    core = opened(recorder, Shelf(model), buyer())
    core.on_event(quote(10))
    core.on_event(e.Gap(11, 11, "coinbase", BTC, 3, 5))
    assert not core.on_event(model.answer(12))
    assert recorder.of(e.Prediction) == []
    assert core.counters.stale_predictions == 1


def test_an_answer_for_what_is_not_known_is_dropped() -> None:
    """Another instrument, or one that no model serves."""
    model = Answers(asynchronous=True)
    core = opened(MemoryRecorder(), Shelf(model), buyer())
    core.on_event(quote(10))
    core.on_event(model.answer(12, instrument="ETH/USD@coinbase"))
    assert core.counters.stale_predictions == 1


@pytest.mark.fault("E7")
def test_a_version_changes_between_two_events() -> None:
    """Each prediction, intent and order names the version that made it; the assignment is on record before."""
    recorder, before, after = MemoryRecorder(), Answers("a@1"), Answers("b@1", 0.001)
    shelf = Shelf(before, after)
    shelf.facts["b@1"] = (("buy", 0.7),)

    def on_prediction(prediction, seq, view):
        return [intent(model=prediction.model, prediction_seq=seq)]

    strategy = Scripted(on_prediction=on_prediction)
    core = opened(recorder, shelf, strategy)
    core.on_event(quote(10, 100.25, 100.27))
    assert strategy.facts == {"buy": 0.6}
    core.on_event(shelf.offer(11, "b@1"))
    assert strategy.facts == {"buy": 0.7}
    core.on_event(quote(12, 100.26, 100.28))
    assert [one.model for one in recorder.of(e.ModelAssigned)] == ["a@1", "b@1"]
    predicted = recorder.of(e.Prediction)
    assert [one.model for one in predicted] == ["a@1", "b@1"]
    for order, prediction in zip(recorder.of(NewOrder), predicted, strict=True):
        assert order.intent.model == prediction.model
        assert recorder.records[order.intent.prediction_seq - 1] is prediction
    assert core.counters.swaps == 1
    served = core.view.model(BTC)
    assert served is not None
    assert (served.version, served.role, served.state, served.factor) == ("b@1", "champion", "serving", 1.0)


def test_the_same_version_offered_again_changes_nothing() -> None:
    """No record, no swap."""
    recorder, model = MemoryRecorder(), Answers()
    shelf = Shelf(model)
    core = opened(recorder, shelf, buyer())
    count = len(recorder.records)
    core.on_event(shelf.offer(11, "mid@1"))
    assert len(recorder.records) == count
    assert core.counters.swaps == 0


@pytest.mark.fault("E4")
def test_an_older_version_offered_after_the_break_is_told_with_its_facts() -> None:
    """It predicts from then on: strategies judge its predictions by its own suggestions."""
    before, older = Answers("b@1"), Answers("a@1")
    shelf, strategy = Shelf(before, older), Scripted()
    shelf.facts["a@1"] = (("buy", 0.9),)
    recorder = MemoryRecorder()
    core = TradingCore(
        recorder=recorder, gate=OpenGate(), slots=[StrategySlot(strategy)], assembly=shelf, currency="USD",
        id_prefix="k", rules=ServingRules(1, 3600_000_000_000, "older"),
    )  # fmt: skip
    open_market(core)
    before.statuses = [e.PredictionStatus.FAILED]
    core.on_event(quote(10))
    assert strategy.facts == {"buy": 0.6}
    core.on_event(shelf.offer(11, "a@1", "older"))
    assert strategy.facts == {"buy": 0.9}
    core.on_event(quote(12))
    assert recorder.of(e.Prediction)[-1].model == "a@1"


@pytest.mark.fault("E2")
def test_what_cannot_be_had_is_refused_and_who_serves_goes_on() -> None:
    """A version that is not at hand: on record with the reason, and the next row is predicted by the old one."""
    recorder, model = MemoryRecorder(), Answers()
    shelf = Shelf(model)
    core = opened(recorder, shelf, buyer())
    core.on_event(shelf.offer(11, "lost@1"))
    assert standings(recorder) == [("champion", "lost@1", "gone")]
    assert recorder.of(e.ModelStanding)[0].reason == "bundle lost@1 is gone"
    core.on_event(quote(12))
    assert [one.model for one in recorder.of(e.Prediction)] == ["mid@1"]
    assert core.counters.refused_offers == 1


def test_who_is_offered_again_wrongly_is_not_told_to_be_gone() -> None:
    """The canary goes on; whoever reads the record would else take its seat for empty."""
    recorder, shelf = MemoryRecorder(), Shelf(Answers("a@1"), Answers("b@1"))
    core = opened(recorder, shelf, buyer())
    core.slots[0].make_twin = buyer
    core.on_event(shelf.offer(11, "b@1", "canary", 0.25))
    core.on_event(shelf.offer(12, "b@1", "canary", 0.9))
    last = recorder.of(e.ModelStanding)[-1]
    assert (last.role, last.model, last.state) == ("canary", "b@1", "serving")
    assert last.reason == "share 0.9, expected above 0 and at most 0.5: it goes on as it was"
    assert core.counters.refused_offers == 1


def test_another_share_is_told_with_its_own_reason() -> None:
    """Who serves goes on for that reason; of one that does not serve, why stays."""
    recorder, shelf, canary = MemoryRecorder(), Shelf(Answers("a@1"), Answers("b@1")), "canary by ann: "
    core = opened(recorder, shelf, buyer())
    core.slots[0].make_twin = buyer
    core.on_event(shelf.offer(11, "b@1", "canary", 0.25, f"{canary}first"))
    core.on_event(shelf.offer(12, "b@1", "canary", 0.4, f"{canary}more"))
    assert [one.reason for one in recorder.of(e.ModelStanding)] == [f"{canary}first", f"{canary}more"]
    core.on_event(e.ModelAlarmed(13, 13, BTC, "b@1", "operator", "stop", 1.0, "a look"))
    core.on_event(shelf.offer(14, "b@1", "canary", 0.1, f"{canary}less"))
    last = recorder.of(e.ModelStanding)[-1]
    assert (last.state, last.reason) == ("stopped", "stopped by operator: a look")


def test_an_offer_where_nobody_uses_a_model_is_refused() -> None:
    """An instrument that is not known; an unknown role."""
    recorder = MemoryRecorder()
    shelf = Shelf(Answers(), Answers("b@1"))
    core = opened(recorder, shelf, buyer())
    core.on_event(e.ModelOffered(5, 5, "ETH/USD@coinbase", "champion", "b@1", "{}", ()))
    core.on_event(shelf.offer(6, "b@1", role="understudy"))
    assert [one.reason for one in recorder.of(e.ModelStanding)] == [
        "the instrument is not known here",
        "no role 'understudy' here",
    ]


def test_a_model_taken_away_leaves_the_rows() -> None:
    """No prediction any more; strategies are asked on rows and quotes, and the record says that nobody serves."""
    recorder, model, strategy = MemoryRecorder(), Answers(), Scripted()
    shelf = Shelf(model)
    core = opened(recorder, shelf, strategy)
    core.on_event(shelf.offer(11, "", reason="retired"))
    core.on_event(quote(12))
    assert recorder.of(e.Prediction) == []
    assert [name for name, _ in strategy.calls] == ["on_row", "on_quote"]
    assert [(one.model, one.spec) for one in recorder.of(e.ModelAssigned)] == [("mid@1", "{}"), ("", "{}")]
    assert [(one.state, one.reason) for one in recorder.of(e.ModelStanding)] == [("gone", "retired")]
    assert core.view.model(BTC) is None


def test_a_model_that_keeps_a_state_begins_anew_when_it_takes_the_seat() -> None:
    """``reset`` of the one that comes, with the instrument and why."""
    before, after = Answers("a@1"), Answers("b@1")
    shelf = Shelf(before, after)
    core = opened(MemoryRecorder(), shelf, buyer())
    core.on_event(shelf.offer(11, "b@1"))
    assert after.resets == [(BTC, "another version serves")]


def test_weights_reach_the_model_that_they_are_of() -> None:
    """Another version's are not taken."""
    model = Answers()
    core = opened(MemoryRecorder(), Shelf(model), buyer())
    core.on_event(e.ModelWeighed(5, 5, BTC, "mid@1", (0.25, 0.75)))
    core.on_event(e.ModelWeighed(6, 6, BTC, "other@1", (1.0, 0.0)))
    assert model.weights == [(0.25, 0.75)]


def test_a_provider_that_was_replaced_is_counted() -> None:
    """Nothing else follows from it in the core."""
    recorder = MemoryRecorder()
    core = opened(recorder, Shelf(Answers()), buyer())
    count = len(recorder.records)
    core.on_event(e.ProviderChanged(5, 5, "mid@1", "CUDAExecutionProvider", "CPUExecutionProvider", "lost"))
    assert core.counters.provider_changes == 1
    assert len(recorder.records) == count


def rules_of(rules: ServingRules, shelf: Shelf, recorder: MemoryRecorder | None = None, *more: Any) -> TradingCore:
    slots = [StrategySlot(one, make_twin=Scripted) for one in more or (Scripted(),)]
    core = TradingCore(
        recorder=recorder or MemoryRecorder(), gate=OpenGate(), slots=slots, assembly=shelf, currency="USD",
        id_prefix="k", rules=rules,
    )  # fmt: skip
    open_market(core)
    return core


def test_a_version_stands_in_one_role() -> None:
    """The canary is not the older one too; who becomes canary is the older one no more."""
    recorder = MemoryRecorder()
    shelf = Shelf(Answers("a@1"), Answers("b@1"))
    core = rules_of(ServingRules(1, 1_000, "older"), shelf, recorder)
    lane = core.lanes[BTC]
    core.on_event(shelf.offer(10, "b@1", "older"))
    core.on_event(shelf.offer(11, "b@1", "canary", 0.5))
    assert lane.older is None
    assert lane.canary is not None
    assert (lane.canary.version, lane.canary.state) == ("b@1", "serving")
    core.on_event(shelf.offer(12, "b@1", "older"))
    assert lane.older is None
    assert standings(recorder)[-1] == ("older", "b@1", "gone")
    assert recorder.of(e.ModelStanding)[-1].reason == "it is the canary"


@pytest.mark.fault("E11")
@pytest.mark.parametrize("role", ["champion", "canary"])
def test_a_version_past_its_date_takes_no_seat(role: str) -> None:
    """Not for the moment until the next row either."""
    recorder = MemoryRecorder()
    shelf = Shelf(Answers("a@1"), Answers("b@1"))
    shelf.facts["b@1"] = (("expires_ns", 20.0),)
    core = rules_of(ServingRules(), shelf, recorder)
    core.on_event(shelf.offer(20, "b@1", role, 0.5))
    assert standings(recorder) == [(role, "b@1", "gone")]
    assert recorder.of(e.ModelStanding)[0].reason == "model b@1 has expired"
    seat = core.lanes[BTC].seat
    assert seat is not None
    assert seat.version == "a@1"


@pytest.mark.fault("E11")
@pytest.mark.parametrize("expires_ns", [float("inf"), float("-inf"), float("nan")])
def test_a_date_that_is_no_time_has_come(expires_ns: float) -> None:
    """Told by whatever offers it: refused, and who serves goes on."""
    recorder = MemoryRecorder()
    shelf = Shelf(Answers("a@1"), Answers("b@1"))
    shelf.facts["b@1"] = (("expires_ns", expires_ns),)
    core = rules_of(ServingRules(), shelf, recorder)
    core.on_event(shelf.offer(20, "b@1"))
    assert [(one.model, one.state, one.reason) for one in recorder.of(e.ModelStanding)] == [
        ("b@1", "gone", "model b@1 has expired")
    ]
    assert core.view.model(BTC).version == "a@1"


@pytest.mark.fault("E11")
def test_a_version_whose_date_has_come_begins_as_expired() -> None:
    """Before the first row or timer: what the strategy enters on a quote is refused at once."""
    recorder, shelf = MemoryRecorder(), Shelf(Answers("a@1"))
    shelf.facts["a@1"] = (("expires_ns", 1.0),)
    core = opened(recorder, shelf, Scripted(on_quote=lambda *_: [intent()]))
    assert standings(recorder) == [("champion", "a@1", "expired")]
    assert not core.on_event(quote(10))
    assert [(one.check, one.seen) for one in recorder.of(Rejected)] == [("model", "model a@1 has expired")]


@pytest.mark.fault("E7")
def test_a_version_whose_assignment_finds_no_room_waits_until_it_does() -> None:
    """No decision rests on a version that is not on record as the one that serves."""
    recorder = MemoryRecorder()
    shelf = Shelf(Answers("a@1"), Answers("b@1"))
    core = rules_of(ServingRules(), shelf, recorder)
    recorder.fails_on = e.ModelAssigned
    core.on_event(shelf.offer(10, "b@1"))
    core.on_event(quote(11))
    assert [one.model for one in recorder.of(e.Prediction)] == ["a@1"]
    recorder.fails_on = None
    core.on_event(quote(12))
    assert [one.model for one in recorder.of(e.ModelAssigned)] == ["a@1", "b@1"]
    assert [one.model for one in recorder.of(e.Prediction)] == ["a@1", "b@1"]
