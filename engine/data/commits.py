"""Which parts of a catalogue exist: a log of commits, each one file that appears at once or not at all.

Owns the folder ``log/``, the lock and the meaning of a commit.  A part is visible if and only if the log says so; a
Parquet file that no commit names is no data.  Parts and marks (how far a recorded session is in) of one commit appear
together, which is what makes an import whole and a compaction exact.

``log/00000042.json`` is one commit: a line of JSON, a line with the sha256 of it.  After ``FOLD_AFTER`` of them their
sum is written as ``log/00000042.sum.json`` and they are removed.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from engine.data.parts import Part
from engine.durable import sync_folder, write_atomically
from engine.errors import DataError

FORMAT_VERSION: Final = 1
FORMAT_FILE: Final = "catalogue.json"
LOG: Final = "log"
LOCK: Final = "lock"
FOLD_AFTER: Final = 256
"""Opening reads the whole log: a few hundred small files take milliseconds."""
_TRIES: Final = 20
_NAME: Final = re.compile(r"^(\d{8,})(\.sum)?\.json$")


class Commit(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One change of what is visible.  ``removed`` are files; ``marks`` replace those of the same name."""

    number: int
    added: tuple[Part, ...] = ()
    removed: tuple[str, ...] = ()
    marks: dict[str, int] = {}


class State(msgspec.Struct):
    """The sum of all commits up to ``number`` (0: none yet)."""

    number: int = 0
    parts: dict[str, Part] = {}
    marks: dict[str, int] = {}

    def apply(self, commit: Commit) -> None:
        for file in commit.removed:
            self.parts.pop(file, None)
        for part in commit.added:
            self.parts[part.file] = part
        self.marks.update(commit.marks)
        self.number = commit.number


class CommitLog:
    """The log below ``root``.  Reading takes no lock; ``append`` is to be called with ``locked`` held."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._folder = root / LOG

    def load(self) -> State:
        """What is visible now.  Raises ``DataError`` for a log that is damaged or of a later release."""
        self._check_format()
        for _ in range(_TRIES):
            try:
                return self._load()
            except FileNotFoundError:
                continue  # folded between the listing and the reading: the sum is there now
        raise DataError(f"{self._folder} changes while it is read", do="try again")

    def _load(self) -> State:
        sums: list[int] = []
        commits: list[int] = []
        with contextlib.suppress(FileNotFoundError):
            for name in os.listdir(self._folder):
                if match := _NAME.match(name):
                    (sums if match[2] else commits).append(int(match[1]))
        state = State(parts={}, marks={})
        if sums:
            state.apply(self._read(sum_name(max(sums))))
        for number in sorted(number for number in commits if number > state.number):
            if number != state.number + 1:
                raise DataError(
                    f"{commit_name(state.number + 1)} is missing in {self._folder}",
                    expected=f"every commit up to {number}",
                    do="restore it from a copy",
                )
            state.apply(self._read(commit_name(number)))
        state.parts = {file: msgspec.structs.replace(part, root=str(self._root)) for file, part in state.parts.items()}
        return state

    def _read(self, name: str) -> Commit:
        path = self._folder / name
        payload, _, digest = path.read_bytes().partition(b"\n")
        if hashlib.sha256(payload).hexdigest() != digest.decode("ascii", "replace").strip():
            raise DataError(
                f"{path} is damaged: it is not what its checksum says",
                expected="the file as it was written",
                do="restore it from a copy; the data files themselves are not touched",
            )
        try:
            return msgspec.json.decode(payload, type=Commit)
        except msgspec.MsgspecError as error:
            raise DataError(f"{path} is no commit of this release: {error}", do="read it with a later one") from error

    def append(self, commit: Commit, state: State) -> None:
        """Make a commit visible and safe on disk.  Whatever this raises, ``has`` says whether it is visible.

        ``state`` is what the caller loaded under the same lock; it takes the commit in.
        """
        self._publish(commit_name(commit.number), commit)
        state.apply(commit)
        if commit.number % FOLD_AFTER == 0:
            with contextlib.suppress(OSError):  # the log is as good without
                self._fold(state)

    def has(self, number: int) -> bool:
        """Whether commit ``number`` is visible."""
        return any((self._folder / name).exists() for name in (commit_name(number), sum_name(number)))

    def _publish(self, name: str, commit: Commit) -> None:
        payload = msgspec.json.encode(commit)
        write_atomically(
            self._folder / name, payload + b"\n" + hashlib.sha256(payload).hexdigest().encode() + b"\n", 0o644
        )

    def _fold(self, state: State) -> None:
        parts = tuple(msgspec.structs.replace(part, root="") for part in state.parts.values())
        whole = Commit(number=state.number, added=parts, marks=state.marks)
        self._publish(sum_name(state.number), whole)
        for name in os.listdir(self._folder):
            match = _NAME.match(name)
            if match and (int(match[1]), bool(match[2])) < (state.number, True):
                os.unlink(self._folder / name)

    def begin(self) -> None:
        """Make the folder a catalogue, where it is none yet; with the lock held."""
        make_folder(self._folder)
        if not (self._root / FORMAT_FILE).exists():
            write_atomically(self._root / FORMAT_FILE, msgspec.json.encode({"format": FORMAT_VERSION}) + b"\n", 0o644)

    def _check_format(self) -> None:
        """Raises ``DataError`` when the folder holds something else than a catalogue that this release reads."""
        path = self._root / FORMAT_FILE
        try:
            version = msgspec.json.decode(path.read_bytes())["format"]
        except (FileNotFoundError, NotADirectoryError):
            strange = _strange(self._root)
            if strange and not path.exists():  # not even now: another process may be beginning it
                raise DataError(
                    f"{self._root} is no catalogue: it holds {strange} and no {FORMAT_FILE}",
                    expected="a catalogue, or an empty or new folder",
                    do="name another folder",
                ) from None
            return
        except (OSError, msgspec.MsgspecError, KeyError, TypeError) as error:
            raise DataError(f"{path} cannot be read: {error}", do="restore it from a copy") from error
        if version != FORMAT_VERSION:
            raise DataError(
                f"{self._root} is a catalogue of format {version}",
                expected=f"format {FORMAT_VERSION}",
                do="read it with the release that wrote it",
            )


def _strange(root: Path) -> str:
    """Name of something in ``root`` that no catalogue begun here would have; empty when there is none."""
    try:
        names = os.listdir(root)
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise DataError(f"{root} cannot be read: {error.strerror}", expected="a folder") from error
    return next((name for name in sorted(names) if name not in (LOCK, LOG) and not name.startswith(".")), "")


def commit_name(number: int) -> str:
    return f"{number:08d}.json"


def sum_name(number: int) -> str:
    return f"{number:08d}.sum.json"


# --- files that appear at once ------------------------------------------------------------------------------------


@contextlib.contextmanager
def locked(root: Path, *, wait: bool = True) -> Iterator[bool]:
    """Hold the catalogue's lock: one process at a time changes what is visible, for milliseconds.

    Yields False when ``wait`` is False and another process holds it, or nobody may write here.  Raises ``DataError``
    when ``wait`` is True and the folder cannot be written.
    """
    try:
        if wait:
            make_folder(root)
        descriptor = os.open(root / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        if not wait:
            yield False
            return
        raise DataError(f"cannot write {root}: {error.strerror}", do="choose a folder that is yours") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:
        os.close(descriptor)
        yield False
        return
    try:
        yield True
    finally:
        os.close(descriptor)  # the kernel drops the lock with it, also when the process is killed


def make_folder(folder: Path) -> None:
    """``mkdir -p`` whose names outlive a power cut."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    with contextlib.suppress(FileExistsError):
        folder.mkdir()
    sync_folder(folder.parent)
