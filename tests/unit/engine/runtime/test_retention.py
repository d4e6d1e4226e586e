"""Old sessions go, and none that anything still needs: real journals, real locks, real archives."""

from __future__ import annotations

import json
import os
import tarfile
from pathlib import Path

import pytest
import typer

from engine.errors import ConfigError, DataError, JournalError, SessionLocked
from engine.runtime import retention, session_commands
from engine.runtime.journal_reader import ReadReport, read_journal
from engine.runtime.retention import LEAVING, Old, Rule, finish, has_ended, prune, survey
from engine.runtime.segment import list_segments
from engine.runtime.session import Session, list_sessions
from engine.runtime.succession import Succession, read_left
from tests.support.account import Account
from tests.support.journals import write

DAY_NS = 86_400_000_000_000
NOW_NS = 1_795_257_930_000_000_000
ALL = Rule(before_ns=NOW_NS)


@pytest.fixture
def run_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KESTREL_RUN_DIR", str(tmp_path / "run"))
    return tmp_path / "run"


def recorded(root: Path, name: str, *, days: int = 40, closed: bool = True) -> Path:
    """A session with an account's records, last written so many days before ``NOW_NS``."""
    session = Session.create(
        root, mode="paper", config={"venue": "coinbase"}, wall_ns=NOW_NS, code_root=root, session=name
    )
    account = Account()
    account.accept(account.place())
    journal = write(session.journal, account.records)
    journal.wait_ready()
    if closed:
        journal.close()
    session.close()
    for file in session.path.rglob("*"):
        os.utime(file, ns=(NOW_NS - days * DAY_NS,) * 2)
    return session.path


def outcomes(found: list[Old]) -> dict[str, str]:
    return {one.session: one.why_kept for one in found}


@pytest.mark.fault("F17")
def test_what_is_still_needed_stays(tmp_path: Path, run_dir: Path) -> None:
    """Of seven sessions two go: the others run, are young, were killed, or are what an account goes on from."""
    root = tmp_path / "sessions"
    for name in ("old", "older", "newest", "before"):
        recorded(root, name)
    recorded(root, "young", days=1)
    recorded(root, "killed", closed=False)
    running = Session.create(root, mode="paper", config={}, wall_ns=NOW_NS, code_root=root, session="runs")
    (run_dir / "accounts").mkdir(parents=True)
    for name in ("before", "newest"):
        traded = Succession(run_dir, "coinbase-0123")
        traded.left("USD")
        traded.begin(root / name)
    found = outcomes(survey(root, run_dir, Rule(before_ns=NOW_NS - 30 * DAY_NS)))
    assert [name for name, why in found.items() if not why] == ["old", "older"]
    assert found["newest"] == found["before"] == "account coinbase-0123 goes on from it"
    assert (found["young"], found["runs"]) == ("it is younger", f"it runs (process {os.getpid()})")
    assert found["killed"] == "its end is not clean (--force takes it)"
    forced = outcomes(survey(root, run_dir, Rule(before_ns=NOW_NS - 30 * DAY_NS, force=True)))
    assert [name for name, why in forced.items() if not why] == ["killed", "old", "older"]
    running.close()


def test_a_pointer_that_cannot_be_read_keeps_everything(tmp_path: Path, run_dir: Path) -> None:
    """Nobody knows which session that account needs."""
    recorded(tmp_path / "sessions", "old")
    (run_dir / "accounts").mkdir(parents=True)
    (run_dir / "accounts" / "0123.json").write_text("{")
    with pytest.raises(DataError, match=r"0123\.json cannot be read"):
        survey(tmp_path / "sessions", run_dir, ALL)


def test_a_session_goes_whole_and_its_archive_holds_every_byte(tmp_path: Path, run_dir: Path) -> None:
    """The archive is for its owner alone, and unpacked it replays as before."""
    root = tmp_path / "sessions"
    path = recorded(root, "old")
    before = list(read_journal(path / "journal"))
    (old,) = survey(root, run_dir, ALL)
    assert old.size_bytes > 0
    prune(old, ALL, tmp_path / "kept")
    assert list(root.iterdir()) == []
    archive = tmp_path / "kept" / "old.tar.gz"
    assert old.archive == str(archive)
    assert archive.stat().st_mode & 0o777 == 0o600
    assert archive.parent.stat().st_mode & 0o777 == 0o700
    with tarfile.open(archive) as tar:
        tar.extractall(root, filter="data")
    assert list(read_journal(path / "journal")) == before
    (again,) = survey(root, run_dir, ALL)
    with pytest.raises(DataError, match="exists already"):
        prune(again, ALL, tmp_path / "kept")
    assert path.is_dir()


def test_nothing_goes_whose_archive_cannot_be_made(
    tmp_path: Path, run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder that is a file, and a copy that differs from what was copied: no archive is left, and every session."""
    root = tmp_path / "sessions"
    path = recorded(root, "old")
    (old,) = survey(root, run_dir, ALL)
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot be removed"):
        prune(old, ALL, tmp_path / "file")
    digests = iter(("0" * 64, "1" * 64))
    monkeypatch.setattr(retention, "_digest", lambda _: next(digests))
    with pytest.raises(DataError, match="was not archived as it is"):
        prune(old, ALL, tmp_path / "kept")
    assert list((tmp_path / "kept").iterdir()) == []
    assert has_ended(path)


def test_what_runs_by_now_is_not_removed(tmp_path: Path, run_dir: Path) -> None:
    """A daemon that took the folder after the survey holds its lock."""
    path = recorded(tmp_path / "sessions", "old")
    (old,) = survey(path.parent, run_dir, ALL)
    with retention.locked(path), pytest.raises(SessionLocked):
        prune(old, ALL, None)
    assert has_ended(path)


@pytest.mark.fault("A5")
def test_a_removal_that_was_ended_is_finished_by_the_next_one(tmp_path: Path, run_dir: Path) -> None:
    """Between the new name and the last file: it is no session any more, and goes."""
    root = tmp_path / "sessions"
    recorded(root, "old").rename(root / f"{LEAVING}old")
    assert list_sessions(root) == []
    assert survey(root, run_dir, ALL) == []
    assert finish(root) == 1
    assert list(root.iterdir()) == []


@pytest.mark.fault("F17")
def test_without_its_market_an_account_still_goes_on_from_a_session(tmp_path: Path, run_dir: Path) -> None:
    """What it left is the same as before; a replay says in one line that there is none, also when it salvages."""
    root, rule = tmp_path / "sessions", Rule(before_ns=NOW_NS, market_only=True)
    path = recorded(root, "old")
    (run_dir / "accounts").mkdir(parents=True)
    Succession(run_dir, "coinbase-0123").begin(path)
    left = read_left(path, "USD")
    assert left is not None
    (old,) = survey(root, run_dir, rule)
    prune(old, rule, None)
    assert list_segments(path / "journal")["market"] == []
    assert read_left(path, "USD") == left
    with pytest.raises(JournalError, match="it can be replayed from no record on"):
        list(read_journal(path / "journal"))
    report = ReadReport()
    assert list(read_journal(path / "journal", report=report, salvage=True)) == []
    assert "was pruned on" in report.stopped
    assert outcomes(survey(root, run_dir, rule)) == {"old": "its market is gone already"}


def test_the_command_says_what_became_of_each(
    tmp_path: Path, run_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A trial changes nothing; then one goes, one stays, and one that cannot be stored fails the command."""
    root = tmp_path / "sessions"
    recorded(root, "a")
    recorded(root, "b", closed=False)
    session_commands.prune_old("0d", root, dry_run=True, as_json=True)
    said = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert [one["outcome"] for one in said["sessions"]] == [
        "would go",
        "kept: its end is not clean (--force takes it)",
    ]
    assert list_sessions(root) == ["a", "b"]
    session_commands.prune_old("0d", root)
    out = capsys.readouterr().out
    assert "removed" in out
    assert "are freed" in out
    assert list_sessions(root) == ["b"]
    session_commands.list_all(root, as_json=True)
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["sessions"][0]["state"] == "not ended in order"
    (tmp_path / "file").write_text("")
    with pytest.raises(typer.Exit):
        session_commands.prune_old("0d", root, archive=tmp_path / "file", force=True)
    with pytest.raises(ConfigError, match="--older-than 3 weeks"):
        session_commands.prune_old("3 weeks", root)
