"""Seeds in processes of their own: the same results, none skipped, nothing left behind."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from engine.runtime.simulation.ledger import Entry
from engine.runtime.simulation.sweep import Outcome
from engine.runtime.simulation.workers import Ran, in_order, run_here, run_in_workers
from tests.support.worlds import DYING, HANGING, RAISING, SPINNING, DisturbedWorld

ROOT = Path(__file__).resolve().parents[5]
HOURS = 0.01


def test_a_seed_is_the_same_in_a_worker_whose_companions_die_and_fail() -> None:
    """A seed after two that go wrong: its digest is that of this process, theirs are violations."""
    world = DisturbedWorld()
    found = {
        ran.outcome.seed: ran.outcome for ran in run_in_workers([DYING, RAISING, 3], world, hours=HOURS, workers=1)
    }
    assert [one.text for one in found.pop(DYING).violations] == ["its process ended with status 7"]
    (failure,) = found.pop(RAISING).violations
    assert "RuntimeError: no outside" in failure.text
    assert [ran.outcome for ran in run_here([3], world, hours=HOURS)] == [found[3]]
    assert all(one.events and not one.violations for one in found.values())


def test_a_seed_that_does_not_end_is_a_violation() -> None:
    """One sleeps for an hour, one counts for ever; each is given half a second, by the clock or of the processor."""
    (ran,) = run_in_workers([HANGING], DisturbedWorld(), hours=HOURS, workers=1, patience_s=0.5)
    assert [one.text for one in ran.outcome.violations] == ["no end after 0.5 s"]
    (ran,) = run_in_workers([SPINNING], DisturbedWorld(), hours=HOURS, workers=1, cpu_s=0.5)
    assert [one.text for one in ran.outcome.violations] == ["no end after 0.5 s of processor time"]


def test_results_are_told_in_the_order_of_their_beginning() -> None:
    """Five seeds end in another order; each is told as soon as all before it are."""
    told: list[int] = []
    asked: list[int] = []

    def runs() -> Iterator[Ran]:
        asked.extend((7, 8, 9))
        for seed in (8, 9, 7):
            yield ran_of(seed)
            if seed != 7:
                assert told == []
        asked.extend((10, 11))
        yield ran_of(11)
        yield ran_of(10)

    for ran in in_order(runs(), asked):
        told += [ran.outcome.seed]
    assert told == [7, 8, 9, 10, 11]


def ran_of(seed: int) -> Ran:
    return Ran(Outcome(seed, [], 1.0, 1, 0, 1, {}, {}), 0.0, 1.0, 1.0)


def test_an_interrupted_sweep_keeps_what_ran_and_leaves_nothing(tmp_path: Path) -> None:
    """Ctrl-C to a sweep and both of its workers after the first seed: processes and files go, the ledger stays."""
    ledger = tmp_path / "ledger.jsonl"
    options = ["--seeds", "500", "--hours", f"{HOURS}", "--workers", "2", "--ledger", str(ledger), "--json"]
    sweep = subprocess.Popen(
        [sys.executable, "run.py", "simulate", *options],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        while not (ledger.exists() and ledger.read_bytes().endswith(b"\n")):
            assert sweep.poll() is None, sweep.communicate()
            time.sleep(0.05)
        os.killpg(sweep.pid, signal.SIGINT)
        out, _ = sweep.communicate(timeout=120)
    finally:
        if sweep.poll() is None:
            os.killpg(sweep.pid, signal.SIGKILL)
    assert sweep.returncode == 130
    kept = [msgspec.json.decode(line, type=Entry) for line in ledger.read_bytes().splitlines()]
    assert msgspec.json.decode(out.splitlines()[-1])["seeds"] == len(kept) >= 1
    assert not processes_of(sweep.pid)
    for place in (Path("/dev/shm"), Path(tempfile.gettempdir())):
        assert not list(place.glob(f"kestrel-simulation-{sweep.pid}-*"))


def processes_of(session: int) -> list[int]:
    """What is left of a process session after a grace for the one that only counts what the others have shared."""
    for _ in range(200):
        left = []
        for status in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                fields = status.read_text().rpartition(")")[2].split()
                if int(fields[3]) == session and fields[0] != "Z":
                    left.append(int(status.parent.name))
        if not left:
            return []
        time.sleep(0.05)
    return left
