"""A session's journal on a virtual disk: the real writer and its real files, without threads.

Owns when the writer's background work is done (on the loop's timers), and what a crash leaves: the mapped bytes as they
are, with or without a torn end.
"""

from __future__ import annotations

import asyncio
import errno
import os
import random
from collections.abc import Callable
from pathlib import Path

from engine import codec
from engine.codec import Record
from engine.commands import CancelOrder, NewOrder
from engine.events import StateCarried, StateKept
from engine.runtime.journal import Fsync, JournalWriter
from engine.runtime.journal_stream import Stream
from engine.runtime.segment import (
    FORMAT_VERSION,
    HEADER_BYTES,
    MAGIC,
    RECORD_BYTES,
    MappedSegment,
    SegmentScan,
    list_segments,
)

SYNC_S = 0.002
"""What a command waits for the disk in mode ``always``."""
SEGMENT_BYTES = 1 << 17
"""Small, so that files change now and then."""
TURN_S = 5.0
"""Between two turns of the background work: rare, because each costs real time."""


class Disk:
    """What is wrong with it.  ``sync_s()``: how long the next sync takes."""

    def __init__(self, sync_s: Callable[[], float]) -> None:
        self.sync_s = sync_s
        self.full = False
        self.fails = False
        """The next sync fails."""


class SimulatedJournal(JournalWriter):
    """``observe(seq, record)`` is told of everything that the journal has taken; ``at(record, written)`` of everything
    before and after that, and ``at_rotation()`` of each new file: they may end the process there."""

    def __init__(
        self,
        folder: Path,
        loop: asyncio.AbstractEventLoop,
        observe: Callable[[int, Record], None],
        at: Callable[[Record, bool], None],
        at_rotation: Callable[[], None],
        disk: Disk,
        *,
        session: str,
        fsync: Fsync,
        on_synced: Callable[[int], None],
        on_fault: Callable[[str], None],
    ) -> None:
        self._loop = loop
        self._observe = observe
        self._at = at
        self._at_rotation = at_rotation
        self._disk = disk
        self.broken = False
        """A sync has failed."""
        self._timer: asyncio.TimerHandle | None = None
        self._syncing: asyncio.TimerHandle | None = None
        super().__init__(
            folder,
            session=session,
            fsync=fsync,
            market_bytes=SEGMENT_BYTES,
            orders_bytes=SEGMENT_BYTES,
            reserve_bytes=SEGMENT_BYTES // 16,
            interval_s=TURN_S,
            patience_s=0.0,
            on_synced=on_synced,
            on_fault=on_fault,
        )
        self._write = self.append
        self.append = self._append_observed  # type: ignore[method-assign]

    def _append_observed(self, seq: int, record: Record) -> None:
        self._at(record, False)
        self._write(seq, record)
        if self._fsync == "always" and self._syncing is None and isinstance(record, NewOrder | CancelOrder):
            self._syncing = self._loop.call_later(self._disk.sync_s(), self._sync_command)
        self._observe(seq, record)
        self._at(record, True)

    def _sync_command(self) -> None:
        self._syncing = None
        self._sync()

    def _start_threads(self) -> None:
        self._turn()

    def _turn(self) -> None:
        """What the two threads do every ``interval_s``."""
        self._orders.retry_ns = self._market.retry_ns = 0  # the pause between two tries is one of real time
        self._keep_once()
        if self._fsync != "never":
            self._sync()
        self._timer = self._loop.call_later(self._interval_s, self._turn)

    def close(self) -> None:
        self._stop_timers()
        super().close()

    @property
    def durable_seq(self) -> int:
        """What was promised to be on the disk."""
        return self._synced_seq if self._fsync == "always" else self._next - 1

    def _stop_timers(self) -> None:
        for timer in (self._timer, self._syncing):
            if timer is not None:
                timer.cancel()

    @property
    def full(self) -> bool:
        """No room, or none yet in what was made since there is again."""
        return self._disk.full or bool(self._preparing_failed)

    # --- what is wrong with the disk ----------------------------------------------------------------------------------

    def fill_up(self) -> None:
        """Somebody else has taken the room: what was made ahead is gone, the present files have their reserve left."""
        if self._closed:
            return
        for stream in (self._orders, self._market):
            if stream.next is not None:
                stream.next.close()
                stream.next.path.unlink()
                stream.next = None
            stream.limit = 0

    def _soft_limit(self, stream: Stream) -> int:
        limit = super()._soft_limit(stream)
        return min(limit, stream.tail) if self._disk.full else limit

    def _monotonic_ns(self) -> int:
        return int(self._loop.time() * 1e9)

    def _make(self, name: str, number: int, size: int) -> MappedSegment:
        if self._disk.full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return super()._make(name, number, size)

    def _sync_retired(self) -> None:
        if self._disk.fails:
            self._disk.fails, self.broken = False, True
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        super()._sync_retired()

    def _rotate(self, stream: Stream) -> None:
        super()._rotate(stream)
        self._at_rotation()

    # --- the end of the process ---------------------------------------------------------------------------------------

    def crash(self, *, power: bool = False) -> int | None:
        """The process is gone: what was mapped stays as it is, at its full length.

        ``power``: the machine is gone too, and what was not synced with it.  Returns the last number that is on the
        disk then, -1 for none.
        """
        self._stop_timers()
        if self._closed:
            return None
        self._closed = True
        written = [*self._retired, self._orders.segment, self._market.segment]
        ahead = [stream.next for stream in (self._orders, self._market) if stream.next is not None]
        synced = [(segment.path, segment.synced) for segment in written]
        for segment in (*written, *self._closable, *ahead):
            segment.close(truncate=False)
        if not power:
            return None
        for path, upto in synced:
            with path.open("r+b") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(upto)
                file.write(bytes(size - upto))
        return self._synced_seq


def damage(folder: Path, rng: random.Random) -> bool:
    """Flip a bit in a record of the orders stream that good ones follow and that who comes next reads; False where
    there is none."""
    for info in reversed(list_segments(folder)["orders"]):
        records = [raw for raw in SegmentScan(info.path).records() if not raw.control]
        if len(records) < 2:
            if any(isinstance(codec.decode(raw.payload), StateKept | StateCarried) for raw in records):
                return False  # killed right behind a change of files: what this one begins with is all that is needed
            continue
        raw = rng.choice(records[:-1])
        with info.path.open("r+b") as file:
            file.seek(raw.offset + RECORD_BYTES + rng.randrange(len(raw.payload)))
            (byte,) = file.read(1)
            file.seek(-1, os.SEEK_CUR)
            file.write(bytes((byte ^ 1 << rng.randrange(8),)))
        return True
    return False


def make_foreign(folder: Path) -> bool:
    """Have the orders stream look like one of a later release."""
    segments = list_segments(folder)["orders"]
    for info in segments:
        with info.path.open("r+b") as file:
            file.seek(len(MAGIC))
            file.write((FORMAT_VERSION + 1).to_bytes(4, "little"))
    return bool(segments)


def tear(folder: Path, rng: random.Random) -> None:
    """Put half of a record that was being written behind the last one of the orders stream."""
    for info in reversed(list_segments(folder)["orders"]):
        end = HEADER_BYTES
        for raw in SegmentScan(info.path).records():
            end = (raw.offset + 16 + len(raw.payload) + 7) & -8
        if end == HEADER_BYTES:
            continue
        with info.path.open("r+b") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(end + 4)
            file.write(rng.randbytes(min(40, size - end - 4)))
        return
