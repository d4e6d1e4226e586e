"""One session from an empty folder to its summary: journal, bus, core, venue, metrics, console, report.

Owns the order in which a session is put together and taken apart.  What is put together is given by ``run.py`` as
functions (``Parts``); how the session lives in between is ``engine.runtime.supervisor``.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isnan
from pathlib import Path
from typing import Any, Literal, Protocol

from engine.bus import EventBus
from engine.core import TradingCore
from engine.errors import IllegalTransition, KestrelError
from engine.events import InputEvent, JournalFailed, JournalSynced, RateReported, SessionStarted
from engine.portfolio import ZERO
from engine.ports import Clock, Probe, Publish, Recorder, Venue
from engine.router import OrderRouter
from engine.runtime import logs
from engine.runtime.clocks import ClockWatch, SystemClock
from engine.runtime.console import StatusConsole, money
from engine.runtime.control import HALT_NAME, read_halt, run_folder
from engine.runtime.histogram import Histogram
from engine.runtime.journal import JournalWriter
from engine.runtime.metrics import Metrics
from engine.runtime.probe import StageProbe
from engine.runtime.series import SeriesWatch
from engine.runtime.session import Session, order_prefix, write_atomically
from engine.runtime.summary import SERIES_FILE, Latency, PositionLine, SessionSummary, encode
from engine.runtime.supervisor import Supervisor


class Warmer(Protocol):
    """Keeps caches warm between ticks; see ``engine.runtime.shadow``."""

    def start(self) -> None: ...

    def stop(self) -> None: ...


@dataclass(frozen=True)
class Options:
    """Plain values of one session.  ``config`` is the redacted configuration as recorded in the header."""

    mode: Literal["paper", "live"]
    root: Path
    code_root: Path
    config: dict[str, Any]
    session: str
    seed: int | None
    rates: Sequence[tuple[str, Any]]
    models: tuple[str, ...]
    feed: str
    data_time: bool
    start_ns: int
    """Time of the first event of a recording; 0 for a live feed."""
    fsync: Literal["interval", "never", "always"]
    fsync_interval_ms: int
    segment_mb: int
    metrics_host: str
    metrics_port: int | Literal["auto"]
    log_level: str
    log_folder: Path | None
    log_max_mb: int
    log_keep: int
    timer_ms: int
    clock_step_limit_ms: int
    cancel_timeout_s: float
    seconds: float | None
    as_json: bool
    report: bool


@dataclass(frozen=True)
class Parts:
    """What only ``run.py`` can name."""

    core: Callable[[Recorder, Probe, str], TradingCore]
    venue: Callable[[Publish, Clock, Callable[[], int], str, Path, Callable[[str], None]], Venue]
    lag: Callable[[asyncio.AbstractEventLoop], Callable[[], int]]
    warmer: Callable[[Venue, TradingCore, Clock], Warmer | None]


class Daemon:
    """Puts a session together and runs it.  Use once."""

    def __init__(self, options: Options, parts: Parts) -> None:
        self._options = options
        self._parts = parts
        self._console = StatusConsole(sys.stderr if options.as_json else sys.stdout)
        self._clock = SystemClock()
        self._probe = StageProbe(self._clock)
        self._fatal: KestrelError | None = None
        self._recorded = False
        self._quarantined: dict[str, str] = {}
        self._supervisor: Supervisor | None = None

    @property
    def run_dir(self) -> Path:
        return run_folder(self._options.root)

    async def run(self) -> SessionSummary:
        """The whole session.  Raises ``KestrelError`` for everything a user can cause."""
        self._refuse_while_halted()
        options = self._options
        fresh = not options.session or not (options.root / options.session).exists()
        session = Session.create(
            options.root,
            mode=options.mode,
            config=options.config,
            wall_ns=self._clock.wall_ns(),
            code_root=options.code_root,
            session=options.session,
            seed=options.seed,
        )
        try:
            pipe = logs.configure(
                options.log_folder or session.logs,
                level=options.log_level,
                console=sys.stderr,
                max_bytes=options.log_max_mb << 20,
                backups=options.log_keep,
            )
            self._log = logs.get_logger("daemon")
            return await self._run_journaled(session, pipe)
        except KestrelError:
            if fresh and not self._recorded:
                # Nothing happened in it: no folder that looks like a session, and its name stays free.
                shutil.rmtree(session.path, ignore_errors=True)
            raise
        finally:
            logs.shutdown()
            session.close()

    def _refuse_while_halted(self) -> None:
        halt = read_halt(self.run_dir)
        if halt is not None:
            raise KestrelError(
                f"the kill switch is on ({self.run_dir / HALT_NAME}): {halt['reason'] or 'no reason given'}",
                expected="no HALT file",
                do="look into why, then: python run.py resume",
            )

    # --- journal, bus, core -----------------------------------------------------------------------------------------

    async def _run_journaled(self, session: Session, pipe: logs.LogPipe) -> SessionSummary:
        options = self._options
        loop = asyncio.get_running_loop()
        started_ns = self._clock.wall_ns()
        journal = JournalWriter(
            session.journal,
            session=session.id,
            fsync=options.fsync,
            market_bytes=options.segment_mb << 20,
            orders_bytes=max(options.segment_mb << 19, 1 << 20),
            interval_s=options.fsync_interval_ms / 1000.0,
            on_synced=lambda seq: _later(loop, self._on_synced, seq),
            on_fault=lambda text: _later(loop, self._on_fault, text),
        )
        try:
            self._bus = bus = EventBus(journal, self._probe, self._on_error)
            self._core = core = self._parts.core(bus, self._probe, order_prefix(session.id))
            self._series = SeriesWatch(core)
            lag_ns = self._parts.lag(loop)
            venue = self._parts.venue(
                self._publish, self._clock, lag_ns, order_prefix(session.id), session.path, self._console.say
            )
            router = OrderRouter(bus.publish, lambda: venue.gateways)
            bus.attach(core, router)
            metrics = Metrics(
                session=session.id,
                counters=core.counters,
                probe=self._probe,
                clock=self._clock,
                journal_stats=journal.stats,
                logs=pipe,
            )
            url, stop_metrics = metrics.start_http(options.metrics_host, options.metrics_port)
            try:
                self._announce(session, url)
                reason = await self._trade(session, venue, metrics, lag_ns)
            finally:
                stop_metrics()
        finally:
            journal.close()
        summary = self._summarise(session, venue, started_ns, reason)
        await self._write(session, summary)
        return summary

    async def _trade(
        self,
        session: Session,
        venue: Venue,
        metrics: Metrics,
        lag_ns: Callable[[], int],
    ) -> str:
        options = self._options
        start_ns = options.start_ns or self._clock.now_ns()
        header = session.header
        self._recorded = True
        self._publish(
            SessionStarted(start_ns, start_ns, session.id, header.config_hash, header.code_hash, options.models, ())
        )
        for currency, rate in options.rates:
            self._publish(RateReported(start_ns, start_ns, currency, rate))
        self._supervisor = supervisor = Supervisor(
            bus=self._bus,
            publish=self._publish,
            core=self._core,
            venue=venue,
            clock=self._clock,
            clock_watch=ClockWatch(self._clock, limit_ns=options.clock_step_limit_ms * 1_000_000),
            session=session.id,
            run_dir=self.run_dir,
            timer_ms=options.timer_ms,
            cancel_timeout_s=options.cancel_timeout_s,
            data_time=options.data_time,
            status=lambda: self._status(session),
            on_second=lambda: self._on_second(metrics, lag_ns, venue),
        )
        warmers: list[Warmer] = []

        def on_started() -> None:
            warmer = self._parts.warmer(venue, self._core, self._clock)
            if warmer is not None:
                warmer.start()
                warmers.append(warmer)

        try:
            reason = await supervisor.run(options.seconds, on_started)
        except KestrelError:
            if self._fatal is not None:
                raise self._fatal from None  # what ended the start, rather than that it ended
            raise
        finally:
            for warmer in warmers:
                warmer.stop()
        self._watch_strategies()
        if self._fatal is not None:
            raise self._fatal
        return reason

    def _publish(self, event: InputEvent) -> None:
        self._bus.publish(event)
        self._series.observe(event)

    def _on_synced(self, seq: int) -> None:
        now_ns = self._now_ns()
        self._publish(JournalSynced(now_ns, now_ns, seq))

    def _on_fault(self, text: str) -> None:
        self._log.error("journal fault", text=text)
        now_ns = self._now_ns()
        self._publish(JournalFailed(now_ns, now_ns, text))

    def _on_error(self, text: str, error: Exception) -> None:
        """The bus met a failure inside the core: a user's mistake ends the session, a defect is logged and halts it."""
        if isinstance(error, KestrelError) and not isinstance(error, IllegalTransition):
            self._fatal = self._fatal or error
            if self._supervisor is not None:
                self._supervisor.stop(str(error))
            self._log.error(text, error=str(error))
        else:
            self._log.error(text, exc_info=error)

    def _now_ns(self) -> int:
        return self._core.view.now_ns if self._options.data_time else self._clock.now_ns()

    # --- what people and machines see ---------------------------------------------------------------------------------

    def _announce(self, session: Session, metrics_url: str) -> None:
        say = self._console.say
        say(f"Kestrel session {session.id}: {self._options.mode}, feed {self._options.feed}")
        say(f"  folder   {session.path}")
        say(f"  metrics  {metrics_url}")
        say("  stop     Ctrl-C        kill switch  python run.py halt")

    def _watch_strategies(self) -> None:
        """A strategy that failed trades no more: say so once, where people look."""
        for slot in self._core.slots:
            if not slot.alive and slot.name not in self._quarantined:
                self._quarantined[slot.name] = slot.reason
                self._log.error(
                    "strategy failed and was stopped: its orders are cancelled, its positions stay",
                    strategy=slot.name,
                    error=slot.reason,
                )

    def _on_second(self, metrics: Metrics, lag_ns: Callable[[], int], venue: Venue) -> None:
        core = self._core
        self._watch_strategies()
        self._console.line(core, self._probe.tick_to_order)
        gauges = metrics.gauges
        equity = core.portfolio.equity
        gauges.equity = None if equity is None else float(equity)
        gauges.positions = {name: float(core.portfolio.qty(name)) for name in core.lanes}
        gauges.feed_last_recv_ns = {
            name: lane.book.top.ts_recv_ns for name, lane in core.lanes.items() if lane.book.top.ts_recv_ns
        }
        gauges.open_orders = core.orders.open_count
        gauges.queue_depths = {"bus": self._bus.waiting}
        gauges.loop_lag_ns = lag_ns()
        gauges.waiting_dropped = self._bus.waiting_dropped
        gauges.unjournaled = self._bus.unjournaled
        counts = venue.counts()
        gauges.conflated = counts.conflated
        gauges.reconnects = {venue.name: counts.reconnects}
        gauges.risk_state = core.gate.state

    def _status(self, session: Session) -> dict[str, Any]:
        core = self._core
        return {
            "session": session.id,
            "state": core.gate.state.value,
            "ticks": core.counters.ticks,
            "predictions": core.counters.predictions,
            "orders": core.counters.orders,
            "open_orders": core.orders.open_count,
            "fills": core.counters.fills,
            "equity": money(core.portfolio.equity),
            "positions": {name: str(core.portfolio.qty(name)) for name in core.lanes},
            "not_trading": {name: why for name in core.lanes if (why := core.view.tradable(name))},
        }

    def _summarise(self, session: Session, venue: Venue, started_ns: int, reason: str) -> SessionSummary:
        core = self._core
        counters = core.counters
        rejections = dict(counters.rejected)
        for text, count in counters.venue_rejected.items():
            rejections[f"venue: {text}"] = rejections.get(f"venue: {text}", 0) + count
        drops = dict(counters.dropped)
        for text, count in (
            ("superseded", venue.counts().conflated),
            ("bus_full", self._bus.waiting_dropped),
            ("journal_full", self._bus.unjournaled),
        ):
            if count:
                drops[text] = drops.get(text, 0) + count
        positions = {name: core.portfolio.position(name) for name in core.lanes}
        return SessionSummary(
            session=session.id,
            ticks=counters.ticks,
            predictions=counters.predictions,
            intents=counters.intents,
            orders=counters.orders,
            fills=counters.fills,
            rejected=sum(rejections.values()),
            positions={
                name: PositionLine(qty=at.qty, avg_px=at.avg_px, realised=at.realised, fees=at.fees)
                for name, at in positions.items()
            },
            equity=core.portfolio.equity,
            tick_to_order_us=_latency(self._probe.tick_to_order),
            late_predictions=counters.late_predictions,
            dropped=sum(drops.values()),
            state=core.gate.state.value,
            started_ns=started_ns,
            ended_ns=self._clock.wall_ns(),
            config_hash=session.header.config_hash,
            code_hash=session.header.code_hash,
            models=tuple(sorted({lane.model.version for lane in core.lanes.values() if lane.model is not None})),
            rejections=rejections,
            quarantined=dict(self._quarantined),
            drops=drops,
            currency=core.portfolio.currency,
            equity_start=core.portfolio.equity_start,
            fees=sum((at.fees for at in positions.values()), start=ZERO),
            venue=venue.name,
            feed=self._options.feed,
            stopped_by=reason,
        )

    async def _write(self, session: Session, summary: SessionSummary) -> None:
        """Summary and series, then the report by a child process; a full disk costs the files, not the session."""
        try:
            write_atomically(session.summary, encode(summary) + b"\n")
            write_atomically(
                session.path / SERIES_FILE, encode(self._series.collect(self._probe.tick_to_order)) + b"\n"
            )
        except OSError as error:
            self._console.say(f"no summary written: {error.strerror}")
            return
        if self._options.report:
            await self._make_report(session)

    async def _make_report(self, session: Session) -> None:
        """plotly has no place in this process, which may be asked to trade again."""
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "engine.runtime.report",
            str(session.path.resolve()),
            cwd=self._options.code_root,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            _, said = await asyncio.wait_for(child.communicate(), 60.0)
        except (TimeoutError, asyncio.CancelledError):
            with contextlib.suppress(ProcessLookupError):
                child.kill()
            self._console.say("no report: it took longer than 60 s")
            return
        if child.returncode:
            self._console.say(f"no report: {said.decode(errors='replace').strip()[-200:]}")

    def show(self, summary: SessionSummary) -> None:
        """The table at the end."""
        latency = summary.tick_to_order_us
        rows = {
            "stopped by": summary.stopped_by,
            "state": summary.state,
            "ticks": f"{summary.ticks:,}",
            "predictions": f"{summary.predictions:,} ({summary.late_predictions} late)",
            "orders": f"{summary.orders} opened of {summary.intents} intents, {summary.rejected} refused",
            "fills": f"{summary.fills:,}",
            "dropped": f"{summary.dropped:,}",
            "positions": ", ".join(f"{name} {at.qty:f}" for name, at in summary.positions.items()) or "none",
            "equity": f"{money(summary.equity)} {summary.currency} (start {money(summary.equity_start)})",
            "fees": money(summary.fees),
            "tick to order": "nothing measured"
            if latency.p50 is None
            else f"p50 {latency.p50:.0f} us, p99 {latency.p99:.0f} us",
            "report": str(self._options.root / summary.session / "report.html")
            if self._options.report
            else "none asked for",
            "replay": f"python run.py replay {summary.session}",
        }
        if summary.quarantined:
            rows["failed"] = "; ".join(f"strategy {name}: {why}" for name, why in summary.quarantined.items())
        self._console.summary(rows, f"session {summary.session}")


def _later(loop: asyncio.AbstractEventLoop, call: Callable[[Any], None], value: object) -> None:
    """From a journal thread into the loop; a loop that is closing needs no news."""
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(call, value)


def _latency(histogram: Histogram) -> Latency:
    p50_ns, p99_ns = histogram.percentile(0.5), histogram.percentile(0.99)
    if isnan(p50_ns):
        return Latency()
    return Latency(p50=round(p50_ns / 1000.0, 1), p99=round(p99_ns / 1000.0, 1))
