"""One exchange, one account, and daemons on it that are killed one after the other.

Each daemon that gets as far as to have its account confirmed is compared with the exchange, to the last digit, while
the market stands still; then it trades until its own kill.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from connectors.coinbase.sandbox.server import RunningSandbox, serve
from connectors.coinbase.sandbox.settings import SandboxSettings, products_named
from engine.events import StateCarried
from tests.support.daemon import ROOT, environment
from tests.support.kills.books import Excused, Told, damage, differences, faults_in, left_by, replayed, untold
from tests.support.kills.groups import ToldGroups, name_of
from tests.support.kills.proxy import Proxy
from tests.support.kills.spots import Spot

KILLS = ROOT / "tests" / "support" / "kills"
CONFIRMED_S = 40.0
AGREED_S = 8.0
RESTLESS_S = 40.0
REACHED_S = 6.0
WORKS_S = 0.4
"""How long one that is to be stopped from outside trades before, on average."""
WAITING_MAX = 3
"""Deaths after which one that nobody kills is compared before the next."""
SLOW_S = 15.0
"""Confirmed later than that is a fault: nothing that an exchange that answers does can make it so late."""


class Kill(NamedTuple):
    """What happened to one daemon."""

    session: str
    spot: str
    number: int
    reached: bool
    """It died by its own hand; else it was killed from outside."""
    confirmed_s: float
    """From its start until the venue had confirmed the account; 0 where it did not get there."""
    compared: int
    """Deaths since the comparison before that its own, with the exchange, covers; -1: it did not get there."""
    violations: tuple[str, ...]


class Nursery:
    """The process whose children are the daemons."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.child = 0

    @classmethod
    async def open(cls, run_dir: Path) -> Nursery:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tests.support.kills.launcher",
            cwd=ROOT,
            env=environment(KESTREL_RUN_DIR=str(run_dir)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        nursery = cls(process)
        assert await nursery._said() == ["ready"]
        return nursery

    async def _said(self) -> list[str]:
        assert self._process.stdout is not None
        line = await self._process.stdout.readline()
        assert line, "the nursery died"
        return line.decode().split()

    async def start(
        self, arguments: list[str], spot: str, number: int, log: Path, plant: str = ""
    ) -> asyncio.Task[int]:
        """A daemon; the task ends with it and gives its wait status."""
        assert self._process.stdin is not None
        wanted = {"spot": spot, "number": number, "plant": plant, "arguments": arguments, "log": str(log)}
        self._process.stdin.write(json.dumps(wanted).encode() + b"\n")
        said, child = await self._said()
        assert said == "started"
        self.child = int(child)
        return asyncio.create_task(self._ended())

    async def _ended(self) -> int:
        said, child, status = await self._said()
        assert (said, int(child)) == ("ended", self.child)
        self.child = 0
        return int(status)

    def signal(self, number: int) -> None:
        if self.child:
            with contextlib.suppress(ProcessLookupError):  # it has just ended; how, its status tells
                os.kill(self.child, number)

    async def close(self) -> None:
        self.signal(signal.SIGKILL)
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._process.wait()


class Market:
    """Lets the exchange's market stand still, counts what was asked of its order entry, and keeps what was open when an
    order came to be there."""

    def __init__(self, sandbox: RunningSandbox) -> None:
        self.sandbox = sandbox
        self.still = False
        self.requests: Counter[str] = Counter()
        self.alongside: dict[str, tuple[str, ...]] = {}
        step, place = sandbox.market.step, sandbox.exchange.place

        def step_unless_still(now_ns: int) -> None:
            if not self.still:
                step(now_ns)

        def counted_place(body: Mapping[str, Any], now_ns: int) -> Any:
            name = str(body.get("client_order_id"))
            self.requests[name] += 1
            there = tuple(name_of(sandbox.exchange, order) for order in sandbox.exchange.open_orders.values())
            self.alongside.setdefault(name, there)
            return place(body, now_ns)

        sandbox.market.step = step_unless_still  # type: ignore[method-assign]
        sandbox.exchange.place = counted_place  # type: ignore[method-assign]


class Chain:
    """One exchange, and the daemons of one account on it.

    ``async with Chain.open(folder, seed) as chain: await chain.kill(spot, number)``, again and again."""

    def __init__(
        self,
        folder: Path,
        seed: int,
        *,
        every: int = 1,
        plant: str = "",
        proxied: bool = False,
        watched: bool = False,
        settings: Mapping[str, object] = MappingProxyType({}),
    ) -> None:
        """``every``: see the trader; ``plant``: a defect that every daemon has; ``proxied``: through ``proxy``;
        ``watched``: each has its watchdog, which cancels what a dead one leaves open; ``settings``: other ones."""
        self.folder = folder
        self.seed = seed
        self.every = every
        self.plant = plant
        self._proxied = proxied
        self._watched = watched
        self._settings = settings
        self.rng = random.Random(seed)
        self.count = 0
        self.damaged = False
        """The journal of the last session that had its account confirmed, or of one after it, lost its end."""
        self.told: dict[Path, Told] = {}
        self.excused = Excused()
        self.waiting = 0
        """Deaths since the last comparison."""
        self.kills: list[Kill] = []

    async def __aenter__(self) -> Chain:
        self.folder.mkdir(parents=True, exist_ok=True)
        settings = SandboxSettings(
            key_file=self.folder / "key.json",
            products=products_named(["BTC-USD"]),
            balances=(("USD", Decimal(100_000)),),
            warmup_s=5.0,
            rate_per_s=60.0,
            seed=self.seed,
            attached_when=("end", "fill", "start")[self.seed % 3],
        )
        self.sandbox = await serve(settings)
        self.market = Market(self.sandbox)
        self.proxy = Proxy(self.sandbox.port)
        await self.proxy.start()
        self.nursery = await Nursery.open(self.folder / "run")
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.nursery.close()
        await self.proxy.stop()
        await self.sandbox.stop()

    def session(self, name: str) -> Path:
        return self.folder / "sessions" / name

    # --- one daemon ---------------------------------------------------------------------------------------------

    def arguments(self, session: str) -> list[str]:
        port = self.proxy.port if self._proxied else self.sandbox.port
        host = f"127.0.0.1:{port}"
        traders = (("restless", "trader.py:Restless", 1), ("grouper", "grouper.py:Grouper", 2))
        strategies = [
            {"name": name, "path": f"{KILLS / path}", "model": "none", "params": {"every": self.every * slower}}
            for name, path, slower in traders
        ]
        settings = {
            "profile": "testing",
            "session.directory": self.folder / "sessions",
            "metrics.port": 0,
            "venue.symbols": '["BTC/USD"]',
            "venue.rest_url": f"http://{host}",
            "venue.ws_market_url": f"ws://{host}/ws",
            "venue.ws_user_url": f"ws://{host}/ws-user",
            "venue.key_file": self.sandbox.key_file,
            "venue.reconcile_s": 1,
            "venue.edit_orders": "true",
            "venue.attach_exits": str(bool(self.seed % 2)).lower(),
            "journal.segment_mb": 1,
            "shutdown.cancel_timeout_s": 1,
            "watchdog.enabled": str(self._watched).lower(),
            "risk.max_daily_loss": 90_000,
            "risk.max_drawdown_bps": 9_000,
            "strategies": json.dumps(strategies),
            **self._settings,
        }
        given = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
        return ["paper", "--no-report", "--session", session, *given]

    @asynccontextmanager
    async def running(self, spot: Spot, number: int = 1, *more: str, still: bool = False) -> AsyncIterator[Daemon]:
        """A daemon whose account is confirmed and that trades; killed at the end, unless it died before.

        ``still``: the market stands still from the start until the account is confirmed; else it moves meanwhile.
        """
        self.count += 1
        daemon = Daemon(self, f"s{self.count:04d}")
        self.market.still = still
        await daemon.start(spot, number, *more)
        try:
            if await daemon.confirmed():
                self.market.still = True
                daemon.violations += await daemon.agreed()
                self.market.still = False
            elif not daemon.ended.done():
                daemon.violations.append(f"not confirmed within {CONFIRMED_S:g} s")
            yield daemon
        finally:
            self.market.still = False
            await daemon.finish(spot)
            daemon.violations += self._look_back(daemon.session)

    async def kill(
        self, spot: Spot, number: int, *more: str, still: bool = False, reached_s: float = REACHED_S
    ) -> Kill:
        """Start a daemon, compare once its account is confirmed, let it trade until it dies; from outside after
        ``reached_s``."""
        async with self.running(spot, number, *more, still=still) as daemon:
            if daemon.confirmed_s:
                await self._live_on(spot, daemon.ended, reached_s)
        reached = daemon.died
        if spot.damages:
            reached = self.damaged = damage(daemon.session, spot.call.partition(":")[2])
        compared = self.waiting if daemon.compared else -1
        self.waiting = 1 if daemon.compared else self.waiting + 1
        kill = Kill(
            daemon.session.name, spot.call, number, reached, daemon.confirmed_s, compared, tuple(daemon.violations)
        )
        self.kills.append(kill)
        return kill

    def differences(self, session: Path) -> list[str] | None:
        """The books of a daemon against the exchange; None where it has not written any."""
        left = left_by(session, self.folder / "scratch")
        if left is None:
            return None
        exchange, before, now = self.sandbox.exchange, list(self.told.values()), Told(session)
        told = [*before, now]
        if self.damaged:
            # Of an order that was lost with its record the fills before the balances are part of them.
            self.excused.fills = untold(exchange, told)
            self.excused.groups_lost |= ToldGroups(exchange, before).opened.keys()
        if not now.of(StateCarried):
            self.excused.groups_left |= ToldGroups(exchange, before).opened.keys()
        return differences(exchange, self.market.requests, self.market.alongside, left, told, self.excused)

    def excuse(self) -> None:
        """What no session has told until now was told as a balance."""
        self.excused.fills = untold(self.sandbox.exchange, [*self.told.values()])

    async def _live_on(self, spot: Spot, ended: asyncio.Task[int], reached_s: float) -> None:
        """Trading, until its end comes or is brought about."""
        if spot.while_stopping or spot.damages:
            await asyncio.wait({ended}, timeout=self.rng.uniform(0, 2 * WORKS_S))
        if spot.while_stopping:
            self.nursery.signal(signal.SIGTERM)
        if spot.call == "signal:twice":
            await asyncio.wait({ended}, timeout=self.rng.uniform(0, 0.1))
            self.nursery.signal(signal.SIGTERM)
        if not spot.damages:
            await asyncio.wait({ended}, timeout=reached_s)

    def _look_back(self, session: Path) -> list[str]:
        """At a session that is dead: what its journal says that it must not."""
        if not (session / "journal").is_dir():
            return []
        told = self.told[session] = Told(session)
        found = faults_in(told)
        if self.damaged and told.settled_ns:
            # What was lost with the end of the journal before is money of which the books cannot know.
            found = [text for text in found if "had to correct" not in text]
            # It may have died before it was compared: its balances are then what tells of them.
            self.excused.fills |= untold(self.sandbox.exchange, [*self.told.values()], until_ns=told.settled_ns)
            self.damaged = False
        if told.records:
            result = replayed(session)
            if result["status"] not in (0, 3) or not result.get("identical", True):
                found.append(f"replay: {result}")
        return found


class Daemon:
    """One process of a chain."""

    ended: asyncio.Task[int]

    def __init__(self, chain: Chain, name: str) -> None:
        self.session = chain.session(name)
        self.confirmed_s = 0.0
        """From its start until the venue had confirmed the account; 0 before."""
        self.died = False
        """By its own hand, not by ours."""
        self.compared = False
        """Its books have been the exchange's once."""
        self.violations: list[str] = []
        self._chain = chain
        self._log = chain.folder / f"{name}.log"

    async def start(self, spot: Spot, number: int, *more: str) -> None:
        chain = self._chain
        self._started_s = time.monotonic()
        arguments = [*chain.arguments(self.session.name), *more]
        self.ended = await chain.nursery.start(arguments, spot.call, number, self._log, chain.plant)

    async def confirmed(self) -> bool:
        until = self._started_s + CONFIRMED_S
        while time.monotonic() < until and not self.ended.done():
            if any(self.session.glob("journal/orders-*.seg")) and Told(self.session).settled_ns:
                self.confirmed_s = time.monotonic() - self._started_s
                return True
            await asyncio.sleep(0.05)
        return False

    async def agreed(self) -> list[str]:
        """What differs from the exchange once everything that is under way has arrived, which it has when nothing has
        changed for a while, at the latest after ``RESTLESS_S``; nothing, it should be.  The market stands still."""
        self._chain.market.still = True
        until, before, latest = 0.0, set[str](), time.monotonic() + RESTLESS_S
        while True:
            found = self._chain.differences(self.session)
            if found == []:
                self.compared = True
            if not found or self.ended.done():
                return []
            if set(found) != before and time.monotonic() < latest:
                until, before = time.monotonic() + AGREED_S, set(found)
            elif time.monotonic() > min(until, latest):
                return found
            await asyncio.sleep(0.1)

    async def finish(self, spot: Spot) -> None:
        self.died = self.ended.done()
        self._chain.nursery.signal(signal.SIGKILL)
        status = await self.ended
        said = self._log.read_text()
        if self.died and os.WIFEXITED(status) and not (spot.while_stopping and self.confirmed_s):
            self.violations.append(f"ended by itself with status {os.WEXITSTATUS(status)}: {said[-600:]}")
        if "Traceback" in said:
            self.violations.append(f"a traceback in {self._log.name}")
        if self.confirmed_s > SLOW_S:
            self.violations.append(f"the account was confirmed after {self.confirmed_s:.1f} s only")


UNHARMED = Spot("signal:once", 1, (), while_stopping=True)


async def run_chain(
    folder: Path,
    seed: int,
    wanted: Sequence[tuple[Spot, int]],
    tell: Callable[[Kill], None] = lambda _kill: None,
    *,
    watched: bool = False,
) -> list[Kill]:
    """All of them on one account; the market stands still at half of the starts.  No comparison covers more than three
    deaths: that of one that traded, of one that started after it, and of one that died while it was compared."""
    async with Chain(folder, seed, watched=watched) as chain:
        for spot, number in wanted:
            if chain.waiting >= WAITING_MAX:
                tell(await chain.kill(UNHARMED, 1))
            tell(await chain.kill(spot, number, still=chain.rng.random() < 0.5))
        # What the last one has left is compared by one that is not killed.
        tell(await chain.kill(UNHARMED, 1))
        return chain.kills
