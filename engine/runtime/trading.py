"""A session as it trades: the account taken over, the first record to the last, and what its journal and bus tell.

Owns these steps, whoever takes them: ``engine.runtime.daemon`` with a process, a disk and a clock of its own,
``engine.runtime.simulation`` with none of them real.  How a session lives in between is ``engine.runtime.supervisor``.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from engine.bus import EventBus
from engine.carried import encode_carried
from engine.commands import RiskState
from engine.core import TradingCore
from engine.errors import IllegalTransition, JournalError, KestrelError
from engine.events import InputEvent, JournalFailed, JournalSynced, RateReported, SessionStarted, StateCarried
from engine.ports import Clock, Venue
from engine.runtime.clocks import ClockWatch
from engine.runtime.model_requests import ModelRequests
from engine.runtime.parts import Companion, Tell, Warmer
from engine.runtime.polling import BusyPoll
from engine.runtime.self_check import OBSERVED, SelfCheck
from engine.runtime.series import SeriesWatch
from engine.runtime.succession import Left, Succession
from engine.runtime.supervisor import Supervisor, journal_failure
from engine.runtime.watchdog_keeper import WatchdogKeeper
from engine.session_options import Options


class Hashes(Protocol):
    """What a session's records name: the configuration and the code that made them."""

    @property
    def config_hash(self) -> str: ...

    @property
    def code_hash(self) -> str: ...


class Place(Protocol):
    """Where a session is kept (``engine.runtime.session.Session``)."""

    @property
    def id(self) -> str: ...

    @property
    def path(self) -> Path: ...

    @property
    def header(self) -> Hashes: ...


class Watch(Protocol):
    """Who looks at a session while it trades (``engine.runtime.watch.SessionWatch``)."""

    def status(self) -> dict[str, Any]: ...

    def on_second(self) -> None: ...

    def tell_failures(self) -> None: ...


class TradingSession:
    """``take_over``, ``attach``, ``trade``, in this order; ``on_synced`` and ``on_fault`` are told by the journal,
    ``on_error`` by the bus.  ``succession``: the account's books, None where the account ends with the session.
    ``warmer`` makes what keeps a tick's needs at hand, ``companions`` who works beside the loop while it trades."""

    def __init__(
        self,
        options: Options,
        *,
        clock: Clock,
        succession: Succession | None,
        run_dirs: Sequence[Path],
        log: Any,
        warmer: Callable[[Venue, TradingCore, Clock], Warmer | None] = lambda *_: None,
        companions: Callable[[TradingCore, Tell], Sequence[Companion]] = lambda *_: (),
    ) -> None:
        self._options = options
        self._clock = clock
        self._succession = succession
        self._run_dirs = tuple(run_dirs)
        self._log = log
        self._warmer = warmer
        self._companions = companions
        self._beside: list[Companion] = []
        self._is_told = False
        self._fatal: KestrelError | None = None
        self._recorded = False
        self._trading = False
        self._supervisor: Supervisor | None = None
        self._left: Left | None = None

    def take_over(self, session: Place) -> None:
        """Hold the account alone, and find out what the last session on it left (``left``).  Raises ``KestrelError``
        when another daemon holds it, or when that cannot be told."""
        succession = self._succession
        if succession is None:
            return
        succession.lock(session.id)
        if self._options.venue_truth:
            self._tell_forgotten(succession)
            return
        self._left = left = succession.left(self._options.config["portfolio"]["currency"])
        if left is not None and left.torn_bytes:
            self._log.error("the last session's journal has a torn end", session=left.session, bytes=left.torn_bytes)
        if left is not None and left.blank:
            self._log.error("files of the last session's journal are blank", session=left.session, files=left.blank)

    def _tell_forgotten(self, succession: Succession) -> None:
        """Whoever starts without what the last session left begins active: say so where that one was stopped, or where
        nobody can tell whether it was."""
        try:
            left = succession.left(self._options.config["portfolio"]["currency"])
        except (KestrelError, OSError) as error:
            seen = error.seen if isinstance(error, KestrelError) else str(error)
            self._log.warning("begins active: whether risk was stopped nobody can tell", error=seen)
            return
        if left is not None and left.state.risk_state is not RiskState.ACTIVE:
            state = left.state
            self._log.error(
                "begins active: the last session was stopped, and --venue-truth forgets that",
                session=left.session,
                state=state.risk_state.value,
                reason=state.risk_reason,
            )

    def attach(self, bus: EventBus, core: TradingCore) -> None:
        """What ``trade`` publishes to, and what is asked how it stands."""
        self.bus, self.core, self.series = bus, core, SeriesWatch(core)
        self.models = ModelRequests(core)
        self.self_check = SelfCheck(core, bus, self._log)

    @property
    def left(self) -> Left | None:
        """What the last session on the account left; None before ``take_over``, and where there was none."""
        return self._left

    @property
    def is_recorded(self) -> bool:
        """Whether a first record was written."""
        return self._recorded

    @property
    def is_trading(self) -> bool:
        """Whether the venue was ready; True also after the end."""
        return self._trading

    def stop(self, reason: str) -> None:
        """End the session in order.  Without effect before ``trade``."""
        if self._supervisor is not None:
            self._supervisor.stop(reason)

    async def trade(
        self,
        session: Place,
        venue: Venue,
        watch: Watch,
        keeper: WatchdogKeeper | None = None,
        announce: Callable[[], None] | None = None,
    ) -> str:
        """From the session's first record to its last; returns why it stopped.  The bus is routed to the venue, the
        account taken over.  ``announce`` is called when signals and commands are heard.  Raises ``KestrelError`` when
        the venue cannot be started or the session must not go on."""
        options = self._options
        start_ns = options.start_ns or self._clock.now_ns()
        header = session.header
        self._recorded = True
        self.publish(
            SessionStarted(start_ns, start_ns, session.id, header.config_hash, header.code_hash, options.models, ())
        )
        left = self._left
        if left is not None:
            self.publish(StateCarried(start_ns, start_ns, left.session, left.upto_seq, encode_carried(left.state)))
        for currency, rate in options.rates:
            self.publish(RateReported(start_ns, start_ns, currency, rate))
        if self._succession is not None:
            self._succession.begin(session.path)
        self._supervisor = supervisor = Supervisor(
            bus=self.bus,
            publish=self.publish,
            core=self.core,
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
            flatten_s=None if options.only_check else options.flatten_s,
            confirm_s=options.confirm_s,
            only_check=options.only_check,
            models=self.models,
            self_check=self.self_check.look,
            self_check_s=options.self_check_s,
        )
        warmers: list[Warmer] = []

        def on_started() -> None:
            self._trading = True
            if options.busy_poll:
                poll = BusyPoll(asyncio.get_running_loop())
                poll.start()
                warmers.append(poll)
            warmer = self._warmer(venue, self.core, self._clock)
            if warmer is not None:
                warmer.start()
                warmers.append(warmer)
            self._is_told = True
            for companion in self._companions(self.core, self._teller()):
                self._beside.append(companion)
                companion.start()

        try:
            reason = await supervisor.run(options.seconds, on_started, announce)
        except KestrelError:
            if self._fatal is not None:
                raise self._fatal from None  # what ended the start, rather than that it ended
            raise
        finally:
            self._is_told = False
            beside, self._beside = self._beside, []
            for each in (*warmers, *beside):
                each.stop()
        watch.tell_failures()
        if self._fatal is not None:
            raise self._fatal
        return reason

    def publish(self, event: InputEvent) -> None:
        """Have an event handled, after those that wait."""
        self.bus.publish(event)
        self.series.observe(event)
        if type(event) in OBSERVED:
            self.self_check.observe(event)

    def companions(self) -> dict[str, Any]:
        """What those who work beside the loop say of themselves."""
        return {key: value for companion in self._beside for key, value in companion.status().items()}

    def _teller(self) -> Tell:
        loop = asyncio.get_running_loop()

        def publish(make: Callable[[int], InputEvent]) -> None:
            if self._is_told:
                self.publish(make(self.now_ns()))

        def tell(make: Callable[[int], InputEvent]) -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(publish, make)

        return tell

    def on_synced(self, seq: int) -> None:
        """The journal is on the disk up to ``seq``.  In the loop's thread."""
        now_ns = self.now_ns()
        self.publish(JournalSynced(now_ns, now_ns, seq))

    def on_fault(self, text: str) -> None:
        """The journal's disk failed.  In the loop's thread."""
        self._log.error("journal fault", text=text)
        now_ns = self.now_ns()
        self.publish(JournalFailed(now_ns, now_ns, text))

    def on_error(self, text: str, error: Exception) -> None:
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

    def now_ns(self) -> int:
        """Now, as the core counts it: a recording's time is where its last event was."""
        return self.core.view.now_ns if self._options.data_time else self._clock.now_ns()
