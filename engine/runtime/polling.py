"""Busy polling: the event loop asks its sockets again at once instead of sleeping until one of them has something.

Owns nothing but that.  A process that sleeps is woken by the kernel, on caches that somebody else used meanwhile; one
that never sleeps takes a whole core.  What it saves is in ``docs/benchmarks.md``.
"""

from __future__ import annotations

import asyncio


class BusyPoll:
    """Between ``start`` and ``stop`` there is always something to call soon, so no turn of the loop waits."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._handle: asyncio.Handle | None = None

    def start(self) -> None:
        self._handle = self._loop.call_soon(self.start)

    def stop(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
