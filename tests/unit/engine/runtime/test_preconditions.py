"""This machine before a session: each look that fails says what to do, and none of them leaves anything behind."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest

from engine import events as e
from engine.commands import RiskState
from engine.findings import Finding, Outcome
from engine.runtime import preconditions
from engine.runtime.approval import build_of, write_approval
from engine.runtime.control import run_folder, user_run_folder, write_halt
from engine.runtime.preconditions import machine_findings
from engine.runtime.succession import Succession
from engine.session_options import Place
from tests.support.account import Account
from tests.support.daemon import ROOT
from tests.support.journals import write

ACCOUNT = "coinbase-0123456789ab"


@pytest.fixture(scope="module")
def code_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout with one source file: hashing all of ours each time would take the test's time."""
    root = tmp_path_factory.mktemp("code")
    (root / "engine").mkdir()
    (root / "engine" / "core.py").write_text("x = 1\n")
    shutil.copy(ROOT / "pyproject.toml", root)
    return root


def place(folder: Path, code_root: Path, **changes: Any) -> Place:
    values: dict[str, Any] = {
        "sessions": folder / "var" / "sessions",
        "logs": None,
        "code_root": code_root,
        "config": {"a": 1},
        "own_code": (),
        "account": ACCOUNT,
        "currency": "USD",
        "approval": folder / "approved.json",
        "approving": True,
        "segment_mb": 1,
        "fsync": "interval",
        "metrics_host": "127.0.0.1",
        "metrics_port": 0,
    }
    made = values | changes
    if made["approval"] is not None and not made["approval"].exists():
        write_approval(made["approval"], build_of(made["config"], code_root, ()), "reviewed", 1)
    return Place(**made)


def by_name(findings: list[Finding]) -> dict[str, Finding]:
    return {one.check: one for one in findings}


def test_a_machine_that_is_ready_passes_every_look_and_is_left_as_it_was(
    tmp_path: Path, code_root: Path, run_folder_of_the_user: Path
) -> None:
    """Ready, but for git; afterwards no folder was made, no lock is held, no file lies anywhere."""
    asked = place(tmp_path, code_root)
    before = sorted(tmp_path.rglob("*"))
    found = by_name(machine_findings(asked))
    assert {name: one.outcome for name, one in found.items() if one.outcome is not Outcome.OK} == {}
    assert found["build"].seen.endswith("no git checkout")
    assert found["approval"].seen.endswith(": reviewed")
    assert found["versions"].seen.endswith("libraries as pinned")
    assert found["lock"].seen == f"nobody trades on {ACCOUNT}"
    assert found["last session"].seen == f"none on {ACCOUNT}"
    assert sorted(tmp_path.rglob("*")) == before
    assert not run_folder_of_the_user.exists()


class Wrong(NamedTuple):
    """How a machine is spoiled, and what is said of it."""

    check: str
    outcome: Outcome
    seen: str
    do: str


def halted(folder: Path, patch: pytest.MonkeyPatch) -> dict[str, Any]:
    write_halt(run_folder(folder / "var" / "sessions"), "operator", "fat finger", 1)
    return {}


def unapproved(folder: Path, patch: pytest.MonkeyPatch) -> dict[str, Any]:
    return {"approval": None}


def approved_on_paper(folder: Path, patch: pytest.MonkeyPatch) -> dict[str, Any]:
    return {"approval": None, "approving": False}


def changed(folder: Path, patch: pytest.MonkeyPatch) -> dict[str, Any]:
    (folder / "code").mkdir()
    write_approval(folder / "approved.json", build_of({"a": 2}, folder / "code", ()), "", 1)
    return {}


def full(folder: Path, patch: pytest.MonkeyPatch) -> dict[str, Any]:
    patch.setattr(preconditions.shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(1 << 30, 1 << 30, 1 << 20))
    return {}


def nearly_full(folder: Path, patch: pytest.MonkeyPatch) -> dict[str, Any]:
    patch.setattr(preconditions.shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(1 << 40, 1 << 40, 1 << 30))
    return {}


def in_the_way(folder: Path, patch: pytest.MonkeyPatch) -> dict[str, Any]:
    (folder / "var").write_text("a file")
    return {"logs": folder / "var" / "log"}


def taken_port(folder: Path, patch: pytest.MonkeyPatch) -> dict[str, Any]:
    taken = socket.create_server(("127.0.0.1", 0))
    patch.setattr(preconditions, "_kept_by_test", taken, raising=False)  # until the test is over
    return {"metrics_port": taken.getsockname()[1]}


def old_library(folder: Path, patch: pytest.MonkeyPatch) -> dict[str, Any]:
    real = preconditions.metadata.version
    patch.setattr(preconditions.metadata, "version", lambda name: "0.1" if name == "msgspec" else real(name))
    return {}


def no_library(folder: Path, patch: pytest.MonkeyPatch) -> dict[str, Any]:
    real = preconditions.metadata.version

    def version(name: str) -> str:
        if name in ("rich", "onnxruntime"):
            raise preconditions.metadata.PackageNotFoundError(name)
        return real(name)

    patch.setattr(preconditions.metadata, "version", version)
    return {}


def slow_disk(folder: Path, patch: pytest.MonkeyPatch) -> dict[str, Any]:
    times = iter((0.0, 1.0))
    patch.setattr(preconditions.time, "perf_counter", lambda: next(times))
    return {"fsync": "always"}


WRONG: list[tuple[Callable[[Path, pytest.MonkeyPatch], dict[str, Any]], Wrong]] = [
    (halted, Wrong("kill switch", Outcome.FAILED, "the kill switch is on", "run.py resume")),
    (unapproved, Wrong("approval", Outcome.FAILED, "session.approved is empty", "config approve")),
    (approved_on_paper, Wrong("approval", Outcome.SKIPPED, "not asked for on paper", "")),
    (changed, Wrong("approval", Outcome.FAILED, "this is not the build and configuration", "config approve")),
    (full, Wrong("disk", Outcome.FAILED, "0.0 GiB free", "sessions prune")),
    (nearly_full, Wrong("disk", Outcome.WARNING, "1.0 GiB free", "sessions prune")),
    (in_the_way, Wrong("journal", Outcome.FAILED, "a file of 1 MB cannot be made", "session.directory")),
    (in_the_way, Wrong("logs", Outcome.FAILED, "nothing can be written", "logs.directory")),
    (taken_port, Wrong("metrics", Outcome.FAILED, "metrics endpoint 127.0.0.1", "metrics.port")),
    (old_library, Wrong("versions", Outcome.FAILED, "msgspec 0.1 in place of", "pip install")),
    (no_library, Wrong("versions", Outcome.FAILED, "; rich is not installed", "pip install")),
    (slow_disk, Wrong("journal", Outcome.WARNING, "a sync took 1000.0 ms", "journal.fsync")),
]


@pytest.mark.parametrize(("spoil", "wrong"), WRONG, ids=[f"{each.__name__}-{wrong.check}" for each, wrong in WRONG])
def test_what_is_wrong_is_said_with_what_to_do(
    tmp_path: Path,
    code_root: Path,
    monkeypatch: pytest.MonkeyPatch,
    spoil: Callable[[Path, pytest.MonkeyPatch], dict[str, Any]],
    wrong: Wrong,
) -> None:
    """One thing is spoiled; its line says so, in one line, and the other looks are made all the same."""
    changes = spoil(tmp_path, monkeypatch)
    findings = machine_findings(place(tmp_path, code_root, **changes))
    assert len(findings) == 11
    found = by_name(findings)[wrong.check]
    assert found.outcome is wrong.outcome
    assert wrong.seen in found.seen
    assert wrong.do in found.do
    assert not any("\n" in text for text in (found.seen, found.expected, found.do))


def test_an_account_that_is_traded_or_was_left_halted_is_told(tmp_path: Path, code_root: Path) -> None:
    """A daemon holds it: not now.  One has ended on it: what it left, and that its state goes on."""
    asked = place(tmp_path, code_root)
    held = Succession(user_run_folder(), ACCOUNT)
    held.lock("s-1")
    lock = by_name(machine_findings(asked))["lock"]
    assert lock.outcome is Outcome.FAILED
    assert lock.seen == f"account {ACCOUNT} is traded by process {os.getpid()}, session s-1"
    held.close()

    account = Account()
    account.accept(account.place(qty="3"))
    write(tmp_path / "s-1" / "journal", account.records).close()
    held.begin(tmp_path / "s-1")
    left = by_name(machine_findings(asked))["last session"]
    assert (left.outcome, left.seen) == (Outcome.OK, "s-1: 1 open orders, no position")

    account.bus.publish(e.Halted(99, 99, "operator", "looked odd"))
    assert account.core.risk_state is RiskState.HALTED
    write(tmp_path / "s-2" / "journal", account.records).close()
    held.begin(tmp_path / "s-2")
    left = by_name(machine_findings(asked))["last session"]
    assert left.outcome is Outcome.WARNING
    assert "it ended halted: looked odd" in left.seen
    assert "resume" in left.do

    (tmp_path / "s-2" / "journal").rename(tmp_path / "s-2" / "gone")
    shutil.rmtree(tmp_path / "s-1")
    lost = by_name(machine_findings(asked))["last session"]
    assert lost.outcome is Outcome.FAILED
    assert "--venue-truth" in lost.do
    anew = by_name(machine_findings(place(tmp_path, code_root, venue_truth=True)))["last session"]
    assert (anew.outcome, anew.seen) == (Outcome.SKIPPED, "--venue-truth: what the venue says alone counts")


def test_versions_without_their_list_are_no_failure(tmp_path: Path) -> None:
    """An image may come without pyproject.toml: nobody knows the pins, and that is said."""
    (tmp_path / "engine").mkdir()
    found = by_name(machine_findings(place(tmp_path, tmp_path)))["versions"]
    assert found.outcome is Outcome.SKIPPED
    assert "nobody knows which versions were tested" in msgspec.json.encode(found).decode()
