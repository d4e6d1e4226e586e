"""The session's folder: one owner, a header that is whole or absent, and finding it again."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from engine.errors import DataError, SessionLocked
from engine.events import SessionStarted
from engine.runtime.session import Session, config_digest, find_session, list_sessions, new_session_id, running_process

PEM = "-----BEGIN EC PRIVATE KEY-----\nMHcCAQEEIDummyDummyDummy\n-----END EC PRIVATE KEY-----"
WALL_NS = 1_795_257_930_000_000_000  # 2026-11-21T10:45:30Z


def create(root: Path, name: str = "", wall_ns: int = WALL_NS, **more: Any) -> Session:
    return Session.create(
        root, mode="paper", config={"venue": "coinbase"}, wall_ns=wall_ns, code_root=root, session=name, **more
    )


def test_ids_sort_by_time_and_differ_within_a_second() -> None:
    """The documented form, and 50 ids of one second."""
    name = new_session_id(WALL_NS)
    assert name.startswith("20261121T104530-")
    assert len(name) == 20
    assert len({new_session_id(WALL_NS) for _ in range(50)}) > 40
    assert new_session_id(WALL_NS) < new_session_id(WALL_NS + 1_000_000_000)


@pytest.mark.fault("F15")
@pytest.mark.fault("F16")
def test_a_session_has_its_folders_and_a_complete_header(tmp_path: Path) -> None:
    """Creates one with a key in a text of its configuration and reads the file back."""
    session = Session.create(
        tmp_path,
        mode="paper",
        config={"venue": {"name": "coinbase", "api_key": "[redacted]"}, "note": f"key {PEM}", "seed": 7},
        wall_ns=WALL_NS,
        code_root=tmp_path,
        seed=7,
    )
    for folder in (session.path, session.journal, session.logs):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    text = (session.path / "session.json").read_text()
    assert "MHcCAQEE" not in text
    header = Session.open(session.path).header
    assert header == session.header
    assert header.created == "2026-11-21T10:45:30Z"
    assert header.config == {
        "venue": {"name": "coinbase", "api_key": "[redacted]"}, "note": "key [redacted]", "seed": 7
    }  # fmt: skip
    assert header.config_hash == config_digest(header.config)
    assert len(header.code_hash) == 64
    assert header.libraries["msgspec"]
    session.close()


@pytest.mark.fault("A10")
def test_a_second_daemon_on_the_folder_is_told_who_holds_it(tmp_path: Path) -> None:
    """Another process tries the same session id while this one holds the lock."""
    session = create(tmp_path, "mine")
    code = """
import sys
from pathlib import Path
from engine.runtime.session import Session
from engine.errors import KestrelError
try:
    Session.create(Path(sys.argv[1]), mode="paper", config={}, wall_ns=1, code_root=Path(sys.argv[1]), session="mine")
except KestrelError as error:
    print(type(error).__name__, error)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.startswith("SessionLocked session folder ")
    assert f"is held by process {os.getpid()}; stop that daemon" in done.stdout
    assert done.stdout.count("\n") == 1
    with pytest.raises(SessionLocked):
        create(tmp_path, "mine")
    session.close()
    session.close()


def test_a_killed_daemon_leaves_no_stale_lock_but_a_used_session_is_not_reused(tmp_path: Path) -> None:
    """Lets go of the lock: the next attempt meets the recorded session, not the lock."""
    create(tmp_path, "mine").close()
    with pytest.raises(DataError, match="session mine has already run; start without an id"):
        create(tmp_path, "mine")
    create(tmp_path, "other").close()


@pytest.mark.parametrize("name", ["../up", "a/b", "", "x" * 41, ".hidden"])
def test_odd_session_ids_are_refused(tmp_path: Path, name: str) -> None:
    """Anything that would leave the folder; the empty one means "choose for me"."""
    if name == "":
        assert create(tmp_path, name).id.startswith("2026")
        return
    with pytest.raises(DataError, match=r"session id .*; expected at most 40"):
        create(tmp_path, name)


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    """A file stands where the sessions should be."""
    (tmp_path / "sessions").write_text("")
    with pytest.raises(DataError, match=r"cannot write .*; choose a folder"):
        create(tmp_path / "sessions")


@pytest.mark.fault("A15")
def test_opening_what_is_no_session_or_damaged_or_newer_is_a_clear_error(tmp_path: Path) -> None:
    """An empty folder, half a header, a field of the wrong type, another format version."""
    with pytest.raises(DataError, match="holds no session"):
        Session.open(tmp_path)
    file = tmp_path / "session.json"
    for content in (b'{"format_version": 1, "sess', b"[]", b'{"format_version": 1, "session": 5}'):
        file.write_bytes(content)
        with pytest.raises(DataError, match="is damaged"):
            Session.open(tmp_path)
    file.write_bytes(b'{"format_version": 9}')
    with pytest.raises(DataError, match="header format version 9; expected version 1"):
        Session.open(tmp_path)


def edit(path: Path, change: Any) -> None:
    """Rewrite the header as somebody with an editor would."""
    header = json.loads((path / "session.json").read_text())
    change(header)
    (path / "session.json").write_text(json.dumps(header))


def test_a_changed_configuration_is_refused_and_named(tmp_path: Path) -> None:
    """An untouched header passes; one value of one section changed, one section added, and digests not recorded."""
    config = {"risk": {"max_order_notional": "500", "bps": 1e-05}, "venue": {"name": "coinbase"}, "seed": 7}
    session = Session.create(tmp_path, mode="paper", config=config, wall_ns=WALL_NS, code_root=tmp_path)
    session.close()
    Session.open(session.path).check_config()
    edit(session.path, lambda header: header["config"]["risk"].update(max_order_notional="5000"))
    with pytest.raises(DataError, match=r"was changed after the session \(in: risk\); expected .*; restore the file"):
        Session.open(session.path).check_config()
    edit(session.path, lambda header: header["config"].update(more=1))
    with pytest.raises(DataError, match=r"\(in: more, risk\)"):
        Session.open(session.path).check_config()
    edit(session.path, lambda header: header.pop("config_sections"))
    with pytest.raises(DataError, match="was changed after the session; expected"):
        Session.open(session.path).check_config()


def test_a_header_of_another_session_does_not_fit_the_journal(tmp_path: Path) -> None:
    """What the journal's first record says against each of the three fields."""
    session = create(tmp_path)
    header = session.header
    started = SessionStarted(1, 1, header.session, header.config_hash, header.code_hash, (), ())
    session.check_started(started)
    for field in ("session", "config_hash", "code_hash"):
        with pytest.raises(DataError, match=f"has {field} .*, but the journal was begun with other"):
            session.check_started(msgspec.structs.replace(started, **{field: "other"}))
    session.close()


def test_sessions_are_found_by_id_beginning_folder_and_latest(tmp_path: Path) -> None:
    """Three sessions, the one with an own name the newest by its header."""
    for name, wall_ns in (("20261121T104530-7f3a", 10), ("20261122T104530-0000", 20), ("an-experiment", 30)):
        create(tmp_path, name, wall_ns).close()
    (tmp_path / "rubbish").mkdir()
    assert list_sessions(tmp_path) == ["20261121T104530-7f3a", "20261122T104530-0000", "an-experiment"]
    assert find_session(tmp_path, "latest").name == "an-experiment"
    assert find_session(tmp_path, "20261121T104530-7f3a").name == "20261121T104530-7f3a"
    assert find_session(tmp_path, "20261122").name == "20261122T104530-0000"
    assert find_session(tmp_path / "nowhere", str(tmp_path / "an-experiment")) == tmp_path / "an-experiment"


def test_candidates_are_listed_newest_first(tmp_path: Path) -> None:
    """Names whose order says nothing, made in any order of time: the list follows the time, and has the newest."""
    for age, name in enumerate(["run-c", "run-a", "run-e", "run-b", "run-g", "run-d", "run-f"]):
        create(tmp_path, name, wall_ns=WALL_NS - age).close()
    listed = r"expected one of run-c, run-a, run-e, run-b, run-g;"
    with pytest.raises(DataError, match="7 sessions start with 'run-'.*" + listed):
        find_session(tmp_path, "run-")
    with pytest.raises(DataError, match="no session 'run-x'.*" + listed):
        find_session(tmp_path, "run-x")


def test_who_holds_a_session_is_seen_without_taking_it(tmp_path: Path) -> None:
    """While it is locked, the process id; afterwards, and in a copy or without a lock file, nobody."""
    session = create(tmp_path, "mine")
    assert running_process(session.path) == str(os.getpid())
    with pytest.raises(SessionLocked):
        create(tmp_path, "mine")
    shutil.copytree(session.path, tmp_path / "copy")
    assert running_process(tmp_path / "copy") == ""
    session.close()
    assert running_process(session.path) == ""
    (session.path / "lock").unlink()
    assert running_process(session.path) == ""


def test_an_unknown_session_lists_the_nearest(tmp_path: Path) -> None:
    """A typo, an ambiguous beginning, and no sessions at all."""
    with pytest.raises(DataError, match=r"no session under .*; run one first"):
        find_session(tmp_path, "latest")
    for name in ("20261121T104530-7f3a", "20261121T104531-aaaa", "zzz"):
        create(tmp_path, name).close()
    with pytest.raises(
        DataError, match=r"no session '20261121T104530-7f3b' under .*; expected one of .*20261121T104530-7f3a;"
    ):
        find_session(tmp_path, "20261121T104530-7f3b")
    with pytest.raises(DataError, match="2 sessions start with '20261121'"):
        find_session(tmp_path, "20261121")
