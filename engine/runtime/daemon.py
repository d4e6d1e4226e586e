"""One session from an empty folder to its summary: journal, bus, core, venue, metrics, console, report.

Owns the order in which a session is put together and taken apart.  What is put together is given by ``run.py`` as
functions (``engine.runtime.parts``); how the session trades is ``engine.runtime.trading``, what is seen of it
``engine.runtime.watch``, what it leaves behind ``engine.runtime.ending``.
"""

from __future__ import annotations

import asyncio
import contextlib
import shlex
import shutil
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

from engine.bus import EventBus
from engine.errors import KestrelError
from engine.manual import closing_in
from engine.ports import Router, Venue
from engine.router import OrderRouter
from engine.runtime import logs
from engine.runtime.approval import build_of, read_approval
from engine.runtime.clocks import SystemClock
from engine.runtime.console import StatusConsole
from engine.runtime.control import HALT_NAME, read_halt, run_folder, run_folders, user_run_folder
from engine.runtime.disk_watch import DiskWatch
from engine.runtime.ending import make_report, summarise, table_rows, with_open_orders, write_files
from engine.runtime.files_read import FilesRead
from engine.runtime.journal import JournalWriter
from engine.runtime.machine_lock import MachineLock
from engine.runtime.metrics import Metrics
from engine.runtime.observer_keeper import ObserverKeeper
from engine.runtime.parts import Lag, Parts
from engine.runtime.probe import StageProbe
from engine.runtime.rehearsal import Withheld
from engine.runtime.session import Session, order_prefix
from engine.runtime.storing import Storing, Tally
from engine.runtime.succession import Left, Succession
from engine.runtime.summary import SessionSummary
from engine.runtime.trading import TradingSession
from engine.runtime.watch import SessionWatch
from engine.runtime.watchdog_keeper import Interlock, WatchdogKeeper
from engine.session_options import Options


class Daemon:
    """Puts a session together and runs it in a process of its own.  Use once."""

    def __init__(self, options: Options, parts: Parts) -> None:
        self._options = options
        self._parts = parts
        self._console = StatusConsole(sys.stderr if options.as_json else sys.stdout)
        self._no_report = ""
        """Why none was made."""
        self._clock = SystemClock()
        self._probe = StageProbe(self._clock)
        account = options.account
        self._succession = Succession(user_run_folder(), account, MachineLock(account)) if account else None
        self._trading: TradingSession | None = None
        self.stored: Tally | None = None
        """After the session: what was stored of its market, where that was asked for and could be done."""
        self.not_stored = ""
        """After the session: why not all of it was."""

    async def run(self) -> SessionSummary:
        """The whole session.  Raises ``KestrelError`` for everything a user can cause."""
        options = self._options
        self._run_dirs = run_folders(options.root)
        self._refuse_while_halted()
        approved = self._approved()
        fresh = not options.session or not (options.root / options.session).exists()
        session = Session.create(
            options.root,
            mode=options.mode,
            config=options.config,
            wall_ns=self._clock.wall_ns(),
            code_root=options.code_root,
            session=options.session,
            seed=options.seed,
            own_code=options.own_code,
            approved=approved,
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
            self._trading = trading = TradingSession(
                options,
                clock=self._clock,
                succession=self._succession,
                run_dirs=self._run_dirs,
                log=self._log,
                warmer=self._parts.warmer,
                companions=self._parts.companions,
            )
            trading.take_over(session)
            return await self._run_stored(session, trading, pipe)
        except KestrelError:
            if fresh and (self._trading is None or not self._trading.is_recorded):
                # Nothing happened in it: no folder that looks like a session, and its name stays free.
                shutil.rmtree(session.path, ignore_errors=True)
            raise
        finally:
            logs.shutdown()
            session.close()
            if self._succession is not None:
                self._succession.close()

    def _approved(self) -> str:
        """Who approved what is about to run; empty where nobody has to.  Raises ``ConfigError`` for anything else."""
        options = self._options
        if options.approval is None:
            return ""
        approval = read_approval(options.approval)
        approval.check(build_of(options.config, options.code_root, options.own_code), options.approval)
        return approval.said

    async def _run_stored(self, session: Session, trading: TradingSession, pipe: logs.LogPipe) -> SessionSummary:
        """The session, its market stored meanwhile where that is asked for."""
        if self._options.record_to is None:
            return await self._run_journaled(session, trading, pipe)
        storing = Storing(session.path, self._options.record_to, self._options.code_root)
        await storing.start()
        try:
            return await self._run_journaled(session, trading, pipe)
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

    async def _run_journaled(self, session: Session, trading: TradingSession, pipe: logs.LogPipe) -> SessionSummary:
        options = self._options
        loop = asyncio.get_running_loop()
        started_ns = self._clock.wall_ns()
        journal = self._open_journal(session, trading, loop)
        try:
            bus = EventBus(journal, self._probe, trading.on_error)
            core = self._parts.core(bus, self._probe, order_prefix(session.id))
            trading.attach(bus, core)
            lag = self._parts.lag(loop)
            venue = self._make_venue(session, trading, lag)
            keeper = self._keep_watch(session)
            bus.attach(core, self._make_router(bus, trading, venue, keeper))
            metrics = Metrics(
                session=session.id,
                counters=core.counters,
                probe=self._probe,
                clock=self._clock,
                journal_stats=journal.stats,
                logs=pipe,
            )
            worker = self._parts.worker
            if worker is not None:
                worker.start(trading.publish, trading.now_ns, loop.call_soon_threadsafe)
            url, stop_metrics = metrics.start_http(options.metrics_host, options.metrics_port)
            observer = None if options.observer is None else ObserverKeeper(options.observer, session.path, self._log)
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
                    asks=None if worker is None else lambda: worker.counts,
                    files=FilesRead({**options.files_read, **session.header.own_code}),
                    disk=DiskWatch(session.path, lambda: journal.stats().bytes, self._clock.now_ns),
                    companions=trading.companions,
                    requests=trading.models,
                    observer=observer,
                    breaches=lambda: trading.self_check.counts,
                )
                if observer is not None:
                    observer.start()
                announce = partial(self._announce, session, trading.left, url)
                reason = await trading.trade(session, venue, watch, keeper, announce)
            finally:
                if worker is not None:
                    worker.stop()
                stop_metrics()
                if observer is not None:
                    observer.let_go()
        except KestrelError as error:
            journal.close()
            if trading.is_trading:
                await self._leave(session, trading, venue, started_ns, f"failure: {error.seen}")
                raise with_open_orders(error, trading.core, session.id) from None
            raise
        finally:
            journal.close()
        if observer is not None and not await observer.finish():
            self._console.say("models are still being watched, in the background: what is left of the record is read")
        return await self._leave(session, trading, venue, started_ns, reason)

    def _open_journal(
        self, session: Session, trading: TradingSession, loop: asyncio.AbstractEventLoop
    ) -> JournalWriter:
        """What its threads find is told in the loop's."""
        options = self._options
        return JournalWriter(
            session.journal,
            session=session.id,
            fsync=options.fsync,
            market_bytes=options.segment_mb << 20,
            orders_bytes=max(options.segment_mb << 19, 1 << 20),
            interval_s=options.fsync_interval_ms / 1000.0,
            on_synced=lambda seq: _later(loop, trading.on_synced, seq),
            on_fault=lambda text: _later(loop, trading.on_fault, text),
        )

    def _make_venue(self, session: Session, trading: TradingSession, lag: Lag) -> Venue:
        succession = self._succession
        return self._parts.venue(
            trading.publish,
            self._clock,
            lag,
            order_prefix(session.id),
            session.path,
            self._console.say,
            trading.left,
            None if succession is None else partial(succession.identify, anew=self._options.venue_truth),
        )

    def _make_router(
        self, bus: EventBus, trading: TradingSession, venue: Venue, keeper: WatchdogKeeper | None
    ) -> Router:
        """The way out, through everything that may shut it."""
        router: Router = OrderRouter(bus.publish, lambda: venue.gateways)
        if self._options.confirm_s is not None:
            router = Withheld(router, bus.publish, lambda: trading.is_trading, for_good=self._options.only_check)
        if keeper is not None:
            router = Interlock(router, bus.publish, lambda: keeper.latched)
        return router

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

    # --- the end --------------------------------------------------------------------------------------------------

    def _announce(self, session: Session, left: Left | None, metrics_url: str) -> None:
        say = self._console.say
        say(f"Kestrel session {session.id}: {self._options.mode}, feed {self._options.feed}")
        say(f"  folder   {session.path}")
        say(f"  metrics  {metrics_url}")
        if left is not None:
            state = left.state
            held = ", ".join(f"{one.qty} {one.instrument}" for one in state.money.holdings if one.qty) or "no position"
            say(f"  goes on  from session {left.session}: {state.open_count} open orders to ask about, {held}")
            for name, why in closing_in(state).items():
                self._log.warning("goes on closing what the last session had not closed", instrument=name, reason=why)
                say(f"  closes   {name}, as soon as the account is confirmed: {why}")
        say("  stop     Ctrl-C        kill switch  python run.py halt")

    async def _leave(
        self, session: Session, trading: TradingSession, venue: Venue, started_ns: int, reason: str
    ) -> SessionSummary:
        """Summary and series, then the report by a child process; a full disk costs the files, not the session."""
        summary = summarise(
            session,
            trading.core,
            trading.bus,
            venue,
            self._probe,
            feed=self._options.feed,
            started_ns=started_ns,
            ended_ns=self._clock.wall_ns(),
            reason=reason,
        )
        problem = write_files(session.path, summary, trading.series.collect(self._probe.tick_to_order))
        if not problem and self._options.report:
            problem = await make_report(session.path, self._options.code_root)
        if problem:
            self._console.say(problem)
            self._no_report = problem
        return summary

    def show(self, summary: SessionSummary) -> None:
        """The table at the end."""
        path = self._options.root / summary.session / "report.html"
        report = (self._no_report or str(path)) if self._options.report else "none asked for"
        self._console.summary(table_rows(summary, report), f"session {summary.session}")


def _later(loop: asyncio.AbstractEventLoop, call: Callable[[Any], None], value: object) -> None:
    """From a journal thread into the loop; a loop that is closing needs no news."""
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(call, value)
