"""Follows a journal that is being written: both streams merged by ``seq``, each record as soon as it is whole.

Owns what waits and what is damage.  A record that is not complete yet waits, and so does everything behind it; what is
wrong although good records follow it is an error, as it is for ``engine.runtime.journal_reader``.  The files are read
with ``pread`` alone: the writer neither sees nor waits for a reader, and may cut and close them meanwhile.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections import deque
from pathlib import Path

import msgspec

from engine import codec
from engine.errors import JournalError
from engine.runtime.journal_reader import RESTORE, JournalRecord
from engine.runtime.segment import (
    CONTROL,
    END,
    HEADER_BYTES,
    HOLE,
    RECORD_BYTES,
    STREAMS,
    RawRecord,
    parse_control,
    parse_header,
    record_salt,
    segment_name,
)

CHUNK_BYTES = 1 << 18
"""Read at once; a record that is longer is read whole."""
_RECORD = struct.Struct("<IIQ")
_PATIENCE = 50
"""Looks at bytes that are no record while the other stream goes on, before they count as damage."""


class JournalTail:
    """Records of a session from its first on.  ``poll`` never waits; the caller decides when to look again."""

    def __init__(self, folder: Path | str) -> None:
        """``folder`` is the session's ``journal``, which need not exist yet."""
        self._folder = Path(folder)
        self._streams = {name: _StreamTail(self._folder, name) for name in STREAMS}
        self._expected = 0
        self._torn_looks = 0
        self.last_seq = -1
        self.closed = False
        """The journal was closed in order: nothing follows."""

    def poll(self, records_max: int = 10_000) -> list[JournalRecord]:
        """What has been written since the last look, in order, at most ``records_max``; empty when there is nothing.

        Raises ``JournalError`` for damage, for a record of another release, and for a number that is missing.
        """
        found: list[JournalRecord] = []
        missed = False
        while len(found) < records_max and not self.closed:
            taken = self._next()
            if taken is None:
                if missed:
                    break
                # A record may have come into the stream that was looked at first.
                missed = True
                for stream in self._streams.values():
                    stream.look()
                continue
            missed = False
            name, raw = taken
            if raw.control:
                continue
            found.append(JournalRecord(raw.seq, name, raw.payload, self._decoded(name, raw)))
            self.last_seq = raw.seq
            self._expected = raw.seq + 1
        if not found and not self.closed:
            self._judge_silence()
        else:
            self._torn_looks = 0
        return found

    def close(self) -> None:
        """Idempotent."""
        for stream in self._streams.values():
            stream.close()

    def _next(self) -> tuple[str, RawRecord] | None:
        """The record that must come now, if it is there."""
        heads = {name: head for name, stream in self._streams.items() if (head := stream.head) is not None}
        if not heads:
            return None
        if not self._expected:
            # What is written first is seen by whoever looks after something later was seen.
            for stream in self._streams.values():
                stream.look()
            self._expected = min(first for stream in self._streams.values() if (first := stream.first_seq))
            return self._next()
        name = min(heads, key=lambda key: (heads[key].seq, heads[key].control))
        raw = heads[name]
        if raw.control:
            return self._next_control(name, raw)
        if raw.seq < self._expected:
            raise JournalError(f"record {raw.seq} in the {name} stream is there twice", do=RESTORE)
        if raw.seq > self._expected:
            return None
        self._streams[name].take()
        return name, raw

    def _next_control(self, name: str, raw: RawRecord) -> tuple[str, RawRecord] | None:
        """A hole or the end, where all that precedes it has been read."""
        try:
            kind, value = parse_control(raw.payload)
        except ValueError as error:
            raise JournalError(
                f"record {raw.seq} in the {name} stream: {error}", do="read it with the release that wrote it"
            ) from error
        if kind == HOLE and value == self._expected:
            self._expected = raw.seq + 1
        elif kind == END and raw.seq == self._expected - 1:
            self.closed = True
        else:
            return None
        self._streams[name].take()
        return name, raw

    def _judge_silence(self) -> None:
        """Nothing came.  Where a stream cannot go on although later records are there, it is damaged, not late."""
        waiting = [head for stream in self._streams.values() if (head := stream.head) is not None]
        torn = [stream for stream in self._streams.values() if stream.is_torn]
        if not waiting and not (torn and any(one.is_followed for one in torn)):
            self._torn_looks = 0
            return
        self._torn_looks += 1
        if self._torn_looks < _PATIENCE:
            return
        where = f"{torn[0].place}" if torn else f"before record {min(head.seq for head in waiting)}"
        raise JournalError(f"record {self._expected} is missing: {where}", expected="whole records", do=RESTORE)

    def _decoded(self, name: str, raw: RawRecord) -> codec.Record:
        try:
            return codec.decode(raw.payload)
        except (msgspec.MsgspecError, ValueError, ArithmeticError) as error:
            raise JournalError(
                f"record {raw.seq} in the {name} stream at offset {raw.offset} cannot be decoded: {error}",
                expected="a record of this release",
                do="read it with the release that wrote it",
            ) from error


class _StreamTail:
    """One stream's segments, one file open at a time.  ``head`` is the next record, None while there is none."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._name = name
        self._number = 1
        self._fd = -1
        self._salt = 0
        self._at = HEADER_BYTES
        self._ready: deque[RawRecord] = deque()
        self.first_seq = 0
        """Number of the stream's first record; 0 while there is none."""
        self.is_torn = False
        """What stands at the place of the next record is neither a whole record nor nothing."""

    @property
    def head(self) -> RawRecord | None:
        if not self._ready:
            self.look()
        return self._ready[0] if self._ready else None

    def take(self) -> None:
        self._ready.popleft()

    @property
    def place(self) -> str:
        return f"{segment_name(self._name, self._number)} at offset {self._at}"

    @property
    def is_followed(self) -> bool:
        """A later segment has a record."""
        return self._first_of(self._number + 1) > 0

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def look(self) -> None:
        """Take what is whole by now, up to a chunk; go to the next segment where this one is done."""
        if self._ready or (self._fd < 0 and not self._open(self._number)):
            return
        self._read()
        if self._ready:
            return
        # The writer fills a segment before it begins the next: once that has a record, this one gets none any more.
        if self.is_followed:
            self._read()
            if not self._ready and not self.is_torn:
                self.close()
                self._open(self._number + 1)
                self._read()

    def _first_of(self, number: int) -> int:
        """The first record's number that the header of a segment names; 0 where there is none yet."""
        path = self._folder / segment_name(self._name, number)
        try:
            with path.open("rb") as file:
                head = file.read(HEADER_BYTES)
        except FileNotFoundError:
            return 0
        except OSError as error:
            raise JournalError(f"cannot read {path}: {error.strerror}") from error
        if not head.strip(b"\0"):
            return 0
        return parse_header(head, path).first_seq

    def _open(self, number: int) -> bool:
        first_seq = self._first_of(number)
        if not first_seq:
            return False
        path = self._folder / segment_name(self._name, number)
        try:
            self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            header = parse_header(os.pread(self._fd, HEADER_BYTES, 0), path)
        except OSError as error:
            raise JournalError(f"cannot read {path}: {error.strerror}") from error
        if (header.stream, header.number) != (self._name, number):
            raise JournalError(f"{path.name} says it is {header.stream} segment {header.number}")
        self._salt = record_salt(header.session, header.stream, header.number)
        self._number, self._at = number, HEADER_BYTES
        self.first_seq = self.first_seq or first_seq
        return True

    def _read(self, size: int = CHUNK_BYTES) -> None:
        try:
            data = os.pread(self._fd, size, self._at)
        except OSError as error:
            raise JournalError(f"cannot read {self.place}: {error.strerror}") from error
        at, begin = 0, self._at
        self.is_torn = False
        while at + RECORD_BYTES <= len(data):
            word, crc, seq = _RECORD.unpack_from(data, at)
            flags = word & CONTROL
            length = word ^ flags
            if not length:
                self.is_torn = bool(data[at : at + 4096].strip(b"\0"))
                break
            end = at + RECORD_BYTES + length
            if end > len(data):
                if at == 0 and size < RECORD_BYTES + length and len(data) == size:
                    self._read(RECORD_BYTES + length)
                    return
                self.is_torn = at == 0
                break
            payload = data[at + RECORD_BYTES : end]
            if zlib.crc32(payload, (seq ^ self._salt ^ flags) & 0xFFFF_FFFF) != crc:
                # Also a record of which these bytes show the end before the beginning: the next look sees it whole.
                self.is_torn = True
                break
            self._ready.append(RawRecord(begin + at, seq, flags != 0, payload))
            at = (end + 7) & -8
        self._at = begin + at
