"""The files that a session was started with, and whether they are still what was read.

Owns the comparison, for ``status``.  Nothing is read again while a session runs: what runs is what was read at the
start, and a file that was changed since takes part at the next start.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path


class FilesRead:
    """``digests``: sha256 (hex) of each file as it was read, by path."""

    def __init__(self, digests: Mapping[str, str]) -> None:
        self._digests = dict(digests)
        self._seen: dict[str, tuple[tuple[int, int, int], bool]] = {}

    def changed(self) -> list[str]:
        """Paths whose content is not what was read, or that are gone.  Only a file that was touched is read again."""
        return [path for path, digest in self._digests.items() if self._differs(path, digest)]

    def _differs(self, path: str, digest: str) -> bool:
        try:
            found = os.stat(path)
            stamp = (found.st_ino, found.st_size, found.st_mtime_ns)
            known = self._seen.get(path)
            if known is None or known[0] != stamp:
                known = (stamp, hashlib.sha256(Path(path).read_bytes()).hexdigest() != digest)
                self._seen[path] = known
        except OSError:
            return True
        return known[1]
