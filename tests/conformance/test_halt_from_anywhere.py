"""The kill switch reaches every daemon of the user, whatever folder it is pulled in and wherever sessions lie.

Real daemons on the built-in exchange, operated from folders that know nothing of them.
"""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from engine import events as e
from engine.commands import RiskStateChanged
from engine.runtime.journal_reader import read_journal
from tests.support.bad_input import refused
from tests.support.daemon import Running, kestrel

IDLE = "strategies=[{name: mine, kind: ema_cross, model: none}]"
QUICK = ("--set", "sandbox.history_s=0", "--set", IDLE, "--no-report")


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """A folder to type commands in: no checkout, no ``var``."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    return folder


@pytest.fixture
def daemon(tmp_path: Path, elsewhere: Path) -> Iterator[Running]:
    """A daemon whose sessions lie neither in its own working directory nor where commands are typed."""
    home = tmp_path / "home"
    home.mkdir()
    running = Running(home, *QUICK, cwd=tmp_path)
    try:
        until(running, lambda: re.search(r"^ticks +[1-9]", kestrel("status", cwd=elsewhere).stdout, re.MULTILINE))
        yield running
    finally:
        running.close()


def until(running: Running, holds: Callable[[], object], timeout_s: float = 90.0) -> None:
    end = time.monotonic() + timeout_s
    while not holds():
        assert running.process.poll() is None, running.said()[-2000:]
        assert time.monotonic() < end, running.said()[-2000:]
        time.sleep(0.05)


@pytest.mark.fault("F7")
def test_halt_reduce_and_resume_need_no_folder(daemon: Running, elsewhere: Path, run_folder_of_the_user: Path) -> None:
    """Typed in a third folder without ``--sessions``: the daemon confirms, none starts anywhere, ``resume`` ends it."""
    named = f"session {daemon.session.name} (process {daemon.process.pid})"
    assert f"{named}: reducing" in kestrel("reduce", cwd=elsewhere).stdout
    assert f"{named}: active" in kestrel("resume", cwd=elsewhere).stdout

    halted = kestrel("halt", "--reason", "storm", cwd=elsewhere)
    assert halted.returncode == 0, halted.stderr
    assert f"wrote {run_folder_of_the_user / 'HALT'}" in halted.stdout
    assert f"{named}: halted" in halted.stdout
    assert "state         halted" in kestrel("status", cwd=elsewhere).stdout
    other = str(elsewhere / "sessions")
    second = kestrel("paper", "--set", f"session.directory={other}", cwd=elsewhere)
    refused(second, "the kill switch is on", str(run_folder_of_the_user / "HALT"), "storm")

    resumed = kestrel("resume", cwd=elsewhere)
    assert f"removed {run_folder_of_the_user / 'HALT'}" in resumed.stdout
    assert f"{named}: active" in resumed.stdout
    assert not list(elsewhere.iterdir()), "commands leave nothing where they are typed"
    assert daemon.stop(signal.SIGTERM) == 0
    assert not list(run_folder_of_the_user.iterdir())
    records = [recorded.record for recorded in read_journal(daemon.session / "journal")]
    changes = [record.after.value for record in records if isinstance(record, RiskStateChanged)]
    assert changes == ["reducing", "active", "halted", "active"]
    assert next(r.reason for r in records if isinstance(r, e.Halted) and r.source == "operator") == "storm"


@pytest.mark.fault("F7")
def test_a_stuck_daemon_is_named_and_halts_by_the_file_as_soon_as_it_can(
    daemon: Running, elsewhere: Path, run_folder_of_the_user: Path
) -> None:
    """Stopped dead: ``halt`` fails with its process id; when it goes on, the file alone has halted it."""
    os.kill(daemon.process.pid, signal.SIGSTOP)
    try:
        halted = kestrel("halt", "--reason", "storm", cwd=elsewhere)
        assert halted.returncode == 1
        assert f"wrote {run_folder_of_the_user / 'HALT'}" in halted.stdout
        (line,) = halted.stderr.splitlines()
        assert line.startswith("kestrel: ")
        assert f"(process {daemon.process.pid}) does not answer" in line
    finally:
        os.kill(daemon.process.pid, signal.SIGCONT)
    until(daemon, lambda: "state         halted" in kestrel("status", cwd=elsewhere).stdout)
    assert daemon.stop(signal.SIGTERM) == 0


def test_a_killed_daemon_is_not_taken_for_a_running_one(daemon: Running, elsewhere: Path) -> None:
    """kill -9 leaves its registration behind: the next command clears it and says that none runs."""
    daemon.process.kill()
    daemon.process.wait(60)
    halted = kestrel("halt", cwd=elsewhere)
    assert (halted.returncode, halted.stderr) == (0, "")
    assert "no running daemon was found" in halted.stdout


@pytest.mark.fault("F7")
def test_without_a_daemon_halt_still_keeps_any_from_starting(elsewhere: Path, run_folder_of_the_user: Path) -> None:
    """No daemon, no folder: the file is written and none found is said; ``resume`` twice: done, then nothing to do."""
    for name in ("status", "reduce"):
        refused(kestrel(name, cwd=elsewhere), "no daemon is running", str(run_folder_of_the_user))
    halted = kestrel("halt", "--reason", "storm", cwd=elsewhere)
    assert halted.returncode == 0
    assert "no running daemon was found" in halted.stdout
    assert (run_folder_of_the_user / "HALT").exists()
    refused(kestrel("paper", "--set", f"session.directory={elsewhere / 's'}"), "the kill switch is on", "storm")
    assert kestrel("resume", cwd=elsewhere).returncode == 0
    assert not (run_folder_of_the_user / "HALT").exists()
    refused(kestrel("resume", cwd=elsewhere), "nothing to resume")


def test_the_file_beside_the_sessions_halts_as_before_and_says_how_to_end_it(
    daemon: Running, elsewhere: Path, run_folder_of_the_user: Path
) -> None:
    """``var/run/HALT`` of the daemon's own folder, by hand; a refused start names the command that removes it."""
    beside = daemon.folder / "run" / "HALT"
    beside.write_text("by hand")
    until(daemon, lambda: "state         halted" in kestrel("status", cwd=elsewhere).stdout)
    sessions = daemon.folder / "sessions"
    said = refused(
        kestrel("paper", "--set", f"session.directory={sessions}"), "the kill switch is on", str(beside), "by hand"
    )
    assert said.endswith(f"then: python run.py resume --sessions {sessions}")
    assert "active" in kestrel("resume", cwd=elsewhere).stdout, "a daemon that runs removes its own"
    assert not beside.exists()
    assert daemon.stop(signal.SIGTERM) == 0


def test_a_daemon_that_nobody_can_halt_does_not_start(tmp_path: Path) -> None:
    """A run folder of the user that is a file; one that is relative to wherever one happens to be."""
    (tmp_path / "file").write_text("")
    sessions = ("--set", f"session.directory={tmp_path / 'sessions'}", "--set", "metrics.port=0", *QUICK)
    done = kestrel("paper", *sessions, KESTREL_RUN_DIR=str(tmp_path / "file" / "run"))
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "control socket" in line
    assert "KESTREL_RUN_DIR" in line
    for name, *more in (("paper", *sessions), ("halt",), ("status",)):
        refused(
            kestrel(name, *more, cwd=tmp_path, KESTREL_RUN_DIR="run"), "KESTREL_RUN_DIR is 'run'", "an absolute path"
        )
