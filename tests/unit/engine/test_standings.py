"""How models stand: alarms that come and go over other states, and a record that finds no room."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from engine import events as e
from engine.carried import CarriedAlarm, decode_carried, encode_carried
from engine.commands import NewOrder, Rejected, RiskStateChanged
from engine.continuity import take
from engine.seats import ServingRules
from tests.support.core import BTC, MemoryRecorder, Scripted, build_core, intent, quote, spot
from tests.support.serving import Answers, Shelf
from tests.unit.engine.test_serving import rules_of


def alarm(ts_ns: int, action: str, model: str = "mid@1", factor: float = 0.5, source: str = "psi") -> e.ModelAlarmed:
    return e.ModelAlarmed(ts_ns, ts_ns, BTC, model, source, action, factor, "0.31")


@pytest.mark.fault("E4")
@pytest.mark.fault("E10")
@pytest.mark.parametrize("action", ["stop", "size_down"])
def test_the_end_of_an_alarm_mends_no_model_that_is_broken(action: str) -> None:
    """It is broken as before, for the same reason, and tried when its pause is over."""
    recorder, model = MemoryRecorder(), Answers()
    core = rules_of(ServingRules(1, 1_000), Shelf(model), recorder)
    model.statuses = [e.PredictionStatus.FAILED]
    core.on_event(quote(10))
    why = recorder.of(e.ModelStanding)[-1].reason
    core.on_event(alarm(11, action))
    core.on_event(alarm(12, "clear"))
    seat = core.lanes[BTC].seat
    assert seat is not None
    assert (seat.state, seat.reason, seat.factor) == ("broken", why, 1.0)
    core.on_event(quote(13))
    assert len(model.asked) == 1
    core.on_event(quote(10 + 1_000))
    assert seat.state == "serving"


@pytest.mark.fault("E8")
@pytest.mark.fault("E10")
def test_the_end_of_an_alarm_warms_no_features() -> None:
    """A canary with features of its own: stopped while they warm up, and warming when that is over."""
    shelf = Shelf(Answers("a@1"), Answers("b@1"))
    shelf.specs["b@1"] = '{"other":1}'
    core = rules_of(ServingRules(), shelf)
    core.on_event(quote(10))
    core.on_event(shelf.offer(11, "b@1", "canary", 0.5))
    canary = core.lanes[BTC].canary
    assert canary is not None
    core.on_event(alarm(12, "stop", "b@1"))
    core.on_event(alarm(13, "clear", "b@1"))
    assert (canary.state, canary.reason) == ("warming", "0 of 3 rows")
    for ts_ns in (14, 15, 16):
        core.on_event(quote(ts_ns))
    assert canary.state == "serving"


@pytest.mark.fault("E10")
def test_of_two_stops_the_one_that_is_left_is_the_reason() -> None:
    """Whoever looks for why it is stopped is told who can end it."""
    core = rules_of(ServingRules(), Shelf(Answers()))
    for event in (alarm(10, "stop"), alarm(11, "stop", source="skew"), alarm(12, "clear")):
        core.on_event(event)
    seat = core.lanes[BTC].seat
    assert seat is not None
    assert (seat.state, seat.reason) == ("stopped", "stopped by skew: 0.31")


@pytest.mark.fault("E4")
def test_a_standing_that_finds_no_room_holds_and_halts() -> None:
    """The disk is full when the breaker opens: trading halts, and after a resume nothing is entered on that model."""
    recorder, model = MemoryRecorder(), Answers()
    core = rules_of(ServingRules(1, 10**15), Shelf(model), recorder, Scripted(on_quote=lambda *_: [intent(e.Side.BUY)]))
    model.statuses = [e.PredictionStatus.FAILED]
    recorder.fails_on = e.ModelStanding
    core.on_event(quote(10))
    recorder.fails_on = None
    assert recorder.of(RiskStateChanged)[-1].reason == "journal: disk full"
    core.on_event(e.Resumed(11, 11, "operator", "the disk has room"))
    core.on_event(quote(12))
    assert recorder.of(NewOrder) == []
    assert recorder.of(Rejected)[-1].check == "model"


@pytest.mark.fault("E10")
def test_a_champion_that_was_stopped_is_no_better_as_the_older_one() -> None:
    """Stopped, replaced, and offered as what steps in: its alarm stands, and nobody trades on it when the new one
    breaks."""
    recorder = MemoryRecorder()
    shelf = Shelf(Answers("a@1"), Answers("b@1"), Answers("c@1"))
    core = rules_of(ServingRules(1, 1_000, "older"), shelf, recorder, Scripted(on_quote=lambda *_: [intent()]))
    core.on_event(alarm(10, "stop", "a@1"))
    core.on_event(shelf.offer(11, "b@1"))
    core.on_event(shelf.offer(12, "c@1", "canary", 0.5))
    core.on_event(shelf.offer(12, "", "canary"))
    core.on_event(shelf.offer(12, "a@1", "older"))
    older = core.lanes[BTC].older
    assert older is not None
    assert (older.state, older.reason) == ("stopped", "stopped by psi: 0.31")
    shelf.models["b@1"].statuses = [e.PredictionStatus.FAILED]
    assert not core.on_event(quote(13))
    assert recorder.of(Rejected)[-1].check == "model"
    core.on_event(shelf.offer(14, "c@1"))
    core.on_event(shelf.offer(15, "a@1"))
    seat = core.lanes[BTC].seat
    assert seat is not None
    assert (seat.version, seat.state) == ("a@1", "stopped"), "nor when it is the champion again"


@pytest.mark.parametrize("action", ["stop", "size_down"])
def test_an_alarm_against_several_models_that_serve_as_one_outlives_a_change_of_member(action: str) -> None:
    """Whoever promoted a member, or the rules did, has not looked at what the operator saw; of one model another
    version is the remedy.  The state that is kept names the version that serves: its end is on record against that."""
    recorder = MemoryRecorder()
    shelf = Shelf(Answers("both@1"), Answers("both@2"), Answers("other@1"))
    shelf.facts = {f"both@{one}": (("buy", 0.6), (f"member.a@{one}", 2.0), ("member.b@1", 3.0)) for one in (1, 2)}
    core = rules_of(ServingRules(), shelf, recorder)
    core.on_event(alarm(10, action, "both@1"))
    core.on_event(shelf.offer(11, "both@2"))
    seat = core.lanes[BTC].seat
    assert seat is not None
    assert (seat.version, seat.state, seat.factor) == (
        ("both@2", "stopped", 1.0) if action == "stop" else ("both@2", "serving", 0.5)
    )
    kept = decode_carried(recorder.of(e.StateKept)[-1].state)
    assert [one.model for one in kept.alarms] == ["both@2"]
    core.on_event(alarm(12, "clear", "both@2"))
    assert (seat.state, seat.factor) == ("serving", 1.0)
    core.on_event(alarm(13, action, "both@2"))
    core.on_event(shelf.offer(14, "other@1"))
    assert core.lanes[BTC].seat is not seat
    assert [one.action for one in core.serving.standings.alarms.carried()] == (["stop"] if action == "stop" else [])


def test_an_alarm_against_several_models_that_serve_as_one_outlives_the_time_in_which_a_member_is_missing() -> None:
    """One was retired, which takes them away, and another version of it promoted: nobody has cleared what stopped them.
    Nor has whoever let another model serve meanwhile."""
    shelf = Shelf(Answers("both@1"), Answers("both@2"), Answers("other@1"))
    shelf.facts = {f"both@{one}": (("buy", 0.6), (f"member.a@{one}", 2.0), ("member.b@1", 3.0)) for one in (1, 2)}
    core = rules_of(ServingRules(), shelf)
    core.on_event(alarm(10, "stop", "both@1"))
    core.on_event(shelf.offer(11, ""))
    core.on_event(shelf.offer(12, "both@2"))
    seat = core.lanes[BTC].seat
    assert seat is not None
    assert (seat.version, seat.state) == ("both@2", "stopped")
    core.on_event(shelf.offer(13, ""))
    core.on_event(shelf.offer(14, "other@1"))
    core.on_event(shelf.offer(15, "both@1"))
    again = core.lanes[BTC].seat
    assert again is not None
    assert (again.version, again.state) == ("both@1", "stopped")


def test_an_alarm_against_several_models_that_were_to_serve_as_one_holds_for_those_that_follow() -> None:
    """Stopped while their rows were warming up, when another member was promoted once more."""
    shelf = Shelf(Answers("both@1"), Answers("both@2"), Answers("both@3"))
    shelf.facts = {f"both@{one}": (("buy", 0.6), (f"member.a@{one}", 2.0), ("member.b@1", 3.0)) for one in (1, 2, 3)}
    shelf.specs |= {"both@2": '{"other":1}', "both@3": '{"other":1}'}
    core = rules_of(ServingRules(), shelf)
    core.on_event(shelf.offer(10, "both@2"))
    warming = core.lanes[BTC].warming
    assert warming is not None
    core.on_event(alarm(11, "stop", "both@2"))
    core.on_event(shelf.offer(12, "both@3"))
    for ts_ns in range(13, 17):
        core.on_event(quote(ts_ns))
    seat = core.lanes[BTC].seat
    assert seat is not None
    assert (seat.version, seat.state) == ("both@3", "stopped")


def test_an_alarm_of_the_session_before_holds_for_what_the_members_are_by_now() -> None:
    """One was promoted while the daemon was down.  Its end is on record against that version, also where a kill comes
    next: the state that is kept names it."""
    recorder = MemoryRecorder()
    shelf = Shelf(Answers("both@2"))
    shelf.facts = {"both@2": (("buy", 0.6), ("member.a@2", 2.0), ("member.b@1", 3.0))}
    core = build_core(recorder, Scripted(), assembly=shelf)
    core.serving.standings.alarms.take(alarm(1, "stop", "both@1"))
    core.on_event(e.InstrumentDefined(2, 2, spot()))
    seat = core.lanes[BTC].seat
    assert seat is not None
    assert (seat.state, seat.reason) == ("stopped", "stopped by psi: 0.31")
    (kept,) = recorder.of(e.StateKept)
    assert [one.model for one in decode_carried(kept.state).alarms] == ["both@2"]


@pytest.mark.fault("E10")
def test_what_sized_a_replaced_champion_down_is_kept_no_longer_than_the_next_one_stands() -> None:
    """Nobody offers it as the older one."""
    shelf = Shelf(Answers("a@1"), Answers("b@1"), Answers("c@1"))
    core = rules_of(ServingRules(1, 1_000, "older"), shelf)
    core.on_event(alarm(10, "size_down", "a@1"))
    core.on_event(shelf.offer(11, "b@1"))
    assert core.serving.standings.alarms.factor_of(BTC, "a@1")[0] == 0.5
    core.on_event(shelf.offer(12, "c@1"))
    assert core.serving.standings.alarms.carried() == ()


@pytest.mark.fault("E10")
@pytest.mark.parametrize("fallback", ["hold", "older"])
def test_a_champion_that_was_stopped_is_stopped_when_it_is_rolled_back_to(fallback: Any) -> None:
    """Two others have served since: who brings it back, or rules that do, have not cleared it."""
    recorder, shelf = MemoryRecorder(), Shelf(Answers("a@1"), Answers("b@1"), Answers("c@1"))
    core = rules_of(ServingRules(fallback=fallback), shelf, recorder)
    core.on_event(alarm(10, "stop", "a@1"))
    core.on_event(alarm(10, "size_down", "a@1", source="skew"))
    for ts_ns, version in ((11, "b@1"), (12, "c@1"), (13, "a@1")):
        core.on_event(shelf.offer(ts_ns, version))
    seat = core.lanes[BTC].seat
    assert seat is not None
    assert (seat.version, seat.state, seat.reason) == ("a@1", "stopped", "stopped by psi: 0.31")
    core.on_event(alarm(14, "clear", "a@1", source=""))
    assert (seat.state, seat.factor) == ("serving", 1.0)
    assert core.serving.standings.alarms.carried() == ()


@pytest.mark.fault("E10")
def test_a_canary_that_was_stopped_is_stopped_when_it_is_offered_again() -> None:
    """As a canary, and as the champion."""
    shelf = Shelf(Answers("a@1"), Answers("b@1"))
    core = rules_of(ServingRules(), shelf)
    core.on_event(shelf.offer(10, "b@1", "canary", 0.5))
    core.on_event(alarm(11, "stop", "b@1"))
    core.on_event(shelf.offer(12, "", "canary"))
    core.on_event(shelf.offer(13, "b@1", "canary", 0.5))
    canary = core.lanes[BTC].canary
    assert canary is not None
    assert canary.state == "stopped"
    core.on_event(shelf.offer(14, "", "canary"))
    core.on_event(shelf.offer(15, "b@1"))
    seat = core.lanes[BTC].seat
    assert seat is not None
    assert (seat.version, seat.state) == ("b@1", "stopped")


@pytest.mark.fault("E4")
@pytest.mark.fault("E10")
def test_a_model_that_was_tried_well_says_that_it_is_sized_down() -> None:
    """What cuts an entry is named in its refusal."""
    model = Answers()
    core = rules_of(ServingRules(1, 1_000), Shelf(model))
    core.on_event(alarm(9, "size_down"))
    model.statuses = [e.PredictionStatus.FAILED]
    core.on_event(quote(10))
    core.on_event(quote(1_010))
    seat = core.lanes[BTC].seat
    assert seat is not None
    assert (seat.state, seat.reason) == ("serving", "a trial was answered in time; sized down by psi: 0.31")


def test_who_could_be_traded_on_in_a_session_is_known_at_its_end() -> None:
    """Champions in turn and a canary; not who was refused, nor an older one that never stepped in."""
    shelf = Shelf(Answers("a@1"), Answers("b@1"), Answers("c@1"), Answers("d@1"))
    core = rules_of(ServingRules(1, 10**15, "older"), shelf)
    served = core.serving.standings.served
    assert served == {"a@1"}
    core.on_event(shelf.offer(2, "b@1"))
    core.on_event(shelf.offer(3, "c@1", role="canary", share=0.1))
    core.on_event(shelf.offer(4, "d@1", role="older"))
    core.on_event(shelf.offer(5, "e@1"))
    assert served == {"a@1", "b@1", "c@1"}
    core.on_event(alarm(6, "stop", "b@1"))
    assert served == {"a@1", "b@1", "c@1", "d@1"}


@pytest.mark.fault("E10")
@pytest.mark.parametrize("fallback", ["hold", "older"])
def test_of_versions_that_went_between_sessions_stops_stay_and_what_sized_them_down_ends(fallback: Any) -> None:
    """With the next champion; what stands now keeps its alarms, so does who may step in, and other instruments.  Who
    was stopped, and replaced while the daemon was down, is stopped when it is brought back, also a session later."""
    recorder, shelf = MemoryRecorder(), Shelf(*(Answers(f"{name}@1") for name in "abcd"))
    core = build_core(recorder, Scripted(), assembly=shelf, rules=ServingRules(fallback=fallback))
    core.slots[0].make_twin = Scripted
    sized = [(f"old@{number}", BTC) for number in range(100)]
    sized += [(f"{name}@1", BTC) for name in "abc"] + [("old@1", "ETH/USD@coinbase")]
    alarms = tuple(CarriedAlarm(name, model, "psi", "size_down", 0.5, "") for model, name in sized)
    stop = CarriedAlarm(BTC, "d@1", "calibration", "stop", 1.0, "")
    state = msgspec.structs.replace(take(core, ""), alarms=(*alarms, stop))
    core.on_event(e.StateCarried(1, 1, "before", 9, encode_carried(state)))
    core.on_event(e.InstrumentDefined(2, 2, spot()))
    held = core.serving.standings.alarms.carried
    core.on_event(shelf.offer(3, "b@1", "canary", 0.5))
    assert held() == (*alarms, stop), "a canary, or who may step in, is offered later than a session begins"
    core.on_event(shelf.offer(4, "b@1"))
    kept = ["b@1", "old@1", "d@1"] if fallback == "hold" else ["a@1", "b@1", "old@1", "d@1"]
    assert [one.model for one in held()] == kept
    left = decode_carried(recorder.of(e.StateKept)[-1].state)
    assert left.alarms == held()
    core.on_event(shelf.offer(5, "c@1"))
    seat = core.lanes[BTC].seat
    assert seat is not None
    assert (seat.version, seat.factor) == ("c@1", 1.0), "another turn of it begins anew"
    core = build_core(MemoryRecorder(), Scripted(), assembly=shelf, rules=ServingRules(fallback=fallback))
    core.on_event(e.StateCarried(6, 6, "before", 9, encode_carried(left)))
    core.on_event(e.InstrumentDefined(7, 7, spot()))
    core.on_event(shelf.offer(8, "d@1"))
    seat = core.lanes[BTC].seat
    assert seat is not None
    assert (seat.version, seat.state, seat.reason) == ("d@1", "stopped", "stopped by calibration")
