"""The OANDA sandbox as a server on loopback: start, pace, stop.

Owns the process side: port, token file, market pace and the line that tells a parent where the server listens.  One
port serves REST and streams.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import tempfile
import time
from pathlib import Path

from aiohttp import web

from connectors.certificates import AUTHORITY
from connectors.leash import run_fast, serve_until_stopped
from connectors.local.serving import open_port, pace, warm_up
from connectors.oanda.sandbox.exchange import Exchange
from connectors.oanda.sandbox.rest import Rest
from connectors.oanda.sandbox.settings import SandboxSettings
from connectors.oanda.sandbox.stream import Hub
from connectors.oanda.sandbox.times import NS
from engine.errors import ConfigError

_log = logging.getLogger(__name__)


class RunningSandbox:
    """A server that accepts connections.  ``await stop()`` ends it; ``failed`` is set when its market died."""

    def __init__(
        self, settings: SandboxSettings, exchange: Exchange, hub: Hub, rest: Rest, runner: web.AppRunner, token: str
    ) -> None:
        self.settings = settings
        self.exchange = exchange
        self.hub = hub
        self.rest = rest
        self.token = token
        self.token_file = Path()
        self.host = settings.host
        self.port = 0
        self.failed = asyncio.Event()
        self._runner = runner
        self._task: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        """Of REST and of streams; the venue has a host for each."""
        scheme = "http" if self.settings.tls_folder is None else "https"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{scheme}://{host}:{self.port}"

    def addresses(self) -> dict[str, str]:
        """What a client needs: the path of the token's file (never the token) and, with TLS, of whom to trust."""
        made = {
            "rest": self.url,
            "stream": self.url,
            "account": self.settings.accounts[0].account_id,
            "key_file": str(self.token_file),
        }
        folder = self.settings.tls_folder
        return made if folder is None else made | {"authority": str(folder / AUTHORITY)}

    def start_tasks(self) -> None:
        self._task = asyncio.create_task(self._live(), name="sandbox market")
        self._task.add_done_callback(self._task_ended)

    async def stop(self) -> None:
        """End streams, then close the port.  Safe to call twice."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        await self.rest.close()
        await self.hub.close()
        await self._runner.cleanup()

    def _task_ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is not None:
            _log.error("%s stopped", task.get_name(), exc_info=task.exception())
            self.failed.set()

    async def _live(self) -> None:
        await pace(lambda: self.exchange.advance(time.time_ns()), self.settings.step_ms)


async def serve(settings: SandboxSettings) -> RunningSandbox:
    """Make token and history, open the port, let the market run.

    Raises ``ConfigError`` for settings or files that cannot be used and ``VenueError`` when the port is taken.
    """
    settings.check()
    token_file = settings.token_file or Path(tempfile.mkdtemp(prefix="kestrel-sandbox-")) / "oanda_token.txt"
    token = settings.token or _token(token_file)
    exchange = await _make_exchange(settings)
    hub = Hub(settings, time.time_ns)
    rest = Rest(settings, exchange, hub, token, time.time_ns)
    runner = await open_port(rest.application(), settings)
    running = RunningSandbox(settings, exchange, hub, rest, runner, token)
    running.token_file = token_file
    running.port = int(runner.addresses[0][1])
    running.start_tasks()
    return running


async def _make_exchange(settings: SandboxSettings) -> Exchange:
    """The venue with ``warmup_s`` of market that ends about now, also when making it took a while."""
    at_ns = time.time_ns() - int(settings.warmup_s * NS)
    exchange = Exchange(settings, at_ns)
    await warm_up(exchange.advance, at_ns)
    return exchange


def _token(path: Path) -> str:
    """The token of a file, or a new one in a file that only its owner reads.  Raises ``ConfigError``."""
    try:
        if path.exists():
            token = path.read_text().strip()
            if not token or not token.isascii() or not token.isprintable() or " " in token:
                raise ConfigError(f"{path} holds no token", expected="one line of text", do="delete it")
            return token
        path.parent.mkdir(parents=True, exist_ok=True)
        token = secrets.token_hex(32)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(f"{token}\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"token file {path} cannot be used: {error}", do="name another one") from None
    return token


async def main(settings: SandboxSettings) -> int:
    """Serve until a signal, or until the parent that holds our stdin is gone.  Returns the exit code.

    When ready, prints one JSON line on stdout: ``RunningSandbox.addresses``.  Raises what ``serve`` raises.
    """
    return await serve_until_stopped(serve(settings))


def run(settings: SandboxSettings) -> int:
    """``main`` on uvloop where it is installed."""
    return run_fast(main(settings))
