"""When the journal's records are on disk: the modes of fsync, what is announced, a sync that fails."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from engine import events as e
from engine.errors import JournalError
from engine.runtime import segment as segment_module
from engine.runtime.journal import JournalWriter
from engine.runtime.journal_reader import ReadReport, read_journal
from engine.runtime.segment import MappedSegment
from tests.support.journals import cancel, new_order, quote, small_writer, timer, wait_until


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


@pytest.mark.fault("A8")
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
