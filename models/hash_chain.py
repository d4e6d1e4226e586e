"""Files of JSON lines that are chained by hash: each line holds the sha256 of the one before.

Owns how such a file is read and how a line is added.  What a line says, who locks the file and which error a user sees
belongs to the files: ``models.registry.audit``, ``models.evaluation.ledger``.
"""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Sequence
from typing import Final, Protocol, TypeVar

import msgspec

_FIRST: Final = "0" * 64


class Chained(Protocol):
    @property
    def previous(self) -> str:
        """sha256 of the line before, in hexadecimal; zeros in the first."""
        ...


LineT = TypeVar("LineT", bound=Chained)


class BrokenChainError(Exception):
    """A line was changed or taken out.  ``number``: from 1, pieces included; ``why`` is empty where it does not follow
    the line before it."""

    def __init__(self, number: int, why: str = "") -> None:
        super().__init__(number, why)
        self.number, self.why = number, why


def read_chain(content: bytes, kind: type[LineT]) -> list[tuple[bytes, LineT]]:
    """Whole lines, raw and read, oldest first.  A piece that a kill cut off is no line: what it was to say never
    counted.

    Raises ``BrokenChainError``.
    """
    pairs: list[tuple[bytes, LineT]] = []
    for number, raw in enumerate(content.split(b"\n"), 1):
        if not raw:
            continue
        try:
            line = msgspec.json.decode(raw, type=kind)
        except msgspec.ValidationError as error:
            raise BrokenChainError(number, str(error)) from None
        except msgspec.DecodeError:
            continue
        if line.previous != link_to(pairs):
            raise BrokenChainError(number)
        pairs.append((raw, line))
    return pairs


def link_to(pairs: Sequence[tuple[bytes, object]]) -> str:
    """What the next line says of the last of these."""
    return hashlib.sha256(pairs[-1][0]).hexdigest() if pairs else _FIRST


def add_line(descriptor: int, before: bytes, raw: bytes) -> None:
    """Writes and syncs one line at the end of a file that is open to append and holds ``before``; a piece that a kill
    cut off stays as it is, on a line of its own.  The folder is the caller's to sync.

    Raises ``OSError``, also where only a part found room.
    """
    text = (b"\n" if before and not before.endswith(b"\n") else b"") + raw + b"\n"
    if os.write(descriptor, text) != len(text):
        raise OSError(errno.ENOSPC, "the disk is full")
    os.fsync(descriptor)
