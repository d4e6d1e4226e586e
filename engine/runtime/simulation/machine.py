"""The machine that daemons of one account run on, one after the other: started, killed, stopped, started again.

Owns the lives of sessions, and the points at which one may end.  A session is ``daemon``'s.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from pathlib import Path

from engine.codec import Record
from engine.commands import NewOrder, NewOrderWithExits, ReplaceOrder, RiskState
from engine.errors import JournalError, KestrelError, SessionLocked
from engine.events import AccountSettled, Halted, OrderAccepted, OrderAttached, OrderFilled, Reduced, Resumed, StateKept
from engine.runtime.simulation.checks import Checks
from engine.runtime.simulation.daemon import MakeCore, MakeVenue, SimulatedDaemon
from engine.runtime.simulation.disk import SYNC_S, Disk, damage, make_foreign, tear
from engine.runtime.simulation.loop import Killed, SimulatedProcess, VirtualLoop
from engine.runtime.succession import VENUE_TRUTH
from engine.session_options import Options

START_NS = 1_800_000_000_000_000_000
"""True time when a simulation begins."""


RESTART_S = (0.2, 2.0, 20.0)
"""After which a session is followed by the next one; while starts fail, in twice the time after each."""
RESTART_MOST_S = 30.0


class VirtualClock:
    """A daemon's clock.  Its wall clock may be stepped; it is read once at the start, as the real one is, and time that
    the machine sleeps through is lost to it."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop
        self._lost_ns = 0
        self.step_ns = 0

    def start(self) -> None:
        """A process starts, and goes by what the wall clock says."""
        self._lost_ns = -self.step_ns

    def sleep(self, seconds: float) -> None:
        self._lost_ns += int(seconds * 1e9)

    @property
    def is_right(self) -> bool:
        return not self._lost_ns and not self.step_ns

    def now_ns(self) -> int:
        return self._true_ns() - self._lost_ns

    def wall_ns(self) -> int:
        return self._true_ns() + self.step_ns

    def _true_ns(self) -> int:
        return START_NS + int(self._loop.time() * 1e9)


_POINTS: dict[tuple[type, bool], str] = {
    (NewOrder, True): "killed_after_journal",
    (NewOrderWithExits, True): "killed_after_journal",
    (OrderAttached, False): "killed_in_fill",
    (OrderAttached, True): "killed_in_fill",
    (ReplaceOrder, True): "killed_after_journal",
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
        self.disk = Disk(lambda: rng.uniform(0.3, 4.0) if chance("disk_slow") else SYNC_S)
        self.daemon: SimulatedDaemon | None = None
        self.sessions = 0
        self.failed_starts = 0
        self._rng = rng
        self._chance = chance
        self._process: SimulatedProcess | None = None
        self._task: asyncio.Task[str] | None = None
        self._over = asyncio.Event()
        self._retired = False
        self.disk_failed = False
        """The disk that the running session has is full, or was."""
        self._others = 0
        self.spoiled: dict[str, str] = {}
        """Sessions whose journal somebody has made unreadable, and by which row of the list."""
        self.venue_truth = False
        """The next session goes on from what the venue says alone."""
        self._repairs: list[tuple[asyncio.TimerHandle, Callable[[], None]]] = []

    async def operate(self) -> None:
        failed_before, pauses = 0, 1.0
        while not self._retired:
            self.sessions += 1
            self.clock.start()
            self.disk.fails, self.disk_failed = False, self.disk.full
            self.daemon = daemon = SimulatedDaemon(self, self.sessions)
            self._process = process = SimulatedProcess(daemon.name)
            self._over.clear()
            self._task = task = self.loop.spawn(process, daemon.live())
            task.add_done_callback(lambda _: self._over.set())
            await self._over.wait()
            self._judge_end(daemon, task)
            if process.alive:
                self.loop.kill(process)  # what a process leaves running ends with it
            pauses = 2.0 * pauses if self.failed_starts > failed_before else 1.0
            failed_before = self.failed_starts
            if not self._retired:
                await asyncio.sleep(min(self._rng.choice(RESTART_S) * pauses, RESTART_MOST_S))

    def _judge_end(self, daemon: SimulatedDaemon, task: asyncio.Task[str]) -> None:
        for defect in daemon.defects:
            self.checks.fail("defect", defect)
        for invariant, text in daemon.breaches:
            self.checks.fail(invariant, f"the session's own check: {text}")
        if not task.done():
            return  # killed
        error = task.exception()
        if self.spoiled and isinstance(error, JournalError) and error.do == VENUE_TRUTH:
            # Refused, as it must be; the operator has looked into why.  It comes again where the disk has lost the
            # session that went on without it.
            self.venue_truth = True
        if error is None:
            return
        if isinstance(error, KestrelError) and not daemon.is_trading:
            self.failed_starts += 1
            return
        if isinstance(error, JournalError) and self.disk_failed:
            return
        self.checks.fail("defect", f"{daemon.name} ended: {type(error).__name__}: {error}")

    def crash(self, *, torn: bool, power: bool = False) -> bool:
        """``kill -9`` of the daemon that runs, or of everything.  False when none did."""
        daemon, process = self.daemon, self._process
        if daemon is None or process is None or not process.alive or self._over.is_set():
            return False
        self.loop.kill(process)
        upto_seq = daemon.crash(power=power)
        if upto_seq is not None:
            self.checks.lost(upto_seq)
        if torn and daemon.journal is not None:
            tear(self.options.root / daemon.name / "journal", self._rng)
        self._over.set()
        return True

    def spoil(self, fault_id: str) -> bool:
        """The machine goes down, and what the session has written cannot be read by who comes next.  False when none
        trades."""
        daemon = self.daemon
        if daemon is None or not daemon.is_trading or not self.crash(torn=False):
            return False
        journal = self.options.root / daemon.name / "journal"
        if not (damage(journal, self._rng) if fault_id == "A7" else make_foreign(journal)):
            return False
        self.spoiled[daemon.name] = fault_id
        return True

    def begins(self, daemon: SimulatedDaemon) -> None:
        """A daemon has taken the account over and is about to trade: not on what a journal left that cannot be read,
        nor on what was left before that."""
        newest = max(self.spoiled, default="")
        if newest and not self.venue_truth and daemon.goes_on_from <= newest:
            text = f"{daemon.name} goes on from {daemon.goes_on_from or 'nothing'}: {newest} cannot be read"
            self.checks.fail(self.spoiled[newest], text)
        self.venue_truth = False  # said once: who cannot go on from this session either is refused again

    def at_record(self, record: Record, written: bool) -> None:
        """A record is about to be written, or is: the process may end here.  Raises ``Killed``."""
        process = self._process
        if process is not None and not process.alive:
            raise Killed
        name = _POINTS.get((type(record), written), "")
        if name and self._chance(name):
            self.crash(torn=False)
            raise Killed

    def at_rotation(self) -> None:
        """The journal goes on in another file."""
        if self._chance("killed_in_rotation"):
            self.crash(torn=False)
            raise Killed

    def at_send(self) -> None:
        """An order's bytes are being written: the process may end before anything else happens in it."""
        if self._chance("killed_after_send"):
            self.loop.call_soon(lambda: self.crash(torn=False))

    def stop(self) -> bool:
        """SIGTERM.  False when nobody trades."""
        if self.daemon is None or not self.daemon.is_trading or self.is_frozen:
            return False
        self.daemon.stop("SIGTERM")
        return True

    def order(self, command: type[Halted | Reduced]) -> bool:
        """The operator's.  False when nobody trades."""
        daemon = self.daemon
        if daemon is None or not daemon.is_trading or self.is_frozen:
            return False
        now_ns = self.clock.now_ns()
        daemon.publish(command(now_ns, now_ns, "operator", "simulated"))
        return True

    def look(self) -> None:
        """The operator looks: a session whose disk failed is ended, one that was halted goes on."""
        daemon = self.daemon
        if daemon is None or not daemon.is_trading or self.is_frozen:
            return
        if daemon.journal is not None and daemon.journal.broken:
            daemon.stop("the disk failed")
        elif daemon.core.gate.state is not RiskState.ACTIVE:
            now_ns = self.clock.now_ns()
            daemon.publish(Resumed(now_ns, now_ns, "operator", "simulated"))

    @property
    def is_frozen(self) -> bool:
        """Whether the process stands still: it hears nothing."""
        return self._process is not None and not self._process.runs

    def freeze(self, seconds: float, *, asleep: bool) -> bool:
        """The process stands still for so long; ``asleep``: so does its clock.  False when none runs."""
        process = self._process
        if process is None or not process.runs or self._over.is_set():
            return False

        began_s = self.loop.time()

        def thaw() -> None:
            if asleep and process is self._process:
                self.clock.sleep(self.loop.time() - began_s)
            if process is self._process:
                self.checks.stood_still(self.loop.time() - began_s, asleep=asleep)
            self.loop.thaw(process)

        self.loop.freeze(process)
        self.until_healed(self.loop.call_later(seconds, thaw), thaw)
        return True

    def fill_disk(self, seconds: float) -> None:
        """There is no room for so long."""
        self.disk.full = self.disk_failed = True
        daemon = self.daemon
        if daemon is not None and daemon.journal is not None:
            daemon.journal.fill_up()

        def free() -> None:
            self.disk.full = False

        self.until_healed(self.loop.call_later(seconds, free), free)

    def break_disk(self) -> bool:
        """The next sync fails.  False when there will be none."""
        if self.options.fsync == "never" or self._over.is_set():
            return False
        self.disk.fails = self.disk_failed = True
        return True

    def start_another(self) -> bool:
        """Somebody starts a daemon on the account while one trades on it: it must be refused.  False when none does."""
        if self.daemon is None or not self.daemon.is_trading or self._over.is_set():
            return False
        self._others += 1
        daemon = SimulatedDaemon(self, 0, name=f"another-{self._others}")
        process = SimulatedProcess(daemon.name)
        task = self.loop.spawn(process, daemon.live())

        def judge(_: object) -> None:
            error = task.exception()
            if not isinstance(error, SessionLocked):
                self.checks.fail("A10", f"a second daemon on the account was not refused: {error!r}")

        task.add_done_callback(judge)
        self.loop.call_later(1.0, self._end_other, process, task)
        return True

    def _end_other(self, process: SimulatedProcess, task: asyncio.Task[str]) -> None:
        if not task.done():
            self.checks.fail("A10", "a second daemon on the account was not refused")
        self.loop.kill(process)

    def until_healed(self, timer: asyncio.TimerHandle, repair: Callable[[], None]) -> None:
        """``timer`` calls ``repair``, which is done by ``heal`` if that comes first."""
        self._repairs.append((timer, repair))

    def heal(self) -> None:
        """What is wrong with the machine becomes right, but for the clock of a process that runs."""
        now_s = self.loop.time()
        for timer, repair in self._repairs:
            if not timer.cancelled() and timer.when() > now_s:
                timer.cancel()
                repair()
        self._repairs.clear()

    def retire(self) -> None:
        """After the daemon that runs there is none."""
        self._retired = True
