"""What the watchdog concludes and does: a scripted heart, account and clock; nothing waits, nothing is a process."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from engine.commands import RiskState
from engine.errors import VenueError
from engine.runtime.heartbeat import Beat, Phase
from engine.runtime.watchdog import GUARD_S, LOOK_S, ROUND_S, Watchdog
from engine.session_options import Rules

A, H = RiskState.ACTIVE, RiskState.HALTED


class Scene:
    """Everything that a watchdog sees.  ``run(seconds)`` lets time pass, the heart beating or not."""

    def __init__(self, **rules: Any) -> None:
        self.now_s = 100.0
        self.beat = Beat(1, 0, Phase.TRADING, A, 2)
        self.orders = ["v1", "v2"]
        self.refused: dict[str, str] = {}
        self.down = False
        self.alive = True
        self.halt: dict[str, str] | None = None
        self.holder = ""
        self.latched = False
        self.listings = 0
        self.asked: list[list[str]] = []
        self.notes: list[tuple[str, dict[str, Any]]] = []
        self.over = False
        self.dog = Watchdog(
            rules=Rules(**rules),
            pulse=self,
            account=self,
            alive=lambda: self.alive,
            halted=lambda: self.halt,
            pull=self.pull,
            taken_over=lambda: self.holder,
            note=lambda event, **what: self.notes.append((event, what)),
            now_ns=lambda: int(self.now_s * 1e9),
        )

    # the heart
    def read(self) -> Beat:
        return self.beat

    def latch(self) -> None:
        self.latched = True

    def look(self, now_ns: int) -> None: ...

    # the account
    def open_orders(self) -> list[str]:
        self.listings += 1
        if self.down:
            raise VenueError("no route")
        return list(self.orders)

    def cancel(self, venue_order_ids: Sequence[str]) -> dict[str, str]:
        self.asked.append(list(venue_order_ids))
        self.orders = [name for name in self.orders if name in self.refused]
        return {name: self.refused.get(name, "") for name in venue_order_ids}

    # the file
    def pull(self, reason: str) -> None:
        self.halt = {"source": "watchdog", "reason": reason}

    def say(self, **changes: Any) -> None:
        self.beat = self.beat._replace(**changes)

    def run(self, seconds: float, *, beating: bool = False) -> None:
        end_s = self.now_s + seconds
        while self.now_s < end_s and not self.over:
            self.now_s += LOOK_S
            if beating:
                self.say(beats=self.beat.beats + 1)
            self.over = self.dog.step()

    @property
    def events(self) -> list[str]:
        return [event for event, _ in self.notes]


def test_a_heart_that_beats_is_left_alone() -> None:
    """An hour of beats: nothing is listed, cancelled, latched or said."""
    scene = Scene()
    scene.run(3600, beating=True)
    assert (scene.notes, scene.listings, scene.latched, scene.halt) == ([], 0, False, None)


@pytest.mark.fault("A13")
def test_a_heart_that_stops_is_halted_after_the_setting_and_not_before() -> None:
    """Silent for less than 5 s, then beating, then silent for more: latch, HALT, cancels, in this order."""
    scene = Scene()
    scene.run(4.5)
    scene.run(1, beating=True)
    scene.run(4.5)
    assert scene.notes == []
    scene.run(3)
    assert scene.events == ["alert", "latched", "cancels_sent", "none_open"]
    assert scene.latched
    assert scene.halt is not None
    assert "no heartbeat for 5 s" in scene.halt["reason"]
    assert scene.asked == [["v1", "v2"]]


def test_a_start_may_take_longer_than_a_tick() -> None:
    """Models are loaded in the loop while a session starts: another setting holds there."""
    scene = Scene(start_s=60)
    scene.say(phase=Phase.STARTING)
    scene.run(59)
    assert scene.notes == []
    scene.run(3)
    assert scene.events[0] == "alert"


def test_time_in_which_the_watchdog_itself_was_stopped_does_not_count() -> None:
    """The machine slept for an hour: the daemon gets its chance to beat before anything is concluded."""
    scene = Scene()
    scene.now_s += 3600
    scene.run(1)
    scene.run(10, beating=True)
    assert scene.notes == []


@pytest.mark.fault("B18")
def test_what_the_venue_refuses_is_asked_for_again_until_nothing_is_open() -> None:
    """Each order's own result is on record; the rest is repeated; two listings without an order end it."""
    scene = Scene()
    scene.refused = {"v2": "UNKNOWN_CANCEL_ORDER"}
    scene.run(5 + 3 * ROUND_S)
    scene.refused = {}
    scene.run(3)
    assert scene.asked[0] == ["v1", "v2"]
    assert set(map(tuple, scene.asked[1:])) == {("v2",)}
    first = next(what for event, what in scene.notes if event == "cancels_sent")
    assert first["refused"] == {"v2": "UNKNOWN_CANCEL_ORDER"}
    assert scene.events[-1] == "none_open"


def test_many_orders_are_cancelled_in_requests_that_the_venue_takes() -> None:
    """250 open orders: three requests in one round."""
    scene = Scene()
    scene.orders = [f"v{number}" for number in range(250)]
    scene.run(6)
    assert list(map(len, scene.asked)) == [100, 100, 50]


@pytest.mark.fault("F7")
@pytest.mark.fault("C11")
def test_a_venue_that_does_not_answer_is_asked_on_and_each_failure_is_on_record() -> None:
    """Down for two minutes: latched at once, asked at growing pauses, cancelled on the first contact."""
    scene = Scene()
    scene.down = True
    scene.run(120)
    failures = [what for event, what in scene.notes if event == "venue_failed"]
    assert scene.latched
    assert 10 < len(failures) < 25
    assert [round(one["again_in_s"], 3) for one in failures[:3]] == [1.0, 2.0, 4.0]
    scene.down = False
    scene.run(15)
    assert scene.events[-2:] == ["cancels_sent", "none_open"]


def test_it_stays_on_guard_while_the_daemon_is_stuck() -> None:
    """What was in the daemon's sockets may arrive after the last confirmation: it is found, and cancelled too."""
    scene = Scene()
    scene.run(10)
    scene.orders = ["late"]
    scene.run(GUARD_S + LOOK_S)
    assert scene.asked[-1] == ["late"]


@pytest.mark.parametrize("resumed", [True, False])
def test_a_daemon_that_is_well_again_is_left_to_itself(resumed: bool) -> None:
    """It halts and nothing is open; or an operator resumed it: then its new orders are never touched."""
    scene = Scene()
    scene.run(8)
    if resumed:
        scene.halt = None
        scene.say(risk=A, open_orders=1)
        scene.orders = ["fresh"]
    else:
        scene.say(risk=H, open_orders=0)
    scene.run(20, beating=True)
    assert scene.events[-1] == "daemon_well"
    assert "fresh" not in scene.asked[-1]
    listings = scene.listings
    scene.run(60, beating=True)
    assert scene.listings == listings


@pytest.mark.fault("F7")
def test_a_halt_file_that_is_obeyed_is_the_daemons_business() -> None:
    """Halted within two seconds: nothing to do; not halted: the same as a heart that stopped."""
    scene = Scene()
    scene.halt = {"source": "operator", "reason": "storm"}
    scene.run(1.5, beating=True)
    scene.say(risk=H, open_orders=0)
    scene.run(60, beating=True)
    assert scene.notes == []
    scene.say(risk=A)
    scene.run(4, beating=True)
    assert scene.events[:2] == ["alert", "latched"]
    assert scene.asked == [["v1", "v2"]]


@pytest.mark.fault("F7")
def test_a_halted_daemon_whose_cancels_get_nowhere_is_helped() -> None:
    """HALTED, loop alive, orders open: cancelled over the other connection; no second halt is needed."""
    scene = Scene()
    scene.say(risk=H)
    scene.run(7, beating=True)
    assert scene.events == ["alert", "cancels_sent", "none_open"]
    assert not scene.latched
    scene.run(2, beating=True)
    scene.run(10)  # and then the loop stops as well
    assert scene.latched


@pytest.mark.parametrize("policy", ["cancel", "halt", "keep"])
@pytest.mark.fault("A12")
def test_a_death_is_handled_as_declared(policy: str) -> None:
    """The process is gone: at once, without waiting for silence."""
    scene = Scene(on_death=policy)
    scene.run(1, beating=True)
    scene.alive = False
    scene.run(5)
    assert scene.over
    assert (scene.halt is not None, scene.orders == []) == (policy == "halt", policy != "keep")
    assert scene.events[-1] == ("left_alone" if policy == "keep" else "finished")
    assert scene.dog.complete is (policy != "keep")


def test_a_session_that_ends_in_order_ends_its_watchdog() -> None:
    """Ended with nothing open; with two orders that may live it is a death like any other."""
    scene = Scene()
    scene.say(phase=Phase.ENDED, open_orders=0)
    scene.run(1)
    assert (scene.over, scene.events, scene.listings) == (True, ["session_ended"], 0)
    scene = Scene()
    scene.say(phase=Phase.ENDED)
    scene.run(5)
    assert (scene.over, scene.events[-1], scene.orders) == (True, "finished", [])


@pytest.mark.fault("A10")
def test_orders_of_a_daemon_that_took_the_account_over_are_not_touched() -> None:
    """It may have placed what is listed now: seen before a single cancel leaves."""
    scene = Scene()
    scene.alive = False
    scene.holder = "process 9, session next"
    scene.run(20)
    assert (scene.over, scene.asked) == (False, [])
    scene.run(15)
    assert (scene.over, scene.asked) == (True, [])
    assert scene.notes[-1] == ("taken_over", {"by": "process 9, session next"})


@pytest.mark.fault("A10")
@pytest.mark.fault("A12")
def test_orders_of_a_daemon_whose_heir_fails_at_its_start_are_cancelled() -> None:
    """It took the account and was gone before it had a watchdog: what the first one left is nobody else's to cancel."""
    scene = Scene()
    scene.alive = False
    scene.holder = "process 9, session next"
    scene.run(3)
    scene.holder = ""
    scene.run(5)
    assert (scene.over, scene.orders) == (True, [])
    assert (scene.events[-1], scene.dog.complete) == ("finished", True)


@pytest.mark.fault("A11")
def test_a_session_that_only_checks_is_neither_halted_nor_cancelled_where_it_hangs() -> None:
    """Ctrl-Z at its terminal, in a start or at its end, a file HALT that it has no time for, then a kill."""
    scene = Scene(on_death="keep", only_looks=True)
    for phase in (Phase.STARTING, Phase.ENDING):
        scene.say(phase=phase, risk=H)
        scene.run(400)
    scene.halt = {"source": "operator", "reason": "by hand"}
    scene.say(risk=A)
    scene.run(10, beating=True)
    scene.alive = False
    scene.run(1)
    assert (scene.over, scene.asked, scene.latched) == (True, [], False)
    assert scene.halt == {"source": "operator", "reason": "by hand"}
    assert scene.events == ["alert", "left_alone"]


def test_nothing_is_given_up_in_silence() -> None:
    """A venue that is gone for good: after the setting it says what is left to do, and that it is not done."""
    scene = Scene(give_up_s=60)
    scene.alive, scene.down = False, True
    scene.run(120)
    assert scene.over
    assert scene.events[-1] == "gave_up"
    assert "by hand" in scene.notes[-1][1]["do"]
    assert not scene.dog.complete


def test_rules_are_plain_values_that_travel() -> None:
    """They go to the process as JSON."""
    rules = Rules(stuck_s=1.5, on_death="keep")
    assert msgspec.json.decode(msgspec.json.encode(rules), type=Rules) == rules
