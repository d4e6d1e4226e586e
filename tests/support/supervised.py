"""A session on a real loop: a supervisor, a real bus, core, control socket and HALT file around a scripted venue."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from engine.bus import EventBus
from engine.commands import RiskState, RiskStateChanged
from engine.core import NullProbe, TradingCore
from engine.events import Timer
from engine.ports import Model
from engine.router import OrderRouter
from engine.runtime.clocks import ClockWatch, ManualClock, SystemClock
from engine.runtime.control import ask, socket_path
from engine.runtime.supervisor import Supervisor
from tests.support.core import MemoryJournal, OpenGate, Scripted, build_core, intent, open_market, quote
from tests.support.exchange import Exchange


class Session:
    """Everything around one supervisor."""

    def __init__(
        self,
        folder: Path,
        *,
        data_time: bool = False,
        cancel_timeout_s: float = 20.0,
        keep_s: float | None = None,
        model: Model | None = None,
    ) -> None:
        self.user_dir, self.run_dir = folder / "mine", folder / "run"
        self.journal = MemoryJournal()
        self.clock = ManualClock() if data_time else SystemClock()
        self.watched = ManualClock()
        self.venue = Exchange()
        self.errors: list[str] = []
        self.seconds = 0
        self.bus = EventBus(self.journal, NullProbe(), lambda text, error: self.errors.append(text))
        self.core: TradingCore = build_core(
            self.bus, Scripted(on_quote=lambda *_: [intent()]), gate=OpenGate(), features=lambda: None, model=model
        )
        self.bus.attach(self.core, OrderRouter(self.bus.publish, lambda: self.venue.gateways))
        self.venue.publish = self.bus.publish
        self.supervisor = Supervisor(
            bus=self.bus,
            publish=self.bus.publish,
            core=self.core,
            venue=self.venue,
            clock=self.clock,
            clock_watch=ClockWatch(self.watched, limit_ns=50_000_000),
            session="s",
            run_dirs=[self.user_dir, self.run_dir],
            timer_ms=10,
            cancel_timeout_s=cancel_timeout_s,
            data_time=data_time,
            status=lambda: {"open_orders": self.core.orders.open_count},
            on_second=self.on_second,
            keep_s=keep_s,
        )

    def on_second(self) -> None:
        self.seconds += 1

    def open_order(self) -> None:
        """One resting order."""
        open_market(self.core)
        self.bus.publish(quote(10))
        assert self.core.orders.open_count == 1

    async def during(self, script: Callable[[], Any]) -> str:
        """Run until the script is over, then stop; why it stopped."""
        started = asyncio.Event()
        running = asyncio.ensure_future(self.supervisor.run(None, started.set))
        await asyncio.wait({running, asyncio.ensure_future(started.wait())}, return_when=asyncio.FIRST_COMPLETED)
        if not running.done():
            await script()
            self.supervisor.stop("the script ended")
        return await running

    def states(self) -> list[RiskState]:
        return [w.record.after for w in self.journal.written if isinstance(w.record, RiskStateChanged)]

    def of(self, kind: type) -> list[Any]:
        return [written.record for written in self.journal.written if isinstance(written.record, kind)]


async def began_ns(session: Session) -> int:
    """Its time after its first timer: events at other times than its own would look like a standstill."""
    await until(lambda: bool(session.of(Timer)))
    return session.core.view.now_ns


async def until(holds: Callable[[], bool]) -> None:
    """Let the loop run until something is so; the test's own time limit ends it otherwise."""
    while not holds():
        await asyncio.sleep(0.002)


async def command(session: Session, name: str, **arguments: Any) -> dict[str, Any]:
    return await asyncio.to_thread(ask, socket_path(session.run_dir, "s", os.getpid()), name, arguments)
