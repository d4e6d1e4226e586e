"""What strategies feel: alarms, resting entries, positions that are closed."""

from __future__ import annotations

import pytest

from engine import events as e
from engine.carried import decode_carried, encode_carried
from engine.commands import CancelOrder, NewOrder, OrderType, TimeInForce
from engine.continuity import take
from engine.core import TradingCore
from engine.lanes import StrategySlot
from engine.recovery import Recovery
from engine.seats import ServingRules
from tests.support.core import BTC, D, MemoryRecorder, OpenGate, Scripted, fill, intent, open_market, quote
from tests.support.serving import Answers, Shelf
from tests.support.trusting import FAILED, SECOND_NS, alarm, end_all, opened, sizes, states, trader


@pytest.mark.fault("E10")
def test_an_alarm_sizes_entries_down_until_it_is_over() -> None:
    """Half the size, then all of it again; each change on record."""
    recorder, shelf = MemoryRecorder(), Shelf(Answers())
    core = opened(recorder, shelf)
    core.on_event(quote(10))
    end_all(core, 10)
    core.on_event(alarm(11, "size_down", 0.5))
    core.on_event(quote(12))
    core.on_event(alarm(13, "clear"))
    core.on_event(quote(14))
    assert [qty for *_, qty in sizes(recorder)] == [D(1), D("0.5"), D(1)]
    assert states(recorder) == [("champion", "mid@1", "serving", 0.5), ("champion", "mid@1", "serving", 1.0)]
    assert core.counters.alarms == {"size_down": 1, "clear": 1}


@pytest.mark.fault("E10")
def test_an_alarm_stops_a_model_until_it_is_over() -> None:
    """Not asked, entries refused; a model off the loop is not heard either."""
    recorder, model = MemoryRecorder(), Answers(asynchronous=True)
    core = opened(recorder, Shelf(model))
    core.on_event(quote(10))
    core.on_event(alarm(11, "stop"))
    core.on_event(model.answer(12))
    core.on_event(quote(13))
    assert recorder.of(e.Prediction) == []
    assert len(model.asked) == 1
    core.on_event(alarm(14, "clear"))
    core.on_event(quote(15))
    core.on_event(model.answer(16))
    assert len(recorder.of(NewOrder)) == 1
    assert [(one.state, one.reason) for one in recorder.of(e.ModelStanding)] == [
        ("stopped", "stopped by psi: 0.31"),
        ("serving", "its alarm is over"),
    ]


def test_an_alert_and_an_alarm_about_another_version_change_nothing() -> None:
    """They are counted; what makes no sense is too."""
    recorder = MemoryRecorder()
    core = opened(recorder, Shelf(Answers()))
    for event in (alarm(10, "alert"), alarm(11, "stop", model="other@1"), alarm(12, "size_down", float("nan"))):
        core.on_event(event)
    core.on_event(quote(13))
    assert states(recorder) == []
    assert sizes(recorder) == [("s", "mid@1", D(1))]
    assert core.counters.alarms == {"alert": 1, "stop": 1, "unreadable": 1}


@pytest.mark.fault("E10")
def test_an_alarm_holds_in_the_next_session_for_the_same_version() -> None:
    """By the state that is kept, and by the records behind it; for no other version, for this one when it is back."""
    recorder, shelf = MemoryRecorder(), Shelf(Answers(), Answers("b@1"))
    core = opened(recorder, shelf)
    core.on_event(alarm(11, "stop"))
    kept = take(core, "")
    assert decode_carried(encode_carried(kept)).alarms == kept.alarms
    recovery = Recovery("USD")
    recovery.take([record for record in recorder.records if not isinstance(record, e.StateKept)])
    recovery.take([alarm(11, "stop")])
    assert recovery.left().alarms == kept.alarms

    after = MemoryRecorder()
    again = TradingCore(
        recorder=after, gate=OpenGate(), slots=[StrategySlot(trader())], assembly=shelf, currency="USD", id_prefix="l"
    )
    again.on_event(e.StateCarried(20, 20, "before", 9, encode_carried(kept)))
    open_market(again)
    again.on_event(quote(21))
    assert [state for *_, state, _ in states(after)] == ["stopped"]
    assert after.of(e.Prediction) == []
    again.on_event(shelf.offer(22, "b@1"))
    again.on_event(quote(23))
    assert [one.model for one in after.of(e.Prediction)] == ["b@1"]
    again.on_event(shelf.offer(24, "mid@1"))
    again.on_event(quote(25))
    assert [one.model for one in after.of(e.Prediction)] == ["b@1"]
    again.on_event(alarm(26, "clear"))
    again.on_event(quote(27))
    assert [one.model for one in after.of(e.Prediction)] == ["b@1", "mid@1"]


def test_a_state_without_alarms_is_written_as_before() -> None:
    """Sessions of releases that knew none replay byte for byte: the last field is not there."""
    core = opened(MemoryRecorder(), Shelf(Answers()))
    raw = encode_carried(take(core, ""))
    core.on_event(alarm(11, "stop"))
    longer = encode_carried(take(core, ""))
    assert len(longer) > len(raw)
    assert decode_carried(raw).alarms == ()


@pytest.mark.fault("E4")
def test_entries_that_rest_go_when_their_model_stops() -> None:
    """The entry is cancelled, again where that was refused; the exit that rests stays."""
    wishes: list = [intent(time_in_force=TimeInForce.GTC, qty="2")]
    strategy = Scripted(on_quote=lambda *_: list(wishes))
    recorder = MemoryRecorder()
    core = opened(recorder, Shelf(Answers()), strategy)
    (entry,) = core.on_event(quote(10))
    core.on_event(fill(entry, "1", "100", "t1"))
    wishes[:] = [intent(e.Side.SELL, "1", limit_px=D(120), time_in_force=TimeInForce.GTC, reduce_only=True)]
    core.on_event(quote(60))
    wishes.clear()
    (cancel,) = core.on_event(alarm(70, "stop"))
    assert isinstance(cancel, CancelOrder)
    assert (cancel.client_order_id, cancel.reason) == (entry.client_order_id, "stopped by psi: 0.31")
    core.on_event(e.CancelRejected(80, 80, "coinbase", entry.client_order_id, "late"))
    assert not core.on_event(e.Timer(90, 90, "tick"))
    out = core.on_event(e.Timer(70 + SECOND_NS, 70 + SECOND_NS, "tick"))
    assert [one.client_order_id for one in out] == [entry.client_order_id]


@pytest.mark.fault("E4")
def test_an_exit_that_has_filled_in_part_stays_when_its_model_stops() -> None:
    """1 held, a sale of 1 that is not reduce-only has filled 0.6: what is left closes the 0.4 that are left."""
    core = opened(MemoryRecorder(), Shelf(Answers()), Scripted())
    entry = core.desk.place(intent())
    assert isinstance(entry, NewOrder)
    core.on_event(fill(entry, "1", "100", "t1"))
    leaving = core.desk.place(intent(e.Side.SELL, "1", limit_px=D(120), time_in_force=TimeInForce.GTC))
    assert isinstance(leaving, NewOrder)
    core.on_event(fill(leaving, "0.6", "120", "t2"))
    assert not core.on_event(alarm(70, "stop"))


@pytest.mark.fault("E4")
def test_flat_closes_what_the_models_strategies_hold_and_nothing_else() -> None:
    """Its resting orders first, then its own position at market, in its own name; another strategy's stays."""
    recorder, model = MemoryRecorder(), Answers()
    plain = Scripted("plain")
    core = opened(recorder, Shelf(model), rules=ServingRules(1, SECOND_NS, "flat"))
    core.slots.append(StrategySlot(plain, uses_model=False))
    (order,) = core.on_event(quote(10))
    core.on_event(fill(order, "1", "100", "t1"))
    other = core.desk.place(intent(strategy="plain", qty="3"))
    assert isinstance(other, NewOrder)
    core.on_event(fill(other, "3", "100", "t2"))
    resting = core.desk.place(intent(e.Side.SELL, "1", limit_px=D(120), time_in_force=TimeInForce.GTC))
    assert isinstance(resting, NewOrder)
    model.statuses = [FAILED]
    (cancel,) = core.on_event(quote(60))
    assert cancel.client_order_id == resting.client_order_id
    core.on_event(e.OrderCancelled(61, 61, "coinbase", resting.client_order_id, "v"))
    (closing,) = core.on_event(e.Timer(62, 62, "tick"))
    wish = closing.intent
    assert (wish.strategy, wish.side, wish.qty, wish.reduce_only) == ("s", e.Side.SELL, D(1), True)
    assert wish.order_type is OrderType.MARKET
    core.on_event(fill(closing, "1", "100", "t3"))
    assert not core.on_event(e.Timer(63 + 2 * SECOND_NS, 63 + 2 * SECOND_NS, "tick"))
    assert core.view.strategy_qty("s", BTC) == 0
    assert core.view.strategy_qty("plain", BTC) == D(3)


@pytest.mark.fault("E4")
def test_a_fill_that_comes_after_the_break_is_closed_too() -> None:
    """The entry was under way when the model broke; unfinished closings are tried again each second."""
    recorder, model = MemoryRecorder(), Answers()
    core = opened(recorder, Shelf(model), rules=ServingRules(1, 3600 * SECOND_NS, "flat"))
    (order,) = core.on_event(quote(10))
    model.statuses = [FAILED]
    (cancel,) = core.on_event(quote(11))
    assert cancel.client_order_id == order.client_order_id
    core.on_event(fill(order, "1", "100", "t1"))
    (closing,) = core.on_event(e.Timer(60, 60, "tick"))
    core.on_event(e.OrderRejected(61, 61, "coinbase", closing.client_order_id, "busy"))
    assert not core.on_event(e.Timer(62, 62, "tick"))
    (again,) = core.on_event(e.Timer(60 + SECOND_NS, 60 + SECOND_NS, "tick"))
    assert again.intent.qty == D(1)


def test_flat_closes_also_where_the_champion_was_taken_away() -> None:
    """Nobody serves: what its strategies hold is closed, and nothing more once somebody serves again."""
    recorder, shelf = MemoryRecorder(), Shelf(Answers("a@1"), Answers("b@1"))
    core = opened(recorder, shelf, rules=ServingRules(1, SECOND_NS, "flat"))
    (order,) = core.on_event(quote(10))
    core.on_event(fill(order, "1", "100", "t1"))
    (closing,) = core.on_event(shelf.offer(60, "", reason="retired"))
    assert (closing.intent.side, closing.intent.qty, closing.intent.reason) == (e.Side.SELL, D(1), "retired")
    core.on_event(shelf.offer(61, "b@1"))
    core.on_event(e.OrderRejected(62, 62, "coinbase", closing.client_order_id, "busy"))
    assert not core.on_event(e.Timer(63 + SECOND_NS, 63 + SECOND_NS, "tick"))


def test_hold_keeps_the_position() -> None:
    """The default: only the strategy's own exits act."""
    recorder, model = MemoryRecorder(), Answers()
    core = opened(recorder, Shelf(model), rules=ServingRules(1))
    (order,) = core.on_event(quote(10))
    core.on_event(fill(order, "1", "100", "t1"))
    model.statuses = [FAILED]
    core.on_event(quote(60))
    assert not core.on_event(e.Timer(61, 61, "tick"))
    assert core.view.strategy_qty("s", BTC) == D(1)
