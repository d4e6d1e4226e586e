"""What is held is closed although its strategy goes on asking, its canary is gone, or an opposite position hides it."""

from __future__ import annotations

from typing import Any

import pytest

from engine import events as e
from engine.carried import encode_carried
from engine.commands import (
    CancelIntent,
    CancelOrder,
    GroupIntent,
    NewOrder,
    OrderType,
    Rejected,
    RiskState,
    TimeInForce,
)
from engine.continuity import take
from engine.core import KEEP, TradingCore
from engine.flattening import TRIES
from engine.lanes import StrategySlot
from engine.recovery import Recovery
from engine.seats import ServingRules
from risk.gate import Gate
from tests.support.core import (
    BTC,
    D,
    MemoryRecorder,
    OpenGate,
    Scripted,
    build_core,
    fill,
    intent,
    open_market,
    perpetual,
    quote,
    spot,
)
from tests.support.limits import make_limits
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


@pytest.mark.fault("A2")
@pytest.mark.parametrize("killed", [False, True])
@pytest.mark.parametrize("again", [False, True])
def test_what_a_retired_canary_has_bought_is_closed_by_the_next_session(killed: bool, again: bool) -> None:
    """No order could leave before its end, killed or not; it is kept where a canary is there ``again``."""
    recorder, shelf = MemoryRecorder(), Shelf(Answers("a@1"), Answers("b@1"))
    core = opened(recorder, shelf, rules=FLAT)
    core.on_event(shelf.offer(11, "b@1", "canary", 0.5))
    held(core, "0.5", "s.canary")
    core.gate.refuse = "tradable"  # type: ignore[attr-defined]
    core.on_event(shelf.offer(60, "", "canary", reason="not better"))
    if again:
        core.on_event(shelf.offer(61, "b@1", "canary", 0.5))
    state = take(core, "")
    if killed:
        recovery = Recovery("USD")
        recovery.take(recorder.of(e.StateKept)[-1:])
        state = recovery.left()
    after = TradingCore(
        recorder=MemoryRecorder(),
        gate=OpenGate(),
        slots=[StrategySlot(trader(), make_twin=trader)],
        assembly=shelf,
        currency="USD",
        id_prefix="l",
        rules=FLAT,
    )
    after.on_event(e.StateCarried(70, 70, "before", 9, encode_carried(state)))
    open_market(after, cash="100000")
    balances = {name: core.portfolio.balance("coinbase", name) or D(0) for name in ("USD", "BTC")}
    after.on_event(e.AccountSettled(71, 71, "coinbase", tuple(balances.items())))
    sent = [one for one in after.on_event(e.Timer(72, 72, "tick")) if isinstance(one, NewOrder)]
    assert [(one.intent.strategy, one.intent.qty) for one in sent] == ([] if again else [("s.canary", D("0.5"))])


TAKEN_AWAY = {
    "by itself": [("", "canary")],
    "with its champion": [("", "champion")],
    "replaced": [("c@1", "canary"), ("", "canary")],
}


@pytest.mark.fault("A2")
@pytest.mark.parametrize("how", TAKEN_AWAY)
def test_killed_at_any_record_of_a_retirement_the_next_session_closes(how: str) -> None:
    """As soon as the offer that takes the canary away is on record, whatever of what follows from it is."""
    recorder, shelf = MemoryRecorder(), Shelf(Answers("a@1"), Answers("b@1"), Answers("c@1"))
    core = opened(recorder, shelf, rules=FLAT)
    core.on_event(shelf.offer(11, "b@1", "canary", 0.5))
    held(core, "0.5", "s.canary")
    core.on_event(e.Timer(12, 12, KEEP))
    core.gate.refuse = "tradable"  # type: ignore[attr-defined]
    kept = recorder.of(e.StateKept)[-1]
    for number, (model, role) in enumerate(TAKEN_AWAY[how]):
        first = len(recorder.records)
        offer = shelf.offer(60 + number, model, role, 0.5, reason="not better")
        core.on_event(offer)
        derived = recorder.records[first:]
    assert {"StateKept", "ModelStanding"} <= {type(one).__name__ for one in derived}
    gone = next(place for place, one in enumerate(derived) if isinstance(one, e.ModelStanding) and one.role == "canary")
    for end in range(0 if how == "by itself" else gone + 1, len(derived) + 1):
        recovery = Recovery("USD")
        recovery.take([kept, offer, *derived[:end]])
        assert recovery.left().retired == (BTC,), derived[:end]


@pytest.mark.fault("A2")
def test_killed_after_a_canary_was_refused_or_promoted_nothing_of_its_is_closed() -> None:
    """One that is refused beside the canary that serves, or that became the champion, was not retired."""
    recorder, shelf = MemoryRecorder(), Shelf(Answers("a@1"), Answers("b@1"))
    core = opened(recorder, shelf, rules=FLAT)
    core.on_event(shelf.offer(11, "b@1", "canary", 0.5))
    held(core, "0.5", "s.canary")
    recovery, first = Recovery("USD"), 0
    for offer in (shelf.offer(60, "lost@1", "canary", 0.5), shelf.offer(61, "b@1")):
        first = len(recorder.records)
        core.on_event(offer)
        gone = [one for one in recorder.records[first:] if isinstance(one, e.ModelStanding)]
        assert [(one.role, one.state) for one in gone] == [("canary", "gone")]
        recovery.take([offer, *recorder.records[first:]])
        assert recovery.left().retired == ()
    recovery.take([shelf.offer(62, "c@1", "canary", 0.5), shelf.offer(63, "", "canary")])
    assert recovery.left().retired == (BTC,)
    recovery.take([e.ModelStanding(64, 64, BTC, "canary", "d@1", "serving", 1.0, "")])
    assert recovery.left().retired == ()


@pytest.mark.fault("A2")
@pytest.mark.parametrize("sized_down", [False, True])
def test_killed_after_a_canary_was_promoted_and_its_place_cleared_nothing_of_its_is_closed(sized_down: bool) -> None:
    """Who follows the registry offers the champion and takes the canary away in one pass: by then it has no seat there.
    Also where what stood against the champion before ended in between, which is kept at once."""
    recorder, shelf = MemoryRecorder(), Shelf(Answers("a@1"), Answers("b@1"))
    core = opened(recorder, shelf, rules=FLAT)
    core.on_event(shelf.offer(11, "b@1", "canary", 0.5))
    held(core, "0.5", "s.canary")
    if sized_down:
        core.on_event(alarm(12, "size_down", 0.5, model="a@1"))
    core.on_event(e.Timer(13, 13, KEEP))
    records: list[Any] = recorder.of(e.StateKept)[-1:]
    for event in (shelf.offer(61, "b@1"), shelf.offer(61, "", "canary"), e.Timer(62, 62, "tick")):
        first = len(recorder.records)
        core.on_event(event)
        records += [event, *recorder.records[first:]]
    newest = max(place for place, one in enumerate(records) if isinstance(one, e.StateKept))
    recovery = Recovery("USD")
    recovery.take(records[newest:])
    assert recovery.left().retired == core.trust.retired() == ()


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
@pytest.mark.parametrize("check", ["rate_unknown", "equity_unknown", "no_price"])
def test_a_close_that_others_hide_is_not_given_up_while_a_currency_has_no_price(check: str) -> None:
    """It is judged as an entry, and its rate comes with the first quote of a market: it was tried once in a pause from
    then on."""
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
