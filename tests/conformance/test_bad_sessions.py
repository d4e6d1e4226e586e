"""Recorded sessions that are damaged, incomplete or not there: ``replay`` says which and what to do."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.support.bad_input import refused
from tests.support.daemon import attempt, kestrel, paper_session


@pytest.fixture(scope="module")
def recorded(market: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one whole session called ``whole``."""
    folder = tmp_path_factory.mktemp("recorded")
    paper_session(folder, market, "--session", "whole")
    return folder


@pytest.mark.fault("A7")
@pytest.mark.parametrize("stream", ["market", "orders"])
def test_a_journal_damaged_in_the_middle_is_refused_with_the_place(stream: str, recorded: Path, tmp_path: Path) -> None:
    """One bit flipped in a record that others follow: what comes after it cannot be trusted, and is not replayed."""
    copy = tmp_path / "sessions" / "copy"
    shutil.copytree(recorded / "sessions" / "whole", copy)
    segment = copy / "journal" / f"{stream}-000001.seg"
    content = bytearray(segment.read_bytes())
    content[600] ^= 1
    segment.write_bytes(content)
    done = kestrel("replay", "copy", "--sessions", str(tmp_path / "sessions"), "--json")
    refused(done, segment.name, "is damaged at offset", "restore the files from a copy")


def test_a_damaged_header_or_a_missing_journal_is_refused(recorded: Path, tmp_path: Path) -> None:
    """``session.json`` cut short; then whole again, but without a journal."""
    copy = tmp_path / "sessions" / "copy"
    shutil.copytree(recorded / "sessions" / "whole", copy)
    header = (copy / "session.json").read_text()
    (copy / "session.json").write_text(header[:40])
    done = attempt("replay", "copy", "--sessions", str(tmp_path / "sessions"), "--json")
    refused(done, "session.json is damaged", "restore it from a copy")
    (copy / "session.json").write_text(header)
    shutil.rmtree(copy / "journal")
    done = attempt("replay", "copy", "--sessions", str(tmp_path / "sessions"), "--json")
    refused(done, "no journal at", "check the session's path")


def test_an_unknown_session_is_refused_with_the_ones_there_are(recorded: Path, tmp_path: Path) -> None:
    """A name that nothing begins with; a folder without sessions; a setting that does not exist."""
    sessions = str(recorded / "sessions")
    refused(kestrel("replay", "wohle", "--sessions", sessions, "--json"), "no session 'wohle'", "one of whole")
    refused(attempt("replay", "latest", "--sessions", str(tmp_path), "--json"), "no session under", "run one first")
    done = attempt("replay", "whole", "--sessions", sessions, "--set", "modls.deadline_us=1")
    refused(done, "unknown key 'modls'", "'models'")
