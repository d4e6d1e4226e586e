"""The OANDA sandbox as a server on loopback: start, pace, stop.

Owns the process side: port, token file, market pace and the line that tells a parent where the server listens.  One
port serves REST and streams.
"""

from __future__ import annotations

import os
import secrets
import time
from pathlib import Path

from aiohttp import web

from connectors.local.keys import key_place
from connectors.local.serving import RunningServer, open_port, warm_up
from connectors.local.serving import run as run_until_stopped
from connectors.oanda.sandbox.exchange import Exchange
from connectors.oanda.sandbox.rest import Rest
from connectors.oanda.sandbox.settings import SandboxSettings
from connectors.oanda.sandbox.stream import Hub
from connectors.oanda.sandbox.times import NS
from engine.errors import ConfigError


class RunningSandbox(RunningServer):
    """``url`` is of REST and of streams; the venue has a host for each."""

    def __init__(
        self,
        settings: SandboxSettings,
        exchange: Exchange,
        hub: Hub,
        rest: Rest,
        runner: web.AppRunner,
        token: str,
        token_file: Path,
    ) -> None:
        super().__init__(settings, runner, lambda: exchange.advance(time.time_ns()))
        self.settings = settings
        self.exchange = exchange
        self.hub = hub
        self.rest = rest
        self.token = token
        self.token_file = token_file

    def addresses(self) -> dict[str, str]:
        """What a client needs: the path of the token's file too, never the token."""
        account = self.settings.accounts[0].account_id
        return super().addresses() | {"stream": self.url, "account": account, "key_file": str(self.token_file)}

    async def _end_streams(self) -> None:
        await self.rest.close()
        await self.hub.close()


async def serve(settings: SandboxSettings) -> RunningSandbox:
    """Make token and history, open the port, let the market run.

    Raises ``ConfigError`` for settings or files that cannot be used and ``VenueError`` when the port is taken.
    """
    settings.check()
    token_file = key_place(settings.token_file, "oanda_token.txt")
    token = settings.token or _token(token_file)
    exchange = await _make_exchange(settings)
    hub = Hub(settings, time.time_ns)
    rest = Rest(settings, exchange, hub, token, time.time_ns)
    runner = await open_port(rest.application(), settings)
    return RunningSandbox(settings, exchange, hub, rest, runner, token, token_file)


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


def run(settings: SandboxSettings) -> int:
    """Serve until it is ended (``connectors.local.serving.run``)."""
    return run_until_stopped(serve(settings))
