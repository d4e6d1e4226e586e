"""The watchdog's process: started beside a daemon, outlives it, and ends when there is nothing left to look after.

Owns the process: what it was told (one JSON object on stdin), the record that it leaves, and that nothing but its work
ends it.  What it concludes is ``engine.runtime.watchdog``'s.  It has no event loop and loads nothing that can make an
order; the venue's part is named by the daemon, and only a module called ``cancel_only`` is taken for one.
"""

from __future__ import annotations

import contextlib
import fcntl
import importlib
import json
import os
import re
import signal
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import msgspec

from engine.errors import ConfigError, KestrelError
from engine.runtime.control import read_halt, write_halt
from engine.runtime.heartbeat import Pulse
from engine.runtime.redaction import redactor
from engine.runtime.secrecy import leave_no_core, redact_tracebacks
from engine.runtime.watchdog import LOOK_S, SOURCE, Account, Watchdog
from engine.session_options import Rules

LOG_FILE: Final = "watchdog.log"
_VENUE: Final = re.compile(r"connectors\.\w+\.cancel_only")
_SAID_ALOUD: Final = frozenset({"alert", "halt_written", "halt_failed", "none_open", "gave_up", "left_alone", "failed"})
"""What an operator at the daemon's terminal must see."""


class Orders(msgspec.Struct, frozen=True, kw_only=True):
    """What the daemon tells its watchdog.  Paths are absolute; holds no secret, but where one lies."""

    session: str
    daemon: int
    """Process id; the watchdog is its child."""
    heartbeat: str
    log: str
    run_dirs: tuple[str, ...]
    """Where HALT files are looked for; the last one, beside the sessions, is where the watchdog writes its own."""
    account_lock: str
    venue: str
    """Module whose ``open_account(settings)`` gives the account."""
    settings: dict[str, Any]
    rules: Rules


class Record:
    """``watchdog.log``: one JSON object a line, flushed at once.  A full disk loses lines, never the watchdog."""

    def __init__(self, path: Path, session: str) -> None:
        self._path = path
        self._session = session
        self._descriptor = -1
        with contextlib.suppress(OSError):
            self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def __call__(self, event: str, **what: Any) -> None:
        now_ns = time.time_ns()
        clean = {name: redactor.text(value) if isinstance(value, str) else value for name, value in what.items()}
        at = datetime.fromtimestamp(now_ns // 1_000_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%S")
        line = {"ts": f"{at}.{now_ns // 1_000_000 % 1000:03d}Z", "event": event, "pid": os.getpid(), **clean}
        with contextlib.suppress(OSError):
            os.write(self._descriptor, json.dumps(line, default=str).encode() + b"\n")
        if event in _SAID_ALOUD:
            said = ", ".join(str(value) for value in clean.values() if value not in ("", True, False))
            with contextlib.suppress(OSError, ValueError):
                print(f"kestrel watchdog, session {self._session}: {event.replace('_', ' ')}: {said}", file=sys.stderr)


def open_account(venue: str, settings: Mapping[str, Any]) -> Account:
    """Raises ``ConfigError`` for a module that is not of the cancel-only kind."""
    if _VENUE.fullmatch(venue) is None:
        raise ConfigError(f"the watchdog was told to load {venue!r}", expected="connectors.VENUE.cancel_only")
    account: Account = importlib.import_module(venue).open_account(settings)
    return account


def holder_of(account_lock: Path, daemon: int) -> str:
    """Who else holds the account, as ``engine.runtime.succession`` writes it; empty while nobody else does: what is
    written there outlives who wrote it, the lock does not."""
    try:
        descriptor = os.open(account_lock, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return ""
    text = ""
    try:
        text = os.pread(descriptor, 200, 0).decode(errors="replace").strip()
        if not text or text.startswith(f"process {daemon},"):
            return ""
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return text
    finally:
        os.close(descriptor)
    return ""


def pull_halt(run_dirs: tuple[str, ...], reason: str, record: Record) -> None:
    """Write HALT beside the daemon's sessions; where that folder takes none, in the user's, which halts all daemons."""
    for run_dir in reversed(run_dirs):
        try:
            path = write_halt(Path(run_dir), SOURCE, reason, time.time_ns())
        except KestrelError as error:
            record("halt_failed", error=str(error))
            continue
        record("halt_written", path=str(path))
        return


def first_halt(run_dirs: tuple[str, ...]) -> dict[str, str] | None:
    """What stands in the first file HALT that there is; None where there is none."""
    return next(filter(None, (read_halt(Path(run_dir)) for run_dir in run_dirs)), None)


def watch(orders: Orders, record: Record) -> bool:
    """To the end; True when nothing is left to do by hand."""
    account = open_account(orders.venue, orders.settings)
    dog = Watchdog(
        rules=orders.rules,
        pulse=Pulse(Path(orders.heartbeat)),
        account=account,
        # The kernel gives a child of a dead process another parent at once; a process id may be anybody's by then.
        alive=lambda: os.getppid() == orders.daemon,
        halted=lambda: first_halt(orders.run_dirs),
        pull=lambda reason: pull_halt(orders.run_dirs, reason, record),
        taken_over=lambda: holder_of(Path(orders.account_lock), orders.daemon),
        note=record,
        now_ns=time.monotonic_ns,
    )
    record("started", session=orders.session, daemon=orders.daemon, rules=msgspec.to_builtins(orders.rules))
    if dog.step():
        return dog.complete
    try:
        record("venue_reached", open=len(account.open_orders()))
    except KestrelError as error:
        record("venue_failed", error=str(error), failures=1)
    said = ""
    while True:
        try:
            if dog.step():
                return dog.complete
        except Exception as error:  # a defect of ours must not leave the orders alone
            text = f"{type(error).__name__}: {error}"
            if text != said:
                said = text
                record("step_failed", error=text)
        time.sleep(LOOK_S)


def _hold_out(record: Record) -> None:
    """Neither a terminal that is closed nor a service that is stopped takes the watchdog before the daemon."""

    def ignore(number: int, _frame: object) -> None:
        record("signal_ignored", signal=signal.Signals(number).name, do="it ends with its session")

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, ignore)
    with contextlib.suppress(OSError):  # only root may: when memory runs out, the daemon goes first
        Path("/proc/self/oom_score_adj").write_text("-500")


def main() -> int:
    leave_no_core()
    redact_tracebacks()
    try:
        orders = msgspec.json.decode(sys.stdin.buffer.read(), type=Orders)
    except msgspec.DecodeError as error:
        print(f"kestrel watchdog: no orders on stdin: {error}", file=sys.stderr)
        return 2
    record = Record(Path(orders.log), orders.session)
    _hold_out(record)
    try:
        return 0 if watch(orders, record) else 1
    except BaseException as error:
        record("failed", error=f"{type(error).__name__}: {error}")
        return 2


if __name__ == "__main__":
    sys.exit(main())
