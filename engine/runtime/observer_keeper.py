"""The daemon's side of the process that watches its models: started beside it, started again when it dies, let go.

Owns the child.  The daemon's loop never waits for it while it trades; what it does is
``engine.runtime.observer_process``.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
from pathlib import Path
from typing import Any, Final

from engine import processors
from engine.runtime.observer_process import DAMAGED
from engine.runtime.secrecy import without_secrets
from engine.session_options import ObserverPlan

LOG_FILE: Final = "observer.log"
BLAMED_MAX: Final = 16
"""Restarts for versions that took the process with them, which count apart."""
LOOKS: Final = 30
"""Between two questions whether there is anything to watch, as long as there was nothing."""
FINISH_S: Final = 10.0
"""What it has not read by then it reads by itself."""


class ObserverKeeper:
    """``start`` when the journal is there, ``look`` about once a second, ``finish`` when the journal is closed."""

    def __init__(self, plan: ObserverPlan, session: Path, log: Any) -> None:
        self._plan = plan
        self._session = session.absolute()
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None
        self.restarts = 0
        self._looks_left = 0
        """Until it is asked again whether there is anything to watch; 0 once it was started."""
        self._to_blame: set[str] = set()
        """Versions that took it with them: none of them is run again."""

    @property
    def pid(self) -> int | None:
        return None if self._process is None else self._process.pid

    def start(self) -> None:
        """If there is anything to watch, else as soon as there is."""
        if self._plan.is_wanted():
            self._start()
        else:
            self._looks_left = LOOKS

    def _start(self) -> None:
        """A machine that starts no process costs the session its watching, and nothing else: it is told."""
        try:
            with open(self._session / "log" / LOG_FILE, "ab", opener=_for_its_owner) as log, processors.beside():
                self._process = subprocess.Popen(
                    [*self._plan.command, str(self._session), str(os.getpid())],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.DEVNULL,
                    stderr=log,
                    env=without_secrets(),
                    start_new_session=True,  # Ctrl-C ends the daemon, and that lets it go
                )
        except OSError as error:
            self._log.error("models are not watched: the process cannot be started", error=str(error))

    def look(self) -> None:
        """Start it again where it died; the models that serve go on whatever becomes of it."""
        if self._looks_left:
            self._wait()
            return
        process = self._process
        if process is None or process.poll() is None:
            return
        self._process = None
        status = process.returncode
        if process.stdin is not None:
            process.stdin.close()
        version = self._plan.at_work(self._session)
        if version and version not in self._to_blame and len(self._to_blame) < BLAMED_MAX:
            self._to_blame.add(version)
            self._log.error(
                "a version took the process that watches models with it and is not run again",
                version=version,
                status=status,
            )
            self._start()
            return
        if status == DAMAGED or self.restarts >= self._plan.restarts_max:
            self._log.error("models are not watched any more", status=status, restarts=self.restarts, log=LOG_FILE)
            return
        self.restarts += 1
        self._log.error("the process that watches models died and is started again", status=status, log=LOG_FILE)
        self._start()

    def _wait(self) -> None:
        """The registry may get its first challenger while the session runs."""
        self._looks_left -= 1
        if self._looks_left:
            return
        if self._plan.is_wanted():
            self._log.info("models are watched from now on")
            self._start()
        else:
            self._looks_left = LOOKS

    def let_go(self) -> None:
        """It reads what is left of the record, and ends."""
        if self._process is not None and self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()

    async def finish(self, timeout_s: float = FINISH_S) -> bool:
        """Give it some time to read the rest; False when it goes on by itself."""
        self.let_go()
        process = self._process
        if process is None:
            return True
        for _ in range(max(int(timeout_s / 0.02), 1)):
            if process.poll() is not None:
                return True
            await asyncio.sleep(0.02)
        return False


def _for_its_owner(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC, 0o600)
