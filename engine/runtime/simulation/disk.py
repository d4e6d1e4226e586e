"""A session's journal on a virtual disk: the real writer and its real files, without threads.

Owns when the writer's background work is done (on the loop's timers), and what a crash leaves: the mapped bytes as they
are, with or without a torn end.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Callable
from pathlib import Path

from engine.codec import Record
from engine.commands import CancelOrder, NewOrder
from engine.runtime.journal import Fsync, JournalWriter
from engine.runtime.segment import HEADER_BYTES, SegmentScan, list_segments

SYNC_S = 0.002
"""What a command waits for the disk in mode ``always``."""
SEGMENT_BYTES = 1 << 20
TURN_S = 2.0
"""Between two turns of the background work: rare, because each costs real time."""


class SimulatedJournal(JournalWriter):
    """``observe(seq, record)`` is told of everything that the journal has taken; ``at(record, written)`` of everything
    before and after that, and may end the process there."""

    def __init__(
        self,
        folder: Path,
        loop: asyncio.AbstractEventLoop,
        observe: Callable[[int, Record], None],
        at: Callable[[Record, bool], None],
        *,
        session: str,
        fsync: Fsync,
        on_synced: Callable[[int], None],
        on_fault: Callable[[str], None],
    ) -> None:
        self._loop = loop
        self._observe = observe
        self._at = at
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
        if self._fsync == "always" and self._syncing is None and type(record) in (NewOrder, CancelOrder):
            self._syncing = self._loop.call_later(SYNC_S, self._sync_command)
        self._observe(seq, record)
        self._at(record, True)

    def _sync_command(self) -> None:
        self._syncing = None
        self._sync()

    def _start_threads(self) -> None:
        self._turn()

    def _turn(self) -> None:
        """What the two threads do every ``interval_s``."""
        self._keep_once()
        if self._fsync != "never":
            self._sync()
        self._timer = self._loop.call_later(self._interval_s, self._turn)

    def close(self) -> None:
        self._stop_timers()
        super().close()

    def _stop_timers(self) -> None:
        for timer in (self._timer, self._syncing):
            if timer is not None:
                timer.cancel()

    def crash(self) -> None:
        """The process is gone: what was mapped stays as it is, at its full length."""
        self._stop_timers()
        if self._closed:
            return
        self._closed = True
        segments = [*self._retired, *self._closable]
        for stream in (self._orders, self._market):
            segments.append(stream.segment)
            if stream.next is not None:
                segments.append(stream.next)
        for segment in segments:
            segment.close(truncate=False)


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
