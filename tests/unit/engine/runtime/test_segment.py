"""Segments as files: layout, limits and what a failed allocation leaves behind."""

from __future__ import annotations

import errno
import os
import struct
import zlib
from pathlib import Path

import pytest

from engine.errors import JournalError
from engine.runtime import segment as module
from engine.runtime.segment import (
    FORMAT_VERSION,
    HEADER_BYTES,
    MappedSegment,
    SegmentScan,
    pack_header,
    parse_control,
    parse_header,
    record_salt,
)


def make(folder: Path, size: int = 8192) -> MappedSegment:
    return MappedSegment(folder, "s-1", "orders", 1, size=size, prefault=size)


def test_the_layout_is_the_documented_one(tmp_path: Path) -> None:
    """Parses the bytes by hand: header, then length, checksum, number and payload on a multiple of eight."""
    segment = make(tmp_path)
    segment.start(7)
    at = segment.place(HEADER_BYTES, 7, b"hello")
    assert at == segment.place(at, 8, b"") - 16
    data = segment.path.read_bytes()
    assert data[:8] == b"KESTRELJ"
    assert struct.unpack_from("<IIQ", data, 8) == (FORMAT_VERSION, 0, 1)
    assert data[24:64] == b"s-1".ljust(40, b"\0")
    assert struct.unpack_from("<Q", data, 72) == (7,)
    length, crc, seq = struct.unpack_from("<IIQ", data, HEADER_BYTES)
    assert (length, seq) == (5, 7)
    assert crc == zlib.crc32(b"hello", 7 ^ record_salt("s-1", "orders", 1))
    assert data[HEADER_BYTES + 16 : HEADER_BYTES + 21] == b"hello"
    assert at == HEADER_BYTES + 24


def test_bytes_of_another_segment_are_no_record_here(tmp_path: Path) -> None:
    """Copies a record between two segments of one session that differ in number only."""
    first = make(tmp_path)
    second = MappedSegment(tmp_path, "s-1", "orders", 2, size=8192, prefault=0)
    end = first.place(HEADER_BYTES, 1, b"payload")
    second.view[HEADER_BYTES:end] = first.view[HEADER_BYTES:end]
    assert [raw.payload for raw in SegmentScan(first.path).records()] == [b"payload"]
    scan = SegmentScan(second.path)
    assert list(scan.records()) == []
    assert scan.damage is not None
    assert scan.damage.good_after is None


def test_a_failed_allocation_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets posix_fallocate fail with ENOSPC."""

    def full(fd: int, offset: int, length: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match="No space left"):
        make(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_segment_has_its_header_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the file holds at the moment of the renaming, where a killed process would leave it."""
    rename, seen = os.rename, []

    def look(source: Path, target: Path) -> None:
        seen.append(parse_header(source.read_bytes()[:HEADER_BYTES], target))
        rename(source, target)

    monkeypatch.setattr(module.os, "rename", look)
    make(tmp_path).close()
    assert seen == [("s-1", "orders", 1, 0)]


def test_systems_without_fallocate_and_populate_get_written_zeros(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Takes both away: the file still has its blocks, and pages are touched one by one."""
    monkeypatch.delattr(os, "posix_fallocate")
    monkeypatch.setattr(module, "_madvise", lambda *_: -1)
    segment = make(tmp_path, 3_000_000)
    assert segment.path.stat().st_blocks * 512 >= 3_000_000
    assert not segment.populate(0, 4096)
    assert segment.forget_before(0, 1 << 20) == 0
    segment.place(HEADER_BYTES, 1, b"x")
    assert [raw.seq for raw in SegmentScan(segment.path).records()] == [1]


def test_pages_taken_out_of_memory_keep_their_records(tmp_path: Path) -> None:
    """Writes, drops the pages of the mapping, reads the file and writes on."""
    segment = make(tmp_path, 1 << 20)
    at = HEADER_BYTES
    for seq in range(1, 2_001):
        at = segment.place(at, seq, b"p" * 100)
    assert segment.forget_before(0, at) > 0
    segment.place(at, 2_001, b"q")
    assert [raw.seq for raw in SegmentScan(segment.path).records()] == list(range(1, 2_002))


def test_closing_cuts_the_file_to_the_used_bytes(tmp_path: Path) -> None:
    """Compares the size after close with the end of the last record."""
    segment = make(tmp_path)
    segment.used = segment.place(HEADER_BYTES, 1, b"x" * 10)
    segment.close()
    assert segment.path.stat().st_size == segment.used == HEADER_BYTES + 32


def test_a_sync_error_carries_the_systems_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Asks msync for pages that are not mapped: the real call fails with ENOMEM."""
    segment = make(tmp_path)
    segment.sync(0, 8192)
    segment._address = 0x10000  # unmapped in every process
    with pytest.raises(OSError, match="Cannot allocate memory"):
        segment.sync(0, 8192)


def test_a_session_id_that_does_not_fit_the_header_is_refused() -> None:
    """41 bytes for a field of 40."""
    with pytest.raises(JournalError, match="expected at most 40"):
        pack_header("x" * 41, "orders", 1)


@pytest.mark.parametrize("payload", [b"", b"\x01" * 8, b"\x07" + bytes(8)])
def test_control_records_of_another_shape_are_refused(payload: bytes) -> None:
    """Too short, too short by one, unknown kind."""
    with pytest.raises(ValueError, match="control record"):
        parse_control(payload)
