"""The journal's writer: what is appended is read back, and what cannot be stored is refused in the right order."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from engine import codec
from engine import events as e
from engine.errors import JournalError
from tests.support.journals import cancel, new_order, prediction, quote, read_all, small_writer, timer, write


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
