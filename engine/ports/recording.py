"""What is kept of a session: records, and how long the stages of a tick took."""

from __future__ import annotations

from typing import Protocol

from engine.codec import Record


class Recorder(Protocol):
    """Gives a derived record the next ``seq`` and makes it outlive the process before it returns."""

    def record(self, record: Record) -> int: ...


class Journal(Protocol):
    """Append-only storage.  ``append`` returns when the bytes are in mapped memory."""

    def append(self, seq: int, record: Record) -> None:
        """Raises ``JournalError`` when the record cannot be stored."""
        ...

    def close(self) -> None: ...


class Probe(Protocol):
    """Stage timing of one tick; the null probe does nothing (replay, tests)."""

    def begin(self, ts_recv_ns: int) -> None: ...

    def mark(self, stage: int) -> None: ...

    def end(self) -> None:
        """The event and its commands are done: off the path, work out what the marks mean."""
        ...


STAGES = ("decode", "journal", "book", "features", "model", "strategy", "risk", "order", "write")
"""Names of the probe's stages, in path order; ``mark(i)`` ends stage ``i``."""
