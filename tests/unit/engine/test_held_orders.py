"""Orders that wait for the disk."""

from __future__ import annotations

import pytest

from engine import events as e
from engine.commands import (
    GroupEnded,
    GroupIntent,
    NewOrder,
    OrderType,
    Rejected,
    TimeInForce,
)
from engine.order_states import OrderState
from risk.gate import Gate
from tests.support.core import (
    BTC,
    D,
    MemoryRecorder,
    MidModel,
    OpenGate,
    Scripted,
    build_core,
    buyer,
    fill,
    intent,
    open_market,
    perpetual,
    quote,
)
from tests.support.limits import make_limits


class TestDurableOrders:
    """Journal mode ``always``: an order waits for the disk and is judged again."""

    def test_an_order_leaves_only_after_its_record_is_on_disk(self) -> None:
        """Synced below its seq: nothing; at its seq: the same command."""
        recorder = MemoryRecorder()
        core = build_core(recorder, buyer(), model=MidModel(), hold_orders=True)
        open_market(core)
        assert not core.on_event(quote(10))
        assert core.view.open_qty(BTC, e.Side.BUY) == 1
        assert not core.on_event(e.JournalSynced(11, 11, 2))
        assert list(core.on_event(e.JournalSynced(12, 12, 3))) == recorder.of(NewOrder)
        assert core.orders.get("k-1").state is OrderState.SENT

    def test_risk_judges_it_again_and_its_own_reservation_does_not_count(self) -> None:
        """The gate sees no open quantity during the second look; a refusal drops it and frees the risk."""
        seen = []
        gate = OpenGate()
        gate.review_again = lambda wish, view: (seen.append(view.open_qty(BTC, e.Side.BUY)), gate.review(wish, view))[1]
        recorder = MemoryRecorder()
        core = build_core(recorder, buyer(), gate=gate, model=MidModel(), hold_orders=True)
        open_market(core)
        core.on_event(quote(10))
        gate.refuse = "stale_quote"
        assert not core.on_event(e.JournalSynced(12, 12, 99))
        assert seen == [0]
        assert core.view.open_qty(BTC, e.Side.BUY) == 0
        assert [record.check for record in recorder.of(Rejected)] == ["stale_quote"]

    @pytest.mark.fault("A9")
    def test_a_slow_disk_drops_the_order(self) -> None:
        """Older than the deadline when the disk answers: never sent."""
        core = build_core(MemoryRecorder(), buyer(), model=MidModel(), hold_orders=True, hold_deadline_ns=100)
        open_market(core)
        core.on_event(quote(10))
        assert not core.on_event(e.JournalSynced(111, 111, 99))
        assert core.counters.rejected == {"durability_deadline": 1}

    def test_halting_drops_what_waits(self) -> None:
        """No cancel is sent for an order that never left."""
        core = build_core(MemoryRecorder(), buyer(), model=MidModel(), hold_orders=True)
        open_market(core)
        core.on_event(quote(10))
        assert not core.on_event(e.Halted(11, 11, "operator", ""))
        assert not core.on_event(e.JournalSynced(12, 12, 99))
        assert core.orders.open_count == 0

    def test_the_waiting_table_is_bounded(self) -> None:
        """The 257th order is refused with its reason."""
        core = build_core(MemoryRecorder(), buyer(), model=MidModel(), hold_orders=True)
        open_market(core)
        for ts_ns in range(10, 10 + 257):
            core.on_event(quote(ts_ns))
        assert core.counters.rejected == {"durability_backlog": 1}

    def test_a_group_ends_once_where_another_groups_exit_drops_its_order(self) -> None:
        """A stop is sent again while the entry of another strategy's stop waits for the disk in its way: that goes,
        and its group has ended before the look at all groups comes to it."""
        recorder, second = MemoryRecorder(), 10**9
        gate = Gate(make_limits(opposing="net"))
        core = build_core(recorder, Scripted(), gate=gate, hold_orders=True)
        open_market(core, perpetual(lot_qty=D("0.1"), min_qty=D("0.1")), cash="100000")
        core.on_event(quote(10))
        core.on_event(e.Timer(11, 11, "tick"))
        entry = core.desk.place(intent(limit_px=D("100.01")))
        assert isinstance(entry, NewOrder)
        core.on_event(e.JournalSynced(12, 12, recorder.seq))
        core.on_event(fill(entry, "1", "100", "t0"))
        for strategy, side, px in (("s", e.Side.SELL, "99.8"), ("t", e.Side.BUY, "100.2")):
            stop = intent(side, "1", strategy, order_type=OrderType.STOP, limit_px=None, trigger_px=D(px),
                          time_in_force=TimeInForce.GTC, reduce_only=strategy == "s")  # fmt: skip
            core.desk.carry_out([GroupIntent(13, strategy, (stop,))])
        core.on_event(quote(second, 99.7, 99.71))
        core.on_event(e.JournalSynced(second, second, recorder.seq))
        sold = recorder.of(NewOrder)[-1]
        core.on_event(e.OrderCancelled(second + 1, second + 1, "coinbase", sold.client_order_id, "v"))
        core.on_event(quote(second + 2, 100.3, 100.31))
        assert [one.intent.strategy for one in core.orders.open_orders()] == ["t"]
        core.on_event(e.Timer(2 * second, 2 * second, "tick"))
        assert core.orders.open_orders() == []
        assert [one.group_id for one in recorder.of(GroupEnded)] == ["k-g2"]
