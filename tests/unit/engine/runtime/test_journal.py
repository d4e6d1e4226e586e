"""The journal's writer: what is appended is read back, and what cannot be stored is refused in the right order."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from engine import codec
from engine import events as e
from engine.codec import Record
from engine.errors import JournalError
from engine.runtime import segment as segment_module
from engine.runtime.journal import JournalWriter
from engine.runtime.journal_reader import ReadReport, read_journal
from engine.runtime.segment import MappedSegment
from tests.support.journals import cancel, new_order, prediction, quote, read_all, small_writer, timer, write


def wait_until(condition: Callable[[], bool], timeout_s: float = 20.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true"
        time.sleep(0.002)


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


def test_records_of_both_streams_come_back_in_order_across_many_segments(tmp_path: Path) -> None:
    """Appends 2,000 mixed records over 8 KiB segments and compares numbers, raw bytes and values."""
    makers = (quote, timer, quote, new_order, cancel, prediction, quote)
    records = [makers[number % len(makers)](number) for number in range(2_000)]
    write(tmp_path / "j", records).close()
    found, report = read_all(tmp_path / "j")
    assert [item.record for item in found] == records
    assert [item.raw for item in found] == [codec.encode(record) for record in records]
    assert [item.seq for item in found] == list(range(1, 2_001))
    assert {item.stream for item in found if isinstance(item.record, e.Quote)} == {"market"}
    assert {item.stream for item in found if not isinstance(item.record, e.Quote)} == {"orders"}
    assert report.closed
    assert report.session == "s-test"
    assert (report.first_seq, report.last_seq, report.torn_bytes) == (1, 2_000, 0)
    assert len(list((tmp_path / "j").glob("market-*.seg"))) > 5
    assert len(list((tmp_path / "j").glob("orders-*.seg"))) > 5


def test_appended_records_are_readable_before_anything_is_closed_or_synced(tmp_path: Path) -> None:
    """Reads the files while the writer is still open: mapped memory is all that is needed."""
    journal = write(tmp_path / "j", [quote(1), new_order(2), quote(3)])
    found, report = read_all(tmp_path / "j")
    assert [item.seq for item in found] == [1, 2, 3]
    assert not report.closed
    assert report.torn_bytes == 0
    journal.close()


def test_closing_cuts_files_to_what_is_used_and_removes_prepared_segments(tmp_path: Path) -> None:
    """Looks at names and sizes of the files that are left after close."""
    journal = write(tmp_path / "j", [quote(1), timer(2)])
    assert journal.wait_ready()
    journal.close()
    journal.close()
    assert sorted(path.name for path in (tmp_path / "j").iterdir()) == ["market-000001.seg", "orders-000001.seg"]
    assert all(path.stat().st_size < 300 for path in (tmp_path / "j").iterdir())


def test_append_after_close_is_refused(tmp_path: Path) -> None:
    """Appends to a closed journal and expects its error for both streams."""
    journal = write(tmp_path / "j", [quote(1)])
    journal.close()
    for record in (quote(2), timer(2)):
        with pytest.raises(JournalError, match="after the journal was closed"):
            journal.append(2, record)


def test_a_second_journal_in_the_same_folder_is_refused(tmp_path: Path) -> None:
    """Opens a writer on a folder with segments: recorded sessions are never written to again."""
    write(tmp_path / "j", [quote(1)]).close()
    with pytest.raises(JournalError, match="holds a journal already"):
        small_writer(tmp_path / "j")
    assert len(read_all(tmp_path / "j")[0]) == 1


def test_a_number_that_goes_back_is_refused_and_the_next_right_one_taken(tmp_path: Path) -> None:
    """Appends 1, 2, then 2 again, then 3: the repetition must not reach the file."""
    journal = write(tmp_path / "j", [quote(1), timer(2)])
    with pytest.raises(JournalError, match=r"record number 0; expected 3 or more"):
        journal.append(0, timer(0))
    with pytest.raises(JournalError, match=r"record number 2; expected 3 or more"):
        journal.append(2, timer(2))
    journal.append(3, quote(3))
    journal.close()
    assert [item.seq for item in read_all(tmp_path / "j")[0]] == [1, 2, 3]


def test_a_skipped_number_is_stored_with_a_note_that_the_reader_reports(tmp_path: Path) -> None:
    """Skips 3 and 4 as a caller does whose append was refused; the reader names the hole and is satisfied."""
    journal = write(tmp_path / "j", [quote(1), timer(2)])
    journal.append(5, quote(5))
    journal.append(6, timer(6))
    journal.close()
    found, report = read_all(tmp_path / "j")
    assert [item.seq for item in found] == [1, 2, 5, 6]
    assert report.holes == [(3, 4)]
    assert report.closed


def test_long_records_are_stored_and_too_long_ones_refused(tmp_path: Path) -> None:
    """A book of 100 levels takes the path beyond the packed short records; one of 5,000 does not fit a segment."""
    journal = small_writer(tmp_path / "j")
    small = e.BookSnapshot(1, 2, "BTC/USD@coinbase", tuple((100.0 - i, 1.0) for i in range(100)), ())
    large = e.BookSnapshot(1, 2, "BTC/USD@coinbase", tuple((100.0 - i, 1.0) for i in range(5_000)), ())
    journal.append(1, small)
    with pytest.raises(JournalError, match=r"a BookSnapshot of \d+ bytes; expected at most"):
        journal.append(2, large)
    journal.append(2, quote(2))
    journal.close()
    assert [item.record for item in read_all(tmp_path / "j")[0]] == [small, quote(2)]


def test_a_record_that_cannot_be_encoded_is_a_journal_error_and_uses_no_number(tmp_path: Path) -> None:
    """An integer beyond 64 bits does not fit MessagePack; the number goes to the next record."""
    journal = small_writer(tmp_path / "j")
    with pytest.raises(JournalError, match=r"record 1 \(Timer\) cannot be encoded"):
        journal.append(1, e.Timer(1 << 70, 0, "x"))
    journal.append(1, timer(1))
    journal.close()
    assert [item.seq for item in read_all(tmp_path / "j")[0]] == [1]


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


def test_mode_always_announces_commands_once_they_are_on_disk(tmp_path: Path) -> None:
    """Counts syncs that happened before each announcement, through the real msync."""
    synced: list[int] = []
    journal = small_writer(tmp_path / "j", fsync="always", interval_s=30.0, on_synced=synced.append)
    journal.append(1, quote(1))
    journal.append(2, new_order(2))
    wait_until(lambda: synced == [2])
    assert journal.stats().synced_seq == 2
    journal.append(3, e.JournalSynced(3, 3, 2))
    journal.append(4, cancel(4))
    wait_until(lambda: synced == [2, 4])
    journal.close()
    assert synced == [2, 4]


def test_mode_interval_reaches_the_disk_without_any_further_call(tmp_path: Path) -> None:
    """Appends once and watches the synced number follow."""
    journal = small_writer(tmp_path / "j", fsync="interval")
    journal.append(1, quote(1))
    journal.append(2, timer(2))
    wait_until(lambda: journal.stats().synced_seq == 2)
    assert journal.stats().unsynced == 0
    journal.close()


def test_every_page_up_to_the_announced_number_was_synced_across_rotations(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Records which byte ranges were synced; at each announcement all records up to it must lie inside them."""
    covered: dict[Path, int] = {}
    original = MappedSegment.sync

    def sync(self: MappedSegment, start: int, stop: int) -> None:
        original(self, start, stop)
        assert start <= covered.get(self.path, 0)
        covered[self.path] = max(covered.get(self.path, 0), stop)

    monkeypatch.setattr(MappedSegment, "sync", sync)
    announced: list[tuple[int, dict[Path, int]]] = []
    journal = small_writer(
        tmp_path / "j", fsync="always", on_synced=lambda upto: announced.append((upto, dict(covered)))
    )
    for seq in range(1, 1_500):
        journal.append(seq, new_order(seq) if seq % 3 == 0 else quote(seq))
        if seq % 300 == 0:
            wait_until(lambda number=seq: journal.stats().synced_seq >= number)  # type: ignore[misc]
    wait_until(lambda: journal.stats().synced_seq >= 1_497)
    journal.close()
    assert len(announced) > 3
    for upto, ranges in announced:
        for path in (tmp_path / "j").iterdir():
            for raw in segment_module.SegmentScan(path).records():
                if raw.seq <= upto and not raw.control:
                    assert raw.offset + 16 + len(raw.payload) <= ranges.get(path, 0), (path.name, raw.seq, upto)


@pytest.mark.parametrize("mode", ["interval", "always"])
def test_a_failing_sync_is_reported_once_and_stops_new_orders_for_good(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    """Lets msync fail with EIO: after that nothing on disk can be trusted, but cancels are still recorded."""

    def broken(self: MappedSegment, start: int, stop: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(MappedSegment, "sync", broken)
    faults: list[str] = []
    synced: list[int] = []
    journal = small_writer(tmp_path / "j", fsync=mode, on_fault=faults.append, on_synced=synced.append)
    journal.append(1, cancel(1))
    wait_until(lambda: bool(faults))
    with pytest.raises(JournalError, match="cannot be synced: Input/output error"):
        journal.append(2, new_order(2))
    for seq in range(2, 300):
        journal.append(seq, cancel(seq))
    with pytest.raises(JournalError, match="cannot be synced"):
        journal.append(300, new_order(300))
    with pytest.raises(JournalError, match="the end of the journal cannot be written"):
        journal.close()
    assert len(faults) == 1
    assert synced == []
    assert len(list(read_journal(tmp_path / "j", report=ReadReport()))) == 299


def test_an_unknown_sync_mode_is_refused(tmp_path: Path) -> None:
    """Asks for a mode that does not exist."""
    with pytest.raises(JournalError, match="expected interval, never or always"):
        JournalWriter(tmp_path / "j", fsync="sometimes")  # type: ignore[arg-type]


def test_written_pages_leave_resident_memory(tmp_path: Path) -> None:
    """Writes 24 MiB in a child and compares the file-backed resident size before and after: it must not follow."""
    code = """
import sys, time
from pathlib import Path
from engine.runtime.journal import JournalWriter
from tests.support.journals import quote
def resident():
    return next(int(l.split()[1]) for l in open("/proc/self/status") if l.startswith("RssFile")) / 1024
journal = JournalWriter(Path(sys.argv[1]), fsync="never", interval_s=0.001)
record = quote(1)
for seq in range(1, 20_001):
    journal.append(seq, record)
assert journal.wait_ready(20)
before = resident()
for seq in range(20_001, 340_001):
    journal.append(seq, record)
deadline = time.monotonic() + 20
while resident() - before > 14 and time.monotonic() < deadline:
    journal.append(journal.stats().last_seq + 1, record)
    time.sleep(0.002)
print(round(resident() - before, 1), journal.stats().bytes >> 20)
journal.close()
"""
    if not Path("/proc/self/status").exists():
        pytest.skip("needs /proc")
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "j")], capture_output=True, text=True, timeout=120, check=True
    )
    grown_mib, written_mib = done.stdout.split()
    assert int(written_mib) >= 24
    assert float(grown_mib) < 16


def test_stats_count_bytes_segments_and_the_last_number(tmp_path: Path) -> None:
    """Compares the figures with the files that close leaves behind."""
    journal = write(tmp_path / "j", [quote(seq) for seq in range(1, 401)])
    stats = journal.stats()
    assert stats.last_seq == 400
    assert stats.fault == ""
    journal.close()
    files = list((tmp_path / "j").iterdir())
    assert stats.segments == len(files)
    assert 0 <= sum(path.stat().st_size for path in files) - stats.bytes <= 64  # the end note came later


def test_the_file_size_limit_of_this_process_is_not_touched() -> None:
    """Guards the limit tests above: they must change it in children only."""
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY
