"""The disk is told of long before it is full: a scripted disk and clock."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from engine.runtime.disk_watch import ALARM_BYTES, DiskWatch
from tests.unit.engine.runtime.test_watch import Log

MINUTE_NS = 60_000_000_000


class Disk:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.free, self.used, self.now_ns = 100 << 30, 0, 1
        self.log = Log()
        self.watch = DiskWatch(Path(), lambda: self.used, lambda: self.now_ns)
        monkeypatch.setattr("shutil.disk_usage", self.usage)

    def usage(self, folder: Path) -> SimpleNamespace:
        assert folder == Path()
        if self.free < 0:
            raise OSError
        return SimpleNamespace(free=self.free)

    def after(self, minutes: int, *, written: int = 0, free: int | None = None) -> list[tuple[int, float | None]]:
        """What was told then."""
        self.now_ns += minutes * MINUTE_NS
        self.used += written
        self.free = self.free - written if free is None else free
        self.log.errors.clear()
        self.watch.look(self.log)
        return [(one["free_mb"], one["hours_left"]) for one in self.log.errors]


@pytest.mark.fault("A8")
def test_little_room_is_told_once_and_again_when_half_of_it_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Room that comes back is forgotten; a disk that cannot be asked is unknown and raises nothing."""
    disk = Disk(monkeypatch)
    assert disk.after(0) == []
    assert disk.after(1, free=ALARM_BYTES - 1) == [(2047, None)]
    assert disk.after(1, free=ALARM_BYTES // 2 + 1) == []
    assert disk.after(1, free=ALARM_BYTES // 2 - 1) == [(1023, None)]
    assert disk.after(1, free=ALARM_BYTES) == []
    assert disk.after(1, free=ALARM_BYTES - 1) == [(2047, None)]
    assert disk.after(1, free=-1) == []
    assert (disk.watch.free_bytes, disk.watch.left_ns) == (None, None)


@pytest.mark.fault("F17")
def test_a_session_that_fills_the_disk_within_a_day_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    """1 GiB in ten minutes leaves 99 GiB for 16.5 hours; at a tenth of that pace nothing is said.

    Between looks half a minute passes.
    """
    disk = Disk(monkeypatch)
    assert disk.after(0) == []
    assert disk.after(9, written=1 << 30) == []
    assert disk.after(1) == [(99 << 10, 16.5)]
    disk.free = 0
    assert disk.after(0) == []
    slow = Disk(monkeypatch)
    assert slow.after(0) == []
    assert slow.after(10, written=(1 << 30) // 10) == []
    assert slow.watch.hours_left == 166.5
