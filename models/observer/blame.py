"""Which shadow was at work when the process died: a few bytes of shared memory that outlive it.

Owns the file.  A model that takes its process with it (the runtime crashes, memory runs out) is known by it at the next
start and is not opened again in that session.
"""

from __future__ import annotations

import mmap
import os
from pathlib import Path
from typing import Final

SIZE: Final = 128


class Blame:
    """``path`` is made where it is missing.  One process at a time."""

    def __init__(self, path: Path) -> None:
        """Raises ``OSError``."""
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.ftruncate(descriptor, SIZE)
            self._memory = mmap.mmap(descriptor, SIZE)
        finally:
            os.close(descriptor)

    @property
    def held(self) -> str:
        """Who was at work last and has not come back; empty for nobody."""
        return bytes(self._memory).rstrip(b"\0").decode(errors="replace")

    def take(self, version: str) -> None:
        """From now on what happens is that version's doing."""
        self._memory[:] = version.encode()[:SIZE].ljust(SIZE, b"\0")

    def release(self) -> None:
        self._memory[:] = bytes(SIZE)
