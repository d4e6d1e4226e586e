"""A child process that serves something and says where, in one JSON line on its stdout (the sandbox).

Its stdin is a leash: when this process dies, however, the pipe closes and the child ends by itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from engine import processors
from engine.errors import VenueError
from engine.runtime.secrecy import without_secrets

STDERR_KEPT = 20


class ChildServer:
    """Starts ``command`` and waits for its line.  ``name`` is what errors call it.

    ``settings``: an option of the command -> the setting that it is given from, for errors that name the option.
    """

    def __init__(self, name: str, command: Sequence[str], settings: Mapping[str, str] = MappingProxyType({})) -> None:
        self._name = name
        self._command = list(command)
        self._settings = settings
        self._process: asyncio.subprocess.Process | None = None
        self._stderr: list[str] = []
        self._drains: list[asyncio.Task[None]] = []

    @property
    def pid(self) -> int | None:
        return None if self._process is None else self._process.pid

    async def start(self, timeout_s: float = 30.0) -> dict[str, Any]:
        """The JSON object of the child's first line.  Raises ``VenueError`` when there is none in time."""
        with processors.beside():
            self._process = process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env=without_secrets(),
                # Ctrl-C in a terminal reaches the whole group: the venue must outlive orders that are cancelled on it.
                start_new_session=True,
            )
        with contextlib.suppress(OSError, AttributeError):  # no right to, or no such thing on this system
            # Our order wakes it: it must not take the core before the write of that order has returned.
            os.sched_setscheduler(process.pid, os.SCHED_BATCH, os.sched_param(0))
        assert process.stdout is not None
        assert process.stderr is not None
        self._drains.append(asyncio.create_task(self._keep_stderr(process.stderr), name=f"{self._name}-stderr"))
        try:
            async with asyncio.timeout(timeout_s):
                line = await process.stdout.readline()
            said = json.loads(line)
            if not isinstance(said, dict):
                raise ValueError("no object")
        except (TimeoutError, ValueError):
            await self.stop()
            why = self.last_words or f"it said nothing within {timeout_s:g} s"
            raise VenueError(f"the {self._name} did not start: {why}") from None
        self._drains.append(asyncio.create_task(self._drop(process.stdout), name=f"{self._name}-stdout"))
        return said

    async def stop(self, timeout_s: float = 5.0) -> None:
        """Ask it to end, then end it.  Safe to call twice."""
        process, self._process = self._process, None
        if process is not None:
            if process.stdin is not None:
                process.stdin.close()
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
            try:
                async with asyncio.timeout(timeout_s):
                    await process.wait()
            except TimeoutError:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
        for task in self._drains:
            with contextlib.suppress(asyncio.CancelledError):
                await task
        self._drains.clear()

    async def ended(self) -> None:
        """Returns when the child has ended, which it should not do by itself."""
        if self._process is not None:
            await self._process.wait()

    @property
    def last_words(self) -> str:
        """Its last line as part of an error of ours: without its own prefix, in the words of our settings."""
        words = self._stderr[-1].removeprefix("kestrel: ") if self._stderr else ""
        for option, setting in self._settings.items():
            words = words.replace(option, setting)
        return words

    async def _keep_stderr(self, stream: asyncio.StreamReader) -> None:
        with contextlib.suppress(ValueError):  # a line beyond the reader's limit
            while line := await stream.readline():
                text = line.decode(errors="replace").strip()
                if text:
                    self._stderr.append(text[:300])
                    del self._stderr[:-STDERR_KEPT]

    async def _drop(self, stream: asyncio.StreamReader) -> None:
        while await stream.read(65536):
            pass
