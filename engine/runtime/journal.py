"""Writes a session's journal: two streams of mapped segments under one ``seq``.

Owns where a record goes, rotation, the reserve for cancels and the two background threads (one prepares segments, one
syncs).  The bytes of a segment are ``engine.runtime.segment``, reading them ``engine.runtime.journal_reader``.

``append`` copies the record into mapped memory and returns: no system call, no lock, no wait (but see ``patience_s``).
What is mapped outlives its process, so a kill loses nothing that was appended; what outlives the machine is a question
of ``fsync``:

- ``never``: the operating system decides (about 30 s);
- ``interval``: a thread syncs every 50 ms;
- ``always``: a command (``NewOrder``, ``CancelOrder``) wakes the syncing thread at once, which then calls ``on_synced``
  with the last number that is on disk.  The caller holds the command until then.  Other records are synced by interval.
"""

from __future__ import annotations

import contextlib
import struct
import threading
import time
import zlib
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import msgspec

from engine import codec, processors
from engine.commands import CancelOrder, NewOrder, NewOrderWithExits, Rejected, ReplaceOrder
from engine.durable import sync_folder
from engine.errors import JournalError
from engine.events import MARKET_TYPES, Prediction, PredictionMade, StateKept
from engine.runtime.journal_stream import PREFAULT_BYTES, JournalStats, Stream, tend
from engine.runtime.segment import (
    CONTROL,
    END,
    HEADER_BYTES,
    HOLE,
    RECORD_BYTES,
    MappedSegment,
    control_payload,
    list_segments,
)

Fsync = Literal["interval", "never", "always"]

_SHORT_BYTES = 1024
_PACK = [struct.Struct(f"<IQ{length}s").pack_into for length in range(_SHORT_BYTES)]
"""Checksum, number and payload of a record in one call, by payload length."""
_NO_RESERVE: frozenset[type] = frozenset(
    {NewOrder, NewOrderWithExits, ReplaceOrder, Prediction, PredictionMade, Rejected, StateKept}
)
"""Refused when only the reserve is left: they add risk, or come at the pace of the market and would eat it."""
_COMMANDS: frozenset[type] = frozenset({NewOrder, NewOrderWithExits, CancelOrder})
_CONTROL_ROOM = 2 * (RECORD_BYTES + 16)
_RETRY_NS = 1_000_000_000

_encode = codec.encode
_crc32 = zlib.crc32


class JournalWriter:
    """Append-only storage of one session; implements ``engine.ports.Journal``.

    ``append`` and ``close`` belong to one thread.  ``on_synced(upto_seq)`` (mode ``always``) and ``on_fault(text)`` are
    called from background threads: give something like ``lambda text: loop.call_soon_threadsafe(handle, text)``.

    Sizes are bytes.  ``reserve_bytes`` at the end of each ``orders`` segment take account facts, cancels and control
    only, so that a session on a full disk can still be wound down.  ``patience_s``: how long ``append`` may wait when a
    segment is full and the next one is still being made although nothing failed.  That takes tens of MiB within the
    time the disk needs to allocate some (a replay at full speed on a slow disk): a late tick is judged stale by risk, a
    tick that cannot be recorded would end the session.  0 never waits.
    """

    def __init__(
        self,
        folder: Path | str,
        *,
        session: str = "",
        fsync: Fsync = "interval",
        market_bytes: int = 32 << 20,
        orders_bytes: int = 16 << 20,
        reserve_bytes: int = 1 << 20,
        interval_s: float = 0.05,
        patience_s: float = 1.0,
        on_synced: Callable[[int], None] | None = None,
        on_fault: Callable[[str], None] | None = None,
    ) -> None:
        """Raises ``JournalError`` when the folder holds a journal already or the first segments cannot be allocated."""
        if fsync not in ("interval", "never", "always"):
            raise JournalError(f"journal fsync mode {fsync!r}", expected="interval, never or always")
        self._folder = Path(folder)
        self._session = session
        self._fsync = fsync
        self._interval_s = interval_s
        self._patience_s = patience_s
        self._reserve = min(reserve_bytes, orders_bytes // 4)
        self._on_synced = on_synced
        self._on_fault = on_fault
        self._next = -1  # the number that must come now; -1 before the first
        self._command_seq = -1
        self._announced = -1
        self._synced_seq = -1
        self._fault = ""
        self._preparing_failed = ""
        self._closed = False
        self.waits = 0
        """Times ``append`` had to wait for a segment."""
        self._retired: deque[MappedSegment] = deque()
        self._closable: deque[MappedSegment] = deque()
        self._stopping = threading.Event()
        self._keeper_wake = threading.Event()
        self._syncer_wake = threading.Event()
        self._prepared = threading.Condition()
        self._create_first(market_bytes, orders_bytes)
        if fsync == "always":
            self.append = self._append_always  # type: ignore[method-assign]  # chosen once, not asked on each record
        self._threads: list[threading.Thread] = []
        self._start_threads()

    def _start_threads(self) -> None:
        """Where time is virtual something else calls ``_keep_once`` and ``_sync`` (``engine.runtime.simulation``)."""
        self._threads = [threading.Thread(target=self._keep, name="journal-keeper", daemon=True)]
        if self._fsync != "never":
            self._threads.append(threading.Thread(target=self._sync_loop, name="journal-syncer", daemon=True))
        with processors.beside():
            for thread in self._threads:
                thread.start()

    def _create_first(self, market_bytes: int, orders_bytes: int) -> None:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            if any(list_segments(self._folder).values()):
                raise JournalError(
                    f"{self._folder} holds a journal already", expected="an empty folder", do="start a new session"
                )
            self._orders = Stream("orders", orders_bytes, self._make("orders", 1, orders_bytes))
            try:
                self._market = Stream("market", market_bytes, self._make("market", 1, market_bytes))
            except OSError:
                self._orders.segment.close()
                self._orders.segment.path.unlink()
                raise
        except OSError as error:
            raise JournalError(
                f"cannot allocate the journal in {self._folder}: {error.strerror}",
                expected=f"room for {market_bytes + orders_bytes >> 20} MiB",
                do="free disk space or lower journal sizes",
            ) from error

    # --- the hot path -------------------------------------------------------------------------------------------

    def append(self, seq: int, record: codec.Record) -> None:
        """Store ``record`` under ``seq``, one more than the last (a larger one is stored with a note of the hole).

        Raises ``JournalError`` when it cannot be stored; then ``seq`` is not used and may be given to the next record.
        """
        stream = self._market if record.__class__ in MARKET_TYPES else self._orders
        try:
            payload = _encode(record)
        except (TypeError, ValueError, OverflowError, msgspec.MsgspecError) as error:
            raise JournalError(f"record {seq} ({type(record).__name__}) cannot be encoded: {error}") from error
        length = len(payload)
        at = stream.tail
        end = at + 16 + length
        if end > stream.limit or seq != self._next or length >= _SHORT_BYTES:
            self._append_slowly(stream, seq, record, payload)
            return
        _PACK[length](stream.view, at + 4, _crc32(payload, (seq ^ stream.salt) & 0xFFFF_FFFF), seq, payload)
        stream.words[at >> 2] = length  # last: from here on the record exists
        stream.tail = (end + 7) & -8
        self._next = seq + 1

    def _append_always(self, seq: int, record: codec.Record) -> None:
        JournalWriter.append(self, seq, record)
        if record.__class__ in _COMMANDS:
            self._command_seq = seq
            self._syncer_wake.set()

    # --- the rare path: long records, first record, holes, rotation, faults ----------------------------------------

    def _append_slowly(self, stream: Stream, seq: int, record: codec.Record, payload: bytes) -> None:
        self._refuse_impossible(stream, seq, record, payload)
        self._make_room(stream, seq, record, RECORD_BYTES + len(payload))
        if self._next >= 0 and seq > self._next:
            self._write_control(seq - 1, HOLE, self._next)
        if stream.tail == HEADER_BYTES:
            stream.segment.start(seq)
        stream.tail = stream.segment.place(stream.tail, seq, payload)
        stream.limit = 0 if self._fault else self._soft_limit(stream)
        self._next = seq + 1

    def _refuse_impossible(self, stream: Stream, seq: int, record: codec.Record, payload: bytes) -> None:
        if self._closed:
            raise JournalError(f"record {seq} after the journal was closed", do="append before close")
        if seq < 1 or seq < self._next:
            raise JournalError(f"record number {seq}", expected=f"{max(self._next, 1)} or more")
        room = self._capacity(stream) - HEADER_BYTES
        if len(payload) + RECORD_BYTES > room:
            raise JournalError(
                f"a {type(record).__name__} of {len(payload)} bytes", expected=f"at most {room}", do="enlarge segments"
            )
        if self._fault and isinstance(record, NewOrder | ReplaceOrder):
            raise JournalError(self._fault, do="stop, check the disk and start a new session")

    def _make_room(self, stream: Stream, seq: int, record: codec.Record, need: int) -> None:
        hard = stream.segment.size - _CONTROL_ROOM
        end = stream.tail + need
        if end <= self._soft_limit(stream):
            return
        if stream.next is None and not self._preparing_failed and self._patience_s > 0:
            self.waits += 1
            self._keeper_wake.set()
            with self._prepared:
                self._prepared.wait_for(
                    lambda: stream.next is not None or bool(self._preparing_failed), self._patience_s
                )
        if stream.next is not None:
            self._rotate(stream)
            return
        if end > hard or record.__class__ in _NO_RESERVE:
            why = self._preparing_failed or "the next one is not ready yet"
            raise JournalError(
                f"no room for record {seq} ({type(record).__name__}) in {stream.segment.path.name}: {why}",
                do="free disk space; cancels and account events still have a reserve",
            )

    def _rotate(self, stream: Stream) -> None:
        after = stream.next
        assert after is not None
        before = stream.segment
        before.used = stream.tail
        stream.done_bytes += stream.tail
        self._retired.append(before)  # before the stream leaves it: the syncer must find it in one of the two places
        stream.next = None
        stream.enter(after)
        self._keeper_wake.set()

    def _capacity(self, stream: Stream) -> int:
        """Where the reserve of a segment begins."""
        return stream.segment.size - _CONTROL_ROOM - (self._reserve if stream is self._orders else 0)

    def _soft_limit(self, stream: Stream) -> int:
        """How far records without a reserve may go now, and the fast path once a segment has its first record."""
        return self._capacity(stream)

    def _write_control(self, seq: int, kind: int, value: int) -> None:
        """A control record in the orders stream; each segment keeps room for a last hole and the end."""
        stream = self._orders
        if stream.tail + (_CONTROL_ROOM if kind == HOLE else _CONTROL_ROOM // 2) > stream.segment.size:
            if stream.next is None:
                raise JournalError(f"no room to note a hole before record {seq + 1}", do="free disk space")
            self._rotate(stream)
        if stream.tail == HEADER_BYTES:
            stream.segment.start(seq)
        stream.tail = stream.segment.place(stream.tail, seq, control_payload(kind, value), CONTROL)

    # --- keeper thread: the next segments, page faults, resident memory ------------------------------------------

    def _monotonic_ns(self) -> int:
        """Measures the pause before another try; virtual where time is (``engine.runtime.simulation``)."""
        return time.monotonic_ns()

    def _make(self, name: str, number: int, size: int) -> MappedSegment:
        return MappedSegment(self._folder, self._session, name, number, size=size, prefault=PREFAULT_BYTES)

    def _keep(self) -> None:
        while not self._stopping.is_set():
            self._keep_once()
            self._keeper_wake.wait(self._interval_s)
            self._keeper_wake.clear()

    def _keep_once(self) -> None:
        for stream in (self._orders, self._market):
            if stream.next is None and self._monotonic_ns() >= stream.retry_ns:
                self._prepare(stream)
            tend(stream)
            if self._fault:
                stream.limit = 0  # a rotation may have set it again meanwhile
        done = self._retired if self._fsync == "never" else self._closable
        while done:
            self._close_segment(done.popleft())

    def _prepare(self, stream: Stream) -> None:
        current = stream.segment
        try:
            made = self._make(stream.name, current.number + 1, stream.size)
        except OSError as error:
            stream.retry_ns = self._monotonic_ns() + _RETRY_NS
            text = f"journal segment {stream.name}-{current.number + 1:06d} cannot be allocated: {error.strerror}"
            if not self._preparing_failed:
                self._preparing_failed = text
                self._report(text)
            with self._prepared:
                self._prepared.notify_all()
            return
        stream.next = made
        if self._orders.next is not None and self._market.next is not None:
            self._preparing_failed = ""
        with self._prepared:
            self._prepared.notify_all()

    def _close_segment(self, segment: MappedSegment) -> None:
        try:
            segment.close()
        except OSError as error:
            self._fail(f"journal segment {segment.path.name} cannot be closed: {error.strerror}")

    # --- syncer thread ----------------------------------------------------------------------------------------------

    def _sync_loop(self) -> None:
        while not self._stopping.is_set():
            self._syncer_wake.wait(self._interval_s)
            self._syncer_wake.clear()
            self._sync()

    def _sync(self) -> None:
        if self._fault:
            return
        upto = self._next - 1
        name = ""
        try:
            self._sync_retired()
            for stream in (self._orders, self._market):
                segment = stream.segment
                tail = stream.tail
                if stream.segment is segment and tail > segment.synced:
                    name = segment.path.name
                    segment.sync(segment.synced, tail)
                    segment.synced = tail
            self._sync_retired()  # what rotated while this ran
        except OSError as error:
            # After a failed sync the kernel may count the pages as clean: nothing later can be trusted to be on disk.
            self._fail(f"journal segment {name} cannot be synced: {error.strerror}")
            return
        self._synced_seq = upto
        command = self._command_seq
        if self._announced < command <= upto and self._on_synced is not None:
            self._announced = upto
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                self._on_synced(upto)

    def _sync_retired(self) -> None:
        while self._retired:
            segment = self._retired[0]
            segment.sync(segment.synced, segment.used)
            self._closable.append(self._retired.popleft())

    def _fail(self, text: str) -> None:
        if not self._fault:
            self._fault = text
            self._orders.limit = 0  # from now on each append takes the slow path, which refuses new orders
            self._report(text)

    def _report(self, text: str) -> None:
        if self._on_fault is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is left to halt
                self._on_fault(text)

    # --- for the owner ------------------------------------------------------------------------------------------------

    @property
    def fault(self) -> str:
        """Why new orders are or soon will be refused; empty when all is well."""
        return self._fault or self._preparing_failed

    def stats(self) -> JournalStats:
        used = sum(stream.done_bytes + stream.tail for stream in (self._orders, self._market))
        last = self._next - 1
        synced = self._synced_seq
        opened = self._orders.opened + self._market.opened
        return JournalStats(used, opened, last, synced, max(last - synced, 0), self.fault)

    def wait_ready(self, timeout_s: float = 5.0) -> bool:
        """Wait until the next segment of both streams is there (start-up and tests; never while trading)."""
        with self._prepared:
            return self._prepared.wait_for(
                lambda: self._orders.next is not None and self._market.next is not None, timeout_s
            )

    def close(self) -> None:
        """Note the end, sync, cut the files to what is used and remove prepared ones.  Idempotent.

        Raises ``JournalError`` when the last bytes cannot be made safe.
        """
        if self._closed:
            return
        self._stopping.set()
        self._keeper_wake.set()
        self._syncer_wake.set()
        for thread in self._threads:
            thread.join()
        self._closed = True
        try:
            if self._next >= 0:
                self._write_control(self._next - 1, END, self._next - 1)
            for stream in (self._orders, self._market):
                stream.limit = 0  # append goes to the slow path, which refuses
                stream.segment.used = stream.tail
                if stream.next is not None:
                    stream.next.close()
                    stream.next.path.unlink()
                    stream.next = None
            for segment in (*self._retired, self._orders.segment, self._market.segment):
                segment.sync(segment.synced, segment.used)
            for segment in (*self._closable, *self._retired, self._orders.segment, self._market.segment):
                segment.close()
            self._synced_seq = self._next - 1
            sync_folder(self._folder)
        except OSError as error:
            raise JournalError(f"the end of the journal cannot be written: {error.strerror}") from error
