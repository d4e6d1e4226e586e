"""The process that opens a bundle before the daemon does."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from models.bundle import load_bundle
from models.life.checking import GIVEN_UP, Checker, Task

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
