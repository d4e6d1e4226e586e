"""The ledger of opened test sets: one JSON line each, on disk before anything is computed.

Owns the file and the one type that unlocks test rows.  ``Opening`` comes from ``Ledger.open`` alone, which returns
after its line is synced; ``Sealed`` gives its content only against an opening of exactly its rows, and looks the line
up in the file again.  Lines are chained by hash: one that was changed or taken out is noticed.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Generic, TypeVar

import msgspec

from engine.durable import sync_folder
from engine.errors import DataError
from models.hash_chain import BrokenChainError, add_line, link_to, read_chain

_T = TypeVar("_T")
_ONLY_HERE: Final = object()


class TestSet(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which rows a test is made of.  ``fingerprint``: sha256 of instruments and times: of rows, not of results."""

    __test__ = False  # no test of pytest's

    label: str
    fingerprint: str
    rows: int
    first_ns: int
    last_ns: int
    instruments: tuple[str, ...]

    def shares_rows_with(self, other: TestSet) -> bool:
        """The same rows, or rows of a common instrument in a common span for the same label."""
        if self.fingerprint == other.fingerprint:
            return True
        apart = self.last_ns < other.first_ns or other.last_ns < self.first_ns
        return self.label == other.label and not apart and bool(set(self.instruments) & set(other.instruments))


class Line(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One opening.  ``at``: ISO 8601 UTC; ``previous``: sha256 of the line before."""

    at: str
    run: str
    commit: str
    config_sha256: str
    data_fingerprint: str
    test: TestSet
    previous: str

    def counts_against(self, later: Line) -> bool:
        """Whether ``later`` sees rows that this opening has shown.  Another forecast of the very same run does not:
        both were finished before the first of them was judged."""
        made_by, made_later = (
            (one.commit, one.config_sha256, one.data_fingerprint, one.test.fingerprint) for one in (self, later)
        )
        is_sibling = made_by == made_later and self.test.label != later.test.label
        return self.test.shares_rows_with(later.test) and not is_sibling


class Opening:
    """That a test was opened: its line, and the earlier openings that count against it (none: this is the first)."""

    __slots__ = ("_path", "earlier", "line", "raw")

    def __init__(self, key: object, path: Path, raw: bytes, earlier: Sequence[Line]) -> None:
        if key is not _ONLY_HERE:
            raise TypeError("an Opening comes from Ledger.open only")
        self._path, self.raw, self.earlier = path, raw, tuple(earlier)
        self.line = msgspec.json.decode(raw, type=Line)

    @property
    def reused(self) -> bool:
        return bool(self.earlier)

    def check(self, fingerprint: str) -> None:
        """Raises ``DataError`` unless this opening is of ``fingerprint`` and its line stands in the ledger."""
        if self.line.test.fingerprint != fingerprint:
            raise DataError(
                f"the test that was opened has fingerprint {self.line.test.fingerprint[:12]}, these rows have "
                f"{fingerprint[:12]}",
                do="open the test of this run",
            )
        if self.raw not in _read(self._path).split(b"\n"):
            raise DataError(f"{self._path} lost the line of this opening", do="bring the ledger back, open it again")


class Sealed(Generic[_T]):
    """Test rows, or how to get them; nothing of them before they were opened."""

    __slots__ = ("_load", "fingerprint")

    def __init__(self, fingerprint: str, load: Callable[[], _T]) -> None:
        self.fingerprint, self._load = fingerprint, load

    def open(self, opening: Opening) -> _T:
        """Raises ``DataError`` when ``opening`` is of other rows or no longer on record."""
        opening.check(self.fingerprint)
        return self._load()

    def __repr__(self) -> str:
        return f"Sealed({self.fingerprint[:12]})"


class Ledger:
    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)

    def open(
        self, test: TestSet, *, run: str, commit: str, config_sha256: str, data_fingerprint: str, now_ns: int
    ) -> Opening:
        """Write the line, sync it, and only then give the opening.  Two processes at once take turns.

        Raises ``DataError`` when the ledger cannot be written or was changed by hand.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise DataError(f"the ledger {self.path} cannot be written: {error.strerror}") from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            before = _read(self.path)
            lines = _whole_lines(self.path, before)
            at = datetime.fromtimestamp(now_ns // 1_000_000_000, UTC).isoformat()
            line = Line(at, run, commit, config_sha256, data_fingerprint, test, link_to(lines))
            raw = msgspec.json.encode(line)
            add_line(descriptor, before, raw)
            sync_folder(self.path.parent)
        except OSError as error:
            full = error.errno == errno.ENOSPC
            raise DataError(
                f"the ledger {self.path} cannot be written: {error.strerror}", do="make room" if full else ""
            ) from None
        finally:
            os.close(descriptor)
        return Opening(_ONLY_HERE, self.path, raw, [one for _, one in lines if one.counts_against(line)])

    def lines(self) -> list[Line]:
        """All openings so far, oldest first.  Raises ``DataError`` when one was changed or taken out."""
        return [line for _, line in _whole_lines(self.path, _read(self.path))]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise DataError(f"the ledger {path} cannot be read: {error.strerror}") from None


def _whole_lines(path: Path, content: bytes) -> list[tuple[bytes, Line]]:
    """Lines that can be read.  A piece that a kill cut off is no line: its opening was never given to anybody."""
    try:
        return read_chain(content, Line)
    except BrokenChainError as broken:
        if broken.why:
            said = f"line {broken.number} of the ledger {path}: {broken.why}"
            raise DataError(said, do="bring the ledger back") from None
        raise DataError(
            f"line {broken.number} of the ledger {path} does not follow the line before it",
            expected="a ledger that nobody changed",
            do="bring the ledger back from version control",
        ) from None
