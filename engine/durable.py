"""Files that outlive a power cut whole."""

from __future__ import annotations

import errno
import os
from pathlib import Path


def write_atomically(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Whoever reads ``path`` sees all of the old content (or nothing) or all of ``data``, also after a power cut."""
    making = path.with_name(f".{path.name}.tmp")
    descriptor = os.open(making, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(making, path)
    except OSError:
        making.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def append_synced(path: Path, line: bytes) -> None:
    """``line`` is at the end of the file, which is made where there is none, and on the disk when this returns.

    Raises ``OSError``, also where only a part of it found room.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
    try:
        if os.write(descriptor, line) != len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(folder: Path) -> None:
    """Names that were made, moved or removed in ``folder`` outlive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
