"""Operators without a daemon, and a kill switch that is on or cannot be handled."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.support.bad_input import nothing_written, play, refused
from tests.support.daemon import kestrel


@pytest.mark.fault("F7")
@pytest.mark.parametrize("content", ['{"source": "operator", "reason": "because"}', "because", ""])
def test_no_daemon_starts_while_the_kill_switch_is_on(content: str, market: tuple[Path, Path], tmp_path: Path) -> None:
    """Whatever the HALT file holds; the line says how to end the halt, and ``resume`` does."""
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "HALT").write_text(content)
    refused(play(tmp_path, market), "the kill switch is on", "because" if content else "HALT file", "resume")
    nothing_written(tmp_path)
    resumed = kestrel("resume", "--sessions", str(tmp_path / "sessions"))
    assert resumed.returncode == 0
    assert resumed.stdout == f"removed {tmp_path / 'run' / 'HALT'}\nno running daemon was found\n"
    assert not (tmp_path / "run" / "HALT").exists()


@pytest.mark.fault("F7")
def test_operators_are_told_when_no_daemon_runs(tmp_path: Path) -> None:
    """``status`` and ``reduce`` need one; ``halt`` works without and holds the next start; ``resume`` ends that."""
    sessions = ("--sessions", str(tmp_path / "sessions"))
    for name in ("status", "reduce"):
        refused(kestrel(name, *sessions), "no daemon is running", "make paper")
    assert kestrel("halt", "--reason", "storm", *sessions).returncode == 0
    assert json.loads((tmp_path / "run" / "HALT").read_text())["reason"] == "storm"
    assert kestrel("resume", *sessions).returncode == 0
    assert not (tmp_path / "run" / "HALT").exists()


def test_a_kill_switch_file_that_cannot_be_handled_is_one_line(tmp_path: Path, run_folder_of_the_user: Path) -> None:
    """``halt`` where a folder is a file still writes the other; ``resume`` where HALT is a folder says so."""
    (tmp_path / "run").write_text("")
    sessions = ("--sessions", str(tmp_path / "sessions"))
    done = kestrel("halt", *sessions)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"kestrel: the kill-switch file {tmp_path / 'run' / 'HALT'} cannot be written")
    assert "stop the daemons" in line
    assert f"wrote {run_folder_of_the_user / 'HALT'}" in done.stdout
    assert (run_folder_of_the_user / "HALT").exists()
    os.unlink(tmp_path / "run")
    (tmp_path / "run" / "HALT").mkdir(parents=True)
    done = kestrel("resume", *sessions)
    assert done.returncode == 2
    assert "cannot be removed" in done.stderr
    assert "by hand" in done.stderr
