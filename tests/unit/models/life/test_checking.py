"""The process that opens a bundle before the daemon does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from engine.errors import BundleError
from models.bundle import load_bundle
from models.life import checking
from models.life.checking import GIVEN_UP, Checked, Checker, Task, examine
from models.serving import batches

ROOT = Path(__file__).resolve().parents[4]


def task_of(path: Path, **more) -> Task:
    return Task(str(path), load_bundle(path).version, **{"deadline_us": 1e6} | more)


def test_a_whole_bundle_passes_and_one_of_another_version_does_not(artifacts) -> None:
    """The real process, from its start to its verdict."""
    checker = Checker(ROOT, os.environ)
    checked = checker.check(task_of(artifacts / "demo-crypto"))
    assert checked.problem == ""
    assert 0 < checked.median_us < 1e6
    other = checker.check(Task(str(artifacts / "demo-fx"), "demo-crypto@000000000000", 1e6))
    assert "holds demo-fx@" in other.problem


def test_it_gives_way_to_the_session_from_its_start(artifacts) -> None:
    """Imports take longer than the check: whoever is started has the low priority when it is asked."""
    words = """
import os, sys
sys.stdin.buffer.readline()
print('{"problem": "policy %d, nice %d"}' % (os.sched_getscheduler(0), os.getpriority(os.PRIO_PROCESS, 0)))
"""
    checker = Checker(ROOT, os.environ, command=(sys.executable, "-S", "-c", words))
    wanted = f"policy {os.SCHED_BATCH}, nice {checking.NICE}"
    assert checker.check(task_of(artifacts / "demo-crypto")).problem == wanted


@pytest.mark.fault("E2")
@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("import os; os.abort()", "the process that checked it ended with -6"),
        ("raise SystemExit('no such thing')", "ended with 1: no such thing"),
        ("print('so far so good')", "ended with 0"),
    ],
)
def test_a_bundle_that_takes_the_process_with_it_is_refused(artifacts, words, said) -> None:
    """As a graph that crashes the runtime would."""
    checker = Checker(ROOT, os.environ, command=(sys.executable, "-S", "-c", words))
    assert said in checker.check(task_of(artifacts / "demo-crypto")).problem


def test_a_check_that_does_not_end_is_ended(artifacts) -> None:
    forever = (sys.executable, "-S", "-c", "import time; time.sleep(600)")
    checker = Checker(ROOT, os.environ, timeout_s=0.05, command=forever)
    assert "did not end within 0.05 s" in checker.check(task_of(artifacts / "demo-crypto")).problem


def test_a_check_that_nobody_wants_any_more_is_given_up(artifacts) -> None:
    forever = (sys.executable, "-S", "-c", "import time; time.sleep(600)")
    checker = Checker(ROOT, os.environ, command=forever)
    assert checker.check(task_of(artifacts / "demo-crypto"), lambda: True).problem == GIVEN_UP


def test_a_program_that_is_not_there_is_told(artifacts, tmp_path) -> None:
    checker = Checker(ROOT, os.environ, command=(str(tmp_path / "nothing"),))
    assert "could not be checked: No such file" in checker.check(task_of(artifacts / "demo-crypto")).problem


@pytest.mark.fault("E2")
def test_a_check_ends_with_the_process_that_asked_for_it(tmp_path) -> None:
    """It hangs over a column of the user's own; whoever asked dies, and the pipe with it."""
    (tmp_path / "hanging.py").write_text("import threading\nprint('here', flush=True)\nthreading.Event().wait()\n")
    process = subprocess.Popen(
        [sys.executable, "-m", "models.life.checking"], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(msgspec.json.encode(Task("nothing", "demo@0", 1e6, columns=str(tmp_path))) + b"\n")
        process.stdin.flush()
        assert process.stdout.readline() == b"here\n"
        assert process.poll() is None
        process.stdin.close()
        assert process.wait(60) == 1
    finally:
        process.kill()
        process.stdout.close()


def test_the_leash_is_held_until_the_verdict_is_there(artifacts) -> None:
    """A check that finds its stdin at an end before it has answered would take its daemon for dead."""
    looks = """
import json, os, select
os.read(0, 65536)
held = not select.select([0], [], [], 0)[0]
print(json.dumps({"problem": "held" if held else "let go"}))
"""
    checker = Checker(ROOT, os.environ, command=(sys.executable, "-S", "-c", looks))
    assert checker.check(task_of(artifacts / "demo-crypto")) == Checked("held")


class Clock:
    """The process's own time, and the wall's, which a neighbour stretches by ``busy``."""

    def __init__(self, own_us: float, busy: list[float]) -> None:
        self.busy = busy
        self._own_ns = int(own_us * 1000)
        self._wall_ns = self._spent_ns = self._reads = 0

    def perf_counter_ns(self) -> int:
        self._reads += 1
        if self._reads % 2 == 0:
            self._wall_ns += int(self._own_ns * self.busy[0])
        return self._wall_ns

    def process_time_ns(self) -> int:
        self._spent_ns += self._own_ns
        return self._spent_ns

    def sleep(self, _: float) -> None:
        self.busy.pop(0)


@pytest.mark.parametrize(
    ("own_us", "busy", "deadline_us", "on_gpu", "rounds", "passes"),
    [
        (400.0, [10.0], 500.0, False, 1, True),  # another process had the core: what it takes itself counts
        (600.0, [10.0] * 9, 500.0, False, 5, False),
        (400.0, [10.0, 10.0, 1.0, 10.0], 500.0, True, 3, True),  # on a GPU the processor's time says nothing
        (400.0, [10.0] * 9, 500.0, True, 5, False),
    ],
)
def test_a_version_is_timed_by_what_it_takes_and_not_by_who_else_is_busy(
    artifacts, monkeypatch, own_us, busy, deadline_us, on_gpu, rounds, passes
) -> None:
    bundle = load_bundle(artifacts / "demo-crypto")
    began = len(busy)
    task = Task(str(bundle.path), bundle.version, deadline_us)
    monkeypatch.setattr(checking, "_TIMED_RUNS", 3)
    model, _ = checking._opened(task, bundle)
    monkeypatch.setattr(checking, "time", clock := Clock(own_us, busy))
    took = checking._timed(model, bundle, task, on_gpu=on_gpu)
    assert (took.own_us <= deadline_us) is passes
    assert began - len(clock.busy) == rounds - 1


@pytest.mark.fault("E6")
@pytest.mark.parametrize(("schedule", "batched"), [("worker", True), ("inline", False)])
def test_batches_are_held_to_the_tape_where_the_worker_would_run_them(
    artifacts, monkeypatch, schedule, batched
) -> None:
    """A provider that computes batches wrongly is found there; who never runs any is not refused."""

    def wrong(bundle, bound, single) -> None:
        raise BundleError(f"bundle {bundle.version}: a batch is off the golden tape")

    monkeypatch.setattr(batches, "_check_tape", wrong)
    checked = examine(task_of(artifacts / "demo-crypto", schedule=schedule))
    assert ("a batch is off the golden tape" in checked.problem) is batched


def test_a_version_that_is_too_slow_may_be_tried_again_and_a_damaged_one_not(artifacts, monkeypatch) -> None:
    monkeypatch.setattr(checking, "_PAUSE_S", 0.0)
    slow = examine(task_of(artifacts / "demo-crypto", deadline_us=0.01))
    assert "models.deadline_us (0.01)" in slow.problem
    assert slow.passing
    other = examine(Task(str(artifacts / "demo-fx"), "demo-crypto@000000000000", 1e6))
    assert not other.passing
