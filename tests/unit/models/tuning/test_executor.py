from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from models.tuning.executor import InProcess, Killed, Processes, Unwatched
from models.tuning.trial import Outcome, Task
from tests.support.tuning import bowl, bowl_that_dies_once

ROOT = Path(__file__).resolve().parents[4]


def task(number):
    settings = {"fit": {"learning_rate": 0.1 ** (number % 4), "seeds": [1]}}
    return Task(number, (settings,), ("nowhere",), "log_loss", 3)


def test_trials_run_in_processes_and_one_that_dies_takes_no_other_with_it():
    """Six trials in two processes, the third of which kills its own: five outcomes, as in this process."""
    wanted = {}
    here = InProcess(Unwatched(), bowl)
    for number in range(6):
        here.submit(task(number))
        wanted[number] = here.next()[1]
    executor = Processes(2, Unwatched(), bowl_that_dies_once)
    try:
        found, running, number = {}, 0, 0
        while number < 6 or running:
            while running < executor.slots and number < 6:
                executor.submit(task(number))
                number, running = number + 1, running + 1
            done, outcome = executor.next()
            running -= 1
            found[done.number] = outcome
    finally:
        executor.close()
    assert isinstance(found[2], Killed)
    assert "signal 9" in found[2]
    assert {number: one for number, one in found.items() if number != 2} == {n: wanted[n] for n in wanted if n != 2}


CHILD = """
import sys, time
from models.tuning.executor import Processes, Unwatched
from models.tuning.trial import Outcome, Task

def endless(task, report):
    print(__import__("os").getpid(), flush=True)
    epoch = 0
    while not report(epoch, 1.0):
        epoch += 1
        time.sleep(0.02)

if __name__ == "__main__":
    executor = Processes(1, Unwatched(), endless)
    executor.submit(Task(0, (), (), "log_loss", 1))
    executor.next()
"""


def test_a_trial_ends_when_the_studys_process_is_killed(tmp_path):
    """What would go on learning is nobody's, and would be in the way of whoever goes on with the study."""
    script = tmp_path / "child.py"
    script.write_text(CHILD)
    parent = subprocess.Popen(
        [sys.executable, str(script)], cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE
    )
    assert parent.stdout is not None
    worker = int(parent.stdout.readline())
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and Path(f"/proc/{worker}").exists():
        time.sleep(0.02)
    parent.stdout.close()
    if not Path("/proc").exists():
        pytest.skip("needs /proc")
    assert not Path(f"/proc/{worker}").exists()


def test_closing_ends_what_runs_here():
    """Nothing of the queue is left."""
    executor = InProcess(Unwatched(), lambda task, report: Outcome("complete", (1.0,)))
    executor.submit(task(0))
    executor.close()
    with pytest.raises(IndexError):
        executor.next()
