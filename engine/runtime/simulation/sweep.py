"""One seed, from a fresh account to books that agree with the venue.

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
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from decimal import Decimal
from pathlib import Path
from typing import Any, Protocol

import msgspec

from engine.core import TradingCore
from engine.lanes import StrategySlot
from engine.ports import Assembly, Assignment, Clock, Publish, Recorder, Strategy
from engine.runtime.simulation.again import differences
from engine.runtime.simulation.brackets import SimulatedBrackets
from engine.runtime.simulation.checks import Checks, Violation
from engine.runtime.simulation.daemon import QueuedVenue
from engine.runtime.simulation.dials import DialChecks
from engine.runtime.simulation.holder import SimulatedHolder
from engine.runtime.simulation.loop import DeadlockError, Killed, SimulatedProcess, VirtualLoop, running_process
from engine.runtime.simulation.machine import START_NS, Machine
from engine.runtime.simulation.models import Heard, Ills, Shelf
from engine.runtime.simulation.rollout import Rollout
from engine.runtime.simulation.trader import SimulatedTrader, Told
from engine.runtime.simulation.trouble import Trouble
from engine.runtime.simulation.truth import Truth
from engine.runtime.simulation.walker import SimulatedWalker
from engine.runtime.succession import Left
from engine.session_options import Options
from engine.stakes import CANARY_SUFFIX

QUIET_S = 150.0
"""After the last fault the account must come right in this time: a grace, a back-off and a reconciliation."""
STILL_S = 60.0
"""Then nothing new is wished for, and what is under way has this time."""
OPERATOR_EVERY_S = 120.0
TIMER_MS = 3000
"""Slower than a real daemon's: idle hours are mostly timers, and their price is what limits a sweep."""
WISHES_PER_S = 0.04
REPLAYED_EVERY = 4
"""Every so many seeds all sessions of one are replayed."""
WALKER = "walker"
HOLDS = 3
"""How many times the trader's least quantity the holder buys."""


class FaultSource(Protocol):
    """What ``connectors.simulation.faults`` offers."""

    enabled: bool
    fired: Counter[str]

    def wait_s(self, name: str) -> float | None: ...

    def chance(self, name: str) -> bool: ...

    def share_of(self, name: str) -> float: ...

    def note(self, name: str) -> None: ...

    def count(self, fault_id: str) -> None: ...

    def by_id(self) -> dict[str, int]: ...


class VenueProcess(Truth, Protocol):
    skew_ns: int

    @property
    def dials_max(self) -> Mapping[int, int]:
        """How often a session may dial each port in a minute."""
        ...

    async def run(self) -> None: ...


class Outside(Protocol):
    """Everything around one daemon; ``run.py`` makes it of ``connectors.simulation``."""

    @property
    def faults(self) -> FaultSource: ...

    @property
    def network(self) -> Any: ...

    @property
    def venue(self) -> VenueProcess: ...

    def acts(self) -> Mapping[str, Callable[[], object]]:
        """What the timed faults of network and venue do; False where one had nothing to happen to."""
        ...

    def make_core(
        self,
        recorder: Recorder,
        id_prefix: str,
        slots: Sequence[StrategySlot],
        assembly: Assembly,
        *,
        hold_orders: bool,
    ) -> TradingCore: ...

    def heal(self) -> None:
        """No fault from now on, and none that lasts."""
        ...

    def guard_fails(self, now_ns: int) -> bool:
        """Whether risk is made to fail at this time of the daemon's clock."""
        ...

    def make_venue(self, publish: Publish, clock: Clock, left: Left | None, number: int) -> QueuedVenue: ...


class World(Protocol):
    """What is simulated: instruments, limits on their positions (base units), least orders (lots), and the outside."""

    @property
    def currency(self) -> str: ...

    @property
    def max_position_qty(self) -> Mapping[str, Decimal]: ...

    @property
    def lots(self) -> Mapping[str, int]: ...

    @property
    def oldest_s(self) -> float:
        """What strategies hold is closed before it is older, faults or not."""
        ...

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
        outside.venue,
        loop.time,
        now_ns,
        max_position_qty=world.max_position_qty,
        strategies=("trader", "holder", "brackets", WALKER, WALKER + CANARY_SUFFIX),
        served=(WALKER,),
        oldest_s=world.oldest_s,
        guard_fails=outside.guard_fails,
        count=outside.faults.count,
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
    if seed % REPLAYED_EVERY == 1 and not checks.violations:
        for text in differences(folder / "sessions", course.make_core_again, course.machine.spoiled):
            checks.fail("I7", text)
    loop.bury()
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
        self._faults_until_ns = START_NS + int(hours * 3600.0 * 1e9)
        self._until_ns = self._faults_until_ns + int(QUIET_S * 1e9)
        self._champions: dict[int, dict[str, Assignment]] = {}
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
        self.rollout = Rollout(
            self.machine,
            random.Random(f"rollout/{seed}"),
            tuple(world.lots),
            lambda: outside.faults.chance("answer_late"),
        )

    def _make_core(self, recorder: Recorder, id_prefix: str, number: int) -> TradingCore:
        def broke(name: str) -> None:
            self._outside.faults.note("strategy_broke")
            self._checks.broke(name)

        checks = self._checks
        told = Told(checks.asked, broke, checks.versions.wished, checks.served.entered)
        self._champions[number] = self.rollout.champions()
        return self._make(recorder, id_prefix, number, told, Heard(self.rollout.asked, self._outside.faults.note))

    def make_core_again(self, recorder: Recorder, id_prefix: str, number: int) -> TradingCore:
        """The core of session ``number`` as it began, for its replay."""
        return self._make(recorder, id_prefix, number, None, Heard())

    def _make(self, recorder: Recorder, id_prefix: str, number: int, told: Told | None, heard: Heard) -> TradingCore:
        lots, seed = self._world.lots, f"{self._seed}/{number}"
        share_of = self._outside.faults.share_of
        breaks = share_of("strategy_broke")
        strategies: list[Strategy] = [
            SimulatedTrader(
                "trader",
                lots,
                seed,
                wishes_per_s=WISHES_PER_S,
                until_ns=self._until_ns,
                breaks_per_s=breaks,
                told=told,
            ),
            SimulatedHolder(
                "holder", {name: HOLDS * one for name, one in lots.items()}, seed, until_ns=self._until_ns, told=told
            ),
            SimulatedBrackets(
                "brackets", {name: HOLDS * one for name, one in lots.items()}, seed, until_ns=self._until_ns, told=told
            ),
        ]
        names = frozenset(lots)
        slots = [StrategySlot(one, instruments=names, uses_model=False) for one in strategies]
        walker = SimulatedWalker(WALKER, lots, seed, until_ns=self._until_ns, told=told)
        slots.append(StrategySlot(walker, instruments=names, make_twin=walker.twin))
        ills = Ills(share_of("model_late"), share_of("model_failed"), share_of("model_odd"))
        shelf = Shelf(self._champions[number], ills, self._faults_until_ns, heard)
        return self._outside.make_core(recorder, id_prefix, slots, shelf, hold_orders=self._fsync == "always")

    async def run(self) -> None:
        outside, machine, checks, loop = self._outside, self.machine, self._checks, self._loop
        outside.network.on_write = self._on_write
        outside.network.on_dial = DialChecks(checks.fail, loop.time, outside.venue.dials_max).dialled
        loop.spawn(SimulatedProcess("venue"), outside.venue.run())
        await asyncio.sleep(0.1)
        operating = loop.create_task(machine.operate())
        background = [loop.create_task(self._happen(name, act)) for name, act in self._acts().items()]
        background.append(loop.create_task(self._operator()))
        self.rollout.follow()
        await asyncio.sleep(self._hours * 3600.0)
        outside.heal()
        machine.heal()
        self.rollout.heal()
        with suppress(Killed):
            machine.look()  # what only an operator mends is not left to when he happens to look next
        await asyncio.sleep(QUIET_S)
        await self._come_right()
        for task in background:
            if task.done() and not task.cancelled() and task.exception() is not None:
                checks.fail("defect", f"of the simulation: {task.exception()!r}")
            task.cancel()
        machine.retire()
        machine.stop()
        await operating
        left = outside.venue.open_orders()
        ours = sorted(name for name in left if checks.is_ours(name))
        if ours:
            checks.fail("end", f"after the end these orders are open at the venue: {ours}")

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
        for name in self._world.max_position_qty:
            closed = daemon.core.view.tradable(name)
            if closed:
                checks.fail("I10", f"{QUIET_S:g} s after the last fault nothing can be ordered in {name}: {closed}")
                return
        if not machine.clock.is_right:
            # Its strategies end by its own clock, and that of a session that slept is behind for ever.
            machine.stop()
            await asyncio.sleep(QUIET_S)
            daemon = machine.daemon
            assert daemon is not None
        await asyncio.sleep(STILL_S)
        if daemon.venue is not None:
            daemon.venue.confirm()
        await asyncio.sleep(5.0)
        if machine.daemon is daemon:
            checks.finish()

    async def _happen(self, name: str, act: Callable[[], object]) -> None:
        faults = self._outside.faults
        while (wait_s := faults.wait_s(name)) is not None:
            await asyncio.sleep(wait_s)
            if not faults.enabled:
                return
            try:
                happened = act() is not False
            except Killed:  # what the act had the process do was its end
                happened = True
            if happened:
                faults.note(name)

    def _acts(self) -> dict[str, Callable[[], object]]:
        def set_venue_clock(skew_ns: int) -> None:
            self._outside.venue.skew_ns = skew_ns

        trouble = Trouble(self.machine, self._rng, set_venue_clock)
        return {**self._outside.acts(), **trouble.acts(), **self.rollout.acts()}

    async def _operator(self) -> None:
        while True:
            await asyncio.sleep(OPERATOR_EVERY_S)
            with suppress(Killed):
                self.machine.look()


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
        timer_ms=TIMER_MS,
        clock_step_limit_ms=50,
        cancel_timeout_s=20.0,
        self_check_s=1,
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
    hook, sys.unraisablehook = sys.unraisablehook, lambda _what: None  # ``finally`` blocks of the dead
    _collect()  # the world of the seed before, which lived until its own caller was done with it
    # When garbage is found must not depend on what ran before this seed: finalisers act.  What there is now is not
    # looked at.
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        _collect()  # of what this seed has made
        gc.enable()
        gc.unfreeze()
        sys.unraisablehook = hook
        for root, propagate in before:
            root.removeHandler(handler)
            root.propagate = propagate


def _collect() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # coroutines that the dead never came to await
        gc.collect()
