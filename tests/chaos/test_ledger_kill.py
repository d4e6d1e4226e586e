"""kill -9 while tests are opened: every opening that was given is on record, and the ledger goes on after it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from models.evaluation.ledger import Ledger, TestSet

ROUNDS = 3
OPENINGS = 15
CHILD = """
import sys
from models.evaluation.ledger import Ledger
from tests.chaos.test_ledger_kill import TEST
number = 0
while True:
    run = f"{sys.argv[2]}-{number}"
    Ledger(sys.argv[1]).open(TEST, run=run, commit="", config_sha256="", data_fingerprint="", now_ns=0)
    print(run, flush=True)
    number += 1
"""
TEST = TestSet("up", "a" * 64, 10, 0, 1, ("X",) * 200)


def test_no_opening_that_was_given_is_lost_by_a_kill(tmp_path: Path) -> None:
    """A child opens as fast as it can until it is killed; three times on one ledger."""
    path = tmp_path / "ledger.jsonl"
    given: list[str] = []
    for attempt in range(ROUNDS):
        command = [sys.executable, "-c", CHILD, str(path), str(attempt)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            given += [child.stdout.readline().strip() for _ in range(OPENINGS)]
            child.kill()
            given += child.stdout.read().split()
        on_record = [line.run for line in Ledger(path).lines()]
        assert set(given) <= set(on_record)
        assert len(on_record) - len(given) <= attempt + 1  # at most one line a kill that nobody was told of
