"""The breaker, expiry and what becomes of rows that nobody is asked about."""

from __future__ import annotations

import pytest

from engine import events as e
from engine.commands import NewOrder, Rejected
from engine.core import TradingCore
from engine.seats import ServingRules
from tests.support.core import (
    BTC,
    D,
    EveryQuote,
    MemoryRecorder,
    Scripted,
    build_core,
    buyer,
    fill,
    intent,
    open_market,
    quote,
)
from tests.support.serving import FACTS, Answers, Shelf

OK, LATE, FAILED, SKIPPED = (
    e.PredictionStatus.OK,
    e.PredictionStatus.LATE,
    e.PredictionStatus.FAILED,
    e.PredictionStatus.SKIPPED,
)
PAUSE_NS = 1_000
RULES = ServingRules(failures_max=3, pause_ns=PAUSE_NS)


def opened(recorder: MemoryRecorder, shelf: Shelf, *strategies: Scripted, rules: ServingRules = RULES) -> TradingCore:
    core = build_core(recorder, *(strategies or (Scripted(),)), assembly=shelf, rules=rules)
    open_market(core)
    return core


def states(recorder: MemoryRecorder) -> list[tuple[str, str]]:
    return [(one.model, one.state) for one in recorder.of(e.ModelStanding)]


@pytest.mark.fault("E4")
@pytest.mark.parametrize("status", [LATE, FAILED])
def test_a_model_that_is_late_or_fails_so_often_in_a_row_is_not_asked_any_more(status: e.PredictionStatus) -> None:
    """Three in a row and not two; then rows pass without a question until the pause is over, and one is tried."""
    recorder, model = MemoryRecorder(), Answers()
    model.statuses = [status, status, OK, status, status, status]
    core = opened(recorder, Shelf(model))
    for ts_ns in range(10, 16):
        core.on_event(quote(ts_ns))
    assert states(recorder) == [("mid@1", "broken")]
    assert "3 predictions in a row were late or failed" in recorder.of(e.ModelStanding)[0].reason
    for ts_ns in (16, 15 + PAUSE_NS - 1):
        core.on_event(quote(ts_ns))
    assert len(model.asked) == 6
    core.on_event(quote(15 + PAUSE_NS))
    assert len(model.asked) == 7
    assert states(recorder) == [("mid@1", "broken"), ("mid@1", "serving")]
    core.on_event(quote(16 + PAUSE_NS))
    assert len(model.asked) == 8
    assert core.counters.standings == {"broken": 1, "serving": 1}


@pytest.mark.fault("E4")
@pytest.mark.parametrize("status", [LATE, FAILED, SKIPPED])
def test_strategies_hear_only_of_predictions_that_may_be_traded_on(status: e.PredictionStatus) -> None:
    """One of a user's own that buys on each, whatever its status says: a late one has numbers like any other."""
    recorder, model = MemoryRecorder(), Answers()
    model.statuses = [status]
    core = opened(recorder, Shelf(model), buyer())
    core.on_event(quote(10))
    assert [one.status for one in recorder.of(e.Prediction)] == [status]
    assert not recorder.of(NewOrder)
    core.on_event(quote(11))
    assert len(recorder.of(NewOrder)) == 1


@pytest.mark.fault("E4")
def test_a_trial_that_fails_is_the_only_one_until_the_next_pause_is_over() -> None:
    """One row each pause, no new standing, as long as it is late."""
    recorder, model = MemoryRecorder(), Answers()
    model.statuses = [LATE] * 5
    core = opened(recorder, Shelf(model))
    for ts_ns in (10, 11, 12, 12 + PAUSE_NS, 13 + PAUSE_NS, 12 + 2 * PAUSE_NS, 13 + 2 * PAUSE_NS):
        core.on_event(quote(ts_ns))
    assert len(model.asked) == 5
    assert states(recorder) == [("mid@1", "broken")]


def test_without_a_limit_failures_go_on_being_asked_for() -> None:
    """``failures_max`` 0, as sessions of releases that knew no breaker."""
    recorder, model = MemoryRecorder(), Answers()
    model.statuses = [LATE] * 50
    core = opened(recorder, Shelf(model), rules=ServingRules())
    for ts_ns in range(10, 60):
        core.on_event(quote(ts_ns))
    assert len(model.asked) == 50
    assert states(recorder) == []


def test_rows_that_were_skipped_are_no_failures() -> None:
    """A worker that answers the newest row only has done nothing wrong."""
    recorder, model = MemoryRecorder(), Answers()
    model.statuses = [SKIPPED] * 10
    core = opened(recorder, Shelf(model))
    for ts_ns in range(10, 20):
        core.on_event(quote(ts_ns))
    assert states(recorder) == []


@pytest.mark.fault("E4")
def test_a_model_off_the_loop_is_broken_and_tried_like_any_other() -> None:
    """Answers that were asked for before the break are dropped; the trial's own answer ends it."""
    recorder, model = MemoryRecorder(), Answers(asynchronous=True)
    core = opened(recorder, Shelf(model))
    for ts_ns in (10, 20, 30, 40):
        core.on_event(quote(ts_ns))
    for row in range(3):
        core.on_event(model.answer(50 + row, row, LATE))
    assert states(recorder) == [("mid@1", "broken")]
    core.on_event(model.answer(55, 3))
    assert core.counters.stale_predictions == 1
    core.on_event(quote(60))
    assert len(model.asked) == 4
    core.on_event(quote(52 + PAUSE_NS))
    core.on_event(quote(53 + PAUSE_NS))
    assert len(model.asked) == 5
    core.on_event(model.answer(60 + PAUSE_NS, 3))  # of before, again
    assert states(recorder) == [("mid@1", "broken")]
    core.on_event(model.answer(61 + PAUSE_NS, 4))
    assert states(recorder) == [("mid@1", "broken"), ("mid@1", "serving")]


@pytest.mark.fault("E4")
def test_a_trial_that_is_never_answered_is_made_again() -> None:
    """After another pause: a worker may have lost it."""
    recorder, model = MemoryRecorder(), Answers(asynchronous=True)
    core = opened(recorder, Shelf(model))
    for ts_ns in (10, 20, 30):
        core.on_event(quote(ts_ns))
    for row in range(3):
        core.on_event(model.answer(50, row, FAILED))
    for ts_ns in (50 + PAUSE_NS, 51 + PAUSE_NS, 50 + 2 * PAUSE_NS):
        core.on_event(quote(ts_ns))
    assert len(model.asked) == 5


@pytest.mark.fault("E1")
@pytest.mark.fault("E4")
def test_while_no_model_serves_nothing_is_entered_and_everything_can_be_left() -> None:
    """A strategy that asks on quotes too: its entry is refused with the reason, its exit leaves."""
    recorder, model = MemoryRecorder(), Answers()
    wishes = [intent(e.Side.BUY, "2")]
    strategy = Scripted(on_quote=lambda *_: list(wishes))
    core = opened(recorder, Shelf(model), strategy)
    (order,) = core.on_event(quote(10))
    core.on_event(fill(order, "2", "100", "t1"))
    model.statuses = [FAILED] * 3
    wishes.clear()
    for ts_ns in (60, 61, 62):
        core.on_event(quote(ts_ns))
    wishes.append(intent(e.Side.BUY))
    assert not core.on_event(quote(63))
    refused = recorder.of(Rejected)[-1]
    assert (refused.check, refused.limit) == ("model", "a model that serves")
    assert "3 predictions in a row" in refused.seen
    wishes[:] = [intent(e.Side.SELL, "3", reduce_only=False)]
    (exit_order,) = core.on_event(quote(64))
    assert (exit_order.intent.side, exit_order.intent.qty) == (e.Side.SELL, D(2))


def test_a_strategy_without_a_model_trades_on() -> None:
    """Its entries are none of the model's business."""
    from engine.lanes import StrategySlot

    recorder, model = MemoryRecorder(), Answers()
    model.statuses = [FAILED] * 3
    plain = Scripted("plain", on_quote=lambda *_: [intent(strategy="plain")])
    core = build_core(recorder, Scripted(), assembly=Shelf(model), rules=RULES)
    core.slots.append(StrategySlot(plain, uses_model=False))
    open_market(core)
    for ts_ns in (10, 11, 12, 13):
        core.on_event(quote(ts_ns))
    assert states(recorder) == [("mid@1", "broken")]
    assert len(recorder.of(NewOrder)) == 4


@pytest.mark.fault("E11")
def test_a_model_that_expires_in_the_session_serves_no_more() -> None:
    """At the row on or after its date, on record once; entries are refused, and no trial is made."""
    recorder, model = MemoryRecorder(), Answers()
    shelf = Shelf(model)
    shelf.facts["mid@1"] = (*FACTS, ("expires_ns", 20.0))
    core = opened(recorder, shelf, buyer())
    for ts_ns in (18, 19, 20, 21, 21 + 10 * PAUSE_NS):
        core.on_event(quote(ts_ns))
    assert [one.ts_recv_ns for one in recorder.of(e.Prediction)] == [18, 19]
    assert [(one.state, one.reason) for one in recorder.of(e.ModelStanding)] == [("expired", "model mid@1 has expired")]
    served = core.view.model(BTC)
    assert served is not None
    assert served.state == "expired"


@pytest.mark.fault("E11")
def test_a_model_expires_also_where_no_rows_come() -> None:
    """By the timer: entries that a strategy asks for on a timer are refused from then on."""
    recorder, model = MemoryRecorder(), Answers()
    shelf = Shelf(model)
    shelf.facts["mid@1"] = (*FACTS, ("expires_ns", 20.0))
    core = opened(recorder, shelf, Scripted(on_timer=lambda *_: [intent()]))
    core.on_event(e.Timer(19, 19, "tick"))
    assert len(recorder.of(NewOrder)) == 1
    core.on_event(e.Timer(20, 20, "tick"))
    assert len(recorder.of(NewOrder)) == 1
    assert recorder.of(Rejected)[-1].seen == "model mid@1 has expired"


@pytest.mark.fault("E4")
def test_the_older_model_steps_in_while_the_champion_is_broken() -> None:
    """Its suggestions are told, its predictions traded on; the champion's trial gives the seat back."""
    recorder, champion, older = MemoryRecorder(), Answers("new@1"), Answers("old@1", 0.001)
    champion.statuses = [FAILED] * 3
    shelf = Shelf(champion, older)
    shelf.facts["old@1"] = (("buy", 0.9),)
    strategy = Scripted(
        on_prediction=lambda prediction, seq, view: (
            [intent(model=prediction.model, prediction_seq=seq)] if prediction.status is OK else []
        )
    )
    rules = ServingRules(3, PAUSE_NS, "older")
    core = opened(recorder, shelf, strategy, rules=rules)
    core.on_event(shelf.offer(5, "old@1", "older"))
    for ts_ns in (10, 11, 12):
        core.on_event(quote(ts_ns, 100.25 + ts_ns / 100, 100.30 + ts_ns / 100))
    assert strategy.facts == {"buy": 0.9}
    served = core.view.model(BTC)
    assert served is not None
    assert (served.version, served.role) == ("old@1", "older")
    core.on_event(quote(13))
    core.on_event(quote(12 + PAUSE_NS))
    assert strategy.facts == {"buy": 0.6}
    core.on_event(quote(13 + PAUSE_NS))
    assert [order.intent.model for order in recorder.of(NewOrder)] == ["old@1", "old@1", "new@1", "new@1"]
    assert not recorder.of(Rejected)


def test_an_older_model_is_refused_where_it_would_never_serve() -> None:
    """The fallback is another one."""
    recorder = MemoryRecorder()
    shelf = Shelf(Answers(), Answers("old@1"))
    core = opened(recorder, shelf)
    core.on_event(shelf.offer(5, "old@1", "older"))
    assert [(one.state, one.reason) for one in recorder.of(e.ModelStanding)] == [("gone", "the fallback is hold")]


@pytest.mark.fault("E8")
def test_a_model_that_keeps_a_state_is_told_of_rows_it_was_not_asked_about() -> None:
    """After a hole in the feed, after rows that were not warm, and after a pause of the breaker."""
    recorder, model = MemoryRecorder(), Answers()
    core = opened(recorder, Shelf(model))
    core.on_event(quote(10))
    assert model.resets == []
    core.on_event(e.Gap(11, 11, "coinbase", BTC, 3, 5))
    assert model.resets == [(BTC, "gap: expected 3, got 5")]
    model.statuses = [FAILED] * 3
    for ts_ns in (12, 13, 14, 15):
        core.on_event(quote(ts_ns))
    core.on_event(quote(14 + PAUSE_NS))
    assert model.resets[1:] == [(BTC, "rows were missed")]
    core.on_event(quote(15 + PAUSE_NS))
    assert len(model.resets) == 2


def test_a_model_that_keeps_a_state_begins_anew_when_the_market_opens() -> None:
    """Halted, then trading: told once."""
    model = Answers()
    core = opened(MemoryRecorder(), Shelf(model))
    for ts_ns, status in ((10, e.TradingStatus.HALTED), (20, e.TradingStatus.TRADING), (30, e.TradingStatus.TRADING)):
        core.on_event(e.InstrumentStatus(ts_ns, ts_ns, BTC, status))
    assert model.resets == [(BTC, "the market has opened")]
    core.on_event(e.SessionScheduled(40, 40, "coinbase", "", 40, 50, "venue"))
    core.on_event(e.Timer(60, 60, "tick"))
    core.on_event(e.SessionScheduled(70, 70, "coinbase", "", 70, 90, "venue"))
    assert model.resets == [(BTC, "the market has opened")] * 2


@pytest.mark.fault("E8")
def test_an_answer_of_a_row_before_a_hole_is_dropped_also_where_rows_are_whole_again() -> None:
    """The hole lies between its row and its arrival; the next row's answer counts."""
    recorder, model = MemoryRecorder(), Answers(asynchronous=True)
    core = opened(recorder, Shelf(model))
    core.on_event(quote(10))
    core.on_event(e.Gap(11, 11, "coinbase", BTC, 3, 5))
    core.on_event(quote(12))
    core.on_event(model.answer(13, 0))
    assert recorder.of(e.Prediction) == []
    assert core.counters.stale_predictions == 1
    core.on_event(model.answer(14, 1))
    assert [one.ts_recv_ns for one in recorder.of(e.Prediction)] == [12]


@pytest.mark.fault("E8")
def test_an_answer_of_a_row_before_rows_that_were_not_whole_is_dropped() -> None:
    """Whatever made them so: here the buffer itself began anew, and nobody told of a hole."""
    recorder, model, features = MemoryRecorder(), Answers(asynchronous=True), EveryQuote(2)
    core = opened(recorder, Shelf(model, features=lambda: features))
    for ts_ns in (9, 10):
        core.on_event(quote(ts_ns))
    features.mark_gap("too long between two rows")
    for ts_ns in (11, 12):
        core.on_event(quote(ts_ns))
    core.on_event(model.answer(13, 0))
    assert recorder.of(e.Prediction) == []
    core.on_event(model.answer(14, 1))
    assert [one.ts_recv_ns for one in recorder.of(e.Prediction)] == [12]


@pytest.mark.fault("E11")
def test_an_answer_that_comes_after_the_models_date_is_dropped() -> None:
    """Asked in time: at its arrival the model was not meant to be trusted any longer, and that is on record."""
    recorder, model = MemoryRecorder(), Answers(asynchronous=True)
    shelf = Shelf(model)
    shelf.facts["mid@1"] = (*FACTS, ("asynchronous", 1.0), ("expires_ns", 20.0))
    core = opened(recorder, shelf, buyer())
    core.on_event(quote(19))
    assert not core.on_event(model.answer(20))
    assert recorder.of(e.Prediction) == []
    assert states(recorder) == [("mid@1", "expired")]
    assert core.counters.stale_predictions == 1


def test_an_answer_that_was_overtaken_is_dropped() -> None:
    """A newer row was answered before it: what it says of the market is over."""
    recorder, model = MemoryRecorder(), Answers(asynchronous=True)
    core = opened(recorder, Shelf(model))
    for ts_ns in (10, 11):
        core.on_event(quote(ts_ns))
    core.on_event(model.answer(12, 1))
    core.on_event(model.answer(13, 0))
    assert [one.ts_recv_ns for one in recorder.of(e.Prediction)] == [11]
    assert core.counters.stale_predictions == 1
