"""A disk without room: orders stop first, cancels last, nothing is lost and the process lives."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.codec import Record
from engine.errors import JournalError
from engine.runtime.journal import JournalWriter
from engine.runtime.segment import MappedSegment
from tests.support.journals import cancel, new_order, prediction, quote, read_all, small_writer, wait_until


def append_until_refused(journal: JournalWriter, seq: int, make: Callable[[int], Record]) -> tuple[int, str]:
    """The last number that was taken, and the refusal of the next."""
    for number in range(seq + 1, seq + 10_000):
        try:
            journal.append(number, make(number))
        except JournalError as error:
            return number - 1, str(error)
    raise AssertionError("nothing was refused")


def fail_allocation(monkeypatch: pytest.MonkeyPatch, stream: str = "") -> list[bool]:
    """Make new segments (of a stream) fail with ENOSPC while the returned list is not empty."""
    failing = [True]
    original = MappedSegment.__init__

    def make(self: MappedSegment, folder: Path, session: str, name: str, number: int, **sizes: int) -> None:
        if failing and number > 1 and stream in ("", name):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        original(self, folder, session, name, number, **sizes)

    monkeypatch.setattr(MappedSegment, "__init__", make)
    return failing


@pytest.mark.fault("A8")
def test_a_full_disk_stops_new_orders_first_and_cancels_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets every further allocation fail with ENOSPC and fills the orders stream: the reserve takes cancels only."""
    fail_allocation(monkeypatch)
    faults: list[str] = []
    journal = small_writer(tmp_path / "j", on_fault=faults.append)
    wait_until(lambda: bool(faults))
    assert "No space left on device" in faults[0]
    assert "cannot be allocated" in journal.fault
    seq = 0
    seq, refused_with = append_until_refused(journal, seq, new_order)
    assert "No space left" in refused_with
    for refused in (new_order(seq + 1), prediction(seq + 1)):
        with pytest.raises(JournalError):
            journal.append(seq + 1, refused)
    stored = seq
    seq, refused_with = append_until_refused(journal, seq, cancel)
    assert refused_with.startswith("no room for record")
    assert seq - stored >= 10
    journal.append(seq + 1, quote(seq + 1))  # the market stream has room of its own
    journal.close()
    found, report = read_all(tmp_path / "j")
    assert [item.seq for item in found] == list(range(1, seq + 2))
    assert report.closed


@pytest.mark.fault("A8")
def test_the_journal_recovers_when_space_returns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Frees the simulated disk after a failure: the segment is prepared on the next attempt and the fault goes away."""
    monkeypatch.setattr("engine.runtime.journal._RETRY_NS", 1_000_000)
    failing = fail_allocation(monkeypatch)
    journal = small_writer(tmp_path / "j")
    wait_until(lambda: bool(journal.fault))
    failing.clear()
    assert journal.wait_ready()
    wait_until(lambda: not journal.fault)
    for seq in range(1, 400):
        journal.append(seq, new_order(seq))
    journal.close()
    assert len(read_all(tmp_path / "j")[0]) == 399


@pytest.mark.fault("A9")
def test_without_patience_an_unready_segment_is_an_error_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Blocks the preparing thread: append must come back with an error instead of waiting for it."""
    gate = threading.Event()
    original = MappedSegment.__init__

    def make(self: MappedSegment, folder: Path, session: str, name: str, number: int, **sizes: int) -> None:
        if number > 1:
            gate.wait(20)
        original(self, folder, session, name, number, **sizes)

    monkeypatch.setattr(MappedSegment, "__init__", make)
    journal = small_writer(tmp_path / "j", patience_s=0.0)
    _, refused_with = append_until_refused(journal, 0, quote)
    assert "not ready yet" in refused_with
    assert journal.waits == 0
    gate.set()
    journal.close()


@pytest.mark.fault("A8")
def test_a_real_full_disk_is_met_when_preparing_and_never_kills_the_process(tmp_path: Path) -> None:
    """A tmpfs of 256 KiB (or, without the right to mount, a file-size limit) in a child that goes on until refused."""
    code = """
import sys, resource
from pathlib import Path
from tests.support.journals import cancel, new_order, quote, small_writer
from engine.errors import JournalError
folder, limit = Path(sys.argv[1]), int(sys.argv[2])
size = 65536
journal = small_writer(folder, market_bytes=size, orders_bytes=size, reserve_bytes=8192, session="full")
assert journal.wait_ready()
if limit:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
seq, refused = 0, ""
while not refused:
    try:
        journal.append(seq + 1, new_order(seq + 1)); seq += 1
    except JournalError as error:
        refused = str(error)
for _ in range(20):
    journal.append(seq + 1, cancel(seq + 1)); seq += 1
journal.close()
print(seq, refused)
"""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = os.geteuid() == 0 and shutil.which("mount") is not None
    if mounted:
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=320k", "tmpfs", str(disk)], capture_output=True, check=False
        )
        mounted = done.returncode == 0
    try:
        limit = "0" if mounted else "4096"
        child = subprocess.run(
            [sys.executable, "-c", code, str(disk / "j"), limit],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert child.returncode == 0, child.stderr
        last = int(child.stdout.split()[0])
        assert "No space left" in child.stdout or "File too large" in child.stdout
        found, report = read_all(disk / "j")
        assert [item.seq for item in found] == list(range(1, last + 1))
        assert report.closed
    finally:
        if mounted:
            subprocess.run(["umount", str(disk)], check=False)


@pytest.mark.fault("A8")
def test_no_room_for_the_first_segments_is_one_clear_line(tmp_path: Path) -> None:
    """A file-size limit below a segment stands for a full disk at start."""
    code = """
import resource, sys
from engine.runtime.journal import JournalWriter
from engine.errors import JournalError
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
try:
    JournalWriter(sys.argv[1])
except JournalError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "j")], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.startswith("cannot allocate the journal in ")
    assert "expected room for 48 MiB; free disk space" in done.stdout
    assert done.stdout.count("\n") == 1
    assert list((tmp_path / "j").iterdir()) == []


def test_the_file_size_limit_of_this_process_is_not_touched() -> None:
    """Guards the limit tests above: they must change it in children only."""
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY
