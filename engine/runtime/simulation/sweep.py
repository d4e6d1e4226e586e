"""One seed from a fresh account to books that agree with the venue, and many of them.

Owns the course of a simulation: a time with faults, then a time without, in which everything has to come right; then
the end of the session, and its replay.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any, Protocol

import msgspec

from engine.core import TradingCore
from engine.events import Halted, Reduced
from engine.ports import Clock, Publish, Recorder, Strategy, Venue
from engine.runtime.daemon import Options
from engine.runtime.simulation.checks import Checks, Truth, Violation
from engine.runtime.simulation.loop import DeadlockError, SimulatedProcess, VirtualLoop, running_process
from engine.runtime.simulation.machine import START_NS, Machine
from engine.runtime.simulation.trader import SimulatedTrader
from engine.runtime.succession import Left

QUIET_S = 150.0
"""After the last fault the account must come right in this time: a grace, a back-off and a reconciliation."""
STILL_S = 60.0
"""Then nothing new is wished for, and what is under way has this time."""
OPERATOR_EVERY_S = 120.0
WISHES_PER_S = 0.05


class FaultSource(Protocol):
    """What ``connectors.simulation.faults`` offers."""

    enabled: bool
    fired: Counter[str]

    def wait_s(self, name: str) -> float | None: ...

    def chance(self, name: str) -> bool: ...

    def note(self, name: str) -> None: ...

    def heal(self) -> None: ...

    def by_id(self) -> dict[str, int]: ...


class VenueProcess(Truth, Protocol):
    skew_ns: int

    async def run(self) -> None: ...


class Outside(Protocol):
    """Everything around one daemon; ``run.py`` makes it of ``connectors.simulation``."""

    @property
    def faults(self) -> FaultSource: ...

    @property
    def network(self) -> Any: ...

    @property
    def venue(self) -> VenueProcess: ...

    def acts(self) -> dict[str, Callable[[], None]]:
        """What the timed faults of network and venue do."""
        ...

    def make_core(self, recorder: Recorder, id_prefix: str, trader: Strategy, *, hold_orders: bool) -> TradingCore: ...

    def make_venue(self, publish: Publish, clock: Clock, left: Left | None, number: int) -> Venue: ...


class World(Protocol):
    """What is simulated: an instrument, a limit on its position (base units), the least order (lots), the outside."""

    @property
    def instrument(self) -> str: ...

    @property
    def currency(self) -> str: ...

    @property
    def max_position_qty(self) -> Decimal: ...

    @property
    def lots(self) -> int: ...

    def outside(
        self,
        loop: asyncio.AbstractEventLoop,
        seed: int,
        now_ns: Callable[[], int],
        owner: Callable[[], object],
        root: Path,
    ) -> Outside:
        """Everything around the daemon of one seed; files that all seeds share lie below ``root``."""
        ...


class Outcome(msgspec.Struct):
    """One seed.  ``digest`` is equal for equal runs."""

    seed: int
    violations: list[Violation]
    seconds: float
    events: int
    orders: int
    sessions: int
    faults: dict[str, int]
    kinds: dict[str, int]
    digest: int = 0


def simulate(seed: int, world: World, *, hours: float, root: Path) -> Outcome:
    """Run one seed; files go below ``root`` and are removed."""
    folder = Path(tempfile.mkdtemp(prefix=f"seed-{seed}-", dir=root))
    loop = VirtualLoop()

    def now_ns() -> int:
        return START_NS + int(loop.time() * 1e9)

    outside = world.outside(loop, seed, now_ns, running_process, root)
    loop.network = outside.network
    checks = Checks(
        outside.venue, loop.time, now_ns, instrument=world.instrument, max_position_qty=world.max_position_qty
    )
    course = _Course(seed, world, outside, loop, checks, folder, hours)
    with _complaints(checks):
        try:
            loop.run_until_complete(course.run())
        except DeadlockError as error:
            checks.fail("defect", str(error))
        for text in loop.errors:
            checks.fail("defect", text)
        seconds = loop.time()
        loop.die()
    shutil.rmtree(folder, ignore_errors=True)
    faults = outside.faults
    return Outcome(
        seed,
        checks.violations,
        seconds,
        checks.events,
        checks.orders,
        course.machine.sessions,
        faults.by_id(),
        dict(sorted(faults.fired.items())),
        hash((checks.events, checks.orders, checks.digest, loop.callbacks)),
    )


class _Course:
    """What happens in one seed, in order."""

    def __init__(
        self, seed: int, world: World, outside: Outside, loop: VirtualLoop, checks: Checks, folder: Path, hours: float
    ) -> None:
        self._world = world
        self._outside = outside
        self._loop = loop
        self._checks = checks
        self._seed = seed
        self._hours = hours
        self._rng = random.Random(f"machine/{seed}")
        self._fsync: Any = self._rng.choice(("interval", "always"))
        self._traders: list[SimulatedTrader] = []
        self.machine = Machine(
            loop,
            folder,
            _options(folder, world.currency, self._fsync),
            checks,
            self._make_core,
            outside.make_venue,
            self._rng,
            outside.faults.chance,
        )

    def _make_core(self, recorder: Recorder, id_prefix: str, number: int) -> tuple[TradingCore, Callable[[], None]]:
        trader = self._trader(number)
        core = self._outside.make_core(recorder, id_prefix, trader, hold_orders=self._fsync == "always")

        def pause() -> None:
            trader.paused = True

        return core, pause

    def _trader(self, number: int) -> SimulatedTrader:
        world = self._world
        return SimulatedTrader(
            "trader", [world.instrument], f"{self._seed}/{number}", wishes_per_s=WISHES_PER_S, lots=world.lots
        )

    async def run(self) -> None:
        outside, machine, checks, loop = self._outside, self.machine, self._checks, self._loop
        outside.network.on_write = self._on_write
        loop.spawn(SimulatedProcess("venue"), outside.venue.run())
        await asyncio.sleep(0.1)
        operating = loop.create_task(machine.operate())
        background = [loop.create_task(self._happen(name, act)) for name, act in self._acts().items()]
        background.append(loop.create_task(self._operator()))
        await asyncio.sleep(self._hours * 3600.0)
        outside.faults.heal()
        outside.venue.skew_ns = 0
        await asyncio.sleep(QUIET_S)
        await self._come_right()
        for task in background:
            task.cancel()
        machine.retire()
        machine.stop()
        await operating
        left = outside.venue.open_orders()
        if any(not name.startswith("by-hand") for name in left):
            checks.fail("end", f"after the end these orders are open at the venue: {sorted(left)}")

    def _on_write(self, _port: int, data: bytes) -> None:
        if self._checks.written(data):
            self.machine.at_send()

    async def _come_right(self) -> None:
        """A daemon trades, pauses, and then knows what the venue knows."""
        machine, checks = self.machine, self._checks
        daemon = machine.daemon
        if daemon is None or not daemon.is_trading:
            checks.fail("I10", f"no daemon trades {QUIET_S:g} s after the last fault")
            return
        daemon.pause()
        await asyncio.sleep(STILL_S)
        if daemon.venue is not None:
            daemon.venue.confirm()
        await asyncio.sleep(5.0)
        if machine.daemon is daemon:
            checks.finish()

    async def _happen(self, name: str, act: Callable[[], None]) -> None:
        faults = self._outside.faults
        while (wait_s := faults.wait_s(name)) is not None:
            await asyncio.sleep(wait_s)
            if not faults.enabled:
                return
            faults.note(name)
            act()

    def _acts(self) -> dict[str, Callable[[], None]]:
        machine, rng, venue = self.machine, self._rng, self._outside.venue

        def step_clock() -> None:
            machine.clock.step_ns += int(rng.choice((-3600.0, -1.0, 0.2, 60.0)) * 1e9)

        def set_venue_clock() -> None:
            venue.skew_ns = int(rng.uniform(-10.0, 10.0) * 1e9)

        return {
            **self._outside.acts(),
            "killed": lambda: machine.crash(torn=False),
            "killed_torn_tail": lambda: machine.crash(torn=True),
            "stopped": machine.stop,
            "halted": lambda: machine.order(Halted),
            "reduced": lambda: machine.order(Reduced),
            "clock_stepped": step_clock,
            "venue_clock_off": set_venue_clock,
        }

    async def _operator(self) -> None:
        while True:
            await asyncio.sleep(OPERATOR_EVERY_S)
            self.machine.resume()


def _options(folder: Path, currency: str, fsync: Any) -> Options:
    return Options(
        mode="paper",
        root=folder / "sessions",
        code_root=folder,
        config={"portfolio": {"currency": currency}},
        session="",
        seed=None,
        rates=(),
        models=(),
        feed="simulated",
        data_time=False,
        start_ns=0,
        fsync=fsync,
        fsync_interval_ms=500,
        segment_mb=1,
        metrics_host="",
        metrics_port=0,
        log_level="error",
        log_folder=None,
        log_max_mb=1,
        log_keep=1,
        timer_ms=1000,
        clock_step_limit_ms=50,
        cancel_timeout_s=20.0,
        seconds=None,
        as_json=True,
        report=False,
        account="simulated",
    )


@contextmanager
def _complaints(checks: Checks) -> Iterator[None]:
    """An exception that somebody logs and goes on is a defect."""

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            owner = running_process()
            if owner is None or owner.alive:
                error = record.exc_info[1] if record.exc_info else None
                # Without an error it is a message to the operator; a client that is gone is the venue's server's.
                if error is not None and not isinstance(error, ConnectionError) and str(error) != "Connection closed.":
                    checks.fail("defect", f"{record.name}: {record.getMessage()}: {error!r}")

    handler = Handler(level=logging.ERROR)
    roots = [logging.getLogger(name) for name in ("connectors", "engine", "asyncio", "aiohttp")]
    before = [(root, root.propagate) for root in roots]
    for root in roots:
        root.addHandler(handler)
        root.propagate = False
    # When garbage is found must not depend on what ran before this seed: finalisers act.
    gc.collect()
    gc.disable()
    hook, sys.unraisablehook = sys.unraisablehook, lambda _what: None  # ``finally`` blocks of the dead
    try:
        yield
    finally:
        gc.enable()
        gc.unfreeze()
        gc.collect()
        sys.unraisablehook = hook
        for root, propagate in before:
            root.removeHandler(handler)
            root.propagate = propagate


class Totals(msgspec.Struct):
    """What ``simulate --json`` prints."""

    seeds: int = 0
    violations: int = 0
    simulated_hours: float = 0.0
    events: int = 0
    orders: int = 0
    sessions: int = 0
    faults: dict[str, int] = {}
    kinds: dict[str, int] = {}
    first_failing_seed: int | None = None
    seconds: float = 0.0


def sweep(
    seeds: Iterable[int], world: World, *, hours: float, tell: Callable[[Outcome], None] = lambda _outcome: None
) -> Totals:
    """Run each seed in turn; ``tell`` hears of each."""
    totals = Totals()
    started_s = time.perf_counter()
    memory = Path("/dev/shm")
    root = Path(tempfile.mkdtemp(prefix="kestrel-simulation-", dir=memory if memory.is_dir() else None))
    try:
        for seed in seeds:
            outcome = simulate(seed, world, hours=hours, root=root)
            totals.seeds += 1
            totals.violations += len(outcome.violations)
            totals.simulated_hours += outcome.seconds / 3600.0
            totals.events += outcome.events
            totals.orders += outcome.orders
            totals.sessions += outcome.sessions
            _add(totals.faults, outcome.faults)
            _add(totals.kinds, outcome.kinds)
            if outcome.violations and totals.first_failing_seed is None:
                totals.first_failing_seed = seed
            tell(outcome)
    finally:
        shutil.rmtree(root, ignore_errors=True)
    totals.seconds = time.perf_counter() - started_s
    totals.simulated_hours = round(totals.simulated_hours, 3)
    return totals


def _add(into: dict[str, int], counts: dict[str, int]) -> None:
    for name, count in counts.items():
        into[name] = into.get(name, 0) + count
