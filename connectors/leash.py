"""How long a local venue lives: until a signal, or until the parent that holds its stdin is gone.

Owns signals, the leash and the line that says where it listens.  What is served, and how it ends, is the caller's.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import signal
import stat
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Protocol

_STDIN = 0


class Served(Protocol):
    """A local venue that listens.  ``failed`` is set when its market has ended by itself."""

    @property
    def failed(self) -> asyncio.Event: ...

    def addresses(self) -> Mapping[str, Any]: ...

    async def stop(self) -> None: ...


def run_fast(main: Coroutine[Any, Any, int]) -> int:
    """On uvloop where it is installed."""
    try:
        import uvloop
    except ImportError:
        return asyncio.run(main)
    return int(uvloop.run(main))


async def serve_until_stopped(start: Coroutine[Any, Any, Served]) -> int:
    """Serve, say in one JSON line where, and stop.  Returns the exit code; raises what ``start`` raises."""
    running = await start
    gc.collect()
    gc.freeze()
    try:
        await until_stopped(running.failed, lambda: print(json.dumps(running.addresses()), flush=True))
    finally:
        await running.stop()
    return 1 if running.failed.is_set() else 0


async def until_stopped(failed: asyncio.Event, ready: Callable[[], None]) -> None:
    """Returns at SIGTERM or SIGINT, when the parent is gone, or when ``failed`` is set (within a second).

    ``ready`` is called once signals are caught: whoever is told of the server by it may end it at once.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    is_child = _watch_stdin(loop, stop)
    parent = os.getppid()
    ready()
    try:
        while not stop.is_set() and not failed.is_set():
            # The pipe closes when a parent dies, unless a sibling inherited its other end: hence the second look.
            if is_child and os.getppid() != parent:
                break
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1.0):
                    await stop.wait()
    finally:
        if is_child:
            loop.remove_reader(_STDIN)


def _watch_stdin(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> bool:
    """A pipe on stdin is a parent's leash: its end means stop.  A terminal or /dev/null is none."""
    try:
        mode = os.fstat(_STDIN).st_mode
    except OSError:
        return False
    if not (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)):
        return False

    def readable() -> None:
        try:
            data = os.read(_STDIN, 4096)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            loop.remove_reader(_STDIN)
            stop.set()

    loop.add_reader(_STDIN, readable)
    return True
