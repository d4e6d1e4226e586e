"""The machine that daemons of one account run on, one after the other: started, killed, stopped, started again.

Owns the lives of sessions.  A session is ``engine.runtime.daemon``'s own, but for what has no place in a simulation:
its console, its log files, its metrics port, its threads.
"""

from __future__ import annotations

import asyncio
import io
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from engine.bus import EventBus
from engine.codec import Record
from engine.commands import NewOrder, RiskState
from engine.core import NullProbe, TradingCore
from engine.errors import KestrelError
from engine.events import AccountSettled, Halted, InputEvent, OrderAccepted, OrderFilled, Reduced, Resumed, StateKept
from engine.ports import Clock, Publish, Recorder, Venue
from engine.router import OrderRouter
from engine.runtime.console import StatusConsole
from engine.runtime.daemon import Daemon, Options, Parts, _later
from engine.runtime.series import SeriesWatch
from engine.runtime.session import order_prefix
from engine.runtime.simulation.checks import Checks
from engine.runtime.simulation.disk import SimulatedJournal, tear
from engine.runtime.simulation.loop import Killed, SimulatedProcess, VirtualLoop
from engine.runtime.succession import Left, Succession

START_NS = 1_800_000_000_000_000_000
"""True time when a simulation begins."""


class VirtualClock:
    """The daemon's clock: exact, but the wall clock may be stepped."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop
        self.step_ns = 0

    def now_ns(self) -> int:
        return START_NS + int(self._loop.time() * 1e9)

    def wall_ns(self) -> int:
        return self.now_ns() + self.step_ns


class CheckedBus(EventBus):
    """Has the checks look after each event."""

    checks: Checks

    def _handle(self, event: InputEvent) -> None:
        super()._handle(event)
        self.checks.after(event)


class MakeCore(Protocol):
    """``make(recorder, id_prefix, number)``: a core and a switch that stops its trader from wishing."""

    def __call__(self, recorder: Recorder, id_prefix: str, number: int) -> tuple[TradingCore, Callable[[], None]]: ...


MakeVenue = Callable[[Publish, Clock, Left | None, int], Venue]


class SimulatedDaemon(Daemon):
    """One session.  ``live`` runs it to its end; whoever kills its process calls ``crash`` after."""

    def __init__(
        self,
        machine: Machine,
        number: int,
    ) -> None:
        super().__init__(machine.options, Parts(core=_none, venue=_none, lag=_none, warmer=_no_warmer))
        self._clock = machine.clock  # type: ignore[assignment]
        self._machine = machine
        self._number = number
        self._log = _Silent()
        self._succession = Succession(machine.root / "run", machine.options.account)
        self._run_dirs = (machine.root / "run",)
        self._console = StatusConsole(io.StringIO())
        self.name = f"s{number:04d}"
        self.journal: SimulatedJournal | None = None
        self.venue: Venue | None = None
        self.pause: Callable[[], None] = lambda: None
        self.defects: list[str] = []

    @property
    def core(self) -> TradingCore:
        return self._core

    @property
    def is_trading(self) -> bool:
        return self._trading

    def publish(self, event: InputEvent) -> None:
        self._publish(event)

    def stop(self, reason: str) -> None:
        if self._supervisor is not None:
            self._supervisor.stop(reason)

    async def live(self) -> str:
        """Start, trade, stop in order; why it stopped.  Raises ``KestrelError`` as the daemon does."""
        machine, options = self._machine, self._options
        session = _Folder(self.name, options.root / self.name)
        session.journal.mkdir(parents=True)
        loop = machine.loop
        try:
            self._take_over(session)  # type: ignore[arg-type]
            self.journal = journal = SimulatedJournal(
                session.journal,
                loop,
                machine.checks.recorded,
                machine.at_record,
                session=self.name,
                fsync=options.fsync,
                on_synced=lambda seq: _later(loop, self._on_synced, seq),
                on_fault=lambda text: _later(loop, self._on_fault, text),
            )
            try:
                self._bus = bus = CheckedBus(journal, NullProbe(), self._on_error)
                bus.checks = machine.checks
                self._core, self.pause = machine.make_core(bus, order_prefix(session.id), self._number)
                self._series = SeriesWatch(self._core)
                self.venue = venue = machine.make_venue(self._publish, self._clock, self._left, self._number)
                bus.attach(self._core, OrderRouter(bus.publish, lambda: venue.gateways))
                machine.checks.begin(self._core, bus)
                return await self._trade(session, venue, _Unwatched(), None, lambda: None)  # type: ignore[arg-type]
            finally:
                journal.close()
        finally:
            assert self._succession is not None
            self._succession.close()

    def crash(self) -> None:
        """What the system does for a process that is gone."""
        if self.journal is not None:
            self.journal.crash()
        assert self._succession is not None
        self._succession.close()

    def _on_error(self, text: str, error: Exception) -> None:
        self.defects.append(f"{text}: {type(error).__name__}: {error}")
        super()._on_error(text, error)


class _Header:
    config_hash = code_hash = "simulated"


class _Folder:
    """What ``_trade`` asks of a session's folder."""

    header = _Header()

    def __init__(self, name: str, path: Path) -> None:
        self.id = name
        self.path = path
        self.journal = path / "journal"


class _Silent:
    """What a daemon logs is not wanted; what went wrong comes by ``_on_error``."""

    def error(self, *_words: Any, **_fields: Any) -> None: ...


class _Unwatched:
    """Nobody looks."""

    def status(self) -> dict[str, Any]:
        return {}

    def on_second(self) -> None: ...

    def tell_failures(self) -> None: ...


def _none(*_arguments: Any) -> Any:
    raise AssertionError("a simulated daemon has parts of its own")


def _no_warmer(*_arguments: Any) -> None:
    return None


_POINTS: dict[tuple[type, bool], str] = {
    (NewOrder, True): "killed_after_journal",
    (OrderAccepted, False): "killed_before_ack_is_kept",
    (OrderFilled, True): "killed_in_fill",
    (AccountSettled, True): "killed_in_reconciliation",
    (StateKept, False): "killed_in_reconciliation",
}
"""Where a process may end: at this record, before or after it is written."""


class Machine:
    """``operate`` keeps a daemon running until ``retire``; ``crash`` and ``stop`` end the one that runs."""

    def __init__(
        self,
        loop: VirtualLoop,
        root: Path,
        options: Options,
        checks: Checks,
        make_core: MakeCore,
        make_venue: MakeVenue,
        rng: random.Random,
        chance: Callable[[str], bool],
    ) -> None:
        """``chance(name)``: whether a fault of that name happens now."""
        self.loop = loop
        self.root = root
        self.options = options
        self.checks = checks
        self.make_core = make_core
        self.make_venue = make_venue
        self.clock = VirtualClock(loop)
        self.daemon: SimulatedDaemon | None = None
        self.sessions = 0
        self.failed_starts = 0
        self._rng = rng
        self._chance = chance
        self._process: SimulatedProcess | None = None
        self._task: asyncio.Task[str] | None = None
        self._over = asyncio.Event()
        self._retired = False

    async def operate(self) -> None:
        while not self._retired:
            self.sessions += 1
            self.daemon = daemon = SimulatedDaemon(self, self.sessions)
            self._process = process = SimulatedProcess(daemon.name)
            self._over.clear()
            self._task = task = self.loop.spawn(process, daemon.live())
            task.add_done_callback(lambda _: self._over.set())
            await self._over.wait()
            self._judge_end(daemon, task)
            if process.alive:
                self.loop.kill(process)  # what a process leaves running ends with it
            if not self._retired:
                await asyncio.sleep(self._rng.choice((0.2, 2.0, 20.0)))

    def _judge_end(self, daemon: SimulatedDaemon, task: asyncio.Task[str]) -> None:
        for defect in daemon.defects:
            self.checks.fail("defect", defect)
        if not task.done():
            return  # killed
        error = task.exception()
        if error is None:
            return
        if isinstance(error, KestrelError) and not daemon.is_trading:
            self.failed_starts += 1
            return
        self.checks.fail("defect", f"{daemon.name} ended: {type(error).__name__}: {error}")

    def crash(self, *, torn: bool) -> None:
        """``kill -9`` of the daemon that runs."""
        daemon, process = self.daemon, self._process
        if daemon is None or process is None or not process.alive or self._over.is_set():
            return
        self.loop.kill(process)
        daemon.crash()
        if torn and daemon.journal is not None:
            tear(self.options.root / daemon.name / "journal", self._rng)
        self._over.set()

    def at_record(self, record: Record, written: bool) -> None:
        """A record is about to be written, or is: the process may end here.  Raises ``Killed``."""
        process = self._process
        if process is not None and not process.alive:
            raise Killed
        name = _POINTS.get((type(record), written), "")
        if name and self._chance(name):
            self.crash(torn=False)
            raise Killed

    def at_send(self) -> None:
        """An order's bytes are being written: the process may end before anything else happens in it."""
        if self._chance("killed_after_send"):
            self.loop.call_soon(lambda: self.crash(torn=False))

    def stop(self) -> None:
        """SIGTERM."""
        if self.daemon is not None and self.daemon.is_trading:
            self.daemon.stop("SIGTERM")

    def order(self, command: type[Halted | Reduced]) -> None:
        """The operator's."""
        daemon = self.daemon
        if daemon is not None and daemon.is_trading:
            now_ns = self.clock.now_ns()
            daemon.publish(command(now_ns, now_ns, "operator", "simulated"))

    def resume(self) -> None:
        """The operator looks, finds the account confirmed, and lets it trade again."""
        daemon = self.daemon
        if daemon is not None and daemon.is_trading and daemon.core.gate.state is not RiskState.ACTIVE:
            now_ns = self.clock.now_ns()
            daemon.publish(Resumed(now_ns, now_ns, "operator", "simulated"))

    def retire(self) -> None:
        """After the daemon that runs there is none."""
        self._retired = True
