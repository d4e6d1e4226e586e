"""The Robinhood crypto sandbox as a server on loopback: start, pace, stop.

Owns the process side: port, key file, market pace and the line that tells a parent where the server listens.
"""

from __future__ import annotations

import time
import uuid
from pathlib import Path

from aiohttp import web

from connectors.local.keys import key_place
from connectors.local.serving import RunningServer, open_port, warm_up
from connectors.local.serving import run as run_until_stopped
from connectors.robinhood.sandbox.auth import Verifier
from connectors.robinhood.sandbox.exchange import Exchange
from connectors.robinhood.sandbox.keys import load_key_file, make_key_file
from connectors.robinhood.sandbox.rest import Rest
from connectors.robinhood.sandbox.settings import SandboxSettings
from connectors.robinhood.sandbox.times import NS


class RunningSandbox(RunningServer):
    """The venue, as it listens: ``exchange`` and ``rest`` are what a test reaches into."""

    def __init__(
        self,
        settings: SandboxSettings,
        exchange: Exchange,
        verifier: Verifier,
        rest: Rest,
        runner: web.AppRunner,
        key_file: Path,
    ) -> None:
        super().__init__(settings, runner, lambda: exchange.advance(time.time_ns()))
        self.settings = settings
        self.exchange = exchange
        self.verifier = verifier
        self.rest = rest
        self.key_file = key_file

    def addresses(self) -> dict[str, str]:
        """What a client needs: the path of the key file too, never the key."""
        return super().addresses() | {"account": self.settings.account_number, "key_file": str(self.key_file)}

    async def _end_streams(self) -> None:
        await self.rest.close()


async def serve(settings: SandboxSettings) -> RunningSandbox:
    """Make key and history, open the port, let the market run.

    Raises ``ConfigError`` for settings or files that cannot be used and ``VenueError`` when the port is taken.
    """
    settings.check()
    key_file = key_place(settings.key_file, "robinhood_key.json")
    main_key = load_key_file(key_file) if key_file.exists() else make_key_file(key_file)
    keys = [main_key, *(load_key_file(path) for path in settings.extra_key_files)]
    verifier = Verifier(keys, skew_s=settings.clock_skew_s)
    exchange = await _make_exchange(settings)
    rest = Rest(settings, exchange, verifier, time.time_ns)
    runner = await open_port(rest.application(), settings)
    return RunningSandbox(settings, exchange, verifier, rest, runner, key_file)


async def _make_exchange(settings: SandboxSettings) -> Exchange:
    """The venue with ``warmup_s`` of market that ends about now, also when making it took a while."""
    at_ns = time.time_ns() - int(settings.warmup_s * NS)
    exchange = Exchange(settings, at_ns, new_id=lambda: str(uuid.uuid4()))
    await warm_up(exchange.advance, at_ns)
    return exchange


def run(settings: SandboxSettings) -> int:
    """Serve until it is ended (``connectors.local.serving.run``)."""
    return run_until_stopped(serve(settings))
