"""Whose wishes come to nothing while what it holds is being closed: of each kind, of that instrument alone."""

from __future__ import annotations

from typing import Any

import pytest

from engine.commands import CancelIntent, GroupIntent, NewOrder, OrderType, Rejected, ReplaceIntent, TimeInForce
from engine.core import TradingCore
from engine.events import Side
from tests.support.core import BTC, D, MemoryRecorder, Scripted, build_core, fill, intent, open_market

GTC = TimeInForce.GTC


def holding() -> tuple[TradingCore, MemoryRecorder, NewOrder, str]:
    """Strategy s holds 1, has a sale of 0.5 open and a stop that waits here: the last two are its order and group."""
    recorder = MemoryRecorder()
    core = build_core(recorder, Scripted())
    open_market(core, cash="100000")
    entry = core.desk.place(intent())
    assert isinstance(entry, NewOrder)
    core.on_event(fill(entry, "1", "100", "t1"))
    core.desk.carry_out([intent(Side.SELL, "0.5", limit_px=D(120), time_in_force=GTC)])
    core.desk.carry_out([GroupIntent(1, "s", (stop(),))])
    (group,) = core.view.groups()
    order = recorder.of(NewOrder)[-1]
    core.desk.out.clear()
    return core, recorder, order, group.group_id


def stop() -> Any:
    return intent(
        Side.SELL, "0.5", order_type=OrderType.STOP, limit_px=None, trigger_px=D(90), time_in_force=GTC,
        reduce_only=True,
    )  # fmt: skip


@pytest.mark.fault("E4")
def test_no_wish_of_any_kind_is_heard_and_orders_are_refused_on_record() -> None:
    """An order, a group, another price, a cancel of either: nothing leaves, and three of them are refused."""
    core, recorder, order, group_id = holding()
    core.desk.held_off.table["s", BTC] = "it failed"
    core.desk.carry_out(
        [
            intent(Side.SELL, "1", reduce_only=True),
            GroupIntent(1, "s", (stop(),)),
            ReplaceIntent(1, "s", order.client_order_id, D("0.5"), D(119)),
            CancelIntent(1, "s", order.client_order_id),
            CancelIntent(1, "s", group_id),
        ]
    )
    assert core.desk.out == []
    assert [one.group_id for one in core.view.groups()] == [group_id]
    assert [(one.check, one.seen) for one in recorder.of(Rejected)] == [("closing", "it failed")] * 3


def test_others_elsewhere_and_afterwards_all_is_heard() -> None:
    """Another strategy, another instrument's line of the table, the guardian's cancel; then its own."""
    core, recorder, order, group_id = holding()
    core.desk.held_off.table["s", "ETH/USD@coinbase"] = "it failed"
    core.desk.held_off.table["t", BTC] = "it failed"
    core.desk.carry_out([CancelIntent(1, "s", group_id), CancelIntent(1, "s", "nobody's")])
    assert not core.view.groups()
    core.desk.held_off.table["s", BTC] = "it failed"
    core.desk.carry_out([CancelIntent(1, "guardian", order.client_order_id)])
    assert len(core.desk.out) == 1
    core.desk.held_off.table.clear()
    core.desk.carry_out([intent()])
    assert recorder.of(Rejected) == []
