"""Who changed a standing, when and why: one JSON line each, on disk before the change.

Owns the file.  Lines are chained by hash, so that one that was changed or taken out is noticed.  A line is a promise:
it counts once the standing has its ``sequence``; where a kill came between, the next change says so in a line.
"""

from __future__ import annotations

import errno
import os
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Final, Literal

import msgspec

from engine.durable import sync_folder
from engine.errors import BundleError
from models.hash_chain import BrokenChainError, add_line, link_to, read_chain
from models.registry.standing import Action

AUDIT: Final = "audit.jsonl"


class Line(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``forced``: what was found against the version and overridden.  ``action`` ``void``: the change of that sequence
    was begun and never made.  ``previous``: sha256 of the line before.  ``share``: of the size of entries, where a
    canary was made."""

    at: str
    who: str
    action: Action | Literal["void"]
    scope: str
    sequence: int
    version: str
    champion_before: str
    champion: str
    why: str
    forced: tuple[str, ...]
    previous: str
    share: Decimal = Decimal(0)


def append(root: Path, line: Line) -> None:
    """Writes and syncs; ``previous`` is filled in here.  The caller holds the registry's lock.

    Raises ``BundleError`` when the file cannot be written or was changed by hand.
    """
    path = root / AUDIT
    before = _content(path)
    raw = msgspec.json.encode(msgspec.structs.replace(line, previous=link_to(_read(path, before))))
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        try:
            add_line(descriptor, before, raw)
        finally:
            os.close(descriptor)
        sync_folder(root)
    except OSError as error:
        raise BundleError(
            f"{path} cannot be written: {error.strerror}; nothing was changed",
            do="make room" if error.errno == errno.ENOSPC else "",
        ) from None


def lines(root: Path) -> list[Line]:
    """All changes so far, oldest first.  Raises ``BundleError`` when one was changed or taken out."""
    path = root / AUDIT
    return [line for _, line in _read(path, _content(path))]


def stamp(now_ns: int) -> str:
    return datetime.fromtimestamp(now_ns // 1_000_000_000, UTC).isoformat()


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise BundleError(f"{path} cannot be read: {error.strerror}") from None


def _read(path: Path, content: bytes) -> list[tuple[bytes, Line]]:
    try:
        return read_chain(content, Line)
    except BrokenChainError as broken:
        if broken.why:
            raise BundleError(f"line {broken.number} of {path}: {broken.why}", do="bring the file back") from None
        raise BundleError(
            f"line {broken.number} of {path} does not follow the line before it",
            expected="a file that nobody changed",
            do="bring it back from a backup",
        ) from None
