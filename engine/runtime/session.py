"""The folder of one session: its name, its lock, its header and where everything in it lies.

    var/sessions/<id>/  session.json  journal/  log/  summary.json  report.html  lock

Owns the folder and the header; what the journal holds is ``engine.runtime.journal``'s.
"""

from __future__ import annotations

import difflib
import fcntl
import hashlib
import json
import os
import re
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from engine.durable import write_atomically
from engine.errors import DataError, KestrelError, SessionLocked
from engine.events import SessionStarted
from engine.runtime import provenance
from engine.runtime.redaction import redactor

HEADER_VERSION = 1
HEADER_FILE = "session.json"
_ID = re.compile(r"^\d{8}T\d{6}-[0-9a-f]{4}$")


class SessionHeader(msgspec.Struct, frozen=True, kw_only=True):
    """``session.json``: what decided, complete enough to explain why a replay differs.  Holds no secret.

    Which model and features serve an instrument is decided when the venue defines it, and is in the journal
    (``engine.events.ModelAssigned``).
    """

    format_version: int
    session: str
    created: str
    created_ns: int
    mode: str
    config: dict[str, Any]
    config_hash: str
    """sha256 of ``config``; the journal's first record has it too."""
    code_hash: str
    git_commit: str
    libraries: dict[str, str]
    python: str
    platform: str
    processor: dict[str, Any]
    seed: int | None = None
    config_sections: dict[str, str] = {}
    """Section of ``config`` -> its sha256, so that a changed file can say where."""
    own_code: dict[str, str] = {}
    """File of the user's own strategies -> its sha256; ``code_hash`` is of ours alone."""
    approved: str = ""
    """When and by whom this build and configuration was approved (``engine.runtime.approval``); empty: not asked."""


def new_session_id(wall_ns: int) -> str:
    """``20261121T104530-7f3a``: UTC, so that names sort by time; 16 random bits for two starts in one second."""
    return f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime(wall_ns // 1_000_000_000))}-{secrets.token_hex(2)}"


def order_prefix(session: str) -> str:
    """What client order ids of a session begin with: ids are unique for ever because sessions are.

    ``engine.order_ids.session_of`` goes the other way.
    """
    return f"k{session}"


def config_digest(config: Mapping[str, Any]) -> str:
    """sha256 of the canonical JSON of a (redacted) configuration."""
    return hashlib.sha256(json.dumps(config, sort_keys=True, separators=(",", ":"), default=str).encode()).hexdigest()


def recorded_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """As a reader of the header gets it back, so that digests of both are of the same thing."""
    plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(redactor.leaves(dict(config))))
    return plain


def section_digests(config: Mapping[str, Any]) -> dict[str, str]:
    return {name: config_digest({name: value}) for name, value in config.items()}


class Session:
    """One session's folder.  ``create`` for the daemon (takes the lock), ``open`` for readers (takes none)."""

    def __init__(self, path: Path, header: SessionHeader, lock: int | None = None) -> None:
        self.path = path
        self.header = header
        self._lock = lock

    @property
    def id(self) -> str:
        return self.header.session

    @property
    def journal(self) -> Path:
        return self.path / "journal"

    @property
    def logs(self) -> Path:
        return self.path / "log"

    @classmethod
    def create(
        cls,
        root: Path,
        *,
        mode: str,
        config: Mapping[str, Any],
        wall_ns: int,
        code_root: Path,
        session: str = "",
        seed: int | None = None,
        own_code: Sequence[Path] = (),
        approved: str = "",
    ) -> Session:
        """Make ``root/<id>``, lock it and write its header.  ``mode`` is what runs (``paper``, ``live``).

        ``config`` has been redacted by its owner (``Settings.redacted``); texts that look like secrets are hidden here
        too.  ``code_root`` is the checkout, ``own_code`` the user's files.  An explicit ``session`` names the folder.
        Raises ``SessionLocked`` when another daemon holds it, ``DataError`` when it was used before or cannot be
        written.
        """
        name = session or new_session_id(wall_ns)
        if len(name.encode()) > 40 or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
            raise DataError(f"session id {name!r}", expected="at most 40 letters, digits, dots, dashes, underscores")
        path = root / name
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = _lock(path)
        except OSError as error:
            raise DataError(f"cannot write {path}: {error.strerror}", do="choose a folder that is yours") from error
        try:
            if (path / HEADER_FILE).exists():
                raise DataError(f"session {name} has already run", do="start without an id, or choose a new one")
            plain = recorded_config(config)
            header = SessionHeader(
                format_version=HEADER_VERSION,
                session=name,
                created=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(wall_ns // 1_000_000_000)),
                created_ns=wall_ns,
                mode=mode,
                config=plain,
                config_hash=config_digest(plain),
                config_sections=section_digests(plain),
                seed=seed,
                own_code=provenance.own_code(own_code),
                approved=approved,
                **provenance.describe(code_root),
            )
            for folder in ("journal", "log"):
                (path / folder).mkdir(mode=0o700, exist_ok=True)
            write_atomically(path / HEADER_FILE, msgspec.json.format(msgspec.json.encode(header), indent=2) + b"\n")
        except OSError as error:
            os.close(lock)
            raise DataError(f"cannot write {path}: {error.strerror}", do="free the disk or choose a folder") from error
        except KestrelError:
            os.close(lock)
            raise
        return cls(path, header, lock)

    @classmethod
    def open(cls, path: Path) -> Session:
        """A recorded session, running or not.  Raises ``DataError`` when the folder holds none or a newer format's."""
        file = path / HEADER_FILE
        try:
            data = file.read_bytes()
        except OSError as error:
            raise DataError(
                f"{path} holds no session ({file.name}: {error.strerror})", do="give a session's id or folder"
            ) from error
        try:
            version = msgspec.json.decode(data).get("format_version")
            if version != HEADER_VERSION:
                raise DataError(
                    f"{file} has header format version {version}",
                    expected=f"version {HEADER_VERSION}",
                    do="read it with the release that wrote it",
                )
            return cls(path, msgspec.json.decode(data, type=SessionHeader))
        except (msgspec.MsgspecError, AttributeError) as error:
            raise DataError(f"{file} is damaged: {error}", do="restore it from a copy") from error

    def check_config(self) -> None:
        """Raises ``DataError`` when the configuration in the header is not the one that it was written with."""
        header = self.header
        if config_digest(header.config) == header.config_hash:
            return
        now = section_digests(header.config)
        changed = [
            name
            for name in sorted({*now, *header.config_sections})
            if now.get(name) != header.config_sections.get(name)
        ]
        where = f" (in: {', '.join(changed)})" if changed and header.config_sections else ""
        raise DataError(
            f"the configuration in {self.path / HEADER_FILE} was changed after the session{where}",
            expected=f"one with sha256 {header.config_hash[:12]}..., not {config_digest(header.config)[:12]}...",
            do="restore the file; to ask what another setting would have done, use replay --set KEY=VALUE",
        )

    def check_started(self, started: SessionStarted) -> None:
        """Raises ``DataError`` when header and journal are not of the same session, configuration and code."""
        header = self.header
        for what, ours, recorded in (
            ("session", header.session, started.session),
            ("config_hash", header.config_hash, started.config_hash),
            ("code_hash", header.code_hash, started.code_hash),
        ):
            if ours != recorded:
                raise DataError(
                    f"{self.path / HEADER_FILE} has {what} {ours}, but the journal was begun with {recorded}",
                    expected="header and journal of one session",
                    do="restore session.json",
                )

    def close(self) -> None:
        """Let go of the lock.  Idempotent."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def _lock(path: Path) -> int:
    """The kernel drops an flock with its process, so a killed daemon leaves no stale lock."""
    descriptor = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        holder = _holder(descriptor)
        os.close(descriptor)
        raise SessionLocked(
            f"session folder {path} is held by process {holder}", do="stop that daemon or start another session"
        ) from error
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    return descriptor


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a session's folder as its daemon does.  Raises ``SessionLocked`` while one runs, ``DataError`` where that
    cannot be written."""
    try:
        lock = _lock(path)
    except OSError as error:
        raise DataError(f"cannot lock {path}: {error.strerror}", do="make the folder yours") from error
    try:
        yield
    finally:
        os.close(lock)


def running_process(path: Path) -> str:
    """Process id of the daemon that holds the session folder; empty when none does.  Does not take the lock."""
    try:
        descriptor = os.open(path / "lock", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _holder(descriptor)
    except OSError:
        return ""  # a file system without locks: no daemon could have started on it
    finally:
        os.close(descriptor)
    return ""


def _holder(descriptor: int) -> str:
    return os.pread(descriptor, 32, 0).decode(errors="replace").strip() or "unknown"


def list_sessions(root: Path) -> list[str]:
    """Ids under ``root`` that have a header, oldest first."""
    if not root.is_dir():
        return []
    found = [path.parent for path in root.glob("*/session.json") if not path.parent.name.startswith(".")]
    return [path.name for path in sorted(found, key=lambda path: (not _ID.match(path.name), path.name))]


def find_session(root: Path, wanted: str) -> Path:
    """The folder of a session given by id, unique beginning of an id, folder, or ``latest`` (newest by its header).

    Raises ``DataError`` that lists the nearest names.
    """
    as_path = Path(wanted)
    if (as_path / HEADER_FILE).is_file():
        return as_path
    names = list_sessions(root)
    if not names:
        raise DataError(f"no session under {root}", do="run one first: python run.py paper")
    if wanted == "latest":
        return root / _newest_first(root, names)[0]
    if wanted in names:
        return root / wanted
    starting = [name for name in names if wanted and name.startswith(wanted)]
    if len(starting) == 1:
        return root / starting[0]
    near = _newest_first(root, starting or _closest(wanted, names))
    problem = f"{len(starting)} sessions start with {wanted!r}" if starting else f"no session {wanted!r} under {root}"
    raise DataError(problem, expected=f"one of {', '.join(near[:5])}", do="or: latest, or a session's folder")


def _closest(wanted: str, names: list[str]) -> list[str]:
    """The five most like it, and all others that are as much like it as the last of them."""
    alike = {name: difflib.SequenceMatcher(None, wanted, name).ratio() for name in names}
    least = sorted(alike.values(), reverse=True)[:5][-1]
    return [name for name in names if alike[name] >= least]


def _newest_first(root: Path, names: list[str]) -> list[str]:
    return sorted(names, key=lambda name: (_created_ns(root / name), name), reverse=True)


def _created_ns(path: Path) -> int:
    try:
        return Session.open(path).header.created_ns
    except DataError:
        return -1
