"""Orders that wait for the disk."""

from __future__ import annotations

import pytest

from engine import events as e
from engine.commands import (
    NewOrder,
    Rejected,
)
from engine.order_states import OrderState
from tests.support.core import (
    BTC,
    MemoryRecorder,
    MidModel,
    OpenGate,
    build_core,
    buyer,
    open_market,
    quote,
)


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
