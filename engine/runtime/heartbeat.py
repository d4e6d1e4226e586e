"""A daemon's heartbeat in shared memory: written on each of its timers, read by the watchdog.

Owns the layout of the file: 64-bit words of this machine, each with one writer, so that nobody ever waits for anybody.
The daemon's words tell that it lives and in what state it is; the watchdog's tell that it watches, and whether orders
may still leave (``latch``).  What is done about a heart that stops is ``engine.runtime.watchdog``'s.
"""

from __future__ import annotations

import enum
import mmap
import os
import time
from pathlib import Path
from typing import Final, NamedTuple

from engine.commands import RiskState
from engine.errors import KestrelError

FILE: Final = "heartbeat"
SIZE_BYTES: Final = 4096
_MAGIC: Final = 0x31545245424B  # "KBERT1": another layout is another number
_MAGIC_AT, _BEATS, _BEAT_NS, _PHASE, _RISK, _OPEN = range(6)
_WATCH_NS, _LATCH = 16, 17  # another cache line
_STATES: Final = (RiskState.ACTIVE, RiskState.REDUCING, RiskState.HALTED)
_INDEX: Final = {state: index for index, state in enumerate(_STATES)}


class Phase(enum.IntEnum):
    """Where in its life a session is."""

    STARTING = 0
    TRADING = 1
    ENDING = 2
    ENDED = 3
    """In order; what is open now stays open, and nobody follows it any more."""


class Beat(NamedTuple):
    """What the daemon said last.  ``at_ns`` is on the monotonic clock, which all processes of a machine share."""

    beats: int
    at_ns: int
    phase: Phase
    risk: RiskState
    open_orders: int


class Heart:
    """The daemon's end."""

    def __init__(self, path: Path) -> None:
        """Make the file.  Raises ``KestrelError`` where it cannot be made."""
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            try:
                # Real blocks: a store to a hole of a full disk would kill this process.
                os.posix_fallocate(descriptor, 0, SIZE_BYTES)
                self._map = mmap.mmap(descriptor, SIZE_BYTES)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise KestrelError(
                f"the heartbeat {path} cannot be made: {error.strerror or error}",
                expected="a session folder that is yours and has room",
                do="free the disk, or choose another session.directory",
            ) from error
        self._words = memoryview(self._map).cast("Q")
        self._beats = 0
        self._words[_BEAT_NS] = time.monotonic_ns()
        self._words[_MAGIC_AT] = _MAGIC

    def beat(self, risk: RiskState, open_orders: int) -> None:
        words = self._words
        words[_RISK] = _INDEX[risk]
        words[_OPEN] = open_orders
        words[_BEAT_NS] = time.monotonic_ns()
        self._beats += 1
        words[_BEATS] = self._beats

    def enter(self, phase: Phase) -> None:
        self._words[_PHASE] = phase

    @property
    def latched(self) -> bool:
        """The watchdog has halted this daemon from outside: no order may leave until an operator resumes."""
        return self._words[_LATCH] != 0

    def release(self) -> None:
        self._words[_LATCH] = 0

    @property
    def watched_ns(self) -> int:
        """When the watchdog looked last, monotonic clock; 0: never."""
        return self._words[_WATCH_NS]

    def unwatched(self) -> None:
        """Another watchdog is about to be started."""
        self._words[_WATCH_NS] = 0

    def close(self) -> None:
        self._words.release()
        self._map.close()


class Pulse:
    """The watchdog's end."""

    def __init__(self, path: Path) -> None:
        """Raises ``KestrelError`` for a file that is no heartbeat of this release."""
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            try:
                self._map = mmap.mmap(descriptor, SIZE_BYTES)
            finally:
                os.close(descriptor)
        except (OSError, ValueError) as error:
            raise KestrelError(f"the heartbeat {path} cannot be read: {error}") from error
        self._words = memoryview(self._map).cast("Q")
        if self._words[_MAGIC_AT] != _MAGIC:
            raise KestrelError(f"{path} is no heartbeat", expected="that of a daemon of this release")

    def read(self) -> Beat:
        words = self._words
        return Beat(words[_BEATS], words[_BEAT_NS], Phase(words[_PHASE]), _STATES[words[_RISK]], words[_OPEN])

    def latch(self) -> None:
        """From now on no order leaves the daemon, as soon as it gets to try."""
        self._words[_LATCH] = 1

    def look(self, now_ns: int) -> None:
        """Tell the daemon that somebody watches."""
        self._words[_WATCH_NS] = now_ns
