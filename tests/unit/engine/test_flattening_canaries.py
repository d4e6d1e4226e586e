"""What a canary has bought: closed when it is retired, if need be by the next session, and kept when promoted."""

from __future__ import annotations

from typing import Any

import pytest

from engine import events as e
from engine.carried import encode_carried
from engine.commands import NewOrder
from engine.continuity import take
from engine.core import KEEP, TradingCore
from engine.lanes import StrategySlot
from engine.recovery import Recovery
from tests.support.core import BTC, D, MemoryRecorder, OpenGate, fill, open_market, quote
from tests.support.serving import Answers, Shelf
from tests.support.trusting import FLAT, alarm, held, opened, trader


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
