"""Orders that wait for the disk, and what the gate and the counters are told."""

from __future__ import annotations

import pytest

from engine import events as e
from engine.commands import NewOrder, OrderIntent, Rejected
from engine.counters import WORDS_MAX
from engine.order_states import OrderState
from engine.ports import View
from risk.gate import Gate
from tests.support.core import (
    BTC,
    MemoryRecorder,
    OpenGate,
    Scripted,
    build_core,
    intent,
    open_market,
    perpetual,
    quote,
)
from tests.support.desk import VENUE, S, halted, resting, rig, timer
from tests.support.limits import make_limits

# --- orders that wait for the disk ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("allowed", "leave"), [(1, 1), (2, 2)])
def test_an_order_that_waits_does_not_count_itself(allowed: int, leave: int) -> None:
    """fsync always with as many orders as may be open: judged again, all of them leave."""
    gate = Gate(make_limits(allowed_instruments=[BTC], max_open_orders=allowed, duplicate_window_ns=1))
    wishes = [resting(limit_px=intent().limit_px, qty=qty) for qty in ("1", "2")[:allowed]]
    core = build_core(recorder := MemoryRecorder(), strategy := Scripted(), gate=gate, hold_orders=True)  # type: ignore[arg-type]
    open_market(core, perpetual(), cash="10000")
    core.on_event(timer(S))
    strategy.answers = {"on_quote": lambda *_: wishes}
    core.on_event(quote(S + 1))
    strategy.answers = {}
    sent = core.on_event(e.JournalSynced(S + 2, S + 2, recorder.seq))
    assert recorder.of(Rejected) == []
    assert len(sent) == leave
    assert core.orders.open_count == leave


def test_the_gate_is_told_of_each_order_that_was_opened() -> None:
    """Rates and duplicates count what was opened, and nothing else."""
    this = rig(resting(), resting())
    assert this.gate.opened == this.recorder.of(NewOrder)
    this.gate.refuse = "collar"
    this.core.slots[0].strategy.answers = {"on_quote": lambda *_: [resting()]}
    this.core.on_event(quote(2 * S))
    assert len(this.gate.opened) == 2


@pytest.mark.parametrize("hold", [False, True], ids=["at once", "held"])
def test_an_order_that_a_defect_kept_from_leaving_holds_nothing(hold: bool) -> None:
    """The gate's count raises behind the record: no command, no open order, no reservation."""

    class Broken(OpenGate):
        def on_opened(self, order: NewOrder) -> None:
            raise ZeroDivisionError

    core = build_core(MemoryRecorder(), Scripted(on_quote=lambda *_: [resting()]), gate=Broken(), hold_orders=hold)
    open_market(core)
    with pytest.raises(ZeroDivisionError):
        core.on_event(quote(S))
    assert list(core.commands) == []
    assert (core.orders.open_count, core.view.open_qty(BTC, e.Side.BUY)) == (0, 0)


def test_a_guard_that_raises_on_the_second_look_leaves_the_order_reserved() -> None:
    """It is held still, so a halt drops it."""
    gate = OpenGate()

    def broken(wish: OrderIntent, view: View) -> None:
        raise ZeroDivisionError

    this = rig(resting(), gate=gate, hold_orders=True)
    gate.review_again = broken  # type: ignore[assignment,method-assign]
    with pytest.raises(ZeroDivisionError):
        this.core.on_event(e.JournalSynced(2 * S, 2 * S, 99))
    assert (this.core.view.open_qty(BTC, e.Side.BUY), this.core.orders.open_count) == (1, 1)
    this.core.on_event(halted(3 * S))
    assert (this.state(), this.core.orders.open_count) == (OrderState.REJECTED, 0)


# --- labels -----------------------------------------------------------------------------------------------------------


def test_a_venues_words_do_not_become_labels_without_end() -> None:
    """Reasons by name; sentences, ids and everything beyond the bound count as ``other``; none is lost."""
    this = rig(resting())
    words = ["INSUFFICIENT_FUND", "http_503", "no_gateway", "Order 7f3 of 2.5 BTC is too large!", "", "x" * 49]
    letters = "abcdefghijklmnopqrstuvwxyz"
    words += [f"reason_{a}{b}" for a in letters[:10] for b in letters[:10]]
    for word in words:
        this.core.on_event(e.OrderRejected(2 * S, 2 * S, VENUE, "k-1", word))
    table = this.core.counters.venue_rejected
    assert sum(table.values()) == len(words)
    assert len(table) <= WORDS_MAX + 1
    assert {"INSUFFICIENT_FUND", "http_503", "no_gateway", "other"} <= set(table)
    assert not any(" " in word or len(word) > 48 for word in table)
