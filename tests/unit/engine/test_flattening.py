"""What is held is closed although its strategy goes on asking, its canary is gone, or an opposite position hides it."""

from __future__ import annotations

from typing import Any

import pytest

from engine import events as e
from engine.commands import CancelIntent, CancelOrder, NewOrder, OrderType, Rejected, TimeInForce
from engine.core import TradingCore
from engine.flattening import TRIES
from engine.seats import ServingRules
from tests.support.core import BTC, D, MemoryRecorder, Scripted, build_core, fill, intent, open_market, perpetual, quote
from tests.support.serving import Answers, Shelf
from tests.unit.engine.test_trusting import FAILED, SECOND_NS, alarm, opened, trader

GTC = TimeInForce.GTC
FLAT = ServingRules(1, 3600 * SECOND_NS, "flat")


def held(core: TradingCore, qty: str = "1", strategy: str = "s", side: e.Side = e.Side.BUY) -> None:
    """The strategy holds so much, by an order of its own."""
    order = core.desk.place(intent(side, qty, strategy))
    assert isinstance(order, NewOrder)
    core.on_event(fill(order, qty, "100", f"t-{order.client_order_id}"))


def cancelled(core: TradingCore, ts_ns: int, out: Any) -> list[NewOrder]:
    """The venue confirms each cancel; returns what leaves on the timer after it."""
    for one in [one for one in out if isinstance(one, CancelOrder)]:
        core.on_event(e.OrderCancelled(ts_ns, ts_ns, "coinbase", one.client_order_id, "v"))
    return [one for one in core.on_event(e.Timer(ts_ns, ts_ns, "tick")) if isinstance(one, NewOrder)]


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


@pytest.mark.fault("E4")
@pytest.mark.parametrize("held_late", [False, True])
def test_what_a_retired_canary_has_bought_is_closed(held_late: bool) -> None:
    """Also what fills after it was retired; the base strategy goes on."""
    recorder, shelf = MemoryRecorder(), Shelf(Answers("a@1"), Answers("b@1"))
    core = opened(recorder, shelf, rules=FLAT)
    core.on_event(shelf.offer(11, "b@1", "canary", 0.5))
    base, twin = list(core.on_event(quote(12)))
    core.on_event(fill(base, "0.5", "100", "t1"))
    if not held_late:
        core.on_event(fill(twin, "0.5", "100", "t2"))
    core.on_event(shelf.offer(60, "", "canary", reason="not better"))
    if held_late:
        core.on_event(fill(twin, "0.5", "100", "t2"))
        core.on_event(e.Timer(61, 61, "tick"))
    closing = recorder.of(NewOrder)[-1].intent
    assert (closing.strategy, closing.side, closing.qty) == ("s.canary", e.Side.SELL, D("0.5"))
    assert core.view.strategy_qty("s", BTC) == D("0.5")


def test_what_a_promoted_canary_has_bought_is_kept() -> None:
    """Its version serves on."""
    recorder, shelf = MemoryRecorder(), Shelf(Answers("a@1"), Answers("b@1"))
    core = opened(recorder, shelf, rules=FLAT)
    core.on_event(shelf.offer(11, "b@1", "canary", 0.5))
    _, twin = list(core.on_event(quote(12)))
    core.on_event(fill(twin, "0.5", "100", "t2"))
    assert not core.on_event(shelf.offer(60, "b@1"))
    assert not core.on_event(e.Timer(61, 61, "tick"))
    (closing,) = [one for one in core.on_event(alarm(62, "stop", model="b@1")) if isinstance(one, NewOrder)]
    assert closing.intent.strategy == "s.canary"


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


def busy_until(core: TradingCore, first_s: int, end_s: int) -> list[int]:
    """Seconds at which a closing order left; the venue refuses each of them."""
    sent = []
    for second in range(first_s, end_s):
        now_ns = 60 + second * SECOND_NS
        for order in list(core.on_event(e.Timer(now_ns, now_ns, "tick") if second else quote(now_ns))):
            sent.append(second)
            core.on_event(e.OrderRejected(now_ns, now_ns, "coinbase", order.client_order_id, "busy"))
    return sent


def paused(core: TradingCore, model: Answers, pause_s: int) -> None:
    """60 orders were refused, and the first pause has passed."""
    held(core)
    model.statuses = [FAILED]
    assert busy_until(core, 0, TRIES + pause_s) == [*range(TRIES)]
    assert core.flattening.given_up == {("s", BTC): "1 left after 60 tries"}


@pytest.mark.fault("E4")
def test_a_position_that_nothing_closes_is_tried_once_in_each_pause() -> None:
    """Each second at first, then it is told, and its strategy heard; it is closed once the venue takes the order."""
    model = Answers()
    core = opened(MemoryRecorder(), Shelf(model), Scripted(), rules=ServingRules(1, 30 * SECOND_NS, "flat"))
    paused(core, model, 30)
    assert not core.desk.held_off.table
    assert busy_until(core, TRIES + 30, TRIES + 100) == [TRIES + 30, TRIES + 60, TRIES + 90]
    now_ns = 60 + (TRIES + 120) * SECOND_NS
    (closing,) = core.on_event(e.Timer(now_ns, now_ns, "tick"))
    core.on_event(fill(closing, "1", "100", "t9", ts_ns=now_ns))
    core.on_event(e.Timer(now_ns + 1, now_ns + 1, "tick"))
    assert core.flattening.given_up == {}
    assert not core.flattening.is_busy
    assert not core.desk.held_off.table


@pytest.mark.fault("E4")
def test_what_was_closed_in_part_is_tried_each_second_again() -> None:
    """Something was taken: the market is there."""
    model = Answers()
    core = opened(MemoryRecorder(), Shelf(model), Scripted(), rules=ServingRules(1, 30 * SECOND_NS, "flat"))
    paused(core, model, 30)
    now_ns = 60 + (TRIES + 30) * SECOND_NS
    (closing,) = core.on_event(e.Timer(now_ns, now_ns, "tick"))
    core.on_event(fill(closing, "0.4", "100", "t9", ts_ns=now_ns))
    core.on_event(e.OrderCancelled(now_ns, now_ns, "coinbase", closing.client_order_id, "v"))
    assert busy_until(core, TRIES + 31, TRIES + 34) == [TRIES + 31, TRIES + 32, TRIES + 33]
    assert core.flattening.given_up == {}


@pytest.mark.fault("E4")
def test_in_a_pause_the_strategys_own_exit_is_left_alone() -> None:
    """What many orders could not do it may do; the next try takes its place."""
    model = Answers()
    core = opened(MemoryRecorder(), Shelf(model), Scripted(), rules=ServingRules(1, 30 * SECOND_NS, "flat"))
    paused(core, model, 29)
    own = core.desk.place(intent(e.Side.SELL, "1", limit_px=D(120), time_in_force=GTC))
    assert isinstance(own, NewOrder)
    now_ns = 60 + (TRIES + 29) * SECOND_NS
    assert not core.on_event(e.Timer(now_ns, now_ns, "tick"))
    (cancel,) = core.on_event(e.Timer(now_ns + SECOND_NS, now_ns + SECOND_NS, "tick"))
    assert isinstance(cancel, CancelOrder)
    (closing,) = cancelled(core, now_ns + SECOND_NS + 1, [cancel])
    assert closing.intent.order_type is OrderType.MARKET
