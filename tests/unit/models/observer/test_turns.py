"""A shadow is late as the daemon would have been, and is checked as the daemon checks before it runs here."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.bundle import load_bundle
from models.life.checking import GIVEN_UP, Checked
from models.observer.admission import RETRY_NS, Admission
from models.observer.roster import TRACKS_MAX
from models.observer.turns import Ask, Turns
from models.registry.promotion import promote, retire
from tests.support.journals import wait_until
from tests.support.watched import figures, play

WINDOW = np.zeros((2, 3), np.float32)


def answers(turns: Turns, asks: list[tuple[str, int]], took_ns: int) -> list[tuple[str, int, int, bool]]:
    """Instrument, row, latency and whether it is late, of what is computed; rows are numbered as they are asked."""
    return [
        (one.instrument, one.row, *turns.took(one, took_ns))
        for row, (instrument, at_ns) in enumerate(asks)
        for one in turns.ask(Ask(instrument, row, WINDOW, at_ns, at_ns, row))
    ]


def test_in_the_loop_each_is_answered_at_once() -> None:
    turns = Turns(1.0, on_worker=False)
    assert answers(turns, [("a", 0), ("a", 100), ("b", 100)], 900) == [
        ("a", 0, 900, False),
        ("a", 1, 900, False),
        ("b", 2, 900, False),
    ]
    assert answers(turns, [("a", 5_000)], 1_001) == [("a", 0, 1_001, True)]


@pytest.mark.fault("E4")
def test_on_the_worker_they_wait_for_each_other_and_the_newest_takes_its_place() -> None:
    """Each takes 1,000 of 1,500 ns: a's second row is superseded, b's waits 900 and is late, then a's third."""
    turns = Turns(1.5, on_worker=True)
    asked = [("a", 0), ("b", 100), ("a", 200), ("a", 300), ("a", 9_000)]
    assert answers(turns, asked, 1_000) == [
        ("a", 0, 1_000, False),
        ("b", 1, 1_900, True),
        ("a", 3, 2_700, True),
        ("a", 4, 1_000, False),
    ]
    assert turns.superseded == 1


def test_a_window_that_waits_is_a_copy() -> None:
    turns, window = Turns(1.0, on_worker=True), np.zeros((2, 3), np.float32)
    (first,) = turns.ask(Ask("a", 0, window, 0, 0, 0))
    turns.took(first, 500)
    assert list(turns.ask(Ask("a", 1, window, 10, 10, 1))) == []
    window[:] = 7.0
    (waited,) = [one for one in turns.ask(Ask("a", 2, window, 600, 600, 2)) if one.row == 1]
    assert not waited.window.any()


class Checks:
    """Says what it is given, once it may."""

    def __init__(self, *verdicts: Checked) -> None:
        self.verdicts = list(verdicts)
        self.go = threading.Event()
        self.asked = 0

    def check(self, _: Any, given_up: Any) -> Checked:
        self.asked += 1
        while not self.go.wait(0.01):
            if given_up():
                return Checked(GIVEN_UP)
        return self.verdicts.pop(0)


def admission(checks: Checks, **more: Any) -> Admission:
    return Admission(checks.check, deadline_us=1_000.0, schedule="auto", cores=2, **more)


def test_a_check_runs_beside_the_reading_and_once(artifacts: Path) -> None:
    bundle = load_bundle(artifacts / "demo-crypto")
    checks = Checks(Checked("", 400.0, p99_us=700.0))
    made = admission(checks, in_background=True)
    assert made.ask(bundle, 1) is None
    assert made.ask(bundle, 2) is None
    assert made.p99_us(bundle.version) is None
    checks.go.set()
    wait_until(lambda: made.ask(bundle, 3) is not None)
    assert (made.p99_us(bundle.version), checks.asked) == (700.0, 1)
    assert made.turns(bundle).on_worker
    made.keep_only(())
    assert made.p99_us(bundle.version) is None


def test_who_the_machine_was_in_the_way_of_is_checked_again_later(artifacts: Path) -> None:
    bundle = load_bundle(artifacts / "demo-crypto")
    checks = Checks(Checked("takes 2000 us", 2_000.0, passing=True), Checked("", 20.0, p99_us=30.0))
    checks.go.set()
    made = admission(checks)
    first = made.ask(bundle, 1)
    assert first is not None
    assert first.problem
    assert made.ask(bundle, RETRY_NS) == first
    second = made.ask(bundle, RETRY_NS + 1)
    assert second is not None
    assert not second.problem
    assert not made.turns(bundle).on_worker, "short ones run in the loop"


def test_a_shadow_that_would_be_late_in_the_daemon_is_late_and_gives_no_signal(
    market_data: Path, registry: Any, add: Any
) -> None:
    live = play(market_data, registry.root, 1_200)
    version = add()
    name, _, sha = version.partition("@")
    promote(registry, name, sha, to="shadow", who="ana", why="try", now_ns=1)
    observer = live.observer()
    observer._workshop._stopwatch = iter(range(0, 10**15, 2_000_000_000)).__next__  # two seconds each, of one
    found = figures(live.watched_by(observer))[version]
    assert found["late"] == found["predictions"] > 200
    assert not found["signals"]
    assert found["latency_p50_us"] == 2_000_000


def test_a_version_that_the_daemon_would_refuse_is_no_shadow(market_data: Path, registry: Any, add: Any) -> None:
    live = play(market_data, registry.root, 600)
    version = add()
    name, _, sha = version.partition("@")
    promote(registry, name, sha, to="shadow", who="ana", why="try", now_ns=1)
    observer = live.observer()
    observer._admission._check = lambda *_: Checked("the process that checked it ended with -11", passing=True)
    found = figures(live.watched_by(observer))
    assert version not in found
    assert len(found) == 1
    assert "ended with -11" in next(why for what, why in observer.troubles.items() if what.startswith(version))
    # It passes five minutes later: then it runs, and nothing is the matter with it any more.
    observer._admission._check = lambda *_: Checked("", 20.0, p99_us=30.0)
    observer.last_seq_ns += RETRY_NS
    observer.look()
    assert version in figures(observer)
    assert observer.troubles == {}


def test_what_is_told_of_shadows_goes_with_them_and_the_newest_is_kept(
    market_data: Path, registry: Any, add: Any
) -> None:
    """A session of months: a version that was refused and retired, a standing that was damaged and mended, and more
    troubles than are kept."""
    live = play(market_data, registry.root, 600)
    version = add()
    name, _, sha = version.partition("@")
    promote(registry, name, sha, to="shadow", who="ana", why="try", now_ns=1)
    observer = live.observer()
    observer._admission._check = lambda *_: Checked("takes 2000 us", passing=True)
    live.watched_by(observer)
    assert any(what.startswith(version) for what in observer.troubles)
    (standing,) = (registry.root / "standings").glob("*.json")
    whole = standing.read_bytes()
    standing.write_bytes(b"{")
    observer.look()
    assert any(what.startswith("shadows on ") for what in observer.troubles)
    standing.write_bytes(whole)
    retire(registry, name, sha, who="ana", why="enough", now_ns=2)
    observer.look()
    assert observer.troubles == {}
    for number in range(TRACKS_MAX + 1):
        observer._roster.note("A", f"m@{number}", "gone")
    assert len(observer.troubles) == TRACKS_MAX
    assert f"m@{TRACKS_MAX} on A" in observer.troubles


def test_a_standing_that_is_changed_twice_within_a_tick_of_the_file_systems_clock_is_followed(
    market_data: Path, registry: Any, add: Any
) -> None:
    """A shadow that comes and goes, and both files have the same time."""
    live = play(market_data, registry.root, 600)
    version = add()
    name, _, sha = version.partition("@")
    promote(registry, name, sha, to="shadow", who="ana", why="try", now_ns=1)
    observer = live.watched_by(live.observer())
    observer.look()
    assert version in figures(observer)
    (standing,) = (registry.root / "standings").glob("*.json")
    before_ns = standing.stat().st_mtime_ns
    retire(registry, name, sha, who="ana", why="enough", now_ns=2)
    os.utime(standing, ns=(before_ns, before_ns))
    observer.look()
    assert version not in figures(observer)
