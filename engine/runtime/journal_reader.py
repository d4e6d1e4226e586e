"""Reads a session's journal back: both streams merged by ``seq``, every record checked, damage named.

Owns what counts as whole.  A torn end (the process or the machine died in mid-record) is cut at the last good record
and reported; anything that would hide a record that was there is an error.  Never writes to the files.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

from engine import codec
from engine.errors import JournalError
from engine.runtime.segment import (
    END,
    HEADER_BYTES,
    HOLE,
    PRUNED_FILE,
    RECORD_BYTES,
    RawRecord,
    SegmentInfo,
    SegmentScan,
    list_segments,
    parse_control,
    without_blank,
)

RESTORE = "restore the files from a copy, or read what precedes: replay --salvage"


class JournalRecord(NamedTuple):
    """One journaled input or decision.  ``raw`` are the exact bytes that were written (``engine.codec``)."""

    seq: int
    stream: str
    raw: bytes
    record: codec.Record


class TornTail(NamedTuple):
    """What followed the last good record of a stream.  ``data`` holds at most the first 64 KiB of ``size`` bytes."""

    path: Path
    offset: int
    size: int
    data: bytes


class ReadReport:
    """Filled while ``read_journal`` runs; final once it is exhausted."""

    def __init__(self) -> None:
        self.session = ""
        self.records = 0
        self.first_seq = -1
        self.last_seq = -1
        self.closed = False
        """The journal was closed in order.  False: the process was killed, or still runs."""
        self.torn: list[TornTail] = []
        self.holes: list[tuple[int, int]] = []
        """Numbers that the writer itself says were never written, as ``(first, last)``."""
        self.stopped = ""
        """With ``salvage``: the damage at which reading stopped."""
        self.left_out_bytes = 0
        """With ``salvage``: what the files hold behind the last record that was read."""

    @property
    def torn_bytes(self) -> int:
        return sum(tail.size for tail in self.torn)


def read_journal(
    folder: Path | str, *, report: ReadReport | None = None, salvage: bool = False
) -> Iterator[JournalRecord]:
    """Records in order of ``seq``, lazily: one segment of each stream is open at a time.

    Raises ``JournalError`` (file, offset, number) for damage that good records follow, a missing number, a missing
    segment, segments of two sessions, an unknown format version, or a record this release cannot decode.  With
    ``salvage`` the reading stops there instead, and ``report.stopped`` says why: everything before it is good.
    """
    result = report if report is not None else ReadReport()
    try:
        yield from _read(Path(folder), result)
    except JournalError as error:
        if not salvage:
            raise
        result.stopped = str(error).removesuffix(f"; {RESTORE}")  # that is what is done here
        result.left_out_bytes = _left_out_bytes(Path(folder), result.last_seq)


def _left_out_bytes(folder: Path, last_seq: int) -> int:
    """Bytes in use behind record ``last_seq`` in all segments, whatever they may have been."""
    left = 0
    for path in sorted(folder.glob("*.seg")):
        end = HEADER_BYTES
        try:
            for raw in SegmentScan(path).records():
                if raw.seq > last_seq:
                    break
                end = raw.offset + RECORD_BYTES + len(raw.payload)
            left += max(0, len(path.read_bytes().rstrip(b"\0")) - end)
        except (JournalError, OSError, ValueError):
            with contextlib.suppress(OSError):
                left += path.stat().st_size
    return left


def _read(folder: Path, report: ReadReport) -> Iterator[JournalRecord]:
    merge = _Merge(folder, report)
    for stream, path, raw in merge:
        if raw.control:
            continue
        try:
            record = codec.decode(raw.payload)
        except (msgspec.MsgspecError, ValueError, ArithmeticError) as error:
            raise JournalError(
                f"record {raw.seq} in {path.name} at offset {raw.offset} cannot be decoded: {error}",
                expected="a record of this release",
                do="read it with the release that wrote it",
            ) from error
        report.records += 1
        report.last_seq = raw.seq
        if report.first_seq < 0:
            report.first_seq = raw.seq
        yield JournalRecord(raw.seq, stream, raw.payload, record)


def pruned(folder: Path) -> tuple[str, str] | None:
    """When the market stream of a journal was pruned and which archive has it (empty: none); None where it was not."""
    note = folder / PRUNED_FILE
    if not note.is_file():
        return None
    try:
        told = json.loads(note.read_bytes())
        return str(told["pruned"]), str(told["archive"])
    except (OSError, ValueError, KeyError, TypeError):
        return "an unknown day", ""


def _refuse_pruned(folder: Path) -> None:
    told = pruned(folder)
    if told is not None:
        raise JournalError(
            f"the market stream of {folder} was pruned on {told[0]}: it can be replayed from no record on",
            expected="both streams from record 1",
            do=f"unpack {told[1] or 'a copy'}; the session that went on from it replays from its own record 1",
        )


class _Merge:
    """Both streams by number; checks that none is missing and that nothing follows the end."""

    def __init__(self, folder: Path, report: ReadReport) -> None:
        self._report = report
        _refuse_pruned(folder)
        segments = {stream: without_blank(infos)[0] for stream, infos in list_segments(folder).items()}
        if not any(segments.values()):
            raise JournalError(f"{folder} holds no journal segment", expected="orders-000001.seg", do="check the path")
        for stream, infos in segments.items():
            if infos and infos[0].number != 1:
                raise JournalError(
                    f"the first {stream} segment in {folder} is {infos[0].path.name}",
                    expected=f"{stream}-000001.seg",
                    do="restore what precedes it from a copy: the session's beginning is in no other file",
                )
        self._streams = {name: _StreamReader(infos, report) for name, infos in segments.items()}
        firsts = [SegmentScan(infos[0].path).header.first_seq for infos in segments.values() if infos]
        # The headers know the first number even if the record itself is gone.
        self._expected = min((first for first in firsts if first > 0), default=0)
        self._damaged: JournalError | None = None

    def __iter__(self) -> Iterator[tuple[str, Path, RawRecord]]:
        heads: dict[str, tuple[Path, RawRecord]] = {}
        for name in self._streams:
            self._advance(name, heads)
        if self._damaged is not None:  # at a beginning: nobody can say which number was the first of all
            raise self._damaged
        while heads:
            name = min(heads, key=lambda key: (heads[key][1].seq, heads[key][1].control))
            path, raw = heads.pop(name)
            if self._damaged is not None and (raw.control or raw.seq != self._expected):
                raise self._damaged
            self._check(path, raw)
            yield name, path, raw
            self._advance(name, heads)
        if self._damaged is not None:
            raise self._damaged

    def _advance(self, name: str, heads: dict[str, tuple[Path, RawRecord]]) -> None:
        """The stream's next record; its damage waits until the other stream has given what precedes it."""
        try:
            head = next(self._streams[name], None)
        except JournalError as error:
            self._damaged = self._damaged or error
            return
        if head is not None:
            heads[name] = head

    def _check(self, path: Path, raw: RawRecord) -> None:
        report = self._report
        where = f"record {raw.seq} in {path.name} at offset {raw.offset}"
        if report.closed:
            raise JournalError(f"{where} follows the end of the journal", do="restore the files from one copy")
        if raw.control:
            self._take_control(where, raw)
            return
        if raw.seq != self._expected:
            missing = (
                f"{self._expected} to {raw.seq - 1} are missing" if raw.seq > self._expected else "it is there twice"
            )
            raise JournalError(f"{where}: {missing}", expected=f"{self._expected}", do=RESTORE)
        self._expected = raw.seq + 1

    def _take_control(self, where: str, raw: RawRecord) -> None:
        try:
            kind, value = parse_control(raw.payload)
        except ValueError as error:
            raise JournalError(f"{where}: {error}", do="read it with the release that wrote it") from error
        if kind == HOLE and value == self._expected:
            self._report.holes.append((value, raw.seq))
            self._expected = raw.seq + 1
        elif kind == END and raw.seq == self._expected - 1 and not self._report.torn:
            self._report.closed = True
        elif kind == END and self._report.torn:
            torn = self._report.torn[0]
            raise JournalError(
                f"{torn.path.name} is damaged at offset {torn.offset}, and the end of the journal follows",
                do=RESTORE,
            )
        else:
            raise JournalError(
                f"{where} notes {'a hole from' if kind == HOLE else 'the end at'} {value}",
                expected=f"{self._expected if kind == HOLE else self._expected - 1}",
                do=RESTORE,
            )


class _StreamReader:
    """Records of one stream's segments in order, as an iterator of ``(path, record)``."""

    def __init__(self, infos: list[SegmentInfo], report: ReadReport) -> None:
        self._report = report
        self._records = self._run(infos)

    def __iter__(self) -> _StreamReader:
        return self

    def __next__(self) -> tuple[Path, RawRecord]:
        return next(self._records)

    def _run(self, infos: list[SegmentInfo]) -> Iterator[tuple[Path, RawRecord]]:
        last = -1
        torn: TornTail | None = None
        for info in infos:
            scan = SegmentScan(info.path)
            self._check_header(info, scan)
            first = True
            for raw in scan.records():
                where = f"{info.path.name} at offset {raw.offset}"
                if torn is not None:
                    raise JournalError(
                        f"{torn.path.name} is damaged at offset {torn.offset} after record {last}, "
                        f"and record {raw.seq} follows",
                        do=RESTORE,
                    )
                if first and raw.seq != scan.header.first_seq:
                    raise JournalError(
                        f"{where} starts with record {raw.seq}",
                        expected=f"{scan.header.first_seq}",
                        do="restore the file",
                    )
                if raw.seq < last or (raw.seq == last and not raw.control):
                    raise JournalError(f"{where} has record {raw.seq} after {last}", expected=f"more than {last}")
                first = False
                last = raw.seq
                yield info.path, raw
            damage = scan.damage
            if damage is None:
                continue
            if damage.good_after is not None:
                raise JournalError(
                    f"{info.path.name} is damaged at offset {damage.offset} after record {last}, "
                    f"and record {damage.good_after} follows",
                    do=RESTORE,
                )
            torn = TornTail(info.path, damage.offset, damage.size, damage.data)
            self._report.torn.append(torn)

    def _check_header(self, info: SegmentInfo, scan: SegmentScan) -> None:
        header = scan.header
        if (header.stream, header.number) != (info.stream, info.number):
            raise JournalError(
                f"{info.path.name} says it is {header.stream} segment {header.number}", do="undo the renaming of files"
            )
        if self._report.session and header.session != self._report.session:
            raise JournalError(
                f"{info.path.name} belongs to session {header.session}", expected=self._report.session, do="remove it"
            )
        self._report.session = header.session
