"""The daemon's life: start, timers, operator commands, orderly stop.  Decides nothing about trading.

Everything timed happens by ``Timer`` events that go through the bus like any other input, so that a replay sees them.
A recording brings its own timers (in data time); then the wall-clock timer here only looks after operators.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from engine.bus import EventBus
from engine.commands import RiskState
from engine.core import KEEP, TradingCore
from engine.errors import JournalError, KestrelError, WrongAccount
from engine.events import (
    ClockStepped,
    Halted,
    InputEvent,
    OperatorRequested,
    Reduced,
    Resumed,
    ShutdownRequested,
    Timer,
)
from engine.intents import writable
from engine.ports import Clock, Publish, Venue
from engine.runtime.books import BookWatch
from engine.runtime.clocks import ClockWatch
from engine.runtime.control import ControlServer, clear_halt, read_halt
from engine.runtime.heartbeat import Phase
from engine.runtime.model_requests import COMMANDS as OF_MODELS
from engine.runtime.model_requests import ModelRequests
from engine.runtime.model_watch import standing_of
from engine.runtime.rehearsal import confirmed
from engine.runtime.requests import DONE, make_request, unsettled
from engine.runtime.self_check import SOURCE
from engine.runtime.watch import Queueing
from engine.runtime.watchdog_keeper import WatchdogKeeper

_SETTLE_S = 0.02
"""Between two looks at the orders that are to be cancelled at the end."""
STOP_S = 10.0
"""Longest wait for a venue's connections to be closed."""
KEEP_RECORDS = 1_000_000
"""The state is kept after this many records too, whatever the time: a next start reads what follows it."""


class Supervisor:
    """Runs one session from the venue's start to the last cancelled order.

    ``run_dirs``: where it listens and looks for HALT.  ``data_time``: timers come from the feed (a recording).
    ``status`` answers the operator's ``status``.
    ``keep_s``: how often the core puts its state on record (and after ``KEEP_RECORDS``); None: never, nobody will go
    on from here.
    ``on_second`` is called about once a second (the console line, the report's series).
    ``watchdog``: None for an account that ends with the session.  ``flatten_s``: how long positions may take to be
    closed before the session ends; None: they are kept.
    ``confirm_s``: how long the account may take to be confirmed before anything trades, else the session ends; None:
    strategies wait for it.  ``only_check``: end there, and leave what is open as it is.
    ``self_check`` says why trading must halt, empty where it need not; asked each ``self_check_s`` seconds.
    """

    def __init__(
        self,
        *,
        bus: EventBus,
        publish: Publish,
        core: TradingCore,
        venue: Venue,
        clock: Clock,
        clock_watch: ClockWatch,
        session: str,
        run_dirs: Sequence[Path],
        timer_ms: int,
        cancel_timeout_s: float,
        data_time: bool,
        status: Callable[[], dict[str, Any]],
        on_second: Callable[[], None],
        keep_s: float | None = None,
        watchdog: WatchdogKeeper | None = None,
        flatten_s: float | None = None,
        confirm_s: float | None = None,
        only_check: bool = False,
        models: ModelRequests | None = None,
        self_check: Callable[[], str] = str,
        self_check_s: int = 10,
    ) -> None:
        self._models = models or ModelRequests(core)
        self._bus = bus
        self._publish_event = publish
        self._core = core
        self._venue = venue
        self._clock = clock
        self._clock_watch = clock_watch
        self._run_dirs = run_dirs
        self._timer_s = timer_ms / 1000.0
        self._cancel_timeout_s = cancel_timeout_s
        self._data_time = data_time
        self._keep_s = keep_s
        self._watchdog = watchdog
        self._flatten_s = flatten_s
        self._confirm_s = confirm_s
        self._only_check = only_check
        self._status = status
        self._on_second = on_second
        self._self_check = self_check
        self._self_check_s = self_check_s
        self._to_self_check_s = self_check_s
        self._books = BookWatch(core, venue)
        self._stop = asyncio.Event()
        self._stop_reason = ""
        self._signals = 0
        self._conflicts = 0
        self._standstills = 0
        self._halt_seen = False
        self._control = ControlServer(run_dirs, session, self._answer)
        self._ticking: asyncio.TimerHandle | None = None
        self._second: asyncio.TimerHandle | None = None
        self._keeping: asyncio.TimerHandle | None = None
        self._kept_seq = 0

    # --- life -----------------------------------------------------------------------------------------------------

    async def run(
        self, seconds: float | None, on_started: Callable[[], None], on_listening: Callable[[], None] | None = None
    ) -> str:
        """Trade until a signal, the end of the feed, ``seconds`` or a dead journal; returns why it stopped.

        ``on_listening`` is called when signals and commands are heard, ``on_started`` when the venue is there.
        Raises ``VenueError`` when the venue cannot be started, ``KestrelError`` when the account is not confirmed.
        """
        loop = asyncio.get_running_loop()
        signals = [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1]
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            signals.append(signal.SIGHUP)  # a terminal that closes ends the session in order; under nohup, nothing
        for number in signals:
            loop.add_signal_handler(number, self._on_signal, number)
        await self._control.start()
        if on_listening is not None:
            on_listening()
        self._tick()
        is_ours = True
        try:
            if self._watchdog is not None:
                await self._watchdog.start()
            await self._start_venue()
            if self._confirm_s is not None:
                await confirmed(self._core, self._venue.name, self._stop, self._confirm_s)
            on_started()
            if self._only_check:
                self.stop("nothing but a check was asked for")
            # What exists now lives as long as the process: keep full collections from walking it on the path.
            if gc.isenabled():
                gc.collect()
                gc.freeze()
            self._enter(Phase.TRADING)
            self._every_second()
            self._keep()
            await self._wait(seconds)
            self._enter(Phase.ENDING)
            await self._flatten()
            await self._wind_down()
        except WrongAccount:
            is_ours = False
            raise
        finally:
            for handle in (self._ticking, self._second, self._keeping):
                if handle is not None:
                    handle.cancel()
            await self._control.stop()
            await self._stop_venue()
            if self._watchdog is not None:
                # What is open on an account that is not ours must not be cancelled because we leave it.
                self._watchdog.end(self._core.orders.open_count if is_ours and not self._only_check else 0)
            for number in signals:
                loop.remove_signal_handler(number)
        if self._bus.dead:
            raise journal_failure(self._bus.dead)
        return self._stop_reason

    async def _start_venue(self) -> None:
        """Start the venue, but let a signal end the wait."""
        starting = asyncio.ensure_future(self._venue.start())
        stopping = asyncio.ensure_future(self._stop.wait())
        await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not starting.done():
            starting.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await starting
            raise KestrelError(f"stopped by {self._stop_reason} before the venue was ready")
        await starting

    async def _stop_venue(self) -> None:
        """Close its connections; one that hangs does not keep the process, and does not look like a loop that is."""
        loop = asyncio.get_running_loop()
        stopping = asyncio.ensure_future(self._venue.stop())
        deadline = loop.time() + STOP_S
        while not stopping.done() and loop.time() < deadline:
            self._beat()
            await asyncio.wait({stopping}, timeout=self._timer_s)
        if stopping.done():
            await stopping
        else:
            stopping.cancel()

    async def _wait(self, seconds: float | None) -> None:
        ended = asyncio.ensure_future(self._venue.finished())
        stopping = asyncio.ensure_future(self._stop.wait())
        try:
            done, _ = await asyncio.wait({ended, stopping}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            if ended in done:
                ended.result()
                self._stop_reason = self._stop_reason or "the recording ended"
            elif not done:
                self._stop_reason = f"{seconds:g} s are over"
        finally:
            for task in (ended, stopping):
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task

    async def _flatten(self) -> None:
        """Close every position before the end, where that is asked for; bounded, and a second signal ends it at once.

        Nobody who halted this daemon wants orders of it, nor does a dead journal take any.
        """
        if self._flatten_s is None or self._bus.dead or self._core.risk_state is RiskState.HALTED:
            return
        reason = self._stop_reason
        self._publish(lambda at: OperatorRequested(at, at, "flatten", "shutdown.positions", reason))
        deadline = asyncio.get_running_loop().time() + self._flatten_s
        while self._core.manual.is_closing and asyncio.get_running_loop().time() < deadline and not self._bus.dead:
            self._venue.settle()
            if self._data_time:
                self._publish_timer(after_ns=int(self._timer_s * 1e9))
            await asyncio.sleep(_SETTLE_S)

    async def _wind_down(self) -> None:
        """Entries stop, open orders are cancelled, the venue gets bounded time to confirm.

        Timers go on meanwhile: on them the core asks again for cancels that were refused or got lost.
        """
        if not self._only_check:
            self._publish(lambda at: ShutdownRequested(at, at, self._stop_reason))
        loop = asyncio.get_running_loop()
        deadline = loop.time() + (0.0 if self._only_check else self._cancel_timeout_s)
        orders = self._core.orders
        while self._awaits_ends() and loop.time() < deadline and not self._bus.dead:
            self._venue.settle()
            if self._data_time and orders.open_count:
                # The recording is over and brings no timers any more; its time goes on nevertheless.
                self._publish_timer(after_ns=int(self._timer_s * 1e9))
            await asyncio.sleep(_SETTLE_S)
        while self._bus.dead and self._has_unsent() and loop.time() < deadline:
            await asyncio.sleep(_SETTLE_S)  # the last that the core said was to take open orders back
        self._publish_timer()
        if self._keep_s is not None:
            self._publish(lambda at: Timer(at, at, KEEP))

    def _has_unsent(self) -> bool:
        """Whether the venue has cancels or requests that have not left, or have no answer yet."""
        depths = self._venue.queue_depths() if isinstance(self._venue, Queueing) else {}
        return bool(depths.get("cancels") or depths.get("requests"))

    def _awaits_ends(self) -> bool:
        """Whether anything is open of which an end may be told: of what no connector can cancel there is none."""
        desk = self._core.desk
        lives = any(not desk.is_unreached(order) for order in self._core.orders.open_orders())
        return lives or desk.groups.awaits_exits()

    def stop(self, reason: str) -> None:
        self._stop_reason = self._stop_reason or reason
        self._stop.set()

    def _on_signal(self, number: int) -> None:
        name = signal.Signals(number).name
        if number == signal.SIGUSR1:
            self._publish(lambda at: Halted(at, at, "signal", name))
            return
        self._signals += 1
        if self._signals > 1:
            # The journal is in mapped memory: a hard exit loses nothing, exactly as kill -9 would not.
            os._exit(130)
        self.stop(name)

    # --- time -----------------------------------------------------------------------------------------------------

    def _now_ns(self) -> int:
        """Now, as the core counts it: a recording's time is where its last event was."""
        return self._core.view.now_ns if self._data_time else self._clock.now_ns()

    def _tick(self) -> None:
        self._ticking = asyncio.get_running_loop().call_later(self._timer_s, self._tick)
        stepped_ns = self._clock_watch.check()
        if stepped_ns:
            self._publish(lambda at: ClockStepped(at, at, stepped_ns))
            self._venue.confirm()
        counters = self._core.counters
        if counters.standstills != self._standstills:
            self._standstills = counters.standstills
            self._venue.confirm()
        if counters.conflicting_fills + counters.unknown_corrections != self._conflicts:
            # An execution was told twice, and not alike, or corrected when nobody knew it any more: the balances know.
            self._conflicts = counters.conflicting_fills + counters.unknown_corrections
            self._venue.confirm()
        self._beat()
        self._look_for_halt()
        self._look_for_latch()
        if not self._data_time:
            self._publish_timer()
            self._venue.settle()
        self._keep_if_much_happened()
        if self._bus.dead:
            self.stop("journal failure")

    def _publish_timer(self, after_ns: int = 0) -> None:
        self._publish(lambda at: Timer(at + after_ns, at + after_ns, "tick"))

    def _publish(self, make: Callable[[int], InputEvent]) -> None:
        self._publish_event(make(self._now_ns()))

    def _keep_if_much_happened(self) -> None:
        if self._keep_s is not None and self._keeping is not None and self._bus.seq - self._kept_seq >= KEEP_RECORDS:
            self._keeping.cancel()
            self._keep()

    def _keep(self) -> None:
        """Have the core put its state on record, at once and from time to time, where it will be gone on with."""
        if self._keep_s is not None:
            self._keeping = asyncio.get_running_loop().call_later(self._keep_s, self._keep)
            self._kept_seq = self._bus.seq
            self._publish(lambda at: Timer(at, at, KEEP))

    def _every_second(self) -> None:
        self._second = asyncio.get_running_loop().call_later(1.0, self._every_second)
        self._on_second()
        self._check_self()
        if not self._data_time:
            self._books.look(self._now_ns())
        why = "" if self._watchdog is None else self._watchdog.look()
        if why:
            self._publish(lambda at: Reduced(at, at, "watchdog", why))

    def _check_self(self) -> None:
        self._to_self_check_s -= 1
        if self._to_self_check_s > 0:
            return
        self._to_self_check_s = self._self_check_s
        why = self._self_check()
        if why:
            self._publish(lambda at: Halted(at, at, SOURCE, why))

    def _beat(self) -> None:
        if self._watchdog is not None:
            # An exit that a slow venue has while we are halted is nothing that the watchdog should take back.
            self._watchdog.beat(self._core.risk_state, self._core.desk.lingering_count())

    def _enter(self, phase: Phase) -> None:
        if self._watchdog is not None:
            self._watchdog.enter(phase)

    # --- operator -------------------------------------------------------------------------------------------------

    def _look_for_halt(self) -> None:
        found = next(filter(None, map(read_halt, self._run_dirs)), None)
        if found is None:
            self._halt_seen = False
        elif not self._halt_seen or self._core.gate.state is not RiskState.HALTED:
            # While the file lies there nothing trades, whatever was done about an earlier one.
            self._halt_seen = True
            self._publish(lambda at: Halted(at, at, str(found["source"]), str(found["reason"])))

    def _look_for_latch(self) -> None:
        """Halted from outside while this loop was stuck: so it is, also where no file could be written."""
        if self._watchdog is not None and self._watchdog.latched and self._core.gate.state is not RiskState.HALTED:
            self._publish(lambda at: Halted(at, at, "watchdog", "halted from outside, see watchdog.log"))

    def _answer(self, command: str, arguments: dict[str, Any]) -> dict[str, Any]:
        reason = writable(str(arguments.get("reason", "")))[:200]
        who = str(arguments.get("who", "somebody"))
        if command == "status":
            return {"ok": True, **self._status(), **self._supervision()}
        if command == "halt":
            self._publish(lambda at: Halted(at, at, "operator", reason))
        elif command == "reduce":
            self._publish(lambda at: Reduced(at, at, "operator", reason))
        elif command == "may_resume":
            self._check_settled(force=arguments.get("force") is True)
        elif command == "resume":
            self._resume(who, reason, force=arguments.get("force") is True)
        elif command in DONE:
            request = make_request(command, arguments, who, reason, self._core, self._now_ns())
            self._publish_event(request)
            return {"ok": True, "state": self._core.gate.state.value, **self._outcome()}
        elif command in OF_MODELS:
            told = self._models.take(command, arguments, who, self._now_ns())
            for one in told:
                self._publish_event(one)
            standing = [f"{one.instrument}: {standing_of(self._core, one.instrument, one.model)}" for one in told]
            return {"ok": True, "standing": standing}
        elif command == "stop":
            self.stop("operator")
        else:
            known = ", ".join(("status", "halt", "reduce", "resume", *DONE, *OF_MODELS, "stop"))
            return {"ok": False, "error": f"unknown command {command!r}: {known}"}
        return {"ok": True, "state": self._core.gate.state.value}

    def _check_settled(self, *, force: bool) -> str:
        """Why the account is not settled.  Raises ``KestrelError`` for that, unless it is forced."""
        why = unsettled(self._core)
        if why and not force:
            raise KestrelError(
                f"the account is not settled: {why}",
                expected="an account that its venue has confirmed whole, with no order of unknown outcome",
                do="wait for the next reconciliation (see status), or resume --force",
            )
        return why

    def _resume(self, who: str, reason: str, *, force: bool) -> None:
        """Raises ``KestrelError`` while the venue has not confirmed the account, unless it is forced: the HALT files
        stay, and so does the state."""
        why = self._check_settled(force=force)
        for run_dir in self._run_dirs:
            clear_halt(run_dir)
        if self._watchdog is not None:
            self._watchdog.release()
        said = f"by {who}" + (f", forced although {why}" if why else "") + (f": {reason}" if reason else "")
        self._publish(lambda at: Resumed(at, at, "operator", writable(said)))

    def _outcome(self) -> dict[str, Any]:
        return msgspec.structs.asdict(self._core.manual.outcome)

    def _supervision(self) -> dict[str, Any]:
        found: dict[str, Any] = {**self._core.manual.status()}
        if self._watchdog is not None:
            found["watchdog"] = self._watchdog.status()
        return found


def journal_failure(seen: str) -> JournalError:
    """The error of a session that its journal ended."""
    return JournalError(
        f"the journal failed: {seen}", do="free the disk, then start a new session; this one can be replayed"
    )
