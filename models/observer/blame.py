"""Which version was at work when the process died: a few bytes of shared memory that outlive it.

Owns that file and the list of those who died.  A model that takes its process with it (the runtime crashes, memory runs
out) is known by it at the next start, and is not opened again in that session.
"""

from __future__ import annotations

import contextlib
import mmap
import os
from pathlib import Path
from typing import Final

from engine.durable import write_atomically

SIZE: Final = 128
AT_WORK: Final = "at_work"
DIED: Final = "died"
DIED_MAX: Final = 256
"""Versions that are remembered: beyond, the oldest is tried again."""


class Blame:
    """``folder`` is there.  One process at a time."""

    def __init__(self, folder: Path) -> None:
        """Raises ``OSError``."""
        self._died = folder / DIED
        descriptor = os.open(folder / AT_WORK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(descriptor, 0, SIZE)  # a page that a full disk has no room for would kill us at a write
            self._memory = mmap.mmap(descriptor, SIZE)
        finally:
            os.close(descriptor)

    def died(self) -> list[str]:
        """All who were at work when a process of this session died, the last of them too."""
        known: list[str] = []
        with contextlib.suppress(OSError):
            known = self._died.read_text().splitlines()
        held = said(bytes(self._memory))
        if held and held not in known:
            known = [*known, held][-DIED_MAX:]
            with contextlib.suppress(OSError):  # a disk that refuses: it is known in this process at least
                write_atomically(self._died, "".join(f"{one}\n" for one in known).encode())
        self.release()
        return known

    def take(self, version: str) -> None:
        """From now on what happens is that version's doing."""
        self._memory[:] = version.encode()[:SIZE].ljust(SIZE, b"\0")

    def release(self) -> None:
        self._memory[:] = bytes(SIZE)


def said(content: bytes) -> str:
    """Who is named; empty for nobody."""
    return content.rstrip(b"\0").decode(errors="replace")


def at_work(folder: Path) -> str:
    """Who was at work when the process that wrote to ``folder`` ended; empty for nobody, or where nothing is known."""
    try:
        return said((folder / AT_WORK).read_bytes())
    except OSError:
        return ""
