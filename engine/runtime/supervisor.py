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

from engine.bus import EventBus
from engine.commands import RiskState
from engine.core import KEEP, TradingCore
from engine.errors import JournalError, KestrelError
from engine.events import ClockStepped, Halted, InputEvent, Reduced, Resumed, ShutdownRequested, Timer
from engine.intents import writable
from engine.ports import Clock, Publish, Venue
from engine.runtime.clocks import ClockWatch
from engine.runtime.control import ControlServer, clear_halt, read_halt

_SETTLE_S = 0.02
"""Between two looks at the orders that are to be cancelled at the end."""


class Supervisor:
    """Runs one session from the venue's start to the last cancelled order.

    ``run_dirs``: where it listens and looks for HALT.  ``data_time``: timers come from the feed (a recording).
    ``status`` answers the operator's ``status``.
    ``keep_s``: how often the core puts its state on record; None: never, nobody will go on from here.
    ``on_second`` is called about once a second (the console line, the report's series).
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
    ) -> None:
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
        self._status = status
        self._on_second = on_second
        self._stop = asyncio.Event()
        self._stop_reason = ""
        self._signals = 0
        self._halt_seen = False
        self._control = ControlServer(run_dirs, session, self._answer)
        self._ticking: asyncio.TimerHandle | None = None
        self._second: asyncio.TimerHandle | None = None
        self._keeping: asyncio.TimerHandle | None = None

    # --- life -----------------------------------------------------------------------------------------------------

    async def run(
        self, seconds: float | None, on_started: Callable[[], None], on_listening: Callable[[], None] | None = None
    ) -> str:
        """Trade until a signal, the end of the feed, ``seconds`` or a dead journal; returns why it stopped.

        ``on_listening`` is called when signals and commands are heard, ``on_started`` when the venue is there.
        Raises ``VenueError`` when the venue cannot be started.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
            loop.add_signal_handler(number, self._on_signal, number)
        await self._control.start()
        if on_listening is not None:
            on_listening()
        self._tick()
        try:
            await self._start_venue()
            on_started()
            # What exists now lives as long as the process: keep full collections from walking it on the path.
            gc.collect()
            gc.freeze()
            self._every_second()
            self._keep()
            await self._wait(seconds)
            await self._wind_down()
        finally:
            for handle in (self._ticking, self._second, self._keeping):
                if handle is not None:
                    handle.cancel()
            await self._control.stop()
            await self._venue.stop()
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
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

    async def _wind_down(self) -> None:
        """Entries stop, open orders are cancelled, the venue gets bounded time to confirm.

        Timers go on meanwhile: on them the core asks again for cancels that were refused or got lost.
        """
        self._publish(lambda at: ShutdownRequested(at, at, self._stop_reason))
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._cancel_timeout_s
        while self._core.orders.open_count and loop.time() < deadline and not self._bus.dead:
            self._venue.settle()
            if self._data_time and self._core.orders.open_count:
                # The recording is over and brings no timers any more; its time goes on nevertheless.
                self._publish_timer(after_ns=int(self._timer_s * 1e9))
            await asyncio.sleep(_SETTLE_S)
        self._publish_timer()
        if self._keep_s is not None:
            self._publish(lambda at: Timer(at, at, KEEP))

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
        self._look_for_halt()
        if not self._data_time:
            self._publish_timer()
            self._venue.settle()
        if self._bus.dead:
            self.stop("journal failure")

    def _publish_timer(self, after_ns: int = 0) -> None:
        self._publish(lambda at: Timer(at + after_ns, at + after_ns, "tick"))

    def _publish(self, make: Callable[[int], InputEvent]) -> None:
        self._publish_event(make(self._now_ns()))

    def _keep(self) -> None:
        """Have the core put its state on record, at once and from time to time, where it will be gone on with."""
        if self._keep_s is not None:
            self._keeping = asyncio.get_running_loop().call_later(self._keep_s, self._keep)
            self._publish(lambda at: Timer(at, at, KEEP))

    def _every_second(self) -> None:
        self._second = asyncio.get_running_loop().call_later(1.0, self._every_second)
        self._on_second()

    # --- operator -------------------------------------------------------------------------------------------------

    def _look_for_halt(self) -> None:
        found = next(filter(None, map(read_halt, self._run_dirs)), None)
        if found is None:
            self._halt_seen = False
        elif not self._halt_seen or self._core.gate.state is not RiskState.HALTED:
            # While the file lies there nothing trades, whatever was done about an earlier one.
            self._halt_seen = True
            self._publish(lambda at: Halted(at, at, str(found["source"]), str(found["reason"])))

    def _answer(self, command: str, arguments: dict[str, Any]) -> dict[str, Any]:
        reason = writable(str(arguments.get("reason", "")))[:200]
        if command == "status":
            return {"ok": True, **self._status()}
        if command == "halt":
            self._publish(lambda at: Halted(at, at, "operator", reason))
        elif command == "reduce":
            self._publish(lambda at: Reduced(at, at, "operator", reason))
        elif command == "resume":
            for run_dir in self._run_dirs:
                clear_halt(run_dir)
            self._publish(lambda at: Resumed(at, at, "operator", reason))
        elif command == "stop":
            self.stop("operator")
        else:
            return {"ok": False, "error": f"unknown command {command!r}: status, halt, reduce, resume, stop"}
        return {"ok": True, "state": self._core.gate.state.value}


def journal_failure(seen: str) -> JournalError:
    """The error of a session that its journal ended."""
    return JournalError(
        f"the journal failed: {seen}", do="free the disk, then start a new session; this one can be replayed"
    )
