"""The Coinbase sandbox as a server on loopback: start, pace, stop.

Owns the process side: port, key file, market pace, signals and the line that tells a parent where the server listens.
One port serves REST, market streams (``/ws``) and user streams (``/ws-user``).
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from pathlib import Path

from aiohttp import web

from connectors.certificates import AUTHORITY
from connectors.coinbase.sandbox.auth import Verifier
from connectors.coinbase.sandbox.exchange import Exchange
from connectors.coinbase.sandbox.keys import load_key_file, make_key_file
from connectors.coinbase.sandbox.market import NS, BackgroundMarket, SyntheticMarket
from connectors.coinbase.sandbox.recorded import RecordedMarket, with_recorded_products
from connectors.coinbase.sandbox.rest import Rest
from connectors.coinbase.sandbox.settings import SandboxSettings
from connectors.coinbase.sandbox.stream import Hub
from connectors.leash import run_fast, serve_until_stopped
from connectors.local.keys import key_place
from connectors.local.serving import open_port, pace, warm_up

_log = logging.getLogger(__name__)


class RunningSandbox:
    """A server that accepts connections.  ``await stop()`` ends it; ``failed`` is set when its market died."""

    def __init__(
        self,
        settings: SandboxSettings,
        exchange: Exchange,
        hub: Hub,
        verifier: Verifier,
        runner: web.AppRunner,
        market: BackgroundMarket,
    ) -> None:
        self.settings = settings
        self.exchange = exchange
        self.hub = hub
        self.market = market
        self.host = settings.host
        self.port = 0
        self.key_file = Path()
        self.verifier = verifier
        self.failed = asyncio.Event()
        self._runner = runner
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def rest_url(self) -> str:
        return f"http{self._secure}://{self._authority}"

    @property
    def ws_market_url(self) -> str:
        return f"ws{self._secure}://{self._authority}/ws"

    @property
    def ws_user_url(self) -> str:
        return f"ws{self._secure}://{self._authority}/ws-user"

    @property
    def _secure(self) -> str:
        return "" if self.settings.tls_folder is None else "s"

    @property
    def _authority(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def addresses(self) -> dict[str, str]:
        """What a client needs, the paths of the key file (never the key) and, with TLS, of whom to trust included."""
        made = {
            "rest": self.rest_url,
            "ws_market": self.ws_market_url,
            "ws_user": self.ws_user_url,
            "key_file": str(self.key_file),
        }
        folder = self.settings.tls_folder
        return made if folder is None else made | {"authority": str(folder / AUTHORITY)}

    def start_tasks(self) -> None:
        for work, name in ((self._live(), "sandbox market"), (self._seconds(), "sandbox seconds")):
            task = asyncio.create_task(work, name=name)
            task.add_done_callback(self._task_ended)
            self._tasks.append(task)

    async def stop(self) -> None:
        """Close streams, then the port.  Safe to call twice."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()
        await self.hub.close()
        await self._runner.cleanup()

    def _task_ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is not None:
            _log.error("%s stopped", task.get_name(), exc_info=task.exception())
            self.failed.set()

    async def _live(self) -> None:
        def step() -> None:
            self.market.step(time.time_ns())
            self.hub.pump()

        await pace(step, self.settings.step_ms)

    async def _seconds(self) -> None:
        loop = asyncio.get_running_loop()
        due_s = loop.time() + 1.0
        while True:
            await asyncio.sleep(max(0.0, due_s - loop.time()))
            due_s = max(due_s + 1.0, loop.time())
            self.exchange.expire(time.time_ns())
            self.hub.pump()
            self.hub.every_second()


async def serve(settings: SandboxSettings) -> RunningSandbox:
    """Make keys and history, open the port, let the market run.

    Raises ``ConfigError`` for settings or key files that cannot be used and ``VenueError`` when the port is taken.
    """
    if settings.replay:
        settings = with_recorded_products(settings)
    settings.check()
    key_file = key_place(settings.key_file, "coinbase_key.json")
    exists = key_file.exists()
    main_key = load_key_file(key_file) if exists else make_key_file(key_file, algorithm=settings.key_algorithm)
    keys = [main_key, *(load_key_file(path) for path in settings.extra_key_files)]
    verifier = Verifier(keys, skew_s=settings.clock_skew_s)
    now_ns = time.time_ns()
    exchange = Exchange(settings, now_ns=now_ns, new_id=lambda: str(uuid.uuid4()), first_trade_id=now_ns // 1_000_000)
    market = await _make_market(exchange, settings)
    hub = Hub(settings, exchange, verifier, time.time_ns)
    rest = Rest(settings, exchange, hub, verifier, time.time_ns)
    runner = await open_port(rest.application(), settings)
    running = RunningSandbox(settings, exchange, hub, verifier, runner, market)
    running.key_file = key_file
    running.port = int(runner.addresses[0][1])
    running.start_tasks()
    return running


async def _make_market(exchange: Exchange, settings: SandboxSettings) -> BackgroundMarket:
    """The market with ``warmup_s`` of history that ends about now, also when making it took a while."""
    at_ns = time.time_ns() - int(settings.warmup_s * NS)
    market = RecordedMarket(exchange, settings, at_ns) if settings.replay else SyntheticMarket(exchange, settings)

    def step(now_ns: int) -> None:
        market.step(now_ns)
        # Nobody listens yet, and what is not drained would pile up.
        exchange.drain()

    await warm_up(step, at_ns)
    return market


async def main(settings: SandboxSettings) -> int:
    """Serve until a signal, or until the parent that holds our stdin is gone.  Returns the exit code.

    When ready, prints one JSON line on stdout: ``rest``, ``ws_market``, ``ws_user`` and ``key_file``.
    Raises what ``serve`` raises.
    """
    return await serve_until_stopped(serve(settings))


def run(settings: SandboxSettings) -> int:
    """``main`` on uvloop where it is installed."""
    return run_fast(main(settings))
