"""What is known of challengers outlives the process and the session that found it: files beside the registry.

Owns those files, one for each pair of versions and role, in a folder for what the evidence is about.  One process at a
time keeps it; what another session on the same instruments finds meanwhile is its own.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec

from engine.durable import write_atomically
from models.observer.paired import Paired

FOLDER: Final = "evidence"
"""In the registry."""
STALE_NS: Final = 30 * 86_400 * 10**9
"""Evidence that nothing was added to for so long is of another market."""
_FORM: Final = 4
"""Of 1, losses beyond the bound are not known; in 2, the silence of a model that was stopped is in what it won;
of 3, neither its days nor whether spans go together are known."""
_LOCK: Final = ".lock"

Key = tuple[str, str, str]
"""Champion, challenger, and its role."""


class Kept(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``about``: feed, instruments and spans.  ``session`` has counted it up to its record number ``records``, which
    came at ``upto_ns``.  ``verdict``: what was made of it, in a line."""

    form: int
    about: str
    champion: str
    challenger: str
    role: str
    session: str
    records: int
    upto_ns: int
    paired: Paired
    verdict: str = ""

    @property
    def key(self) -> Key:
        return self.champion, self.challenger, self.role


class EvidenceStore:
    """Of one session.  ``about`` says what its evidence is of; ``registry`` is the folder.

    ``is_held``: whether this process keeps the files; where another one does, that is tried again (``hold``).
    """

    def __init__(self, registry: Path, about: str, session: str) -> None:
        self._about = about
        self._session = session
        self.folder = registry / FOLDER / hashlib.sha256(about.encode()).hexdigest()[:16]
        self._lock = -1
        self.trouble = ""
        """Why nothing is kept; empty where it is."""

    @property
    def is_held(self) -> bool:
        return self._lock >= 0

    def hold(self) -> bool:
        """Take the files, if nobody else has them; True when that was done just now."""
        if self.is_held:
            return False
        descriptor = -1
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if descriptor >= 0:
                os.close(descriptor)
            taken = isinstance(error, BlockingIOError)
            why = "another session on these instruments keeps it" if taken else str(error.strerror)
            self.trouble = f"evidence is not kept in {self.folder}: {why}"
            return False
        self._lock, self.trouble = descriptor, ""
        return True

    def drop_stale(self, now_ns: int, stands: Callable[[Key], bool]) -> None:
        """Files that are too old, cannot be read, or are of who has another standing by now; of other instruments and
        spans those that are too old."""
        for path in sorted(self.folder.parent.glob("*/*.json")):
            kept = _read(path)
            is_own = path.parent == self.folder
            if is_own and (kept is None or kept.about != self._about or not stands(kept.key)):
                is_over = True
            else:
                is_over = kept is not None and now_ns - kept.upto_ns > STALE_NS
            if is_over:
                with contextlib.suppress(OSError):
                    path.unlink()

    def load(self, key: Key) -> tuple[Paired, int, int] | None:
        """What is known of a pair, the record of this session up to which it was counted (0: another session did), and
        the receive time of the last record that is in it."""
        if not self.is_held:
            return None
        kept = self._read(self._file(key))
        if kept is None or kept.key != key:
            return None
        return kept.paired, kept.records if kept.session == self._session else 0, kept.upto_ns

    def save(self, key: Key, paired: Paired, records: int, upto_ns: int, verdict: str = "") -> None:
        """Whole or not at all; a disk that refuses is told (``trouble``), and tried again at the next time."""
        if not self.is_held:
            return
        kept = Kept(_FORM, self._about, *key, self._session, records, upto_ns, paired, verdict)
        try:
            write_atomically(self._file(key), msgspec.json.encode(kept))
            self.trouble = ""
        except OSError as error:
            self.trouble = f"evidence cannot be kept in {self.folder}: {error.strerror}"

    def forget(self, key: Key) -> None:
        if self.is_held:
            with contextlib.suppress(OSError):
                self._file(key).unlink(missing_ok=True)

    def close(self) -> None:
        """Others may keep it from now on.  Idempotent."""
        if self.is_held:
            os.close(self._lock)
            self._lock = -1

    def _file(self, key: Key) -> Path:
        return self.folder / f"{hashlib.sha256('|'.join(key).encode()).hexdigest()[:16]}.json"

    def _read(self, path: Path) -> Kept | None:
        """None for what is not there, or is not of ours."""
        kept = _read(path)
        return None if kept is None or kept.about != self._about else kept


def verdicts_of(registry: Path, version: str, role: str = "") -> list[dict[str, Any]]:
    """What sessions on a live market have made of a challenger (in any role, unless one is named), the newest first."""
    read = [_read(path) for path in (registry / FOLDER).glob("*/*.json")]
    found = [one for one in read if one is not None and one.challenger == version and role in ("", one.role)]
    return [
        {"role": one.role, "champion": one.champion, "about": one.about, "at_ns": one.upto_ns, "verdict": one.verdict}
        for one in sorted(found, key=lambda kept: -kept.upto_ns)
    ]


def _read(path: Path) -> Kept | None:
    try:
        kept = msgspec.json.decode(path.read_bytes(), type=Kept)
    except (OSError, msgspec.MsgspecError):
        return None
    is_ours = kept.form == _FORM and kept.paired.span_ns > 0 and kept.paired.profit_max_bps > 0.0
    return kept if is_ours else None
