"""What is wrong with a catalogue's files, and out of the way with it: leftovers of killed writers, damaged parts.

Owns the folder ``set-aside/``: what is moved there is never read, and a ``.reason.txt`` beside it says why.  Nothing is
deleted; whoever has read the reason may delete it.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from engine.data.commits import Commit, CommitLog, State, make_folder
from engine.data.parts import Part, footer, row_footer
from engine.data.staging import STAGING, STAGING_LOCK
from engine.durable import sync_folder, write_atomically

SET_ASIDE: Final = "set-aside"
DAMAGED: Final = "its content is not what its checksum says"


class Problem(msgspec.Struct, frozen=True):
    """A file that is not data, or no longer, and what became of it."""

    file: str
    reason: str
    rows: int = 0
    """Rows that were visible before."""

    def line(self) -> str:
        return f"{self.file}: {self.reason}" + (f" ({self.rows:,} rows)" if self.rows else "")


def sweep(root: Path, log: CommitLog, state: State) -> list[Problem]:
    """Set aside what is no data: to be called with the catalogue's lock held.  ``state`` follows.

    Looks at names and sizes, not at content: quick enough for every opening.
    """
    problems = [*_leftovers(root), *_strays(root, state)]
    lost = [(part, reason) for part in state.parts.values() if (reason := lacks(part))]
    problems += put_away(root, log, state, lost)
    return problems


def _leftovers(root: Path) -> Iterator[Problem]:
    """Staging folders whose writer is gone: the kernel dropped its lock."""
    for folder in sorted((root / STAGING).glob("*")):
        if not folder.is_dir():
            continue
        try:
            descriptor = os.open(folder / STAGING_LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError:
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            continue  # at work
        finally:
            os.close(descriptor)
        name = f"{STAGING}/{folder.name}"
        reason = "half written: its process ended before it was published; import the source again"
        if any(path.suffix == ".parquet" for path in folder.iterdir()):
            _move(root, folder, reason)
            yield Problem(name, reason)
        else:
            with contextlib.suppress(OSError):
                (folder / STAGING_LOCK).unlink()
                folder.rmdir()


def _strays(root: Path, state: State) -> Iterator[Problem]:
    """Parquet files in place that no commit names."""
    for venue in sorted(root.glob("venue=*")):
        for folder, _, names in os.walk(venue):
            for name in sorted(names):
                path = Path(folder, name)
                file = str(path.relative_to(root))
                if name.endswith(".parquet") and file not in state.parts:
                    reason = "no commit names it: its process ended before it was published, or it was replaced"
                    _move(root, path, reason)
                    yield Problem(file, reason)


def lacks(part: Part) -> str:
    """Why a part's file cannot be what was written, by its size alone; empty when it can."""
    try:
        size = part.path.stat().st_size
    except FileNotFoundError:
        return "it is missing"
    except OSError as error:
        return f"it cannot be read: {error.strerror}"
    return "" if size == part.bytes else f"it has {size:,} bytes where {part.bytes:,} were written"


def damage(part: Part) -> str:
    """Why a part's file is not what was written, content and all; empty when it is."""
    reason = lacks(part)
    if reason:
        return reason
    try:
        with part.path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if digest != part.sha256:
            return DAMAGED
        with pq.ParquetFile(part.path) as parquet:
            return _differs(part, parquet)
    except (OSError, pa.ArrowException) as error:
        return f"it cannot be read: {str(error).splitlines()[0][:160]}"


def _differs(part: Part, parquet: Any) -> str:
    """Why a whole file is not the one that the log names (it was put in another's place); empty when it is."""
    if parquet.metadata.num_rows != part.rows:
        return f"it has {parquet.metadata.num_rows:,} rows where the log has {part.rows:,}"
    raw = parquet.metadata.metadata or {}
    said = {key.decode("utf-8", "replace"): value.decode("utf-8", "replace") for key, value in raw.items()}
    expected = footer(part.series, part.source, part.schema_version) | row_footer(part)
    odd = next((key for key, value in expected.items() if said.get(key) != value), "")
    return f"its footer has {odd} {said.get(odd)!r} where the log has {expected[odd]!r}" if odd else ""


def put_away(root: Path, log: CommitLog, state: State, lost: list[tuple[Part, str]]) -> list[Problem]:
    """Make parts invisible, then move their files; to be called with the lock held.

    In this order: killed in between, they are strays, which the next opening moves.
    """
    if not lost:
        return []
    removed = tuple(part.file for part, _ in lost)
    log.append(Commit(number=state.number + 1, removed=removed), state)
    for part, reason in lost:
        if part.path.exists():
            _move(root, part.path, reason)
    return [Problem(part.file, reason, part.rows) for part, reason in lost]


def _move(root: Path, path: Path, reason: str) -> None:
    target = root / SET_ASIDE / path.relative_to(root)
    make_folder(target.parent)
    free = target
    count = 0
    while free.exists():
        count += 1
        free = target.with_name(f"{target.name}.{count}")
    write_atomically(free.with_name(f"{free.name}.reason.txt"), f"{path.relative_to(root)}: {reason}\n".encode(), 0o644)
    os.rename(path, free)
    sync_folder(free.parent)
    sync_folder(path.parent)
