"""A close that cannot leave, or that nothing comes of: it is told, tried in pauses, and leaves stops where they are."""

from __future__ import annotations

from typing import Any

import pytest

from engine import events as e
from engine.commands import CancelOrder, GroupIntent, NewOrder, OrderType, RiskState, TimeInForce
from engine.core import TradingCore
from engine.flattening import TRIES
from engine.seats import ServingRules
from risk.gate import Gate
from tests.support.core import BTC, D, MemoryRecorder, Scripted, build_core, fill, intent, open_market, quote, spot
from tests.support.limits import make_limits
from tests.support.serving import Answers, Shelf
from tests.support.trusting import FAILED, FLAT, SECOND_NS, alarm, cancelled, held, opened

GTC = TimeInForce.GTC


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


def stopped_with_a_stop(recorder: MemoryRecorder) -> tuple[TradingCore, NewOrder]:
    """1 is held, and a group's stop rests at the venue, which has it."""
    wishes: list[Any] = []
    core = opened(recorder, Shelf(Answers()), Scripted(on_quote=lambda *_: wishes), rules=FLAT)
    held(core)
    exit_of = intent(
        e.Side.SELL,
        "1",
        order_type=OrderType.STOP_LIMIT,
        limit_px=D("89.95"),
        trigger_px=D(90),
        reduce_only=True,
        time_in_force=GTC,
    )
    wishes.append(GroupIntent(1, "s", (exit_of,)))
    (stop,) = core.on_event(quote(60))
    wishes.clear()
    core.on_event(e.OrderAccepted(61, 61, "coinbase", stop.client_order_id, "v9"))
    return core, stop


SHUT = (
    e.FeedDown(62, 62, "coinbase", "user", "cut"),
    e.FeedDown(62, 62, "coinbase", "market", "cut"),
    e.InstrumentStatus(62, 62, BTC, e.TradingStatus.HALTED),
    e.InstrumentStatus(62, 62, BTC, e.TradingStatus.LIMIT_ONLY),
)
OPEN = (
    e.FeedUp(63 + 2 * SECOND_NS, 63 + 2 * SECOND_NS, "coinbase", "user"),
    e.FeedUp(63 + 2 * SECOND_NS, 63 + 2 * SECOND_NS, "coinbase", "market"),
    e.InstrumentStatus(63 + 2 * SECOND_NS, 63 + 2 * SECOND_NS, BTC, e.TradingStatus.TRADING),
    e.InstrumentStatus(63 + 2 * SECOND_NS, 63 + 2 * SECOND_NS, BTC, e.TradingStatus.TRADING),
)


@pytest.mark.fault("E4")
@pytest.mark.parametrize(("shut", "again"), list(zip(SHUT, OPEN, strict=True)))
def test_a_stop_stays_until_a_closing_order_can_leave(shut: e.Event, again: e.Event) -> None:
    """Nothing is cancelled, asked or put on record while the venue takes none; then the stop goes, and 1 is closed."""
    recorder = MemoryRecorder()
    core, stop = stopped_with_a_stop(recorder)
    core.on_event(shut)
    assert not core.on_event(alarm(63, "stop"))
    count = len(recorder.records)
    for second in (1, 2):
        assert not core.on_event(e.Timer(63 + second * SECOND_NS, 63 + second * SECOND_NS, "tick"))
    assert len(recorder.records) == count
    assert [group.exit_id for group in core.desk.groups.pictures(BTC)] == [stop.client_order_id]
    core.on_event(again)
    now_ns = 63 + 3 * SECOND_NS
    out = list(core.on_event(e.Timer(now_ns, now_ns, "tick")))
    assert [one.client_order_id for one in out if isinstance(one, CancelOrder)] == [stop.client_order_id]
    (closing,) = cancelled(core, now_ns + 1, out)
    assert (closing.intent.order_type, closing.intent.qty) == (OrderType.MARKET, D(1))


@pytest.mark.fault("E4")
def test_an_entry_goes_while_no_closing_order_can_leave() -> None:
    """Its strategy's own stop stays beside it, also one that is not marked as an exit."""
    core = opened(MemoryRecorder(), Shelf(Answers()), Scripted(), rules=FLAT)
    held(core)
    stop_limit: dict[str, Any] = {"order_type": OrderType.STOP_LIMIT, "trigger_px": D(90), "limit_px": D(89)}
    stop = core.desk.place(intent(e.Side.SELL, "1", time_in_force=GTC, **stop_limit))
    entry = core.desk.place(intent(limit_px=D(99), time_in_force=GTC))
    assert isinstance(stop, NewOrder)
    assert isinstance(entry, NewOrder)
    core.on_event(e.FeedDown(62, 62, "coinbase", "user", "cut"))
    out = core.on_event(alarm(63, "stop"))
    assert [one.client_order_id for one in out if isinstance(one, CancelOrder)] == [entry.client_order_id]
    core.on_event(e.OrderCancelled(64, 64, "coinbase", entry.client_order_id, "v"))
    assert not core.on_event(e.Timer(65 + SECOND_NS, 65 + SECOND_NS, "tick"))
    assert [one.client_order_id for one in core.orders.open_orders()] == [stop.client_order_id]


def waited(core: TradingCore, first_ns: int) -> int:
    """So many timers that a position which only waits is told, and one before that it is not; the time of the last."""
    for second in range(TRIES + 2):
        assert core.flattening.waiting == {} or second > TRIES
        now_ns = first_ns + second * SECOND_NS
        core.on_event(e.Timer(now_ns, now_ns, "tick"))
    return now_ns


@pytest.mark.fault("E4")
def test_a_close_that_waits_for_the_market_is_told_until_it_leaves() -> None:
    core, stop = stopped_with_a_stop(MemoryRecorder())
    core.on_event(e.FeedDown(62, 62, "coinbase", "user", "cut"))
    core.on_event(alarm(63, "stop"))
    now_ns = waited(core, 63)
    assert core.flattening.waiting == {("s", BTC): "waits for the market: user stream of coinbase is down: cut"}
    assert not core.desk.held_off.table
    core.on_event(e.FeedUp(now_ns + 1, now_ns + 1, "coinbase", "user"))
    out = core.on_event(e.Timer(now_ns + 2, now_ns + 2, "tick"))
    assert [one.client_order_id for one in out if isinstance(one, CancelOrder)] == [stop.client_order_id]
    assert core.flattening.waiting == {}
    assert core.desk.held_off.table
    assert core.flattening.given_up == {}


@pytest.mark.fault("E4")
def test_a_close_that_waits_for_an_order_is_told_until_that_ends() -> None:
    """Nobody knows what became of an entry."""
    core = opened(MemoryRecorder(), Shelf(Answers()), Scripted(), rules=FLAT)
    held(core)
    entry = core.desk.place(intent(qty="0.5", limit_px=D(99), time_in_force=GTC))
    assert isinstance(entry, NewOrder)
    core.on_event(e.OrderOutcomeUnknown(60, 60, "coinbase", entry.client_order_id, "timeout"))
    core.on_event(alarm(61, "stop"))
    now_ns = waited(core, 61)
    assert core.flattening.waiting == {("s", BTC): f"waits for the end of {entry.client_order_id}"}
    core.on_event(e.OrderCancelled(now_ns + 1, now_ns + 1, "coinbase", entry.client_order_id, "v"))
    (closing,) = core.on_event(e.Timer(now_ns + 2, now_ns + 2, "tick"))
    assert closing.intent.qty == D(1)
    assert core.flattening.waiting == {}


@pytest.mark.fault("E4")
@pytest.mark.parametrize(
    "check", ["rate_unknown", "equity_unknown", "no_price", "suspect_book", "crossed_book", "reference_unknown"]
)
def test_a_close_that_others_hide_is_not_given_up_while_a_market_is_in_doubt(check: str) -> None:
    """It is judged as an entry, and its rate, or a price that is believed, comes with a quote: it was tried once in a
    pause from then on."""
    core = opened(MemoryRecorder(), Shelf(Answers()), Scripted(), rules=FLAT)
    held(core)
    core.gate.refuse = check  # type: ignore[attr-defined]
    core.on_event(alarm(60, "stop"))
    now_ns = waited(core, 60)
    assert core.flattening.waiting == {("s", BTC): f"waits for the gate: {check} seen"}
    assert core.flattening.given_up == {}
    core.gate.refuse = ""  # type: ignore[attr-defined]
    now_ns += SECOND_NS
    (closing,) = core.on_event(e.Timer(now_ns, now_ns, "tick"))
    assert closing.intent.qty == 1


@pytest.mark.fault("E4")
def test_a_close_that_is_only_refused_is_told_and_forgotten_with_the_model() -> None:
    core = opened(MemoryRecorder(), Shelf(Answers()), Scripted(), rules=FLAT)
    held(core)
    core.gate.refuse = "stale_quote"  # type: ignore[attr-defined]
    core.on_event(alarm(60, "stop"))
    waited(core, 60)
    assert core.flattening.waiting == {("s", BTC): "waits for the gate: stale_quote seen"}
    now_ns = 60 + 2 * TRIES * SECOND_NS
    core.on_event(alarm(now_ns, "clear"))
    assert core.flattening.waiting == {}


@pytest.mark.fault("E4")
@pytest.mark.fault("F3")
def test_positions_that_wait_their_turn_are_closed_however_many_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that served many instruments has expired.  One order a second leaves: the last positions are neither
    given up nor taken for a runaway loop, whose halt would cancel what rests."""
    monkeypatch.setattr("engine.flattening.TRIES", 2)
    names = [f"C{number}/USD@coinbase" for number in range(8)]
    gate = Gate(make_limits(allowed_instruments=names, max_orders_per_s=1, max_rejections_per_s=5))
    core = build_core(MemoryRecorder(), Scripted(), gate=gate)
    open_market(core, cash="100000")
    now_ns = 60
    for number, name in enumerate(names):
        core.on_event(e.InstrumentDefined(now_ns, now_ns, spot(id=name, venue_symbol=f"C{number}", base=f"C{number}")))
        for qty in ("1", "0.5"):
            now_ns += SECOND_NS
            core.on_event(quote(now_ns, instrument=name))
            core.on_event(e.Timer(now_ns, now_ns, "tick"))
            made = core.desk.place(intent(qty=qty, instrument=name, limit_px=D("100.01")))
            assert isinstance(made, NewOrder)
            core.on_event(fill(made, qty, "100", f"t-{made.client_order_id}"))
    for name in names:
        core.flattening.begin("s", name, "expired")
    for _ in range(20 * len(names)):
        now_ns += SECOND_NS // 10
        out = [one for one in core.on_event(e.Timer(now_ns, now_ns, "tick")) if isinstance(one, NewOrder)]
        for order in out:
            core.on_event(fill(order, str(order.intent.qty), "100", f"t-{order.client_order_id}", ts_ns=now_ns))
        assert (core.flattening.given_up, core.risk_state) == ({}, RiskState.ACTIVE)
    assert [core.view.strategy_qty("s", name) for name in names] == [0] * len(names)
