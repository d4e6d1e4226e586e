"""Which folders of compiled kernels stay: those in use, and the few that were used last.

Each state of the kernel sources has its own folder of compiled code (``engine.features.jit``); nobody would ever remove
the old ones.  A process that uses a folder holds a shared lock in it, so that no other process takes it away; a folder
whose lock nobody holds may go.  Owns no compiling.  Nothing here can fail a start: what cannot be locked or removed
stays as it is.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from pathlib import Path

KEPT = 24
"""Folders kept beside those in use: several configurations, or a change of the sources and the way back."""
_LOCK = "in-use"
_held: dict[Path, int] = {}


def claim(folder: Path) -> None:
    """Mark a folder as used now and by this process, until it ends."""
    if folder in _held:
        return
    with contextlib.suppress(OSError):
        descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
            os.utime(folder / _LOCK)
        except OSError:
            os.close(descriptor)
            return
        _held[folder] = descriptor


def prune(root: Path, kept: int = KEPT) -> int:
    """Remove folders of compiled kernels under ``root`` beyond the ``kept`` ones used last; how many were removed.

    Those that a process uses stay, whatever their number.  Anything that does not look like one of ours is left alone.
    """
    try:
        folders = sorted((path for path in root.iterdir() if _is_ours(path)), key=_last_used, reverse=True)
    except OSError:
        return 0
    return sum(_remove(folder) for folder in folders[kept:])


def _is_ours(path: Path) -> bool:
    """Twenty hexadecimal digits, as ``jit.cache_folder`` makes them."""
    return len(path.name) == 20 and set(path.name) <= set("0123456789abcdef") and path.is_dir()


def _last_used(folder: Path) -> float:
    for path in (folder / _LOCK, folder):
        with contextlib.suppress(OSError):
            return path.stat().st_mtime
    return 0.0


def _remove(folder: Path) -> bool:
    """Take the folder away unless somebody holds its lock.

    It is renamed first: who looks for it finds all of it or nothing.  A process that is just about to lock it compiles
    again, at worst.
    """
    try:
        descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        going = folder.with_name(f".{folder.name}.{os.getpid()}")
        folder.rename(going)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    shutil.rmtree(going, ignore_errors=True)
    return True
