"""Which session traded on an account last, and what it left; and that no two trade on one account at once.

Owns a lock and a pointer for each account in the user's run folder: daemons started in different folders are daemons of
the same account.  What a session leaves is ``engine.recovery``'s to say.

    <run folder>/accounts/<digest of the account>.lock    held while a daemon trades on it
    <run folder>/accounts/<digest of the account>.json    {"account", "sessions": [newest, the one before]}
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from pathlib import Path
from typing import NamedTuple

import msgspec

from engine import codec
from engine.carried import Carried
from engine.errors import DataError, JournalError, KestrelError, SessionLocked
from engine.events import Event, StateCarried, StateKept
from engine.recovery import Recovery
from engine.runtime.segment import HEADER_BYTES, SegmentInfo, SegmentScan, list_segments
from engine.runtime.session import write_atomically

VENUE_TRUTH = "look into why; then start with --venue-truth to go on from what the venue says alone"
_KEPT_TAGS = {StateKept.__struct_config__.tag, StateCarried.__struct_config__.tag}


class Left(NamedTuple):
    """What a session left.  ``torn_bytes``: of its journal's end, which was cut at the last good record."""

    session: str
    upto_seq: int
    state: Carried
    torn_bytes: int
    last_ns: int
    """When the session last heard or decided anything, ns."""


class Succession:
    """One account.  ``account`` names it in words: venue and a fingerprint, never a key."""

    def __init__(self, run_dir: Path, account: str) -> None:
        self.account = account
        digest = hashlib.sha256(account.encode()).hexdigest()[:16]
        self._folder = run_dir / "accounts"
        self._lock_path = self._folder / f"{digest}.lock"
        self._pointer = self._folder / f"{digest}.json"
        self._lock: int | None = None

    def lock(self, session: str) -> None:
        """Hold the account until ``close``.  Raises ``SessionLocked`` while another daemon trades on it."""
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(self._lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise KestrelError(
                f"cannot lock account {self.account}: {self._lock_path}: {error.strerror}", do="make the folder yours"
            ) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(descriptor, 200, 0).decode(errors="replace").strip() or "an unknown process"
            os.close(descriptor)
            raise SessionLocked(
                f"account {self.account} is traded by {holder}",
                expected="one daemon on an account",
                do="stop that one first",
            ) from error
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"process {os.getpid()}, session {session}\n".encode(), 0)
        self._lock = descriptor

    @property
    def lock_path(self) -> Path:
        """Names who holds the account, also after that one died: ``process PID, session ID``."""
        return self._lock_path

    def close(self) -> None:
        """Let go of the account.  Idempotent."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def begin(self, session: Path) -> None:
        """From now on ``session`` is the account's newest.  Called before its first byte goes to the venue."""
        try:
            before = self._sessions()
        except DataError:
            before = []  # it was refused, and the answer was to go on without what it names
        newest = [str(session.absolute()), *before]
        content = {"account": self.account, "sessions": newest[:2]}
        try:
            write_atomically(self._pointer, json.dumps(content).encode() + b"\n")
        except OSError as error:
            raise KestrelError(
                f"cannot note the session of account {self.account}: {self._pointer}: {error.strerror}",
                do="free the disk or make the folder yours",
            ) from error

    def left(self, currency: str) -> Left | None:
        """What the last session on this account left; None when there was none.

        Raises ``JournalError`` or ``DataError`` when that cannot be told: then nobody knows what the account owes.
        """
        sessions = self._sessions()
        for number, path in enumerate(sessions):
            try:
                found = read_left(Path(path), currency)
            except KestrelError as error:
                raise type(error)(
                    f"the last session on account {self.account} cannot be gone on with: {error.seen}",
                    expected=error.expected,
                    do=VENUE_TRUTH,
                ) from error
            # A session of which nothing is on disk (the machine went down at its start) has sent nothing.
            if found is not None or number == len(sessions) - 1:
                return found
        return None

    def _sessions(self) -> list[str]:
        try:
            content = json.loads(self._pointer.read_bytes())
            return [str(path) for path in content["sessions"]]
        except FileNotFoundError:
            return []
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(f"{self._pointer} cannot be read: {error}", do=VENUE_TRUTH) from error


def read_left(session: Path, currency: str) -> Left | None:
    """What a session left, from its journal's stream of orders; None when not one record of it is there.

    Raises ``JournalError`` for a journal that is gone, or damaged anywhere behind the newest state it kept.
    """
    records, upto_seq, torn_bytes = _orders_since_kept(session / "journal")
    if upto_seq < 0:
        return None
    recovery = Recovery(currency)
    recovery.take(records)
    return Left(session.name, upto_seq, recovery.left(), torn_bytes, max(map(_time_of, records), default=0))


def _orders_since_kept(folder: Path) -> tuple[list[codec.Record], int, int]:
    """Records of the orders stream from the newest kept state on, the last record's number, bytes cut at the end."""
    payloads: list[bytes] = []
    upto_seq, torn_bytes = -1, 0
    segments = list_segments(folder)["orders"]
    if segments and _is_blank(segments[-1].path):
        segments.pop()  # made ahead, and the machine went down before a byte of it was on disk
    for info in reversed(segments):
        # The newest file may be one that was made ahead and holds nothing yet.
        found, last_seq, damaged_bytes = _read_segment(info, is_last=upto_seq < 0)
        torn_bytes += damaged_bytes
        upto_seq = max(upto_seq, last_seq)
        payloads = found + payloads
        if found and _tag(found[0]) in _KEPT_TAGS:
            break
    return [_decode(folder, payload) for payload in payloads], upto_seq, torn_bytes


def _is_blank(path: Path) -> bool:
    with path.open("rb") as file:
        return not any(file.read(HEADER_BYTES))


def _read_segment(info: SegmentInfo, *, is_last: bool) -> tuple[list[bytes], int, int]:
    """Payloads from the segment's newest kept state on (all of them where it has none)."""
    scan = SegmentScan(info.path)
    found: list[bytes] = []
    last_seq = -1
    for raw in scan.records():
        last_seq = raw.seq
        if raw.control:
            continue
        if _tag(raw.payload) in _KEPT_TAGS:
            found.clear()
        found.append(raw.payload)
    damage = scan.damage
    if damage is None:
        return found, last_seq, 0
    if damage.good_after is not None or not is_last:
        raise JournalError(
            f"{info.path} is damaged at offset {damage.offset}, after record {last_seq}",
            expected="whole records up to its end",
        )
    return found, last_seq, damage.size


def _time_of(record: codec.Record) -> int:
    return record.ts_recv_ns if isinstance(record, Event) else record.ts_ns


def _tag(payload: bytes) -> int:
    """The record's type, as its MessagePack array has it first; -1 where it is none of a small tag."""
    if payload[0] & 0xF0 == 0x90 and payload[1] < 0x80:
        return payload[1]
    return -1


def _decode(folder: Path, payload: bytes) -> codec.Record:
    try:
        return codec.decode(payload)
    except (msgspec.MsgspecError, ValueError, ArithmeticError) as error:
        raise JournalError(
            f"a record in {folder} cannot be decoded: {error}", expected="a record of this release"
        ) from error
