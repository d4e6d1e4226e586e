"""``engine.runtime.storing``: the child that follows a session, as the daemon starts and leaves it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import pytest

from engine.data.catalogue import Catalogue
from engine.errors import DataError
from engine.runtime.segment import list_segments
from engine.runtime.storing import LOG_FILE, NICE, ROOM_BYTES, Storing, check_room
from tests.support.daemon import ROOT
from tests.support.journals import flip, market_session, quote, wait_until


async def test_the_child_stores_while_the_session_runs_and_the_rest_when_it_ends(tmp_path: Path) -> None:
    """Rows of closed segments are there before the end; after it all of them are, and the child has gone."""
    session, journal = market_session(tmp_path, [quote(number + 10**18) for number in range(100)], close=False)
    storing = Storing(session.path, tmp_path / "c", ROOT)
    await storing.start()
    child = storing.pid
    assert child is not None
    assert os.getpriority(os.PRIO_PROCESS, child) == min(19, os.getpriority(os.PRIO_PROCESS, 0) + NICE)
    wait_until(lambda: bool(Catalogue(tmp_path / "c").parts()), timeout_s=60.0)
    journal.close()
    tally, problem = await storing.finish()
    assert problem == ""
    assert tally is not None
    assert (tally.rows, tally.complete, tally.upto_seq) == ({"quotes": 100}, True, 100)
    assert sum(part.rows for part in Catalogue(tmp_path / "c").parts()) == 100
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)
    session.close()


async def test_what_cannot_be_stored_is_told_before_the_session(tmp_path: Path) -> None:
    """The catalogue's folder is somebody's own."""
    session, _ = market_session(tmp_path, [quote(10**18)])
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "thesis.txt").write_text("mine")
    with pytest.raises(DataError, match=r"the market cannot be stored in .* is no catalogue: it holds thesis\.txt"):
        await Storing(session.path, tmp_path / "c", ROOT).start()


async def test_a_catalogue_that_cannot_be_written_is_told_before_the_session(tmp_path: Path) -> None:
    """A place where nobody can make a folder: no wait for the first segment to find out."""
    session, _ = market_session(tmp_path, [quote(10**18)])
    with pytest.raises(DataError, match="the market cannot be stored in /proc/nowhere: cannot write /proc/nowhere"):
        await Storing(session.path, Path("/proc/nowhere"), ROOT).start()


def test_nothing_is_stored_on_a_disk_that_the_journal_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One byte less than the room that is left to a session that trades."""
    usage = namedtuple("usage", "free")
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage(ROOM_BYTES))
    check_room(tmp_path)
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage(ROOM_BYTES - 1))
    with pytest.raises(DataError, match=r"511 MiB are free where .* the market is not stored for now"):
        check_room(tmp_path)


async def test_a_failure_while_storing_is_told_at_the_end_with_what_to_do(tmp_path: Path) -> None:
    """A damaged segment: the error, and the command that goes on where it stopped; the log has it too."""
    session, _ = market_session(tmp_path, [quote(number + 10**18) for number in range(200)])
    flip(list_segments(session.journal)["market"][0].path, 200)
    storing = Storing(session.path, tmp_path / "c", ROOT)
    await storing.start()
    tally, problem = await storing.finish()
    assert tally is None
    assert "market-000001.seg is damaged" in problem
    assert problem.endswith("then: python run.py data compact s-test")
    assert "market-000001.seg is damaged" in (session.path / "log" / LOG_FILE).read_text()


async def test_a_child_that_was_killed_is_told(tmp_path: Path) -> None:
    session, _ = market_session(tmp_path, [quote(10**18)])
    storing = Storing(session.path, tmp_path / "c", ROOT)
    await storing.start()
    assert storing.pid is not None
    os.kill(storing.pid, signal.SIGKILL)
    tally, problem = await storing.finish()
    assert tally is None
    assert "its process ended without a word" in problem
    assert "data compact s-test" in problem


async def test_a_child_that_takes_longer_is_left_to_finish(tmp_path: Path) -> None:
    """The daemon does not wait: it says so, and everything is stored soon after."""
    session, _ = market_session(tmp_path, [quote(number + 10**18) for number in range(100)])
    storing = Storing(session.path, tmp_path / "c", ROOT)
    await storing.start()
    tally, problem = await storing.finish(timeout_s=0.0)
    assert tally is None
    assert "still being stored, in the background" in problem
    wait_until(lambda: sum(part.rows for part in Catalogue(tmp_path / "c").parts()) == 100, timeout_s=60.0)


def test_a_daemon_that_dies_leaves_the_rest_to_the_child(tmp_path: Path) -> None:
    """Its end of the pipe closes with it, however it ends: the child stores everything and ends by itself."""
    session, journal = market_session(tmp_path, [quote(number + 10**18) for number in range(150)], close=False)
    words = [sys.executable, "-m", "engine.runtime.storing", str(session.path), str(tmp_path / "c")]
    child = subprocess.Popen(words, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdout is not None
    assert child.stdout.readline() == b'{"ready": true}\n'
    child.stdout.close()  # nobody reads any more
    assert child.stdin is not None
    child.stdin.close()
    assert child.wait(60) == 0
    assert sum(part.rows for part in Catalogue(tmp_path / "c").parts()) == 150  # the journal was never closed
    journal.close()
    session.close()
