"""The robin_stocks sandbox as a server on loopback: start, pace, stop.

Owns the process side: port, the file with a customer's name and password, market pace, and the line that tells a parent
where the server listens.
"""

from __future__ import annotations

import os
import secrets
import time
from pathlib import Path

import msgspec
from aiohttp import web

from connectors.local.serving import RunningServer, open_port, warm_up
from connectors.local.serving import run as run_until_stopped
from connectors.robin_stocks.sandbox.exchange import Exchange
from connectors.robin_stocks.sandbox.rest import Rest
from connectors.robin_stocks.sandbox.settings import SandboxSettings
from connectors.robin_stocks.sandbox.times import NS
from engine.errors import ConfigError


class RunningSandbox(RunningServer):
    """The venue, as it listens: ``exchange`` and ``rest`` are what a test reaches into."""

    def __init__(
        self, settings: SandboxSettings, exchange: Exchange, rest: Rest, runner: web.AppRunner, key_file: Path
    ) -> None:
        super().__init__(settings, runner, lambda: exchange.advance(rest.now_ns()))
        self.settings = settings
        self.exchange = exchange
        self.rest = rest
        self.key_file = key_file

    def addresses(self) -> dict[str, str]:
        """What a client needs: the file with name and password too, never these."""
        account = self.settings.accounts[0].account_number
        return super().addresses() | {"account": account, "key_file": str(self.key_file)}

    async def _end_streams(self) -> None:
        await self.rest.close()


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
    return RunningSandbox(settings, exchange, rest, runner, key_file or Path())


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


def run(settings: SandboxSettings, key_file: Path) -> int:
    """Serve until it is ended (``connectors.local.serving.run``)."""
    return run_until_stopped(serve(settings, key_file))
