"""Which session traded on an account last, and what it left; and that no two trade on one account at once.

Owns a lock and a pointer for each account in the user's run folder: daemons started in different folders are daemons of
the same account.  What a session leaves is ``engine.recovery``'s to say.

    <run folder>/accounts/<digest of the account>.lock    held while a daemon trades on it
    <run folder>/accounts/<digest of the account>.json    {"account", "sessions": [newest, the one before], "identity",
                                                          "identified_ns"}
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import time
from pathlib import Path
from typing import NamedTuple

import msgspec

from engine import codec
from engine.carried import Carried
from engine.durable import write_atomically
from engine.errors import DataError, JournalError, KestrelError, SessionLocked, WrongAccount
from engine.events import Event, SessionStarted, StateCarried, StateKept
from engine.recovery import AT_THE_MARKETS_PACE, Recovery
from engine.runtime.machine_lock import MachineLock
from engine.runtime.segment import SegmentInfo, SegmentScan, list_segments, segment_name, without_blank
from engine.runtime.session import HEADER_FILE

VENUE_TRUTH = "look into why; then start with --venue-truth to go on from what the venue says alone"
_KEPT_TAGS = {StateKept.__struct_config__.tag, StateCarried.__struct_config__.tag}
_LOOKS_S = (0.005, 0.02)
_SKIPPED_TAGS = frozenset(int(str(kind.__struct_config__.tag)) for kind in AT_THE_MARKETS_PACE)


class Left(NamedTuple):
    """What a session left.  ``torn_bytes``: of its journal's end, which was cut at the last good record."""

    session: str
    upto_seq: int
    state: Carried
    torn_bytes: int
    last_ns: int
    """When the session last heard or decided anything, ns."""
    blank: tuple[str, ...] = ()
    """Files at the end of which nothing had reached the disk."""


class _Pointer(NamedTuple):
    sessions: list[str]
    identity: str
    """Digest of the venue's own id of the account; empty until a session has learned it."""
    identified_ns: int = 0
    """When the newest session began that has learned it: one that failed before that has not been on the account."""


class Succession:
    """One account.  ``account`` names it in words: venue and a fingerprint, never a key.  ``machine``: held with it,
    against daemons of other run folders."""

    def __init__(self, run_dir: Path, account: str, machine: MachineLock | None = None) -> None:
        self.account = account
        self._machine = machine
        digest = hashlib.sha256(account.encode()).hexdigest()[:16]
        self._folder = run_dir / "accounts"
        self._lock_path = self._folder / f"{digest}.lock"
        self._pointer = self._folder / f"{digest}.json"
        self._lock: int | None = None
        self._gone_on_with: list[str] | None = None
        """The session whose state ``left`` has found, and the one before it."""

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
            _lock_alone(descriptor)
        except OSError as error:
            holder = os.pread(descriptor, 200, 0).decode(errors="replace").strip() or "an unknown process"
            os.close(descriptor)
            raise SessionLocked(
                f"account {self.account} is traded by {holder}",
                expected="one daemon on an account",
                do="stop that one first",
            ) from error
        try:
            if self._machine is not None:
                self._machine.lock()
        except SessionLocked:
            os.close(descriptor)
            raise
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"process {os.getpid()}, session {session}\n".encode(), 0)
        self._lock = descriptor

    def holder(self) -> str:
        """The daemon that trades on the account now, in words; empty for none.  Holds nothing when it returns."""
        return _holder_of(self._lock_path) or ("" if self._machine is None else self._machine.holder())

    @property
    def lock_path(self) -> Path:
        """Names who holds the account, also after that one died: ``process PID, session ID``."""
        return self._lock_path

    def close(self) -> None:
        """Let go of the account.  Idempotent."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
        if self._machine is not None:
            self._machine.close()

    def begin(self, session: Path) -> None:
        """From now on ``session`` is the account's newest.  Called before its first byte goes to the venue."""
        try:
            before = self._read()
        except DataError:
            before = _Pointer([], "")  # it was refused, and the answer was to go on without what it names
        gone_on_with = before.sessions if self._gone_on_with is None else self._gone_on_with
        newest = [str(session.absolute()), *gone_on_with]
        self._write(before._replace(sessions=newest[:2]))

    def identify(self, identity: str, *, anew: bool = False) -> None:
        """The venue's own id of the account, as it tells it to the key: the first one is kept, as a digest.

        ``anew``: whatever it was before.  Raises ``WrongAccount`` when the account is another one than before, a daemon
        with another key trades on it, or one has traded on it since: then the next start goes on from that session.
        """
        digest = _fingerprint(identity)
        known = self._read()
        if not anew:
            self._check(known, digest)
        # Before the others are looked at: of two that begin at once, at least one sees the other.
        self._write(known._replace(identity=digest))
        try:
            newest = self._twin_that_traded_since(known, digest)
        except WrongAccount:
            self._write(known)
            raise
        if newest is not None and not anew:
            self._write(newest)
            session = Path(newest.sessions[0]).name
            raise WrongAccount(
                f"account {self.account} is the one that session {session} traded on with another key",
                expected="a session that goes on with what that one left",
                do="start again, and it does; to begin anew on this account: --venue-truth",
            )
        # After those before, also where the clock was set back since.
        before_ns = max(known.identified_ns, 0 if newest is None else newest.identified_ns)
        begun_ns = max([_begun_ns(path) for path in known.sessions[:1]], default=0)
        self._write(known._replace(identity=digest, identified_ns=max(begun_ns, before_ns + 1)))

    def check_identity(self, identity: str) -> None:
        """``identify`` without keeping anything.  Raises ``WrongAccount`` as it does."""
        self._check(self._read(), _fingerprint(identity))

    def _check(self, known: _Pointer, digest: str) -> None:
        if known.identity and known.identity != digest:
            raise WrongAccount(
                f"account {self.account} is another one than its sessions so far have traded on "
                f"(fingerprint {digest}, so far {known.identity})",
                expected="the same account behind the same address and key",
                do="correct address or key file; to begin anew on this account: --venue-truth",
            )

    def _twin_that_traded_since(self, mine: _Pointer, digest: str) -> _Pointer | None:
        """An account may have several keys, and goes by another name with each: the pointer of the key that traded on
        it since, at a real venue.  Raises ``WrongAccount`` while a daemon with another key trades on it."""
        server, newest, newest_ns = _server_of(mine), None, mine.identified_ns
        for path in self._folder.glob("*.json"):
            if path == self._pointer or server is None:
                continue
            try:
                other = _pointer_in(path)
            except (OSError, ValueError, KeyError, TypeError, AttributeError):
                continue  # nobody can start with that one either
            holder = _holder_of(path.with_suffix(".lock")) if other.identity == digest else ""
            if holder and _server_of(other) == server:
                raise WrongAccount(
                    f"account {self.account} is traded by {holder}, with another key",
                    expected="one daemon on an account",
                    do="stop that one first, or give this key a portfolio of its own",
                )
            is_same = other.identity == digest and _server_of(other) == server and "live" in server
            if is_same and other.identified_ns > newest_ns:
                newest, newest_ns = other, other.identified_ns
        return newest

    def _write(self, pointer: _Pointer) -> None:
        content = {"account": self.account, **pointer._asdict()}
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
        sessions = self._read().sessions
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
            if found is not None:
                # Those that came to nothing are not named any more: else a second one would push this one out.
                self._gone_on_with = sessions[number:]
                return found
        return None

    def _read(self) -> _Pointer:
        try:
            return _pointer_in(self._pointer)
        except FileNotFoundError:
            return _Pointer([], "")
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(f"{self._pointer} cannot be read: {error}", do=VENUE_TRUTH) from error


def _pointer_in(path: Path) -> _Pointer:
    content = json.loads(path.read_bytes())
    sessions, identity = [str(path) for path in content["sessions"]], str(content.get("identity", ""))
    since_ns = content.get("identified_ns")
    if since_ns is None:  # of an earlier release
        since_ns = _begun_ns(sessions[0]) if sessions and identity else 0
    return _Pointer(sessions, identity, int(since_ns))


def _server_of(pointer: _Pointer) -> tuple[str, ...] | None:
    """Venue and address of the newest session; None where nobody can say."""
    try:
        venue = json.loads((Path(pointer.sessions[0]) / HEADER_FILE).read_bytes())["config"]["venue"]
        return tuple(str(venue.get(name)) for name in ("name", "feed", "rest_url"))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError):
        return None


def _begun_ns(session: str) -> int:
    """0 where nobody can say."""
    try:
        return int(json.loads((Path(session) / HEADER_FILE).read_bytes())["created_ns"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0


def _holder_of(lock_path: Path) -> str:
    """The daemon that holds an account's lock, in words; empty for none."""
    try:
        descriptor = os.open(lock_path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return ""  # nobody of ours has traded on it; what cannot be read cannot be locked: a start says so
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return os.pread(descriptor, 200, 0).decode(errors="replace").strip() or "an unknown process"
    finally:
        os.close(descriptor)
    return ""


def _lock_alone(descriptor: int) -> None:
    """Raises ``OSError`` while another process holds it; one that only looks who does, for a moment, is waited for."""
    for pause_s in _LOOKS_S:
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            time.sleep(pause_s)
    return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _fingerprint(identity: str) -> str:
    return hashlib.sha256(identity.encode()).hexdigest()[:16]


def sessions_in_use(run_dir: Path) -> dict[Path, str]:
    """Folders of the sessions that the user's accounts go on from, the newest and the one before, with the account.

    Raises ``DataError`` for a pointer that cannot be read.
    """
    found: dict[Path, str] = {}
    for pointer in sorted((run_dir / "accounts").glob("*.json")):
        try:
            content = json.loads(pointer.read_bytes())
            found.update({Path(path).resolve(): str(content["account"]) for path in content["sessions"]})
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"{pointer} cannot be read: {error}",
                expected="the sessions that an account goes on from",
                do="find out which account it is of; without it, nobody knows which session is needed",
            ) from error
    return found


def read_left(session: Path, currency: str) -> Left | None:
    """What a session left, from its journal's stream of orders; None when it had not even begun: its second record is
    what it goes on with, and before that nothing is done.

    Raises ``JournalError`` for a journal that is gone, or damaged anywhere behind the newest state it kept.
    """
    found = list_segments(session / "journal")
    segments, blank = without_blank(found["orders"])
    if not found["orders"] and without_blank(found["market"])[0]:
        raise _no_first(session / "journal")
    records, upto_seq, torn_bytes = _orders_since_kept(session / "journal", segments)
    if all(isinstance(record, SessionStarted) for record in records):
        return None
    recovery = Recovery(currency)
    recovery.take(records)
    last_ns = max(map(_time_of, records), default=0)
    names = tuple(info.path.name for info in blank)
    return Left(session.name, upto_seq, recovery.left(), torn_bytes, last_ns, names)


def _orders_since_kept(folder: Path, segments: list[SegmentInfo]) -> tuple[list[codec.Record], int, int]:
    """Records of the orders stream from the newest kept state on, the last record's number, bytes cut at the end.

    Those that come at the market's pace are left out, but for the very last record: it says how far the session came.
    """
    parts: list[list[bytes]] = []
    last = b""
    upto_seq, torn_bytes = -1, 0
    for info in reversed(segments):
        # The newest file may be one that was made ahead and holds nothing yet.
        found, scan, damaged_bytes = _read_segment(info, is_last=upto_seq < 0)
        torn_bytes += damaged_bytes
        if not last and scan.last_payload:
            last = scan.last_payload
            if not found or found[-1] is not last:
                parts.append([last])
        upto_seq = max(upto_seq, scan.last_seq)
        parts.append(found)
        if found and _tag(found[0]) in _KEPT_TAGS:
            break
    else:
        # What the session began with is in its first file.
        if segments and segments[0].number > 1:
            raise _no_first(folder)
    payloads = [payload for part in reversed(parts) for payload in part]
    return [_decode(folder, payload) for payload in payloads], upto_seq, torn_bytes


def _no_first(folder: Path) -> JournalError:
    return JournalError(
        f"{segment_name('orders', 1)} is missing in {folder}",
        expected="the file that the session's orders begin in",
        do="restore it from a copy",
    )


def _read_segment(info: SegmentInfo, *, is_last: bool) -> tuple[list[bytes], SegmentScan, int]:
    """Payloads from the segment's newest kept state on (all of them where it has none)."""
    scan = SegmentScan(info.path)
    found: list[bytes] = []
    for raw in scan.records(skip=_SKIPPED_TAGS):
        if raw.control:
            continue
        if _tag(raw.payload) in _KEPT_TAGS:
            found.clear()
        found.append(raw.payload)
    damage = scan.damage
    if damage is None:
        return found, scan, 0
    if damage.good_after is not None or not is_last:
        raise JournalError(
            f"{info.path} is damaged at offset {damage.offset}, after record {scan.last_seq}",
            expected="whole records up to its end",
        )
    return found, scan, damage.size


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
