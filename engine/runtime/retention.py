"""Recorded sessions that are old: which may go, kept as an archive where that is asked for, and how they go.

Owns what must stay: a session that runs, the one that its account goes on from and the one before, one that ended as
nobody knows.  A session goes whole, or its market stream does; what is left of the latter says so to readers.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tarfile
import time
from pathlib import Path
from typing import Any

import msgspec

from engine.durable import sync_folder, write_atomically
from engine.errors import DataError, JournalError
from engine.runtime.segment import END, PRUNED_FILE, SegmentScan, list_segments, parse_control, without_blank
from engine.runtime.session import HEADER_FILE, list_sessions, locked, running_process
from engine.runtime.succession import sessions_in_use

LEAVING = ".pruned-"
"""Before the name of a folder that is being removed: whatever ends that, it is no session any more."""
_BLOCK_BYTES = 1 << 20


class Old(msgspec.Struct):
    """A recorded session.  ``last_ns``: when its journal was written last, by the clock of the file system."""

    session: str
    path: Path
    last_ns: int
    size_bytes: int
    """What would be freed."""
    why_kept: str = ""
    """Empty: it may go."""
    archive: str = ""


class Rule(msgspec.Struct, frozen=True):
    """What is asked for.  ``force``: also sessions whose end is not clean.  ``market_only``: the stream of orders, by
    which an account goes on, stays."""

    before_ns: int
    force: bool = False
    market_only: bool = False


def survey(root: Path, run_dir: Path, rule: Rule) -> list[Old]:
    """Every session under ``root``, oldest first, and why it stays.  ``run_dir``: the user's run folder.

    Raises ``DataError`` where an account's pointer cannot be read: then nobody knows what that account goes on from.
    """
    used = sessions_in_use(run_dir)
    return [_judge(root / name, used, rule) for name in list_sessions(root)]


def prune(old: Old, rule: Rule, archive: Path | None) -> None:
    """Remove it, or its market stream.  With ``archive`` a compressed copy of the whole session is in that folder, read
    back and compared, before anything goes.

    Raises ``DataError`` where a copy cannot be made or nothing can be removed; ``SessionLocked`` where it runs by now.
    """
    with locked(old.path):
        try:
            if archive is not None:
                old.archive = str(_store(old.path, archive))
            if rule.market_only:
                _drop_market(old)
            else:
                gone = old.path.with_name(f"{LEAVING}{old.path.name}")
                old.path.rename(gone)
                shutil.rmtree(gone)
        except OSError as error:
            raise DataError(
                f"session {old.session} cannot be removed: {error.filename or old.path}: {error.strerror or error}",
                do="make the folder yours, or free some space where the archive goes",
            ) from error


def finish(root: Path) -> int:
    """Remove what an earlier removal was ended in; how many that were."""
    left = [path for path in root.glob(f"{LEAVING}*") if path.is_dir() and not path.is_symlink()]
    for path in left:
        shutil.rmtree(path, ignore_errors=True)
    return len(left)


def has_ended(session: Path) -> bool:
    """Whether the journal says that it was closed in order."""
    try:
        infos = without_blank(list_segments(session / "journal")["orders"])[0]
        if not infos:
            return False
        scan = SegmentScan(infos[-1].path)
        last = None
        for raw in scan.records():
            last = raw
        return last is not None and last.control and scan.damage is None and parse_control(last.payload)[0] == END
    except (JournalError, OSError, ValueError):
        return False


def _judge(path: Path, used: dict[Path, str], rule: Rule) -> Old:
    files = _market_files(path) if rule.market_only else [file for file in path.rglob("*") if file.is_file()]
    written = [*path.glob("journal/*.seg"), path / HEADER_FILE]
    old = Old(
        path.name,
        path,
        max(file.stat().st_mtime_ns for file in written),
        sum(file.stat().st_blocks * 512 for file in files),
    )
    process = running_process(path)
    account = "" if rule.market_only else used.get(path.resolve(), "")
    if process:
        old.why_kept = f"it runs (process {process})"
    elif path.is_symlink():
        old.why_kept = "it is a link"
    elif account:
        old.why_kept = f"account {account} goes on from it"
    elif old.last_ns >= rule.before_ns:
        old.why_kept = "it is younger"
    elif rule.market_only and not files:
        old.why_kept = "its market is gone already"
    elif not rule.force and not has_ended(path):
        old.why_kept = "its end is not clean (--force takes it)"
    return old


def _market_files(path: Path) -> list[Path]:
    return sorted(path.glob("journal/market-*.seg"))


def _drop_market(old: Old) -> None:
    """The note first: a reader must never take what is left for a whole journal."""
    files = _market_files(old.path)
    note: dict[str, Any] = {
        "stream": "market",
        "pruned": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "archive": old.archive,
    }
    marker = old.path / "journal" / PRUNED_FILE
    if not marker.exists():
        write_atomically(marker, json.dumps(note).encode() + b"\n")
    for file in files:
        file.unlink()


def _store(path: Path, folder: Path) -> Path:
    """``folder/<session>.tar.gz``, for its owner alone to read."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    target = folder / f"{path.name}.tar.gz"
    if target.exists():
        raise DataError(f"{target} exists already", do="look at it, and name another folder or move it away")
    making = target.with_suffix(".tmp")
    descriptor = os.open(making, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "w+b") as file:
            with tarfile.open(fileobj=file, mode="w:gz", compresslevel=6) as tar:
                tar.add(path, arcname=path.name)
            file.flush()
            os.fsync(file.fileno())
            file.seek(0)
            _compare(file, path)
        making.rename(target)
    except (OSError, DataError):
        making.unlink(missing_ok=True)
        raise
    sync_folder(folder)
    return target


def _compare(file: Any, path: Path) -> None:
    """Raises ``DataError`` unless the archive holds each file of the session, byte for byte."""
    wanted = {str(one.relative_to(path.parent)): one for one in path.rglob("*") if one.is_file()}
    with tarfile.open(fileobj=file, mode="r:gz") as tar:
        for member in tar:
            packed = tar.extractfile(member) if member.isfile() else None
            if packed is None:
                continue
            source = wanted.pop(member.name, None)
            if source is not None and _digest(packed) == _digest(source):
                continue
            raise DataError(f"{member.name} was not archived as it is", do="try again, when nothing writes there")
    if wanted:
        raise DataError(f"{min(wanted)} was not archived", do="try again, when nothing writes there")


def _digest(source: Any) -> str:
    digest = hashlib.sha256()
    with source.open("rb") if isinstance(source, Path) else source as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()
