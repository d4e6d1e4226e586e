"""Twins from one session to the next: whoever holds something is there to leave it, or an operator is told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from engine import events as e
from engine.carried import Carried, encode_carried
from engine.commands import CancelOrder, NewOrder, RiskState, RiskStateChanged, TimeInForce
from engine.continuity import take
from engine.core import TradingCore
from engine.lanes import StrategySlot
from tests.support.core import BTC, D, MemoryRecorder, OpenGate, Scripted, fill, intent, open_market, quote
from tests.support.serving import Answers, Shelf
from tests.support.trusting import opened, trader

ETH = "ETH/USD@coinbase"


def left_behind(*, rests: bool = False) -> Carried:
    """The state of a session whose twin holds 0.05, or has an order for as much."""
    shelf = Shelf(Answers("a@1"), Answers("b@1"))
    core = opened(MemoryRecorder(), shelf)
    core.on_event(shelf.offer(11, "b@1", "canary", 0.05))
    orders = list(core.on_event(quote(12)))
    core.on_event(e.OrderCancelled(13, 13, "coinbase", orders[0].client_order_id, "v"))
    if not rests:
        core.on_event(fill(orders[1], "0.05", "100", "t1"))
    return take(core, "")


def next_session(state: Carried, slot: StrategySlot) -> tuple[TradingCore, MemoryRecorder]:
    recorder = MemoryRecorder()
    core = TradingCore(
        recorder=recorder, gate=OpenGate(), slots=[slot], assembly=Shelf(Answers("a@1")), currency="USD", id_prefix="l"
    )
    core.on_event(e.StateCarried(70, 70, "before", 9, encode_carried(state)))
    open_market(core, cash="100000")
    core.on_event(e.AccountSettled(71, 71, "coinbase", (("USD", D("100000")), ("BTC", D("0.05"))), ()))
    return core, recorder


def fails(name: str) -> Any:
    raise RuntimeError("only one")


@pytest.mark.fault("A1")
@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: StrategySlot(trader(), make_twin=trader, uses_model=False), "s has no model in this session"),
        (lambda: StrategySlot(trader(), make_twin=fails), "a second s failed: RuntimeError"),
        (lambda: StrategySlot(trader()), "strategy s cannot be made a second time"),
        (lambda: StrategySlot(Scripted("other"), make_twin=trader), "there is no strategy s in this session"),
        (
            lambda: StrategySlot(trader(), make_twin=trader, instruments=frozenset({ETH})),
            "s does not trade it in this session",
        ),
    ],
)
def test_a_position_that_no_twin_can_leave_is_told_and_closed_by_hand(
    make: Callable[[], StrategySlot], why: str
) -> None:
    """Nothing new is entered until an operator has looked; a close by hand takes it, and the books know."""
    core, recorder = next_session(left_behind(), make())
    (change,) = recorder.of(RiskStateChanged)
    assert change.after is RiskState.REDUCING
    assert change.reason.startswith(f"nobody is there to leave what s.canary has of {BTC} (")
    assert why in change.reason
    core.on_event(quote(72))
    request = e.OperatorRequested(73, 73, "close", "cli", "left over", instrument=BTC)
    (closing,) = [one for one in core.on_event(request) if isinstance(one, NewOrder)]
    core.on_event(fill(closing, "0.05", "100", "t2", ts_ns=74))
    assert core.view.strategy_qty("s.canary", BTC) == 0


def test_an_order_that_no_twin_looks_after_is_cancelled() -> None:
    """It may fill before: that is told in the same way."""
    _, recorder = next_session(left_behind(rests=True), StrategySlot(trader()))
    assert len(recorder.of(RiskStateChanged)) == 1
    assert {one.instrument for one in recorder.of(CancelOrder)} == {BTC}


def test_a_twin_that_left_nothing_is_nobodys_loss() -> None:
    """It is not made, and nothing is said."""
    shelf = Shelf(Answers("a@1"), Answers("b@1"))
    core = opened(MemoryRecorder(), shelf)
    core.on_event(shelf.offer(11, "b@1", "canary", 0.05))
    core, recorder = next_session(take(core, ""), StrategySlot(trader()))
    assert recorder.of(RiskStateChanged) == []
    assert [slot.name for slot in core.slots] == ["s"]
    core.desk.carry_out([intent(time_in_force=TimeInForce.GTC)])
    assert len(recorder.of(NewOrder)) == 1
