"""What becomes of open orders when risk tightens, the session ends, or the venue contradicts itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from engine import events as e
from engine.commands import CancelIntent, CancelOrder, NewOrder, OrderIntent, Rejected, RiskState, TimeInForce
from engine.core import TradingCore
from engine.counters import WORDS_MAX
from engine.desk import CANCEL_AGAIN_NS
from engine.order_states import OrderState
from engine.ports import View
from risk.gate import Gate
from tests.support.core import (
    BTC,
    MemoryRecorder,
    OpenGate,
    Scripted,
    build_core,
    fill,
    intent,
    open_market,
    perpetual,
    quote,
)
from tests.support.limits import make_limits

S = CANCEL_AGAIN_NS
"""One pace of repeated cancels; times below are in it."""
VENUE = "coinbase"


@dataclass
class Rig:
    core: TradingCore
    recorder: MemoryRecorder
    gate: OpenGate

    def cancels(self, event: e.InputEvent) -> list[str]:
        """Client order ids whose cancel leaves on this event."""
        return [c.client_order_id for c in self.core.on_event(event) if isinstance(c, CancelOrder)]

    def state(self, name: str = "k-1") -> OrderState:
        order = self.core.orders.get(name)
        assert order is not None
        return order.state


def rig(*wishes: OrderIntent, **options: Any) -> Rig:
    """A core whose orders ``k-1``, ``k-2``, ... have been sent at time ``S``, one for each wish."""
    gate, recorder = options.pop("gate", OpenGate()), MemoryRecorder()
    strategy = Scripted(on_quote=lambda *_: list(wishes))
    core = build_core(recorder, strategy, gate=gate, **options)
    open_market(core, perpetual())
    core.on_event(quote(S))
    strategy.answers = {}
    return Rig(core, recorder, gate)


def resting(**changes: Any) -> OrderIntent:
    return intent(time_in_force=TimeInForce.GTC, **changes)


def timer(at: int) -> e.Timer:
    return e.Timer(at, at, "tick")


def accepted(at: int, name: str = "k-1") -> e.OrderAccepted:
    return e.OrderAccepted(at, at, VENUE, name, f"v-{name}")


def refused(at: int, name: str = "k-1") -> e.CancelRejected:
    return e.CancelRejected(at, at, VENUE, name, "http_503")


def halted(at: int) -> e.Halted:
    return e.Halted(at, at, "operator", "test")


# --- a cancel that is wanted is asked for until it is done ------------------------------------------------------------


@pytest.mark.fault("B18")
def test_a_cancel_refused_while_halted_is_asked_for_again_by_timers() -> None:
    """The venue refuses each time: one cancel a pace, none between, none once the order is gone."""
    this = rig(resting())
    this.core.on_event(accepted(S + 1))
    assert this.cancels(halted(2 * S)) == ["k-1"]
    this.core.on_event(refused(2 * S + 1))
    assert this.cancels(timer(2 * S + 2)) == []
    assert this.cancels(timer(3 * S)) == ["k-1"]
    assert this.cancels(timer(4 * S)) == []  # that one is out and not refused
    this.core.on_event(refused(4 * S + 1))
    assert this.cancels(timer(4 * S + 2)) == ["k-1"]
    this.core.on_event(e.OrderCancelled(5 * S, 5 * S, VENUE, "k-1", "v-k-1"))
    assert this.cancels(timer(9 * S)) == []


@pytest.mark.fault("B18")
def test_a_second_halt_asks_again_for_what_the_first_did_not_achieve() -> None:
    """The state does not change any more, the cancel is still wanted."""
    this = rig(resting())
    this.core.on_event(halted(2 * S))
    this.core.on_event(refused(2 * S + 1))
    assert this.cancels(halted(3 * S)) == ["k-1"]


def test_a_cancel_refused_during_shutdown_is_asked_for_again() -> None:
    """Closing, not halted."""
    this = rig(resting())
    assert this.cancels(e.ShutdownRequested(2 * S, 2 * S, "SIGINT")) == ["k-1"]
    this.core.on_event(refused(2 * S + 1))
    assert this.cancels(timer(3 * S)) == ["k-1"]


def test_while_reducing_only_entries_are_asked_for_again() -> None:
    """Two refused cancels, one of them of a reduce-only order that its strategy cancelled."""
    this = rig(resting(), resting(side=e.Side.SELL, reduce_only=True))
    assert this.cancels(e.Reduced(2 * S, 2 * S, "operator", "")) == ["k-1"]
    this.core.slots[0].strategy.answers = {"on_timer": lambda *_: [CancelIntent(1, "s", "k-2")]}
    assert this.cancels(timer(2 * S + 1)) == ["k-2"]
    this.core.slots[0].strategy.answers = {}
    this.core.on_event(refused(2 * S + 2, "k-1"))
    this.core.on_event(refused(2 * S + 2, "k-2"))
    assert this.cancels(timer(4 * S)) == ["k-1"]


@pytest.mark.fault("A14")
def test_the_orders_of_a_quarantined_strategy_are_asked_for_again() -> None:
    """Risk is ACTIVE throughout."""
    this = rig(resting())
    this.core.slots[0].strategy.answers = {"on_timer": lambda *_: 1 / 0}
    assert this.cancels(timer(2 * S)) == ["k-1"]
    this.core.on_event(refused(2 * S + 1))
    assert this.cancels(timer(3 * S)) == ["k-1"]
    assert this.gate.state is RiskState.ACTIVE


def test_nothing_is_asked_again_while_active() -> None:
    """A strategy's own refused cancel is the strategy's to repeat."""
    this = rig(resting())
    this.core.slots[0].strategy.answers = {"on_timer": lambda *_: [CancelIntent(1, "s", "k-1")]}
    assert this.cancels(timer(2 * S)) == ["k-1"]
    this.core.slots[0].strategy.answers = {}
    this.core.on_event(refused(2 * S + 1))
    assert this.cancels(timer(5 * S)) == []


@pytest.mark.fault("F3")
def test_a_strategy_that_asks_at_every_tick_cancels_no_oftener_than_others() -> None:
    """The venue refuses each time, the strategy asks a thousand times a second: one cancel a pace leaves."""
    this = rig(resting())
    this.core.slots[0].strategy.answers = {"on_timer": lambda *_: [CancelIntent(1, "s", "k-1")]}
    sent = 0
    for number in range(2_500):
        at = 2 * S + number * S // 1_000
        if this.cancels(timer(at)):
            sent += 1
            this.core.on_event(refused(at + 1))
    assert sent == 3


@pytest.mark.fault("B18")
def test_one_order_that_cannot_be_cancelled_takes_no_other_with_it() -> None:
    """Recording the second of three cancels raises: the others are out, the error is told, a timer tries again."""
    this = rig(resting(), resting(), resting())
    record, broken = this.recorder.record, ["k-2"]

    def record_some(record_of: Any) -> int:
        if isinstance(record_of, CancelOrder) and record_of.client_order_id in broken:
            raise TypeError("cannot be encoded")
        return record(record_of)

    this.recorder.record = record_some  # type: ignore[method-assign]
    with pytest.raises(TypeError):
        this.core.on_event(halted(2 * S))
    assert [command.client_order_id for command in this.core.commands] == ["k-1", "k-3"]
    assert this.gate.state is RiskState.HALTED
    broken.clear()
    assert this.cancels(timer(3 * S)) == ["k-2"]


# --- an order that was given up and lives ---------------------------------------------------------------------------


def given_up(**options: Any) -> Rig:
    this = rig(resting(), **options)
    this.core.on_event(e.OrderOutcomeUnknown(S + 1, S + 1, VENUE, "k-1", "reset"))
    this.core.on_event(e.OrderRejected(S + 2, S + 2, VENUE, "k-1", "never_arrived"))
    assert this.core.view.open_orders() == ()
    return this


@pytest.mark.fault("B16")
def test_an_order_that_arrived_after_all_holds_its_risk_and_a_halt_cancels_it() -> None:
    """Acknowledged after "never arrived": reserved, shown, cancelled by its venue id."""
    this = given_up()
    assert this.cancels(accepted(2 * S)) == []
    assert this.core.view.open_qty(BTC, e.Side.BUY) == 1
    assert [order.state for order in this.core.view.open_orders(BTC)] == ["accepted"]
    (cancel,) = this.core.on_event(halted(3 * S))
    assert isinstance(cancel, CancelOrder)
    assert cancel.venue_order_id == "v-k-1"


@pytest.mark.parametrize(
    "tightened",
    [halted(2 * S), e.Reduced(2 * S, 2 * S, "operator", ""), e.ShutdownRequested(2 * S, 2 * S, "SIGINT")],
    ids=["halted", "reducing", "closing"],
)
@pytest.mark.parametrize("shown_by", ["acknowledgement", "fill"])
def test_one_that_shows_itself_when_it_may_not_live_is_cancelled_at_once(
    tightened: e.InputEvent, shown_by: str
) -> None:
    """An entry, by acknowledgement or by its first fill."""
    this = given_up()
    new = this.recorder.of(NewOrder)[0]
    this.core.on_event(tightened)
    shown = accepted(3 * S) if shown_by == "acknowledgement" else fill(new, "0.4", "100", "t1", ts_ns=3 * S)
    assert this.cancels(shown) == ["k-1"]
    assert this.state() is OrderState.CANCEL_PENDING


@pytest.mark.fault("B14")
def test_an_unknown_order_that_shows_itself_remembers_its_cancel() -> None:
    """UNKNOWN, cancel out, then acknowledged: cancel pending, and no second cancel."""
    this = rig(resting())
    this.core.on_event(e.OrderOutcomeUnknown(S + 1, S + 1, VENUE, "k-1", "reset"))
    assert this.cancels(halted(2 * S)) == ["k-1"]
    assert this.state() is OrderState.UNKNOWN
    assert this.cancels(accepted(3 * S)) == []
    assert this.state() is OrderState.CANCEL_PENDING


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
