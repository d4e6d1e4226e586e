"""Who changed a standing, when and why: one JSON line each, on disk before the change.

Owns the file.  Lines are chained by hash, so that one that was changed or taken out is noticed.  A line is a promise:
it counts once the standing has its ``sequence``; where a kill came between, the next change says so in a line.
"""

from __future__ import annotations

import hashlib
import os
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Final, Literal

import msgspec

from engine.durable import sync_folder
from engine.errors import BundleError
from models.registry.standing import Action

AUDIT: Final = "audit.jsonl"
_FIRST = "0" * 64


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
    pairs, torn = _read(path)
    previous = hashlib.sha256(pairs[-1][0]).hexdigest() if pairs else _FIRST
    raw = msgspec.json.encode(msgspec.structs.replace(line, previous=previous)) + b"\n"
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        try:
            # What a kill cut off stays, on a line of its own.
            text = (b"\n" if torn else b"") + raw
            if os.write(descriptor, text) != len(text):
                raise BundleError(f"{path} cannot be written: the disk is full", do="make room; nothing was changed")
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        sync_folder(root)
    except OSError as error:
        raise BundleError(f"{path} cannot be written: {error.strerror}; nothing was changed") from None


def lines(root: Path) -> list[Line]:
    """All changes so far, oldest first.  Raises ``BundleError`` when one was changed or taken out."""
    return [line for _, line in _read(root / AUDIT)[0]]


def stamp(now_ns: int) -> str:
    return datetime.fromtimestamp(now_ns // 1_000_000_000, UTC).isoformat()


def _read(path: Path) -> tuple[list[tuple[bytes, Line]], bool]:
    """Whole lines, raw and read; whether the file ends within one."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return [], False
    except OSError as error:
        raise BundleError(f"{path} cannot be read: {error.strerror}") from None
    pairs: list[tuple[bytes, Line]] = []
    for number, raw in enumerate(content.split(b"\n"), 1):
        if not raw:
            continue
        try:
            line = msgspec.json.decode(raw, type=Line)
        except msgspec.ValidationError as error:
            raise BundleError(f"line {number} of {path}: {error}", do="bring the file back") from None
        except msgspec.DecodeError:
            continue  # a kill cut it off: that change was not begun
        if line.previous != (hashlib.sha256(pairs[-1][0]).hexdigest() if pairs else _FIRST):
            raise BundleError(
                f"line {number} of {path} does not follow the line before it",
                expected="a file that nobody changed",
                do="bring it back from a backup",
            )
        pairs.append((raw, line))
    return pairs, bool(content) and not content.endswith(b"\n")
