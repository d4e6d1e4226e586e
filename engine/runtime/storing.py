"""Stores a session's market while it runs: a child process of low priority that follows the journal.

Owns the child, what it says and how the daemon starts and leaves it.  What is stored is that of
``engine.runtime.compaction``, which is loaded in the child alone.

The child looks at the journal every ``POLL_S``; the daemon's loop never waits for it while it trades.  Its stdin is a
leash: when the daemon closes it, having closed the journal, or dies, the child stores the rest and ends.  It is not
ended with the daemon: a kill of both loses nothing, ``data compact`` goes on where it stopped.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import select
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import msgspec

from engine import processors
from engine.errors import DataError, KestrelError
from engine.runtime.secrecy import without_secrets

POLL_S: Final = 1.0
NICE: Final = 10
START_S: Final = 60.0
FINISH_S: Final = 120.0
"""A segment of 64 MiB takes some seconds; whatever is longer goes on without us."""
LOG_FILE: Final = "storing.log"
ROOM_BYTES: Final = 512 << 20
"""Free space below which nothing is stored while a session runs: several segments of its journal."""


class Tally(msgspec.Struct):
    """What was stored.  ``rows`` by kind, ``instruments`` are ids as stored, ``upto_seq`` the session's last record
    that is in, ``torn_bytes`` what a killed process left unfinished behind it."""

    session: str = ""
    rows: dict[str, int] = {}
    instruments: list[str] = []
    upto_seq: int = 0
    known: int = 0
    """Rows that were in the catalogue already: bars, since a venue tells its last ones at every start, and trades of a
    download or of a session beside this one."""
    torn_bytes: int = 0
    complete: bool = False
    """The session has ended, and all of it is in."""

    @property
    def total(self) -> int:
        return sum(self.rows.values())

    def line(self) -> str:
        """For people."""
        kinds = ", ".join(f"{kind} {count:,}" for kind, count in sorted(self.rows.items()))
        what = f"{self.total:,} rows of {', '.join(sorted(self.instruments))} stored ({kinds})" if self.total else ""
        more = "" if self.complete else "; the session still runs: its last segment follows when it is closed"
        known = f"; {self.known:,} more were stored already" if self.known else ""
        torn = f"; {self.torn_bytes:,} bytes of an unfinished record were left out" if self.torn_bytes else ""
        return f"session {self.session}: {what or 'nothing new to store'}{known}{torn}{more}"


class Storing:
    """The daemon's side.  ``start`` before the venue starts, ``finish`` when the journal is closed."""

    def __init__(self, session: Path, catalogue: Path, code_root: Path) -> None:
        self._session = session.resolve()
        self._catalogue = catalogue.resolve()
        self._code_root = code_root
        self._process: subprocess.Popen[bytes] | None = None
        self._pipe: asyncio.ReadTransport | None = None
        self._lines = asyncio.StreamReader()

    @property
    def pid(self) -> int | None:
        return None if self._process is None else self._process.pid

    async def start(self) -> None:
        """Raises ``DataError`` when nothing could be stored: better before the session than after it."""
        # Not a process of asyncio's: those are killed with their loop, and this one may have to outlive it.
        with open(self._session / "log" / LOG_FILE, "ab", opener=_for_its_owner) as log, processors.beside():
            self._process = subprocess.Popen(
                [sys.executable, "-m", "engine.runtime.storing", str(self._session), str(self._catalogue)],
                cwd=self._code_root,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=without_secrets(),
                start_new_session=True,  # Ctrl-C ends the daemon, and that ends the child when all is stored
            )
        loop = asyncio.get_running_loop()
        self._lines = asyncio.StreamReader()
        self._pipe, _ = await loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(self._lines), self._process.stdout
        )
        said = await self._said(START_S)
        if not said.get("ready"):
            await self._leave(ended=bool(said))
            raise DataError(
                f"the market cannot be stored in {self._catalogue}: {said.get('error', 'no answer')}",
                expected="a catalogue that can be written",
                do="correct data.catalogue, or set data.record to false",
            )

    async def finish(self, timeout_s: float = FINISH_S) -> tuple[Tally | None, str]:
        """Let it store the rest; what it stored, and a line about what went wrong (empty when nothing did)."""
        self._let_go()
        said = await self._said(timeout_s)
        await self._leave(ended=bool(said))
        again = f"python run.py data compact {self._session.name}"
        if "error" in said:
            return None, f"not all of the market is stored: {said['error']}; then: {again}"
        if "tally" not in said:
            return None, f"the market is still being stored, in the background; to see whether it is: {again}"
        return msgspec.convert(said["tally"], Tally), ""

    async def _said(self, timeout_s: float) -> dict[str, Any]:
        """The next line of the child; empty when none came in time."""
        try:
            async with asyncio.timeout(timeout_s):
                line = await self._lines.readline()
        except TimeoutError:
            return {}
        try:
            said = json.loads(line)
        except ValueError:
            return {"error": f"its process ended without a word (see log/{LOG_FILE})"}
        return said if isinstance(said, dict) else {}

    def _let_go(self) -> None:
        if self._process is not None and self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()

    async def _leave(self, *, ended: bool) -> None:
        """A child that has said its last ends at once and is waited for; one that works on is left to itself."""
        self._let_go()
        if self._pipe is not None:
            self._pipe.close()
        for _ in range(200 if ended else 0):
            if self._process is None or self._process.poll() is not None:
                return
            await asyncio.sleep(0.01)


# --- the child ----------------------------------------------------------------------------------------------------


def main(session: str, catalogue: str) -> int:
    """Follow one session to its end.  Says ``ready`` and, at the end, what it stored: one JSON object a line."""
    from engine.runtime.compaction import Compaction

    step_back()
    try:
        compaction = Compaction(Path(session), Path(catalogue))
        compaction.check_writable()
    except KestrelError as error:
        _say({"error": str(error)})
        return 2
    _say({"ready": True})
    told = ""
    while not is_let_go(POLL_S):
        try:
            check_room(Path(catalogue))
            compaction.run()
        except KestrelError as error:  # tried again at the next look: a disk may be emptied
            if str(error) != told:
                told = str(error)
                print(told, file=sys.stderr, flush=True)
    try:
        tally = compaction.run(ended=True)
    except KestrelError as error:
        print(error, file=sys.stderr, flush=True)
        _say({"error": str(error)})
        return 2
    _say({"tally": msgspec.to_builtins(tally)})
    return 0


def check_room(catalogue: Path) -> None:
    """Raises ``DataError`` when the disk is nearly full: the journal of a session that trades needs what is left."""
    free = shutil.disk_usage(catalogue).free
    if free < ROOM_BYTES:
        raise DataError(
            f"{free >> 20} MiB are free where {catalogue} is: the market is not stored for now",
            expected=f"at least {ROOM_BYTES >> 20} MiB",
            do="free disk space; the journal has everything until then",
        )


def _for_its_owner(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC, 0o600)


def step_back() -> None:
    """Everything that trades goes first: never wake up into its core, never compete for it."""
    with contextlib.suppress(OSError, AttributeError):
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    with contextlib.suppress(OSError):
        os.nice(NICE)


def is_let_go(wait_s: float) -> bool:
    """Whether the daemon has closed our stdin, after at most ``wait_s``."""
    ready, _, _ = select.select([0], [], [], wait_s)
    return bool(ready) and not os.read(0, 4096)


def _say(content: dict[str, Any]) -> None:
    with contextlib.suppress(OSError):  # nobody listens any more: the daemon died
        print(json.dumps(content), flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2]))
