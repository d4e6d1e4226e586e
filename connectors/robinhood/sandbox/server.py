"""The Robinhood crypto sandbox as a server on loopback: start, pace, stop.

Owns the process side: port, key file, market pace and the line that tells a parent where the server listens.
"""

from __future__ import annotations

import asyncio
import logging
import tempfile
import time
import uuid
from pathlib import Path

from aiohttp import web

from connectors.certificates import AUTHORITY
from connectors.leash import run_fast, serve_until_stopped
from connectors.local.serving import open_port, pace, warm_up
from connectors.robinhood.sandbox.auth import Verifier
from connectors.robinhood.sandbox.exchange import Exchange
from connectors.robinhood.sandbox.keys import load_key_file, make_key_file
from connectors.robinhood.sandbox.rest import Rest
from connectors.robinhood.sandbox.settings import SandboxSettings
from connectors.robinhood.sandbox.times import NS

_log = logging.getLogger(__name__)


class RunningSandbox:
    """A server that accepts connections.  ``await stop()`` ends it; ``failed`` is set when its market died."""

    def __init__(
        self, settings: SandboxSettings, exchange: Exchange, verifier: Verifier, rest: Rest, runner: web.AppRunner
    ) -> None:
        self.settings = settings
        self.exchange = exchange
        self.verifier = verifier
        self.rest = rest
        self.key_file = Path()
        self.host = settings.host
        self.port = 0
        self.failed = asyncio.Event()
        self._runner = runner
        self._task: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        scheme = "http" if self.settings.tls_folder is None else "https"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{scheme}://{host}:{self.port}"

    def addresses(self) -> dict[str, str]:
        """What a client needs: the path of the key file (never the key) and, with TLS, of whom to trust."""
        made = {"rest": self.url, "account": self.settings.account_number, "key_file": str(self.key_file)}
        folder = self.settings.tls_folder
        return made if folder is None else made | {"authority": str(folder / AUTHORITY)}

    def start_tasks(self) -> None:
        self._task = asyncio.create_task(self._live(), name="sandbox market")
        self._task.add_done_callback(self._task_ended)

    async def stop(self) -> None:
        """Safe to call twice."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        await self.rest.close()
        await self._runner.cleanup()

    def _task_ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is not None:
            _log.error("%s stopped", task.get_name(), exc_info=task.exception())
            self.failed.set()

    async def _live(self) -> None:
        await pace(lambda: self.exchange.advance(time.time_ns()), self.settings.step_ms)


async def serve(settings: SandboxSettings) -> RunningSandbox:
    """Make key and history, open the port, let the market run.

    Raises ``ConfigError`` for settings or files that cannot be used and ``VenueError`` when the port is taken.
    """
    settings.check()
    key_file = settings.key_file or Path(tempfile.mkdtemp(prefix="kestrel-sandbox-")) / "robinhood_key.json"
    main_key = load_key_file(key_file) if key_file.exists() else make_key_file(key_file)
    keys = [main_key, *(load_key_file(path) for path in settings.extra_key_files)]
    verifier = Verifier(keys, skew_s=settings.clock_skew_s)
    exchange = await _make_exchange(settings)
    rest = Rest(settings, exchange, verifier, time.time_ns)
    runner = await open_port(rest.application(), settings)
    running = RunningSandbox(settings, exchange, verifier, rest, runner)
    running.key_file = key_file
    running.port = int(runner.addresses[0][1])
    running.start_tasks()
    return running


async def _make_exchange(settings: SandboxSettings) -> Exchange:
    """The venue with ``warmup_s`` of market that ends about now, also when making it took a while."""
    at_ns = time.time_ns() - int(settings.warmup_s * NS)
    exchange = Exchange(settings, at_ns, new_id=lambda: str(uuid.uuid4()))
    await warm_up(exchange.advance, at_ns)
    return exchange


async def main(settings: SandboxSettings) -> int:
    """Serve until a signal, or until the parent that holds our stdin is gone.  Returns the exit code.

    When ready, prints one JSON line on stdout: ``RunningSandbox.addresses``.  Raises what ``serve`` raises.
    """
    return await serve_until_stopped(serve(settings))


def run(settings: SandboxSettings) -> int:
    """``main`` on uvloop where it is installed."""
    return run_fast(main(settings))
