"""What is held is closed although its strategy goes on asking, or an opposite position hides it."""

from __future__ import annotations

from typing import Any

import pytest

from engine import events as e
from engine.carried import encode_carried
from engine.commands import CancelIntent, CancelOrder, NewOrder, OrderType, Rejected, TimeInForce
from engine.continuity import take
from engine.flattening import TRIES
from engine.seats import ServingRules
from tests.support.core import BTC, D, MemoryRecorder, Scripted, build_core, fill, intent, open_market, perpetual, quote
from tests.support.serving import Answers, Shelf
from tests.support.trusting import FAILED, FLAT, SECOND_NS, alarm, cancelled, held, opened, trader

GTC = TimeInForce.GTC


@pytest.mark.fault("E4")
def test_a_strategy_that_sends_its_exit_at_each_event_does_not_hold_up_its_closing() -> None:
    """An exit at a price that never comes, at each quote, and its own orders cancelled before: the close goes first."""
    recorder, model = MemoryRecorder(), Answers()

    def leaves(name: str, view: Any) -> list[Any]:
        if not view.strategy_qty("s", BTC):
            return []
        wishes: list[Any] = [CancelIntent(1, "s", one.client_order_id) for one in view.open_orders(BTC)]
        return [*wishes, intent(e.Side.SELL, "1", limit_px=D(120), time_in_force=GTC, reduce_only=True)]

    core = opened(recorder, Shelf(model), Scripted(on_quote=leaves), rules=FLAT)
    held(core)
    core.on_event(quote(60))
    (resting,) = recorder.of(NewOrder)[1:]
    model.statuses = [FAILED]
    out = list(core.on_event(quote(61)))
    assert [one.client_order_id for one in out if isinstance(one, CancelOrder)] == [resting.client_order_id]
    core.on_event(quote(62))
    (closing,) = cancelled(core, 63, out)
    assert (closing.intent.order_type, closing.intent.qty) == (OrderType.MARKET, D(1))
    assert not core.on_event(quote(64))  # neither a cancel of it nor another exit
    assert {one.check for one in recorder.of(Rejected)} == {"closing"}
    core.on_event(fill(closing, "1", "100", "t9"))
    core.on_event(e.Timer(65, 65, "tick"))
    assert not core.desk.held_off.table


def test_who_is_held_off_is_heard_again_where_nothing_moves() -> None:
    """An order that nobody knows the outcome of: after a minute the strategy may send exits, and cancels, again."""
    recorder, model = MemoryRecorder(), Answers()
    core = opened(recorder, Shelf(model), Scripted(), rules=FLAT)
    held(core)
    resting = core.desk.place(intent(e.Side.SELL, "0.5", limit_px=D(120), time_in_force=GTC))
    assert isinstance(resting, NewOrder)
    model.statuses = [FAILED]
    core.on_event(quote(60))
    for second in range(TRIES):
        core.on_event(e.Timer(61 + second * SECOND_NS, 61 + second * SECOND_NS, "tick"))
    assert core.desk.held_off.table
    for second in (TRIES, TRIES + 1):
        now_ns = 61 + second * SECOND_NS
        core.on_event(e.Timer(now_ns, now_ns, "tick"))
    assert not core.desk.held_off.table
    core.on_event(e.OrderCancelled(now_ns + 1, now_ns + 1, "coinbase", resting.client_order_id, "v"))
    (closing,) = core.on_event(e.Timer(now_ns + 2, now_ns + 2, "tick"))
    assert (closing.intent.qty, bool(core.desk.held_off.table)) == (D(1), True)


def test_who_is_held_off_is_heard_where_the_venue_takes_no_closing_order() -> None:
    """An order at market is refused for a minute; the strategy may know another way out, and the closing goes on."""
    recorder, model = MemoryRecorder(), Answers()
    core = opened(recorder, Shelf(model), Scripted(), rules=FLAT)
    held(core)
    core.gate.refuse = "tradable"  # type: ignore[attr-defined]
    model.statuses = [FAILED]
    core.on_event(quote(60))
    for second in range(TRIES):
        assert core.desk.held_off.table
        now_ns = 60 + (second + 1) * SECOND_NS
        core.on_event(e.Timer(now_ns, now_ns, "tick"))
    assert not core.desk.held_off.table
    core.gate.refuse = ""  # type: ignore[attr-defined]
    now_ns += SECOND_NS
    (closing,) = core.on_event(e.Timer(now_ns, now_ns, "tick"))
    assert closing.intent.qty == D(1)


def test_others_and_other_instruments_are_heard() -> None:
    """Only who is being closed is held off, and its model's return ends it."""
    recorder, shelf = MemoryRecorder(), Shelf(Answers("a@1"), Answers("b@1"))
    core = opened(recorder, shelf, Scripted(), rules=FLAT)
    held(core)
    core.on_event(shelf.offer(60, "", reason="retired"))
    assert core.desk.held_off.table == {("s", BTC): "retired"}
    core.desk.carry_out([intent(e.Side.SELL, "1"), intent(strategy="other")])
    assert recorder.of(NewOrder)[-1].intent.strategy == "other"
    core.on_event(shelf.offer(61, "b@1"))
    assert not core.desk.held_off.table


@pytest.mark.parametrize("role", ["champion", "canary"])
def test_what_is_sized_down_to_nothing_serves(role: str) -> None:
    """Its model was broken and answers again, at size 0: nothing is entered, and its position is its own to leave."""
    shelf = Shelf(*(models := [Answers("a@1"), Answers("b@1")]))
    core = opened(recorder := MemoryRecorder(), shelf, Scripted(), rules=ServingRules(1, 5, "flat"))
    core.on_event(shelf.offer(11, "b@1", "canary", 0.5))
    core.on_event(quote(12))
    key = ("s" if role == "champion" else "s.canary", BTC)
    held(core, "0.5", key[0])
    core.gate.refuse = "tradable"  # type: ignore[attr-defined]
    broken = models[role == "canary"]
    core.on_event(alarm(20, "size_down", 0.0, model=broken.version))
    broken.statuses = [FAILED]
    core.on_event(quote(60))
    assert core.flattening.is_busy
    core.on_event(quote(70))  # a trial
    assert not core.flattening.is_busy
    assert not core.desk.held_off.table
    core.gate.refuse = ""  # type: ignore[attr-defined]
    core.desk.carry_out([intent(strategy=key[0])])
    assert recorder.of(Rejected)[-1].check == "model"


@pytest.mark.fault("F12")
def test_a_position_that_an_opposite_one_hides_is_closed_all_the_same() -> None:
    """1 long beside 0.4 short: what the account has by an order that only reduces, the rest by one that may turn it."""
    recorder, model = MemoryRecorder(), Answers()
    core = build_core(recorder, Scripted(), assembly=Shelf(model), rules=FLAT)
    open_market(core, perpetual(), cash="100000")
    held(core)
    held(core, "0.4", "other", e.Side.SELL)
    model.statuses = [FAILED]
    (first,) = core.on_event(quote(60))
    assert (first.intent.qty, first.intent.reduce_only) == (D("0.6"), True)
    core.on_event(fill(first, "0.6", "100", "t8"))
    now_ns = 60 + SECOND_NS
    (second,) = core.on_event(e.Timer(now_ns, now_ns, "tick"))
    assert (second.intent.qty, second.intent.reduce_only) == (D("0.4"), False)
    core.on_event(fill(second, "0.4", "100", "t9"))
    assert (core.view.strategy_qty("s", BTC), core.view.position(BTC).qty) == (D(0), D("-0.4"))


def test_the_twin_of_a_strategy_that_falls_enters_nothing_at_once() -> None:
    """The base raises on the very quote on which its twin would enter after it; the twin's resting entry goes."""
    recorder, shelf = MemoryRecorder(), Shelf(Answers("a@1"), Answers("b@1"))

    def raises(prediction: Any, seq: int, view: Any) -> list[Any]:
        if recorder.of(NewOrder):
            raise RuntimeError("no more")
        return [intent(time_in_force=GTC)]

    core = opened(recorder, shelf, Scripted(on_prediction=raises))
    core.slots[0].make_twin = trader
    core.on_event(shelf.offer(11, "b@1", "canary", 0.5))
    core.on_event(quote(12))
    count = len(recorder.of(NewOrder))
    out = core.on_event(quote(13))
    assert [slot.alive for slot in core.slots] == [False, True]
    assert len(recorder.of(NewOrder)) == count
    assert recorder.of(Rejected)[-1].seen == "its strategy is not trusted any more"
    assert len([one for one in out if isinstance(one, CancelOrder)]) == 2


@pytest.mark.fault("E4")
@pytest.mark.parametrize("hidden", [False, True])
def test_the_closing_order_of_a_quarantined_strategy_stays(hidden: bool) -> None:
    """Its fill takes longer than a timer; also where another's opposite position makes it an order that may turn."""
    recorder = MemoryRecorder()

    def raises(*_: Any) -> list[Any]:
        raise RuntimeError("no more")

    core = build_core(recorder, Scripted(on_quote=raises), assembly=Shelf(Answers()), rules=FLAT)
    open_market(core, perpetual(), cash="100000")
    held(core)
    if hidden:
        held(core, "1", "other", e.Side.SELL)
    core.on_event(quote(60))
    assert not core.slots[0].alive
    (closing,) = [one for one in core.on_event(alarm(61, "stop")) if isinstance(one, NewOrder)]
    assert (closing.intent.qty, closing.intent.reduce_only) == (D(1), not hidden)
    for second in range(1, 6):
        assert not core.on_event(e.Timer(61 + second * SECOND_NS, 61 + second * SECOND_NS, "tick"))
    core.on_event(fill(closing, "1", "100", "t9", ts_ns=62 + 5 * SECOND_NS))
    core.on_event(e.Timer(61 + 6 * SECOND_NS, 61 + 6 * SECOND_NS, "tick"))
    assert core.view.strategy_qty("s", BTC) == D(0)
    assert not core.flattening.is_busy


@pytest.mark.fault("E4")
@pytest.mark.fault("E10")
def test_a_position_of_before_is_closed_where_its_instrument_is_defined_late() -> None:
    """The venue has confirmed the account, the alarm is carried, and only then the instrument becomes known."""
    recorder, shelf = MemoryRecorder(), Shelf(Answers())
    before = opened(recorder, shelf)
    held(before)
    before.on_event(alarm(61, "stop"))
    core = build_core(recorder, Scripted(), assembly=shelf, rules=FLAT, id_prefix="l")
    core.slots[0].make_twin = trader
    core.on_event(e.StateCarried(70, 70, "before", 9, encode_carried(take(before, ""))))
    core.on_event(e.AccountSettled(71, 71, "coinbase", (("USD", D("100000")), ("BTC", D(1))), ()))
    open_market(core)
    (closing,) = core.on_event(e.Timer(72, 72, "tick"))
    assert (closing.intent.order_type, closing.intent.qty) == (OrderType.MARKET, D(1))
