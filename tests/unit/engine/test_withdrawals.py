"""What becomes of open orders when risk tightens, the session ends, or the venue contradicts itself."""

from __future__ import annotations

from typing import Any

import pytest

from engine import events as e
from engine.carried import encode_carried
from engine.commands import CancelIntent, CancelOrder, NewOrder, OrderType, RiskState, TimeInForce
from engine.continuity import take
from engine.offers import ALL_PLAIN, Offer
from engine.order_states import OrderState
from engine.runtime.remarks import remarks
from engine.runtime.unattended import unreached_lines
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
)
from tests.support.desk import VENUE, Rig, S, accepted, halted, refused, resting, rig, timer

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


@pytest.mark.fault("F7")
def test_what_closes_at_once_is_left_to_a_slow_venue_while_halted() -> None:
    """Accepted and not filled yet: its cancel would undo each way out.  What rests goes when it is shown."""
    this = rig()
    this.core.on_event(halted(2 * S))
    wishes = [
        intent(side=e.Side.SELL, reduce_only=True, order_type=OrderType.MARKET, limit_px=None),
        intent(side=e.Side.SELL, reduce_only=True),
        resting(side=e.Side.SELL, reduce_only=True),
    ]
    this.core.slots[0].strategy.answers = {"on_timer": lambda *_: wishes}
    this.core.on_event(timer(2 * S + 1))
    this.core.slots[0].strategy.answers = {}
    shown = [this.cancels(accepted(2 * S + 2, name)) for name in ("k-1", "k-2", "k-3")]
    assert shown == [[], [], ["k-3"]]
    assert this.cancels(timer(9 * S)) == []
    assert this.core.desk.lingering_count() == 1, "what the watchdog is told: it would cancel the other two as well"


@pytest.mark.fault("F7")
def test_what_closes_at_once_still_goes_with_a_session_that_ends_while_halted() -> None:
    """A slow venue refuses the first cancel: without another one the order would outlive who follows it."""
    this = rig()
    this.core.on_event(halted(2 * S))
    wish = intent(side=e.Side.SELL, reduce_only=True, order_type=OrderType.MARKET, limit_px=None)
    this.core.slots[0].strategy.answers = {"on_timer": lambda *_: [wish]}
    this.core.on_event(timer(2 * S + 1))
    this.core.slots[0].strategy.answers = {}
    assert this.cancels(accepted(2 * S + 2)) == []
    assert this.cancels(e.ShutdownRequested(3 * S, 3 * S, "SIGINT")) == ["k-1"]
    this.core.on_event(refused(3 * S + 1))
    assert this.cancels(timer(4 * S)) == ["k-1"]


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


@pytest.mark.fault("B16")
def test_one_that_was_given_up_and_lives_still_ends_at_its_date() -> None:
    """A venue without dates: the order rests there as one without an end."""
    without_dates = Offer(frozenset(kind for kind in ALL_PLAIN.kinds if kind[1] is not TimeInForce.GTD))
    this = rig(intent(time_in_force=TimeInForce.GTD, expire_ns=5 * S), offers={VENUE: without_dates})
    this.core.on_event(e.OrderOutcomeUnknown(S + 1, S + 1, VENUE, "k-1", "reset"))
    this.core.on_event(e.OrderRejected(S + 2, S + 2, VENUE, "k-1", "never_arrived"))
    this.core.on_event(accepted(2 * S))
    assert this.cancels(timer(5 * S - 1)) == []
    assert this.cancels(timer(5 * S)) == ["k-1"]


# --- a venue that no connector trades at -----------------------------------------------------------------------------


def _session(left: e.StateCarried) -> Rig:
    """One that does not run ``s``, on what an earlier one left; its venue has told nothing yet."""
    recorder, gate = MemoryRecorder(), OpenGate()
    core = build_core(recorder, Scripted("other"), gate=gate, id_prefix="l")
    this = Rig(core, recorder, gate)
    assert this.cancels(left) == ["k-1"]
    return this


def _left(core: Any, at: int) -> e.StateCarried:
    return e.StateCarried(at, at, "before", 9, encode_carried(take(core, "")))


def _nobody(at: int) -> e.CancelRejected:
    """As the router says it."""
    return e.CancelRejected(at, at, VENUE, "k-1", "no_gateway")


@pytest.mark.fault("B18")
def test_a_cancel_that_no_connector_takes_is_asked_for_once_in_a_session() -> None:
    """Its venue is not in the configuration any more: what it may fill is held, told and left to the next session."""
    first = rig(resting())
    first.core.on_event(accepted(S + 1))
    gone = _session(_left(first.core, 2 * S))
    gone.core.on_event(_nobody(2 * S + 1))
    assert [gone.cancels(timer(n * S)) for n in range(3, 9)] == [[]] * 6
    assert gone.cancels(e.Reduced(9 * S, 9 * S, "operator", "")) == ["k-1"]  # a reason of its own
    gone.core.on_event(_nobody(9 * S + 1))
    assert [gone.cancels(timer(n * S)) for n in range(10, 16)] == [[]] * 6
    assert (gone.core.orders.open_qty(BTC, 1), gone.state()) == (1, OrderState.UNKNOWN)
    ((name, text),) = unreached_lines(gone.core).items()
    assert name == "k-1"
    assert "no connector" in text
    assert VENUE in text
    assert [line for line in remarks(gone.core, {}) if "nobody here can cancel" in line]
    later = _session(_left(gone.core, 20 * S))
    open_market(later.core, perpetual())
    later.core.on_event(refused(20 * S + 1))
    assert later.cancels(timer(21 * S)) == ["k-1"]
    assert not unreached_lines(later.core)


@pytest.mark.fault("B18")
@pytest.mark.parametrize(
    "stream", [e.FeedUp(5 * S, 5 * S, VENUE, "market"), e.FeedDown(5 * S, 5 * S, VENUE, "user", "no answer")]
)
def test_a_connector_that_comes_up_later_is_asked_again(stream: e.InputEvent) -> None:
    """At a start the first cancel may come before there is anybody to send it; a stream that is down is no reason not
    to cancel."""
    first = rig(resting())
    this = _session(_left(first.core, 2 * S))
    this.core.on_event(_nobody(2 * S + 1))
    assert this.cancels(timer(4 * S)) == []
    this.core.on_event(e.FeedUp(4 * S, 4 * S, "kraken", "user"))
    assert this.cancels(timer(5 * S)) == []
    this.core.on_event(stream)
    assert this.cancels(timer(6 * S)) == ["k-1"]
    this.core.on_event(_nobody(6 * S + 1))
    assert this.cancels(timer(7 * S)) == ["k-1"]  # it makes its gateway while it starts
    this.core.on_event(e.OrderCancelled(8 * S, 8 * S, VENUE, "k-1", "v-k-1"))
    assert not unreached_lines(this.core)


@pytest.mark.fault("B18")
def test_an_operator_hears_that_nobody_can_cancel_an_order() -> None:
    first = rig(resting())
    this = _session(_left(first.core, 2 * S))
    this.core.on_event(_nobody(2 * S + 1))
    request = e.OperatorRequested(4 * S, 4 * S, "cancel", "cli", "left over", client_order_id="k-1")
    assert this.cancels(request) == []
    (why,) = this.core.manual.outcome.refused
    assert "no connector" in why
