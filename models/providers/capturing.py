"""Whose turn it is on the GPU: many threads compute, copy and allocate beside each other; who captures is alone.

ONNX Runtime captures launches in the driver's global mode.  Until that has ended, the driver refuses copies and
allocations of every other thread of the process, and the capture fails with them: a model that is opened would have the
one that serves taken for lost.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Captures:
    """Of one process.  Who waits to capture goes before those who come after it: it takes milliseconds."""

    def __init__(self) -> None:
        self._turn = threading.Condition()
        self._at_work = 0
        self._waiting = 0
        self._captures = False

    @contextmanager
    def beside(self) -> Iterator[None]:
        """Not while somebody captures.  Not to be entered again within itself."""
        with self._turn:
            while self._captures or self._waiting:
                self._turn.wait()
            self._at_work += 1
        try:
            yield
        finally:
            with self._turn:
                self._at_work -= 1
                self._turn.notify_all()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Nobody else is at work: waits until that is so."""
        with self._turn:
            self._waiting += 1
            while self._captures or self._at_work:
                self._turn.wait()
            self._waiting -= 1
            self._captures = True
        try:
            yield
        finally:
            self._end()

    @contextmanager
    def alone_at_once(self) -> Iterator[bool]:
        """The same for who cannot wait: False, and no turn, where others are at work or want to capture."""
        with self._turn:
            is_free = not (self._captures or self._at_work or self._waiting)
            self._captures |= is_free
        try:
            yield is_free
        finally:
            if is_free:
                self._end()

    def _end(self) -> None:
        with self._turn:
            self._captures = False
            self._turn.notify_all()


CAPTURES = Captures()
"""On this process's GPU."""
