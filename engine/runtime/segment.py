"""One journal file: its layout, its mapping for writing and the scan that finds its good records again.

Owns the bytes of a segment.  Which record goes where, rotation and syncing are ``engine.runtime.journal``; merging
streams and judging damage are ``engine.runtime.journal_reader``.  The format is described in ``docs/journal.md``.

A record starts on a multiple of 8: ``u32 length, u32 crc32, u64 seq, payload``, little-endian.  The length is stored
last, by one aligned 32-bit store into zeroed space: a process that dies in mid-record leaves length 0, never a record
that looks whole.  The checksum starts from ``seq ^ salt`` (salt: session, stream and segment number), so that
bytes of another place or another session are never taken for a record.
"""

from __future__ import annotations

import ctypes
import itertools
import mmap
import os
import re
import struct
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

from engine.errors import JournalError

MAGIC = b"KESTRELJ"
FORMAT_VERSION = 1
HEADER_BYTES = 128
RECORD_BYTES = 16
CONTROL = 0x8000_0000
"""Set in the length word of records that describe the journal itself: ``<BQ`` kind and value."""
HOLE = 1
"""Control: the numbers from value up to and including this record's ``seq`` were never written."""
KEPT_BYTES = 65_536
PRUNED_FILE = "pruned.json"
"""Beside the segments where a stream was removed: see ``engine.runtime.retention``."""
END = 2
"""Control: the journal was closed in order; value is the last number of the session."""

STREAMS = ("orders", "market")

_HEADER = struct.Struct("<8sIIQ40sI")  # magic, version, stream, number, session, crc32 of what precedes
_FIRST_SEQ = struct.Struct("<Q")
_FIRST_SEQ_AT = 72
_RECORD = struct.Struct("<IIQ")
_CONTROL = struct.Struct("<BQ")
_NONZERO = re.compile(rb"[^\x00]")

_MS_SYNC = 4 if sys.platform == "linux" else 0x10
_MADV_DONTNEED = 4
_MADV_POPULATE_WRITE = 23  # Linux 5.14; elsewhere it fails and pages are touched once, when the segment is made
_libc = ctypes.CDLL(None, use_errno=True)  # a ctypes call lets go of the GIL, mmap.madvise does not
_madvise = _libc.madvise
_madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
_madvise.restype = ctypes.c_int
_msync = _libc.msync
_msync.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
_msync.restype = ctypes.c_int

PAGE = mmap.PAGESIZE


class SegmentHeader(NamedTuple):
    session: str
    stream: str
    number: int
    first_seq: int
    """Number of the first record; 0 while there is none."""


class RawRecord(NamedTuple):
    offset: int
    seq: int
    control: bool
    payload: bytes


class Damage(NamedTuple):
    """Bytes at the end of what could be read that are neither a record nor zero."""

    offset: int
    size: int
    """Bytes from ``offset`` to the last one that is not zero."""
    data: bytes
    """The first ``KEPT_BYTES`` of them."""
    good_after: int | None
    """``seq`` of a good record behind the damage, None when there is none: then it is a torn tail."""


def segment_name(stream: str, number: int) -> str:
    return f"{stream}-{number:06d}.seg"


def record_salt(session: str, stream: str, number: int) -> int:
    """Where the checksum of a segment's records starts; see the module's docstring."""
    return zlib.crc32(f"{session}/{stream}/{number}".encode())


def control_payload(kind: int, value: int) -> bytes:
    return _CONTROL.pack(kind, value)


def parse_control(payload: bytes) -> tuple[int, int]:
    """``(kind, value)``.  Raises ``ValueError`` when the bytes are no control record of this version."""
    if len(payload) != _CONTROL.size:
        raise ValueError(f"a control record of {len(payload)} bytes")
    kind, value = _CONTROL.unpack(payload)
    if kind not in (HOLE, END):
        raise ValueError(f"a control record of kind {kind}")
    return kind, value


def pack_header(session: str, stream: str, number: int) -> bytes:
    """The first 128 bytes of a file.  Raises ``JournalError`` for a session whose id is too long."""
    name = session.encode()
    if len(name) > 40:
        raise JournalError(f"session id {session!r} has {len(name)} bytes", expected="at most 40")
    fixed = _HEADER.pack(MAGIC, FORMAT_VERSION, STREAMS.index(stream), number, name, 0)
    return _HEADER.pack(MAGIC, FORMAT_VERSION, STREAMS.index(stream), number, name, zlib.crc32(fixed[:-4]))


def parse_header(data: bytes, path: Path) -> SegmentHeader:
    """The header in the first 128 bytes of a file.  Raises ``JournalError`` when it is not one of this version."""
    if len(data) < HEADER_BYTES:
        raise JournalError(
            f"{path.name} is {len(data)} bytes long", expected=f"a header of {HEADER_BYTES}", do="restore the file"
        )
    magic, version, stream, number, session, crc = _HEADER.unpack_from(data)
    if magic != MAGIC:
        raise JournalError(f"{path.name} starts with {magic!r}", expected="a journal segment", do="remove the file")
    if version != FORMAT_VERSION:
        raise JournalError(
            f"{path.name} has journal format version {version}",
            expected=f"version {FORMAT_VERSION}",
            do="read it with the release that wrote it",
        )
    if crc != zlib.crc32(data[: _HEADER.size - 4]) or stream >= len(STREAMS):
        raise JournalError(
            f"the header of {path.name} is damaged", expected="a matching checksum", do="restore the file from a copy"
        )
    (first_seq,) = _FIRST_SEQ.unpack_from(data, _FIRST_SEQ_AT)
    return SegmentHeader(session.rstrip(b"\0").decode(errors="replace"), STREAMS[stream], number, first_seq)


class MappedSegment:
    """A segment open for writing: allocated on disk, mapped, its first pages faulted in.

    One thread writes records; others may call ``populate``, ``forget_before``, ``sync`` and, once all have left the
    segment, ``close``.
    """

    __slots__ = (
        "_address", "_anchor", "_mapping", "fd", "number", "path", "salt", "size", "stream", "synced", "used", "view",
        "words",
    )  # fmt: skip

    def __init__(self, folder: Path, session: str, stream: str, number: int, *, size: int, prefault: int) -> None:
        """Raises ``OSError`` when the disk or a limit does not give the space; nothing is left behind then.

        ``size`` and ``prefault`` are bytes.  Made under a temporary name, so that a ``.seg`` always has a header.
        """
        self.path = folder / segment_name(stream, number)
        self.stream = stream
        self.number = number
        self.size = -(-size // PAGE) * PAGE
        self.salt = record_salt(session, stream, number)
        self.used = HEADER_BYTES
        self.synced = 0  # bytes from the start that are known to be on disk; written by the syncing thread
        header = pack_header(session, stream, number)
        making = self.path.with_suffix(".tmp")
        self.fd = os.open(making, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            _allocate(self.fd, self.size)
            os.pwrite(self.fd, header, 0)  # before the name: a process killed between the two leaves a file of zeros
            self._mapping = mmap.mmap(self.fd, self.size)
            os.rename(making, self.path)
        except OSError:
            os.close(self.fd)
            making.unlink(missing_ok=True)
            raise
        self._anchor: ctypes.c_char | None = ctypes.c_char.from_buffer(self._mapping)
        self._address = ctypes.addressof(self._anchor)
        self.view = memoryview(self._mapping)
        self.words = self.view.cast("I")
        if not self.populate(0, prefault):
            for at in range(PAGE, min(prefault, self.size), PAGE):
                self.view[at] = 0

    def start(self, seq: int) -> None:
        """The first record will be ``seq``."""
        _FIRST_SEQ.pack_into(self.view, _FIRST_SEQ_AT, seq)

    def place(self, at: int, seq: int, payload: bytes, flags: int = 0) -> int:
        """Write one record at ``at``; the offset behind it.  The caller has made sure of the room."""
        end = at + RECORD_BYTES + len(payload)
        self.view[at + RECORD_BYTES : end] = payload
        struct.pack_into("<IQ", self.view, at + 4, zlib.crc32(payload, (seq ^ self.salt ^ flags) & 0xFFFF_FFFF), seq)
        self.words[at >> 2] = len(payload) | flags
        return (end + 7) & -8

    def populate(self, start: int, stop: int) -> bool:
        """Make the pages of ``[start, stop)`` writable now, so that a later store does not fault.  False: cannot."""
        start -= start % PAGE
        length = min(stop, self.size) - start
        return length <= 0 or _madvise(self._address + start, length, _MADV_POPULATE_WRITE) == 0

    def forget_before(self, start: int, stop: int) -> int:
        """Take written pages of ``[start, stop)`` out of our resident set (they stay in the page cache); new start."""
        stop = min(stop - stop % PAGE, self.size)
        if stop > start and _madvise(self._address + start, stop - start, _MADV_DONTNEED) == 0:
            return stop
        return start

    def sync(self, start: int, stop: int) -> None:
        """Wait until the bytes ``[start, stop)`` are on disk.  Raises ``OSError``.

        By range, not by file: a sync write-protects what it wrote, and the pages ahead of the tail must stay writable.
        """
        start -= start % PAGE
        if _msync(self._address + start, min(stop, self.size) - start, _MS_SYNC) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))

    def close(self, *, truncate: bool = True) -> None:
        """Unmap, cut the file to ``used`` bytes and close it.  Raises ``OSError``."""
        self.words.release()
        self.view.release()
        self._anchor = None
        self._mapping.close()
        try:
            if truncate:
                os.ftruncate(self.fd, self.used)
        finally:
            os.close(self.fd)


def _allocate(fd: int, size: int) -> None:
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(fd, 0, size)
        return
    block = bytes(1 << 20)  # no posix_fallocate (macOS): written zeros reserve the space as well
    for at in range(0, size, len(block)):
        os.pwrite(fd, block[: size - at], at)


# --- reading ----------------------------------------------------------------------------------------------------


class SegmentScan:
    """Reads a segment's records in order; afterwards ``damage`` says what, if anything, ended them early."""

    def __init__(self, path: Path) -> None:
        """Raises ``JournalError`` when the file cannot be opened or has no header of this version."""
        self.path = path
        self.damage: Damage | None = None
        self.last_seq = -1
        """Number of the last good record so far."""
        self.last_payload = b""
        """Of the last good record so far that does not describe the journal itself, skipped ones included."""
        try:
            with path.open("rb") as file:
                self.header = parse_header(file.read(HEADER_BYTES), path)
        except OSError as error:
            raise JournalError(f"cannot read {path}: {error.strerror}") from error
        self._salt = record_salt(self.header.session, self.header.stream, self.header.number)

    def records(self, *, mapped: bool = True, skip: frozenset[int] = frozenset()) -> Iterator[RawRecord]:
        """``mapped`` is False while the writer may still cut the file: a mapping would lose its pages, and us.

        ``skip``: records whose payload has one of these as its second byte (their type, see ``engine.codec``) are
        checked like all others but not given.
        """
        with self.path.open("rb") as file:
            if not mapped:
                yield from self._records(file.read(), skip)
                return
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                yield from self._records(data, skip)

    def _records(self, data: mmap.mmap | bytes, skip: frozenset[int]) -> Iterator[RawRecord]:
        """``_record_at`` from one record to the next, written out: a start reads millions of them."""
        unpack, crc32, salt, size = _RECORD.unpack_from, zlib.crc32, self._salt, len(data)
        skipped = frozenset(bytes((one,)) for one in skip)
        at = HEADER_BYTES
        while at + RECORD_BYTES <= size:
            word, crc, seq = unpack(data, at)
            flags = word & CONTROL
            start = at + RECORD_BYTES
            end = start + (word ^ flags)
            if end == start or end > size:
                break
            payload = data[start:end]
            if crc32(payload, (seq ^ salt ^ flags) & 0xFFFF_FFFF) != crc:
                break
            self.last_seq = seq
            if flags:
                yield RawRecord(at, seq, True, payload)
            else:
                self.last_payload = payload
                if payload[1:2] not in skipped:
                    yield RawRecord(at, seq, False, payload)
            at = (end + 7) & -8
        self.damage = self._damage_at(data, at)

    def _record_at(self, data: mmap.mmap | bytes, at: int) -> RawRecord | None:
        if at + RECORD_BYTES > len(data):
            return None
        word, crc, seq = _RECORD.unpack_from(data, at)
        length = word & ~CONTROL
        flags = word & CONTROL
        end = at + RECORD_BYTES + length
        if length == 0 or end > len(data):
            return None
        payload = data[at + RECORD_BYTES : end]
        if zlib.crc32(payload, (seq ^ self._salt ^ flags) & 0xFFFF_FFFF) != crc:
            return None
        return RawRecord(at, seq, flags != 0, payload)

    def _damage_at(self, data: mmap.mmap | bytes, at: int) -> Damage | None:
        tail = data[at:].rstrip(b"\0")
        if not tail:
            return None
        good: int | None = None
        probe = at + 8
        while good is None and (found := _NONZERO.search(data, probe)) is not None:
            probe = found.start() & -8
            record = self._record_at(data, probe)
            good = None if record is None else record.seq
            probe += 8
        return Damage(at, len(tail), tail[:KEPT_BYTES], good)


class SegmentInfo(msgspec.Struct, frozen=True):
    """One segment file of a folder, by its name."""

    path: Path
    stream: str
    number: int


_NAME = re.compile(r"^(orders|market)-(\d{6,})\.seg$")


def list_segments(folder: Path) -> dict[str, list[SegmentInfo]]:
    """Segment files by stream, in order of their numbers.  Unfinished ``.tmp`` files hold no records and are skipped.

    Raises ``JournalError`` when the folder is missing or a number is missing between two others.
    """
    if not folder.is_dir():
        raise JournalError(f"no journal at {folder}", expected="a folder of .seg files", do="check the session's path")
    found: dict[str, list[SegmentInfo]] = {stream: [] for stream in STREAMS}
    for path in folder.iterdir():
        match = _NAME.match(path.name)
        if match:
            found[match[1]].append(SegmentInfo(path, match[1], int(match[2])))
    for stream, segments in found.items():
        segments.sort(key=lambda info: info.number)
        for before, after in itertools.pairwise(segments):
            if after.number != before.number + 1:
                raise JournalError(
                    f"{segment_name(stream, before.number + 1)} is missing in {folder}",
                    expected=f"a file between {before.path.name} and {after.path.name}",
                    do="restore it from a copy",
                )
    return found


def without_blank(segments: list[SegmentInfo]) -> tuple[list[SegmentInfo], list[SegmentInfo]]:
    """The segments that hold something, and those at the end that hold nothing, from one that is all zeros on: it was
    made ahead, and the machine went down before a byte of it was on disk.  Of those behind it a header may be there:
    nobody says in which order files reach the disk."""
    end = len(segments)
    for at in range(end - 1, -1, -1):
        header = _read_header(segments[at].path)
        if header.count(0) == len(header):
            if not all(_is_empty(info.path) for info in segments[at:end]):
                break
            end = at
        elif len(header) < HEADER_BYTES or _FIRST_SEQ.unpack_from(header, _FIRST_SEQ_AT)[0] > 0:
            break
    return segments[:end], segments[end:]


def _read_header(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(HEADER_BYTES)
    except OSError as error:
        raise JournalError(f"cannot read {path}: {error.strerror}") from error


def _is_empty(path: Path) -> bool:
    """Nothing behind the header: a header that is gone while records behind it are there is damage."""
    try:
        with path.open("rb") as file:
            file.seek(HEADER_BYTES)
            while block := file.read(1 << 20):
                if block.count(0) != len(block):
                    return False
    except OSError as error:
        raise JournalError(f"cannot read {path}: {error.strerror}") from error
    return True
