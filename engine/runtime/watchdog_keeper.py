"""The daemon's side of its watchdog: starts it, lets it feel the heart, notices when it is gone.

Owns the child process and what happens without it.  A session on an account that outlives it does not start without a
watchdog; one that loses it gets another, and where that does not stay either, or is there and does not look, risk goes
to reducing (a guard that cannot judge is no reason to go on).  What the watchdog does is ``engine.runtime.watchdog``'s,
and needs nothing from here.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from engine import processors
from engine.commands import CancelOrder, Command, RiskState
from engine.errors import KestrelError
from engine.ports import Publish, Router
from engine.router import refusal_of
from engine.runtime.heartbeat import FILE, Heart, Phase
from engine.runtime.secrecy import without_secrets
from engine.runtime.watchdog_process import LOG_FILE, Orders
from engine.session_options import WatchdogPlan

START_S: Final = 20.0
STARTS_MAX: Final = 3
"""Watchdogs in one session; when the last one is gone as well, something ends them on purpose."""
UNSEEN_S: Final = 5.0
"""A watchdog that has not looked for so long is stopped or starved: it guards nothing."""
_LOOK_MAX_S: Final = 2.0
"""Between two looks at it, at most, that count: after the machine or both processes were stopped it gets its chance."""


class WatchdogKeeper:
    """Use once.  ``beat`` is called on each timer of the loop, ``look`` about once a second."""

    def __init__(
        self,
        plan: WatchdogPlan,
        *,
        session: str,
        folder: Path,
        run_dirs: Sequence[Path],
        account_lock: Path,
        code_root: Path,
        log: Any,
    ) -> None:
        self._plan = plan
        self._session = session
        self._folder = folder.absolute()
        self._run_dirs = tuple(str(run_dir.absolute()) for run_dir in run_dirs)
        self._account_lock = account_lock.absolute()
        self._code_root = code_root
        self._log = log
        self._heart: Heart | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._starts = 0
        self._starts_max = STARTS_MAX
        self._missing = ""  # why nobody watches although trading went on; told once
        self._watched_ns = 0
        self._looked_s = 0.0
        self._silent_s = 0.0
        self._unseen = False

    @property
    def pid(self) -> int | None:
        return None if self._process is None else self._process.pid

    @property
    def latched(self) -> bool:
        """The watchdog has halted this daemon from outside."""
        return self._heart is not None and self._heart.latched

    async def start(self) -> None:
        """The heart first, then who watches it; returns when it is watched.  Raises ``KestrelError`` when it is not."""
        self._heart = heart = Heart(self._folder / FILE)
        self._launch()
        until_s = time.monotonic() + START_S
        while not heart.watched_ns:
            status = None if self._process is None else self._process.poll()
            if status is not None or time.monotonic() > until_s:
                self.end(0)
                raise KestrelError(
                    f"the watchdog of session {self._session} did not start",
                    expected="a process that watches the daemon of an account with open orders",
                    do=f"see {self._folder / LOG_FILE}; watchdog.enabled=false trades without one",
                )
            await asyncio.sleep(0.02)

    def _launch(self) -> None:
        self._starts += 1
        told = Orders(
            session=self._session,
            daemon=os.getpid(),
            heartbeat=str(self._folder / FILE),
            log=str(self._folder / LOG_FILE),
            run_dirs=self._run_dirs,
            account_lock=str(self._account_lock),
            venue=self._plan.venue,
            settings=self._plan.settings,
            rules=self._plan.rules,
        )
        # Not a process of asyncio's: those are killed with their loop.  Its stderr is ours only where somebody reads
        # along: a pipe would be kept open for as long as it lives.
        with processors.beside():
            self._process = process = subprocess.Popen(
                [sys.executable, "-m", "engine.runtime.watchdog_process"],
                cwd=self._code_root,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=None if sys.stderr.isatty() else subprocess.DEVNULL,
                env=without_secrets(),
                start_new_session=True,
            )
        assert process.stdin is not None
        try:
            with process.stdin as pipe:
                pipe.write(msgspec.json.encode(told))
        except OSError:
            pass  # it has ended already, which ``start`` and ``look`` notice

    # --- while it trades --------------------------------------------------------------------------------------------

    def beat(self, risk: RiskState, open_orders: int) -> None:
        if self._heart is not None:
            self._heart.beat(risk, open_orders)

    def enter(self, phase: Phase) -> None:
        if self._heart is not None:
            self._heart.enter(phase)

    def release(self) -> None:
        """An operator has resumed: nobody trades on unwatched.  One that does not look gives way to another."""
        if self._heart is None:
            return
        self._heart.release()
        if self._process is not None and self._unseen:
            self._log.warning("the watchdog that does not look is ended", pid=self._process.pid)
            self._process.kill()  # it is stopped: what can be caught it would not hear
            self._process = None
        if self._process is None:
            self._starts_max = self._starts + STARTS_MAX
            self._missing = self._replace(self._heart)

    def look(self) -> str:
        """Start another watchdog where this one is gone.  Returns why no new risk may be taken, once for each that is
        not replaced or that stops looking; empty while it may."""
        heart, process = self._heart, self._process
        if heart is None or process is None:
            why, self._missing = self._missing, ""
            return why
        status = process.poll()
        if status is None:
            return self._look_at(process.pid, heart)
        self._process = None
        if self._starts < self._starts_max:
            self._log.error("the watchdog is gone; another one is started", status=status)
            return self._replace(heart)
        self._log.error("the watchdog is gone", status=status, starts=self._starts)
        return f"the watchdog is gone, {self._starts} times in this session"

    def _look_at(self, pid: int, heart: Heart) -> str:
        """Whether the one that is there looks; why no new risk may be taken, once each time that it stops."""
        now_s = time.monotonic()
        passed_s, self._looked_s = min(now_s - self._looked_s, _LOOK_MAX_S), now_s
        if heart.watched_ns != self._watched_ns:
            self._watched_ns, self._silent_s = heart.watched_ns, 0.0
            if self._unseen:
                self._log.warning("the watchdog looks again", pid=pid)
            self._unseen = False
            return ""
        self._silent_s += passed_s
        if self._unseen or self._silent_s < (UNSEEN_S if self._watched_ns else START_S):
            return ""
        self._unseen = True
        self._log.error("the watchdog has not looked for some time", pid=pid, seconds=self._silent_s)
        return f"the watchdog, process {pid}, has not looked for {self._silent_s:.0f} s"

    def _replace(self, heart: Heart) -> str:
        """Start another one; why that cannot be done, empty where it was."""
        heart.unwatched()
        self._watched_ns, self._looked_s, self._silent_s, self._unseen = 0, time.monotonic(), 0.0, False
        try:
            self._launch()
        except OSError as error:
            self._log.error("the watchdog cannot be started", error=str(error))
            return f"the watchdog is gone and cannot be started: {error.strerror}"
        return ""

    def status(self) -> str:
        """For ``status``."""
        heart, process = self._heart, self._process
        if heart is None or process is None or process.poll() is not None:
            return "gone"
        if heart.latched:
            return f"process {process.pid} has halted this daemon"
        return f"process {process.pid}" + (", has not looked for some time" if self._unseen else "")

    # --- the end ----------------------------------------------------------------------------------------------------

    def end(self, open_orders: int) -> None:
        """Nothing leaves any more, and ``open_orders`` may still live: with none the watchdog ends, else it applies
        ``watchdog.on_death``.  Idempotent."""
        heart, self._heart = self._heart, None
        if heart is None:
            return
        heart.beat(RiskState.HALTED, open_orders)
        heart.enter(Phase.ENDED)
        heart.close()
        process, self._process = self._process, None
        if process is not None and not open_orders:
            try:
                process.wait(2.0)
            except subprocess.TimeoutExpired:
                pass  # it is busy with a venue that does not answer, and ends by itself


class Interlock:
    """A router that lets no order out once the watchdog has halted the daemon from outside.

    What a loop decides that was stuck, in the very call that it was stuck in, is late whatever it says.
    """

    def __init__(self, router: Router, publish: Publish, is_latched: Callable[[], bool]) -> None:
        self._router = router
        self._publish = publish
        self._is_latched = is_latched

    def send(self, command: Command) -> None:
        if type(command) is not CancelOrder and self._is_latched():
            self._publish(refusal_of(command, "watchdog", "halted from outside"))
            return
        self._router.send(command)
