"""The lock on an account that every run folder and every user of the machine sees."""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from engine.errors import SessionLocked
from engine.runtime.machine_lock import MachineLock
from engine.runtime.succession import Succession

ROOT = Path(__file__).resolve().parents[4]
ACCOUNT = f"coinbase-{os.getpid():012d}"
"""Of this test process alone: others run on the same machine."""
USER = pwd.getpwuid(os.getuid()).pw_name
HOLD = (
    "import sys; from pathlib import Path; from engine.runtime.machine_lock import MachineLock;"
    "from engine.runtime.succession import Succession;"
    "held = Succession(Path(sys.argv[1]), sys.argv[2], MachineLock(sys.argv[2])); held.lock('s-other');"
    "print('held', flush=True); sys.stdin.read()"
)


@contextmanager
def another_daemon(run_dir: Path) -> Iterator[subprocess.Popen[str]]:
    child = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(run_dir), ACCOUNT],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with child:
        assert child.stdout is not None
        assert child.stdout.readline() == "held\n"
        yield child
        child.kill()


def mine(run_dir: Path) -> Succession:
    return Succession(run_dir, ACCOUNT, MachineLock(ACCOUNT))


@pytest.mark.fault("A10")
def test_a_daemon_with_another_run_folder_is_one_on_the_same_account(tmp_path: Path) -> None:
    """Its file of the lock is not looked at here; who trades is named, and it is free when that one was killed."""
    one = mine(tmp_path / "one")
    assert one.holder() == ""
    with another_daemon(tmp_path / "two") as other:
        for _ in range(3):
            assert one.holder() == f"process {other.pid} of {USER}"
        with pytest.raises(SessionLocked, match=f"account {ACCOUNT} is traded by process {other.pid} of {USER}; "):
            one.lock("s-1")
    assert one.holder() == ""
    one.lock("s-1")
    assert mine(tmp_path / "two").holder() == f"process {os.getpid()} of {USER}"
    one.close()
    assert mine(tmp_path / "two").holder() == ""


def test_what_was_refused_holds_nothing(tmp_path: Path) -> None:
    """A daemon that could not have the machine's lock has not kept the one of its folder either."""
    with another_daemon(tmp_path / "two"):
        with pytest.raises(SessionLocked):
            mine(tmp_path / "one").lock("s-1")
        alone = Succession(tmp_path / "one", ACCOUNT)
        alone.lock("s-2")
        alone.close()


def test_it_can_be_had_again_by_whoever_has_it() -> None:
    """Twice is once; letting go is for both."""
    held = MachineLock(ACCOUNT)
    held.lock()
    held.lock()
    held.close()
    held.close()
    assert held.holder() == ""
