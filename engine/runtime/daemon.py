"""One session from an empty folder to its summary: journal, bus, core, venue, metrics, console, report.

Owns the order in which a session is put together and taken apart.  What is put together is given by ``run.py`` as
functions (``Parts``); how the session lives in between is ``engine.runtime.supervisor``, what is seen of it
``engine.runtime.watch``, what it leaves behind ``engine.runtime.ending``.
"""

from __future__ import annotations

import asyncio
import contextlib
import shlex
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from engine.bus import EventBus
from engine.carried import encode_carried
from engine.core import TradingCore
from engine.errors import IllegalTransition, JournalError, KestrelError
from engine.events import InputEvent, JournalFailed, JournalSynced, RateReported, SessionStarted, StateCarried
from engine.ports import Clock, Probe, Publish, Recorder, Router, Venue
from engine.router import OrderRouter
from engine.runtime import logs
from engine.runtime.clocks import ClockWatch, SystemClock
from engine.runtime.console import StatusConsole
from engine.runtime.control import HALT_NAME, read_halt, run_folder, run_folders, user_run_folder
from engine.runtime.ending import make_report, summarise, table_rows, with_open_orders, write_files
from engine.runtime.journal import JournalWriter
from engine.runtime.metrics import Metrics
from engine.runtime.polling import BusyPoll
from engine.runtime.probe import StageProbe
from engine.runtime.series import SeriesWatch
from engine.runtime.session import Session, order_prefix
from engine.runtime.storing import Storing, Tally
from engine.runtime.succession import Left, Succession
from engine.runtime.summary import SessionSummary
from engine.runtime.supervisor import Supervisor, journal_failure
from engine.runtime.watch import SessionWatch
from engine.runtime.watchdog_keeper import Interlock, WatchdogKeeper, WatchdogPlan


class Warmer(Protocol):
    """Keeps what a tick needs at hand between ticks; see ``engine.runtime.shadow`` and ``polling``."""

    def start(self) -> None: ...

    def stop(self) -> None: ...


@dataclass(frozen=True)
class Options:
    """Plain values of one session.  ``config`` is the redacted configuration as recorded in the header."""

    mode: Literal["paper", "live", "record"]
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
    busy_poll: bool = False
    account: str = ""
    """What is traded on outlives the session, and this names it; empty: an account that is made with the session."""
    venue_truth: bool = False
    """Go on from what the venue says alone, whatever the last session on the account left."""
    keep_s: float = 300.0
    """How often the state of such an account is put on record, s."""
    watchdog: WatchdogPlan | None = None
    """What looks after the orders of such an account when this process cannot; None: nobody does."""
    flatten_s: float | None = None
    """How long positions may take to be closed at the end, s; None: they are kept."""
    record_to: Path | None = None
    """Catalogue in which the market is stored meanwhile; None: in none."""


class Lag(Protocol):
    """How late the event loop is, ns: now, and at worst since the last time this was asked."""

    def __call__(self) -> int: ...

    def take_worst(self) -> int: ...


@dataclass(frozen=True)
class Parts:
    """What only ``run.py`` can name."""

    core: Callable[[Recorder, Probe, str], TradingCore]
    venue: Callable[[Publish, Clock, Callable[[], int], str, Path, Callable[[str], None], Left | None], Venue]
    lag: Callable[[asyncio.AbstractEventLoop], Lag]
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
        self._trading = False
        self._supervisor: Supervisor | None = None
        self._succession = Succession(user_run_folder(), options.account) if options.account else None
        self._left: Left | None = None
        self.stored: Tally | None = None
        """After the session: what was stored of its market, where that was asked for and could be done."""
        self.not_stored = ""
        """After the session: why not all of it was."""

    async def run(self) -> SessionSummary:
        """The whole session.  Raises ``KestrelError`` for everything a user can cause."""
        options = self._options
        self._run_dirs = run_folders(options.root)
        self._refuse_while_halted()
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
            self._take_over(session)
            return await self._run_stored(session, pipe)
        except KestrelError:
            if fresh and not self._recorded:
                # Nothing happened in it: no folder that looks like a session, and its name stays free.
                shutil.rmtree(session.path, ignore_errors=True)
            raise
        finally:
            logs.shutdown()
            session.close()
            if self._succession is not None:
                self._succession.close()

    def _take_over(self, session: Session) -> None:
        """Hold the account alone, and find out what the last session on it left."""
        succession = self._succession
        if succession is None:
            return
        succession.lock(session.id)
        if self._options.venue_truth:
            return
        self._left = left = succession.left(self._options.config["portfolio"]["currency"])
        if left is not None and left.torn_bytes:
            self._log.error("the last session's journal has a torn end", session=left.session, bytes=left.torn_bytes)

    async def _run_stored(self, session: Session, pipe: logs.LogPipe) -> SessionSummary:
        """The session, its market stored meanwhile where that is asked for."""
        if self._options.record_to is None:
            return await self._run_journaled(session, pipe)
        storing = Storing(session.path, self._options.record_to, self._options.code_root)
        await storing.start()
        try:
            return await self._run_journaled(session, pipe)
        finally:
            self.stored, self.not_stored = await storing.finish()
            self._console.say(self.not_stored or ("" if self.stored is None else self.stored.line()))

    def _refuse_while_halted(self) -> None:
        sessions = self._options.root.absolute()
        for run_dir in self._run_dirs:
            halt = read_halt(run_dir)
            if halt is not None:
                beside = f" --sessions {shlex.quote(str(sessions))}" if run_dir == run_folder(sessions) else ""
                raise KestrelError(
                    f"the kill switch is on ({run_dir / HALT_NAME}): {halt['reason'] or 'no reason given'}",
                    expected="no HALT file",
                    do=f"look into why, then: python run.py resume{beside}",
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
            lag = self._parts.lag(loop)
            venue = self._parts.venue(
                self._publish, self._clock, lag, order_prefix(session.id), session.path, self._console.say, self._left
            )
            keeper = self._keep_watch(session)
            router: Router = OrderRouter(bus.publish, lambda: venue.gateways)
            if keeper is not None:
                router = Interlock(router, bus.publish, lambda: keeper.latched)
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
                watch = SessionWatch(
                    session=session.id,
                    core=core,
                    bus=bus,
                    venue=venue,
                    probe=self._probe,
                    gauges=metrics.gauges,
                    lag_ns=lag.take_worst,
                    console=self._console,
                    log=self._log,
                )
                reason = await self._trade(session, venue, watch, keeper, lambda: self._announce(session, url))
            finally:
                stop_metrics()
        except KestrelError as error:
            journal.close()
            if self._trading:
                await self._leave(session, venue, started_ns, f"failure: {error.seen}")
                raise with_open_orders(error, self._core, session.id) from None
            raise
        finally:
            journal.close()
        return await self._leave(session, venue, started_ns, reason)

    def _keep_watch(self, session: Session) -> WatchdogKeeper | None:
        """Only where the account, and what is open there, outlives this process."""
        plan, succession = self._options.watchdog, self._succession
        if plan is None or succession is None:
            return None
        return WatchdogKeeper(
            plan,
            session=session.id,
            folder=session.path,
            run_dirs=self._run_dirs,
            account_lock=succession.lock_path,
            code_root=self._options.code_root,
            log=self._log,
        )

    async def _trade(
        self,
        session: Session,
        venue: Venue,
        watch: SessionWatch,
        keeper: WatchdogKeeper | None,
        announce: Callable[[], None],
    ) -> str:
        options = self._options
        start_ns = options.start_ns or self._clock.now_ns()
        header = session.header
        self._recorded = True
        self._publish(
            SessionStarted(start_ns, start_ns, session.id, header.config_hash, header.code_hash, options.models, ())
        )
        left = self._left
        if left is not None:
            self._publish(StateCarried(start_ns, start_ns, left.session, left.upto_seq, encode_carried(left.state)))
        for currency, rate in options.rates:
            self._publish(RateReported(start_ns, start_ns, currency, rate))
        if self._succession is not None:
            self._succession.begin(session.path)
        self._supervisor = supervisor = Supervisor(
            bus=self._bus,
            publish=self._publish,
            core=self._core,
            venue=venue,
            clock=self._clock,
            clock_watch=ClockWatch(self._clock, limit_ns=options.clock_step_limit_ms * 1_000_000),
            session=session.id,
            run_dirs=self._run_dirs,
            timer_ms=options.timer_ms,
            cancel_timeout_s=options.cancel_timeout_s,
            data_time=options.data_time,
            keep_s=options.keep_s if options.account else None,
            status=watch.status,
            on_second=watch.on_second,
            watchdog=keeper,
            flatten_s=options.flatten_s,
        )
        warmers: list[Warmer] = []

        def on_started() -> None:
            self._trading = True
            if options.busy_poll:
                poll = BusyPoll(asyncio.get_running_loop())
                poll.start()
                warmers.append(poll)
            warmer = self._parts.warmer(venue, self._core, self._clock)
            if warmer is not None:
                warmer.start()
                warmers.append(warmer)

        try:
            reason = await supervisor.run(options.seconds, on_started, announce)
        except KestrelError:
            if self._fatal is not None:
                raise self._fatal from None  # what ended the start, rather than that it ended
            raise
        finally:
            for warmer in warmers:
                warmer.stop()
        watch.tell_failures()
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
        if isinstance(error, JournalError):
            error = journal_failure(error.seen)
        if isinstance(error, KestrelError) and not isinstance(error, IllegalTransition):
            self._fatal = self._fatal or error
            if self._supervisor is not None:
                self._supervisor.stop(str(error))
            self._log.error(text, error=str(error))
        else:
            self._log.error(text, exc_info=error)

    def _now_ns(self) -> int:
        return self._core.view.now_ns if self._options.data_time else self._clock.now_ns()

    # --- the end --------------------------------------------------------------------------------------------------

    def _announce(self, session: Session, metrics_url: str) -> None:
        say = self._console.say
        say(f"Kestrel session {session.id}: {self._options.mode}, feed {self._options.feed}")
        say(f"  folder   {session.path}")
        say(f"  metrics  {metrics_url}")
        if self._left is not None:
            state = self._left.state
            held = ", ".join(f"{one.qty} {one.instrument}" for one in state.money.holdings if one.qty) or "no position"
            say(f"  goes on  from session {self._left.session}: {state.open_count} open orders to ask about, {held}")
        say("  stop     Ctrl-C        kill switch  python run.py halt")

    async def _leave(self, session: Session, venue: Venue, started_ns: int, reason: str) -> SessionSummary:
        """Summary and series, then the report by a child process; a full disk costs the files, not the session."""
        summary = summarise(
            session,
            self._core,
            self._bus,
            venue,
            self._probe,
            feed=self._options.feed,
            started_ns=started_ns,
            ended_ns=self._clock.wall_ns(),
            reason=reason,
        )
        problem = write_files(session.path, summary, self._series.collect(self._probe.tick_to_order))
        if not problem and self._options.report:
            problem = await make_report(session.path, self._options.code_root)
        if problem:
            self._console.say(problem)
        return summary

    def show(self, summary: SessionSummary) -> None:
        """The table at the end."""
        report = str(self._options.root / summary.session / "report.html") if self._options.report else "none asked for"
        self._console.summary(table_rows(summary, report), f"session {summary.session}")


def _later(loop: asyncio.AbstractEventLoop, call: Callable[[Any], None], value: object) -> None:
    """From a journal thread into the loop; a loop that is closing needs no news."""
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(call, value)
