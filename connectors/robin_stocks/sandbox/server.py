"""The robin_stocks sandbox as a server on loopback: start, pace, stop.

Owns the process side: port, the file with a customer's name and password, market pace, and the line that tells a parent
where the server listens.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import time
from pathlib import Path

import msgspec
from aiohttp import web

from connectors.certificates import AUTHORITY
from connectors.leash import run_fast, serve_until_stopped
from connectors.local.serving import open_port, pace, warm_up
from connectors.robin_stocks.sandbox.exchange import Exchange
from connectors.robin_stocks.sandbox.rest import Rest
from connectors.robin_stocks.sandbox.settings import SandboxSettings
from connectors.robin_stocks.sandbox.times import NS
from engine.errors import ConfigError

_log = logging.getLogger(__name__)


class RunningSandbox:
    """A server that accepts connections.  ``await stop()`` ends it; ``failed`` is set when its market died."""

    def __init__(self, settings: SandboxSettings, exchange: Exchange, rest: Rest, runner: web.AppRunner) -> None:
        self.settings = settings
        self.exchange = exchange
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
        """What a client needs: the file with name and password (never these) and, with TLS, that of whom to trust."""
        made = {"rest": self.url, "account": self.settings.accounts[0].account_number, "key_file": str(self.key_file)}
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
        await pace(lambda: self.exchange.advance(self.rest.now_ns()), self.settings.step_ms)


async def serve(settings: SandboxSettings, key_file: Path | None = None) -> RunningSandbox:
    """Make accounts and history, open the port, let the market run.

    Raises ``ConfigError`` for settings or files that cannot be used and ``VenueError`` when the port is taken.
    """
    settings.check()
    if key_file is not None:
        settings = _with_login(settings, key_file)
    exchange = await _make_exchange(settings)
    rest = Rest(exchange, time.time_ns)
    runner = await open_port(rest.application(), settings)
    running = RunningSandbox(settings, exchange, rest, runner)
    running.key_file = key_file or Path()
    running.port = int(runner.addresses[0][1])
    running.start_tasks()
    return running


async def _make_exchange(settings: SandboxSettings) -> Exchange:
    """The venue with ``warmup_s`` of market that ends about now, also when making it took a while."""
    offset_ns = int(settings.clock_offset_s * NS)
    at_ns = time.time_ns() + offset_ns - int(settings.warmup_s * NS)
    exchange = Exchange(settings, at_ns, lambda: secrets.token_hex(24))
    exchange.open_books(at_ns)
    await warm_up(exchange.advance, at_ns, offset_ns=offset_ns)
    return exchange


def _with_login(settings: SandboxSettings, path: Path) -> SandboxSettings:
    """The first account with the name and password of a file, which is made when it is not there.

    Raises ``ConfigError``.
    """
    from connectors.robin_stocks.login_file import LoginFile, read_login

    account = settings.accounts[0]
    try:
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            made = LoginFile(account.username, secrets.token_urlsafe(18), account=account.account_number)
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(msgspec.json.encode(made))
    except OSError as error:
        raise ConfigError(f"key file {path} cannot be used: {error.strerror}", do="name another one") from None
    login = read_login(path)
    first = msgspec.structs.replace(account, username=login.username, password=login.password)
    return msgspec.structs.replace(settings, accounts=(first, *settings.accounts[1:]))


async def main(settings: SandboxSettings, key_file: Path) -> int:
    """Serve until a signal, or until the parent that holds our stdin is gone.  Returns the exit code.

    When ready, prints one JSON line on stdout: ``RunningSandbox.addresses``.  Raises what ``serve`` raises.
    """
    return await serve_until_stopped(serve(settings, key_file))


def run(settings: SandboxSettings, key_file: Path) -> int:
    """``main`` on uvloop where it is installed."""
    return run_fast(main(settings, key_file))
