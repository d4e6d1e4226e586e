"""A local venue as a server on loopback: port, key file, pace, stop.

Owns the process side.  What is served is a ``LocalVenue``; how long a process of it lives is ``connectors.leash``.
"""

from __future__ import annotations

import asyncio
import datetime
import errno
import logging
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Protocol

from aiohttp import web

from connectors.certificates import AUTHORITY, server_context
from connectors.leash import run_fast, serve_until_stopped
from connectors.local.settings import LocalSettings
from engine.errors import VenueError

_log = logging.getLogger(__name__)
_WARM_ENOUGH_NS = 500_000_000
_WARMUP_STEP_NS = 250_000_000


class Listening(Protocol):
    """Where a server listens, and with which certificates."""

    @property
    def host(self) -> str: ...

    @property
    def port(self) -> int: ...

    @property
    def tls_folder(self) -> Path | None: ...


class Served(Listening, Protocol):
    """The same, and how often its market moves."""

    @property
    def step_ms(self) -> float: ...


class LocalVenue(Protocol):
    """What a venue brings along."""

    def application(self) -> web.Application: ...

    def pass_time(self, now_ns: int) -> None:
        """The market lives until then, streams are told."""
        ...

    def every_second(self, now_ns: int) -> None:
        """What comes with time, also where the market stands still."""
        ...

    async def close(self) -> None:
        """Streams end, as those of a server that goes away do."""
        ...


class RunningServer:
    """A server that accepts connections, and its market.  ``await stop()`` ends it; ``failed`` is set when the market
    died.  ``step`` lets the market live until now."""

    def __init__(self, serves: Served, runner: web.AppRunner, step: Callable[[], object]) -> None:
        self.host = serves.host
        self.port = int(runner.addresses[0][1])
        self.failed = asyncio.Event()
        self._tls_folder = serves.tls_folder
        self._runner = runner
        self._tasks: list[asyncio.Task[None]] = []
        self._begin(pace(step, serves.step_ms), "sandbox market")

    @property
    def url(self) -> str:
        """Of REST."""
        return f"http{self._where}"

    @property
    def ws_url(self) -> str:
        """Of WebSockets, without a path."""
        return f"ws{self._where}"

    @property
    def _where(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'' if self._tls_folder is None else 's'}://{host}:{self.port}"

    def addresses(self) -> dict[str, str]:
        """What a client needs of where it is and, with TLS, of whom to trust."""
        made = {"rest": self.url}
        return made if self._tls_folder is None else made | {"authority": str(self._tls_folder / AUTHORITY)}

    async def stop(self) -> None:
        """End streams, then close the port.  Safe to call twice."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()
        await self._end_streams()
        await self._runner.cleanup()

    async def _end_streams(self) -> None:
        """As those of a server that goes away do."""
        return

    def _begin(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.create_task(work, name=name)
        task.add_done_callback(self._task_ended)
        self._tasks.append(task)

    def _task_ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is not None:
            _log.error("%s stopped", task.get_name(), exc_info=task.exception())
            self.failed.set()


class RunningVenue(RunningServer):
    """Of a ``LocalVenue``.  ``paths`` name WebSocket addresses: ``{"ws": "/ws"}``."""

    def __init__(
        self,
        settings: LocalSettings,
        venue: LocalVenue,
        runner: web.AppRunner,
        key_file: Path | None,
        paths: dict[str, str],
    ) -> None:
        super().__init__(settings, runner, lambda: venue.pass_time(time.time_ns()))
        self.settings = settings
        self.venue = venue
        self.key_file = key_file
        self._paths = paths
        self._begin(self._seconds(), "sandbox seconds")

    def addresses(self) -> dict[str, str]:
        """What a client needs: where there are keys, the path of the file too, never the key."""
        paths = {name: self.ws_url + path for name, path in self._paths.items()}
        return super().addresses() | ({} if self.key_file is None else {"key_file": str(self.key_file)}) | paths

    async def _end_streams(self) -> None:
        await self.venue.close()

    async def _seconds(self) -> None:
        loop = asyncio.get_running_loop()
        due_s = loop.time() + 1.0
        while True:
            await asyncio.sleep(max(0.0, due_s - loop.time()))
            due_s = max(due_s + 1.0, loop.time())
            self.venue.every_second(time.time_ns())


async def warm_up(step: Callable[[int], object], from_ns: int, *, offset_ns: int = 0) -> None:
    """A market from ``from_ns`` until about now, also when making it takes a while.

    Its clock is ``offset_ns`` ahead of ours.
    """
    at_ns = from_ns
    step(at_ns)
    while at_ns < (until_ns := time.time_ns() + offset_ns) - _WARM_ENOUGH_NS:
        at_ns = min(at_ns + _WARMUP_STEP_NS, until_ns)
        step(at_ns)
        await asyncio.sleep(0)


async def pace(step: Callable[[], object], step_ms: float) -> None:
    """Call ``step`` every ``step_ms``, for ever; a late wake-up makes one longer step, never a burst of steps."""
    loop = asyncio.get_running_loop()
    due_s = loop.time()
    while True:
        step()
        due_s = max(due_s + step_ms / 1_000.0, loop.time())
        await asyncio.sleep(due_s - loop.time())


async def open_port(app: web.Application, settings: Listening) -> web.AppRunner:
    """Serve it; the port is in ``addresses`` of what is returned.

    Raises ``ConfigError`` for certificates that cannot be made and ``VenueError`` when the port is taken.
    """
    folder = settings.tls_folder
    ssl_context = None if folder is None else server_context(folder, datetime.datetime.now(datetime.UTC))
    runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, settings.host, settings.port, ssl_context=ssl_context).start()
    except OSError as error:
        await runner.cleanup()
        where = f"{settings.host}:{settings.port}"
        if error.errno == errno.EADDRINUSE:
            raise VenueError(
                f"sandbox port {where} is in use", expected="a free port", do="stop the other server or give --port 0"
            ) from None
        raise VenueError(
            f"sandbox cannot listen on {where}: {error.strerror}", do="choose another host or port"
        ) from None
    return runner


async def listen(
    settings: LocalSettings, venue: LocalVenue, key_file: Path | None, paths: dict[str, str]
) -> RunningVenue:
    """Open the port and let the market run.  ``paths`` name WebSocket addresses: ``{"ws": "/ws"}``.  ``key_file`` None:
    there is no account.

    Raises what ``open_port`` raises.
    """
    return RunningVenue(settings, venue, await open_port(venue.application(), settings), key_file, paths)


def run(start: Coroutine[Any, Any, RunningServer]) -> int:
    """Serve until a signal, or until the parent that holds our stdin is gone.  Returns the exit code.

    When ready, prints one JSON line on stdout: ``RunningServer.addresses``.  Raises what ``start`` raises.
    """
    return run_fast(serve_until_stopped(start))
