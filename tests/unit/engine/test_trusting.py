"""What strategies feel: alarms, resting entries, positions that are closed, canaries, other features."""

from __future__ import annotations

from decimal import Decimal

import pytest

from engine import events as e
from engine.carried import decode_carried, encode_carried
from engine.commands import CancelOrder, NewOrder, OrderType, Rejected, TimeInForce
from engine.continuity import take
from engine.core import TradingCore
from engine.lanes import StrategySlot
from engine.recovery import Recovery
from engine.seats import ServingRules
from tests.support.core import BTC, D, MemoryRecorder, OpenGate, Scripted, fill, intent, open_market, quote, spot
from tests.support.serving import Answers, Shelf

FAILED = e.PredictionStatus.FAILED
SECOND_NS = 1_000_000_000


def trader(name: str = "s") -> Scripted:
    """Buys 1 on every good prediction, under the version's name."""

    def on_prediction(prediction, seq, view):
        if not prediction.values or prediction.status is not e.PredictionStatus.OK:
            return []
        return [intent(strategy=name, model=prediction.model, prediction_seq=seq)]

    return Scripted(name, on_prediction=on_prediction)


def opened(
    recorder: MemoryRecorder, shelf: Shelf, *strategies: Scripted, rules: ServingRules | None = None
) -> TradingCore:
    slots = [StrategySlot(one, make_twin=trader) for one in strategies or (trader(),)]
    core = TradingCore(
        recorder=recorder, gate=OpenGate(), slots=slots, assembly=shelf, currency="USD", id_prefix="k", rules=rules
    )
    open_market(core, cash="100000")
    return core


def alarm(ts_ns: int, action: str, factor: float = 1.0, model: str = "mid@1", source: str = "psi") -> e.ModelAlarmed:
    return e.ModelAlarmed(ts_ns, ts_ns, BTC, model, source, action, factor, "0.31")


def end_all(core: TradingCore, ts_ns: int) -> None:
    """Nothing rests any more."""
    for order in core.orders.open_orders():
        core.on_event(e.OrderCancelled(ts_ns, ts_ns, "coinbase", order.client_order_id, "v"))


def sizes(recorder: MemoryRecorder) -> list[tuple[str, str, Decimal]]:
    return [(one.intent.strategy, one.intent.model, one.intent.qty) for one in recorder.of(NewOrder)]


def states(recorder: MemoryRecorder) -> list[tuple[str, str, str, float]]:
    return [(one.role, one.model, one.state, one.factor) for one in recorder.of(e.ModelStanding)]


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
    """By the state that is kept, and by the records behind it; another version begins anew."""
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


# --- canaries ---------------------------------------------------------------------------------------------------------


def test_a_canary_trades_its_share_in_a_twin() -> None:
    """Base strategy on the champion at 0.95, twin on the canary at 0.05, each with books of its own."""
    recorder, shelf = MemoryRecorder(), Shelf(Answers("a@1"), Answers("b@1"))
    core = opened(recorder, shelf)
    core.on_event(quote(10))
    end_all(core, 10)
    core.on_event(shelf.offer(11, "b@1", "canary", 0.05))
    orders = list(core.on_event(quote(12)))
    assert sizes(recorder) == [("s", "a@1", D(1)), ("s", "a@1", D("0.95")), ("s.canary", "b@1", D("0.05"))]
    core.on_event(fill(orders[1], "0.05", "100", "t1"))
    assert (core.view.strategy_qty("s", BTC), core.view.strategy_qty("s.canary", BTC)) == (D(0), D("0.05"))
    assert states(recorder) == [("canary", "b@1", "serving", 1.0)]
    left = core.desk.place(intent(e.Side.SELL, "0.05", "s.canary"))
    assert isinstance(left, NewOrder)
    core.on_event(fill(left, "0.05", "100", "t2"))
    end_all(core, 59)
    core.on_event(alarm(60, "size_down", 0.5, "b@1"))
    core.on_event(quote(61))
    assert sizes(recorder)[-2:] == [("s", "a@1", D("0.95")), ("s.canary", "b@1", D("0.025"))]


def test_a_canary_that_breaks_leaves_the_champion_alone() -> None:
    """Its twin enters nothing, the base strategy goes on at its part."""
    recorder, canary = MemoryRecorder(), Answers("b@1")
    shelf = Shelf(Answers("a@1"), canary)
    core = opened(recorder, shelf, rules=ServingRules(1))
    core.on_event(shelf.offer(11, "b@1", "canary", 0.2))
    canary.statuses = [FAILED]
    core.on_event(quote(12))
    end_all(core, 12)
    core.on_event(quote(13))
    assert sizes(recorder) == [("s", "a@1", D("0.8"))] * 2
    assert states(recorder)[-1][:3] == ("canary", "b@1", "broken")


def test_a_strategy_that_is_not_trusted_has_no_twin_that_trades() -> None:
    """Quarantined before the canary came, none is made; afterwards, its twin enters nothing from the next offer on."""
    recorder, shelf = MemoryRecorder(), Shelf(Answers("a@1"), Answers("b@1"))
    core = opened(recorder, shelf)
    core.slots[0].alive = False
    core.on_event(shelf.offer(11, "b@1", "canary", 0.05))
    assert [slot.name for slot in core.slots] == ["s"]
    core.slots[0].alive = True
    core.on_event(shelf.offer(12, "", "canary"))
    core.on_event(shelf.offer(13, "b@1", "canary", 0.05))
    core.slots[0].alive = False
    core.on_event(shelf.offer(14, "b@1", "canary", 0.1))
    core.on_event(quote(15))
    assert sizes(recorder) == []
    assert recorder.of(Rejected)[-1].intent.strategy == "s.canary"


def test_a_canary_goes_with_its_champion() -> None:
    """Nobody is left beside whom it could be measured: its twin enters nothing."""
    recorder, shelf = MemoryRecorder(), Shelf(Answers("a@1"), Answers("b@1"))
    core = opened(recorder, shelf)
    core.on_event(shelf.offer(11, "b@1", "canary", 0.05))
    core.on_event(shelf.offer(12, "", reason="retired"))
    core.on_event(quote(13))
    assert sizes(recorder) == []
    assert core.lanes[BTC].canary is None


def test_a_canary_that_goes_leaves_its_position_to_its_twin() -> None:
    """The base strategy has its whole size again; the twin is asked about the champion's predictions as long as it
    holds something, enters nothing and may leave."""
    recorder, shelf = MemoryRecorder(), Shelf(Answers("a@1"), Answers("b@1"))
    core = opened(recorder, shelf)
    core.on_event(shelf.offer(11, "b@1", "canary", 0.05))
    orders = list(core.on_event(quote(12)))
    core.on_event(fill(orders[1], "0.05", "100", "t1"))
    core.on_event(shelf.offer(60, "", "canary", reason="not better"))
    core.on_event(quote(61))
    assert sizes(recorder)[-1] == ("s", "a@1", D(1))
    refused = recorder.of(Rejected)[-1]
    assert (refused.intent.strategy, refused.intent.model, refused.check) == ("s.canary", "a@1", "model")
    count = len(recorder.of(Rejected))
    left = core.desk.place(intent(e.Side.SELL, "0.05", "s.canary"))
    assert isinstance(left, NewOrder)
    core.on_event(fill(left, "0.05", "100", "t2"))
    core.on_event(quote(62))
    assert len(recorder.of(Rejected)) == count


@pytest.mark.fault("E7")
def test_a_canary_becomes_champion() -> None:
    """Promoted: one version serves all, on record in this order."""
    recorder, shelf = MemoryRecorder(), Shelf(Answers("a@1"), Answers("b@1"))
    core = opened(recorder, shelf)
    core.on_event(shelf.offer(11, "b@1", "canary", 0.05))
    core.on_event(shelf.offer(12, "b@1"))
    core.on_event(quote(13))
    assert sizes(recorder) == [("s", "b@1", D(1))]
    kinds = [one for one in recorder.records if isinstance(one, e.ModelAssigned | e.ModelStanding)]
    assert [(type(one).__name__, one.model) for one in kinds] == [
        ("ModelAssigned", "a@1"), ("ModelStanding", "b@1"), ("ModelAssigned", "b@1"), ("ModelStanding", "b@1"),
    ]  # fmt: skip
    assert states(recorder)[-1] == ("canary", "b@1", "gone", 1.0)


@pytest.mark.parametrize("share", [0.0, -0.1, 0.6, float("nan"), float("inf")])
def test_a_share_that_is_none_is_refused(share: float) -> None:
    """Above 0 and at most a half."""
    recorder, shelf = MemoryRecorder(), Shelf(Answers("a@1"), Answers("b@1"))
    core = opened(recorder, shelf)
    core.on_event(shelf.offer(11, "b@1", "canary", share))
    assert states(recorder) == [("canary", "b@1", "gone", 1.0)]
    assert [slot.name for slot in core.slots] == ["s"]


def test_the_champion_is_no_canary() -> None:
    """It would trade beside itself."""
    recorder, shelf = MemoryRecorder(), Shelf(Answers("a@1"))
    core = opened(recorder, shelf)
    core.on_event(shelf.offer(11, "a@1", "canary", 0.05))
    assert recorder.of(e.ModelStanding)[0].reason == "it is the champion"


def test_a_strategy_that_cannot_be_made_twice_has_no_canary() -> None:
    """What its class raises is the reason, and the strategy goes on alone."""
    recorder, shelf = MemoryRecorder(), Shelf(Answers("a@1"), Answers("b@1"))
    core = opened(recorder, shelf)

    def fails(name: str):
        raise RuntimeError("only one")

    core.slots[0].make_twin = fails
    core.on_event(shelf.offer(11, "b@1", "canary", 0.05))
    assert "a second s failed: RuntimeError" in recorder.of(e.ModelStanding)[0].reason
    core.on_event(quote(12))
    assert sizes(recorder) == [("s", "a@1", D(1))]


def test_a_twin_and_what_it_holds_outlive_the_session() -> None:
    """The next one has it again, without a canary: it holds, enters nothing, and the base has its whole size."""
    recorder, shelf = MemoryRecorder(), Shelf(Answers("a@1"), Answers("b@1"))
    core = opened(recorder, shelf)
    core.on_event(shelf.offer(11, "b@1", "canary", 0.05))
    orders = list(core.on_event(quote(12)))
    for number, order in enumerate(orders):
        core.on_event(fill(order, str(order.intent.qty), "100", f"t{number}"))
    kept = take(core, "")
    after = MemoryRecorder()
    again = TradingCore(
        recorder=after, gate=OpenGate(), slots=[StrategySlot(trader(), make_twin=trader)], assembly=shelf,
        currency="USD", id_prefix="l",
    )  # fmt: skip
    again.on_event(e.StateCarried(70, 70, "before", 9, encode_carried(kept)))
    open_market(again)
    again.on_event(e.AccountSettled(71, 71, "coinbase", (("USD", D("100000")), ("BTC", D(1))), ()))
    assert [slot.name for slot in again.slots] == ["s", "s.canary"]
    again.on_event(quote(72))
    assert again.view.strategy_qty("s.canary", BTC) == D("0.05")
    assert sizes(after) == [("s", "a@1", D(1))]
    assert {one.intent.strategy for one in after.of(Rejected)} == {"s.canary"}


def test_a_twin_enters_nothing_where_there_is_no_canary() -> None:
    """On another instrument of its strategy, and where the canary that woke it could not be had."""
    eth = "ETH/USD@coinbase"
    strategy = Scripted(on_quote=lambda name, view: [intent(instrument=name)])
    recorder, shelf = MemoryRecorder(), Shelf(Answers("a@1"), Answers("b@1"))
    core = opened(recorder, shelf, strategy)
    core.slots[0].make_twin = lambda name: Scripted(
        name, on_quote=lambda at, view: [intent(strategy=name, instrument=at)]
    )
    core.on_event(e.InstrumentDefined(5, 5, spot(id=eth, venue_symbol="ETH-USD", base="ETH")))
    core.on_event(shelf.offer(11, "lost@1", "canary", 0.05))
    core.on_event(quote(12))
    core.on_event(shelf.offer(13, "b@1", "canary", 0.05))
    core.on_event(quote(14, instrument=eth))
    assert [(one.intent.strategy, one.intent.instrument) for one in recorder.of(NewOrder)] == [("s", BTC), ("s", eth)]
    assert {one.intent.strategy for one in recorder.of(Rejected)} == {"s.canary"}


def test_a_session_without_a_canary_carries_no_twin() -> None:
    """What it leaves is what it always left."""
    core = opened(MemoryRecorder(), Shelf(Answers("a@1")))
    assert [one.name for one in take(core, "").strategies] == ["s"]


# --- other features ---------------------------------------------------------------------------------------------------


@pytest.mark.fault("E7")
@pytest.mark.fault("E8")
def test_a_version_with_other_features_serves_from_the_first_row_on_which_they_are_warm() -> None:
    """Until then the one before does; the row that makes them warm is the new one's."""
    recorder, shelf = MemoryRecorder(), Shelf(Answers("a@1"), Answers("b@1"))
    shelf.specs["b@1"] = '{"other":1}'
    core = opened(recorder, shelf)
    core.on_event(quote(10))
    core.on_event(shelf.offer(11, "b@1"))
    for ts_ns in (12, 13, 14, 15):
        core.on_event(quote(ts_ns))
    assert [one.model for one in recorder.of(e.Prediction)] == ["a@1", "a@1", "a@1", "b@1", "b@1"]
    assert states(recorder) == [("champion", "b@1", "warming", 1.0)]
    lane = core.lanes[BTC]
    assert lane.features is shelf.made[1]
    assert not lane.beside


def test_a_hole_in_the_feed_holds_up_what_warms_up() -> None:
    """Both buffers begin again, and neither model is asked before its own is warm."""
    recorder, shelf = MemoryRecorder(), Shelf(Answers("a@1"), Answers("b@1"))
    shelf.specs["b@1"] = '{"other":1}'
    core = opened(recorder, shelf)
    core.on_event(shelf.offer(11, "b@1"))
    for ts_ns in (12, 13):
        core.on_event(quote(ts_ns))
    core.on_event(e.Gap(14, 14, "coinbase", BTC, 3, 5))
    for ts_ns in (15, 16, 17):
        core.on_event(quote(ts_ns))
    assert [one.model for one in recorder.of(e.Prediction)] == ["a@1", "a@1", "a@1", "a@1", "b@1"]


def test_who_warms_up_may_be_called_off() -> None:
    """The champion offered again, or another version: the buffer goes with it."""
    recorder, shelf = MemoryRecorder(), Shelf(Answers("a@1"), Answers("b@1"))
    shelf.specs["b@1"] = '{"other":1}'
    core = opened(recorder, shelf)
    core.on_event(shelf.offer(11, "b@1"))
    core.on_event(shelf.offer(12, "a@1"))
    assert states(recorder)[-1][2] == "gone"
    for ts_ns in range(13, 20):
        core.on_event(quote(ts_ns))
    assert {one.model for one in recorder.of(e.Prediction)} == {"a@1"}
    assert core.lanes[BTC].features is shelf.made[0]


def test_a_canary_with_other_features_is_asked_about_its_own_rows() -> None:
    """Warming at first, then serving; the champion's rows go on meanwhile, and features are shared with who comes."""
    recorder, shelf = MemoryRecorder(), Shelf(Answers("a@1"), Answers("b@1"))
    shelf.specs["b@1"] = '{"other":1}'
    core = opened(recorder, shelf)
    core.on_event(shelf.offer(11, "b@1", "canary", 0.5))
    for ts_ns in (12, 13, 14):
        core.on_event(quote(ts_ns))
    assert [one.model for one in recorder.of(e.Prediction)] == ["a@1", "a@1", "a@1", "b@1"]
    assert states(recorder) == [("canary", "b@1", "warming", 1.0), ("canary", "b@1", "serving", 1.0)]
    core.on_event(shelf.offer(15, "b@1"))
    core.on_event(quote(16))
    assert [one.model for one in recorder.of(e.Prediction)][-1] == "b@1"
    assert len(shelf.made) == 2
