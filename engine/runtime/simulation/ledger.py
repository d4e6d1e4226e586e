"""Every seed that ran, a line each: what a sweep of days goes on from, and what its page is made of.

Owns the file.  Each line names the code that ran, so that results of different code are told apart; a line that was
being written when the machine went is cut off.
"""

from __future__ import annotations

import fcntl
import os
import platform
from pathlib import Path
from typing import Any

import msgspec

from engine.errors import DataError, KestrelError
from engine.runtime.provenance import git_commit, hash_files, processor
from engine.runtime.simulation.workers import Ran

SIMULATED = ("config", "connectors", "engine", "risk", "strategies")
"""Whose sources decide what a seed does."""


class Version(msgspec.Struct, frozen=True):
    """What ran: the hash of the simulated sources, the commit (``+``: changed since), the machine."""

    code: str
    commit: str
    machine: str


class Entry(msgspec.Struct, frozen=True):
    """A line.  ``hours`` of faults were asked for."""

    version: Version
    hours: float
    ran: Ran


def version_of(root: Path) -> Version:
    """Of the checkout at ``root``, on this machine."""
    files = [path for folder in SIMULATED for path in (root / folder).rglob("*.py")]
    machine = f"{processor()['model']}, {os.cpu_count()} cores, Python {platform.python_version()}"
    return Version(hash_files(root, files), git_commit(root), machine)


class Ledger:
    """Use as a context manager; held alone.

    Raises ``KestrelError`` when another sweep holds it and ``DataError`` for a line that is none.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.entries: list[Entry] = []

    def __enter__(self) -> Ledger:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self.path.open("a+b")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._file.close()
            raise KestrelError(
                f"another sweep writes {self.path}",
                expected="one at a time",
                do="wait for it, or name another --ledger",
            ) from None
        try:
            self._read()
        except BaseException:
            self._file.close()
            raise
        return self

    def __exit__(self, *_: Any) -> None:
        self._file.close()

    def add(self, entry: Entry) -> None:
        """On the disk when this returns."""
        self._file.write(msgspec.json.encode(entry) + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())
        self.entries.append(entry)

    def seeds(self, hours: float, version: Version | None) -> set[int]:
        """Which were run, each for so long, by this code (None: by any)."""
        return {
            entry.ran.outcome.seed
            for entry in self.entries
            if entry.hours == hours and (version is None or entry.version.code == version.code)
        }

    def _read(self) -> None:
        self._file.seek(0)
        data = self._file.read()
        whole = data.rfind(b"\n") + 1
        if whole < len(data):
            self._file.truncate(whole)
        decode = msgspec.json.Decoder(Entry).decode
        for number, line in enumerate(data[:whole].splitlines(), 1):
            try:
                self.entries.append(decode(line))
            except msgspec.DecodeError as error:
                raise DataError(
                    f"{self.path}, line {number}: {error}", expected="a seed that ran", do="move the file away"
                ) from None
