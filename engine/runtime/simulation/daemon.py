"""One session of a simulation: it trades as the product's does, without what has no place in it.

Owns what is left out or put in another's place: console, log files, metrics port, threads, clock, disk.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextvars import copy_context
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from engine.bus import EventBus
from engine.core import NullProbe, TradingCore
from engine.errors import JournalError
from engine.events import InputEvent
from engine.ports import Clock, Publish, Recorder, Venue
from engine.router import OrderRouter
from engine.runtime.self_check import Breach
from engine.runtime.session import order_prefix
from engine.runtime.simulation.checks import Checks
from engine.runtime.simulation.disk import SimulatedJournal
from engine.runtime.simulation.loop import SimulatedProcess, running_process
from engine.runtime.succession import Left, Succession
from engine.runtime.trading import TradingSession

if TYPE_CHECKING:
    from engine.runtime.simulation.machine import Machine


class CheckedBus(EventBus):
    """Has the checks look after each event."""

    checks: Checks
    process: SimulatedProcess | None

    def _handle(self, event: InputEvent) -> None:
        if running_process() is not self.process:
            raise RuntimeError(f"{event} came to {self.process} from outside: what it starts would outlive a kill")
        super()._handle(event)
        self.checks.after(event)


class MakeCore(Protocol):
    """``make(recorder, id_prefix, number)``: the core of a session."""

    def __call__(self, recorder: Recorder, id_prefix: str, number: int) -> TradingCore: ...


class QueuedVenue(Venue, Protocol):
    def queue_depths(self) -> dict[str, int]: ...


MakeVenue = Callable[[Publish, Clock, Left | None, int], QueuedVenue]


class SimulatedDaemon:
    """One session.  ``live`` runs it to its end; whoever kills its process calls ``crash`` after."""

    def __init__(
        self,
        machine: Machine,
        number: int,
        name: str = "",
    ) -> None:
        self._machine = machine
        self._number = number
        self._succession = Succession(machine.root / "run", machine.options.account)
        self._options = replace(machine.options, venue_truth=machine.venue_truth)
        self._trading = TradingSession(
            self._options,
            clock=machine.clock,
            succession=self._succession,
            run_dirs=(machine.root / "run",),
            log=_Silent(),
        )
        self.name = name or f"s{number:04d}"
        self._inside = copy_context()
        self.core: TradingCore
        self.journal: SimulatedJournal | None = None
        self.venue: Venue | None = None
        self.defects: list[str] = []

    @property
    def is_trading(self) -> bool:
        return self._trading.is_trading

    @property
    def goes_on_from(self) -> str:
        """The session whose state it has taken over; empty for none."""
        return "" if self._trading.left is None else self._trading.left.session

    @property
    def breaches(self) -> Sequence[Breach]:
        """What the session's own check has seen."""
        return self._trading.self_check.told if self.is_trading else ()

    def publish(self, event: InputEvent) -> None:
        """As the process itself: a timer that this starts must end with it (seed 701173)."""
        self._inside.copy().run(self._trading.publish, event)

    def stop(self, reason: str) -> None:
        self._inside.copy().run(self._trading.stop, reason)

    async def live(self) -> str:
        """Start, trade, stop in order; why it stopped.  Raises ``KestrelError`` as the daemon does."""
        machine, trading = self._machine, self._trading
        self._inside = copy_context()
        session = _Folder(self.name, machine.options.root / self.name)
        session.journal.mkdir(parents=True)
        loop = machine.loop

        def later(call: Callable[[Any], None], value: object) -> None:
            loop.call_soon_threadsafe(call, value)

        try:
            trading.take_over(session)
            self.journal = journal = SimulatedJournal(
                session.journal,
                loop,
                machine.checks.recorded,
                machine.at_record,
                machine.at_rotation,
                machine.disk,
                session=self.name,
                fsync=machine.options.fsync,
                on_synced=lambda seq: later(trading.on_synced, seq),
                on_fault=lambda text: later(trading.on_fault, text),
            )
            try:
                bus = CheckedBus(journal, NullProbe(), self._on_error)
                bus.checks, bus.process = machine.checks, running_process()
                self.core = core = machine.make_core(bus, order_prefix(session.id), self._number)
                trading.attach(bus, core)
                self.venue = venue = machine.make_venue(trading.publish, machine.clock, trading.left, self._number)
                bus.attach(core, OrderRouter(bus.publish, lambda: venue.gateways))
                machine.begins(self)
                machine.checks.begin(core, bus, venue.queue_depths, journal, anew=self._options.venue_truth)
                return await trading.trade(session, venue, _Unwatched())
            finally:
                journal.close()
        finally:
            self._succession.close()

    def crash(self, *, power: bool = False) -> int | None:
        """What the system does for a process that is gone; with ``power``, the last number that is on the disk."""
        upto_seq = None if self.journal is None else self.journal.crash(power=power)
        self._succession.close()
        return upto_seq

    def _on_error(self, text: str, error: Exception) -> None:
        if not (isinstance(error, JournalError) and self._machine.disk_failed):  # answers of models find no room, too
            self.defects.append(f"{text}: {type(error).__name__}: {error}")
        self._trading.on_error(text, error)


class _Header:
    config_hash = code_hash = "simulated"


class _Folder:
    """What ``TradingSession.trade`` asks of a session's folder."""

    header = _Header()

    def __init__(self, name: str, path: Path) -> None:
        self.id = name
        self.path = path
        self.journal = path / "journal"


class _Silent:
    """What a daemon logs is not wanted; what went wrong comes by ``_on_error``."""

    def error(self, *_words: Any, **_fields: Any) -> None: ...

    warning = error


class _Unwatched:
    """Nobody looks but the machine."""

    def status(self) -> dict[str, Any]:
        return {}

    def on_second(self) -> None: ...

    def tell_failures(self) -> None: ...
