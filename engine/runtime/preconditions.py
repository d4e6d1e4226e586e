"""This machine before a session: its libraries, disk, run folders, the account's lock and what the last session left.

Owns looks that change nothing: whatever is written is removed at once, no lock is kept, no record is made.  The daemon
refuses the same things by itself when it starts; here they are found together, and before.
"""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
import time
import tomllib
from collections.abc import Callable
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any, Final

from engine.commands import RiskState
from engine.errors import ConfigError, DataError, KestrelError, SessionLocked
from engine.findings import Finding, Skipped, Warned, look
from engine.runtime import provenance
from engine.runtime.approval import build_of, read_approval
from engine.runtime.control import HALT_NAME, read_halt, run_folders, user_run_folder
from engine.runtime.disk_watch import ALARM_BYTES
from engine.runtime.machine_lock import MachineLock
from engine.runtime.succession import Succession
from engine.session_options import Place

PYTHON_MIN: Final = (3, 11)
SEGMENTS_NEEDED: Final = 6
"""Files of the journal that a session makes at once: two streams, each with one made ahead, and as many again when the
first are full."""
SYNC_SLOW_S: Final = 0.2
"""A disk that takes longer to confirm a page holds up everything that waits for it."""


def machine_findings(place: Place) -> list[Finding]:
    """Every look, in the order in which a person would put things right."""
    looks: list[tuple[str, Callable[[Place], str]]] = [
        ("versions", _versions),
        ("build", _build),
        ("approval", _approval),
        ("disk", _disk),
        ("journal", _journal),
        ("logs", _logs),
        ("kill switch", _kill_switch),
        ("control", _control),
        ("metrics", _metrics),
        ("lock", _lock),
        ("last session", _last_session),
    ]
    return [look(name, partial(at, place)) for name, at in looks]


# --- what runs -----------------------------------------------------------------------------------------------------


def _versions(place: Place) -> str:
    python = provenance.python_version()
    if tuple(int(part) for part in python.split(".")[:2]) < PYTHON_MIN:
        raise KestrelError(f"Python {python}", expected=".".join(map(str, PYTHON_MIN)) + " or newer")
    pins = _pins(place.code_root / "pyproject.toml")
    wrong, right = [], 0
    for name, wanted, needed in pins:
        try:
            found = metadata.version(name)
        except metadata.PackageNotFoundError:
            if needed:
                wrong.append(f"{name} is not installed")
            continue
        right += found == wanted
        if found != wanted:
            wrong.append(f"{name} {found} in place of {wanted}")
    if wrong:
        raise KestrelError(
            f"Python {python}; {', '.join(wrong)}",
            expected="the versions that pyproject.toml names: no other was tested",
            do="python -m pip install -e '.[cpu]' (or gpu)",
        )
    return f"Python {python}, {right} libraries as pinned"


def _pins(path: Path) -> list[tuple[str, str, bool]]:
    """Name, version and whether it must be there, of all that serves (extras that are not installed need not be)."""
    try:
        project = tomllib.loads(path.read_text(encoding="utf-8"))["project"]
        base, extras = project["dependencies"], project.get("optional-dependencies", {})
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, KeyError) as error:
        raise Skipped(f"{path} cannot be read ({error}): nobody knows which versions were tested") from None
    made = []
    serving = [text for name in ("cpu", "gpu") for text in extras.get(name, ())]
    for text in (*base, *serving):
        requirement, _, marker = text.partition(";")
        name, _, version = requirement.strip().partition("==")
        if version:
            made.append((name, version, text in base and not marker))
    return made


def _build(place: Place) -> str:
    commit = provenance.git_commit(place.code_root)
    code = f"code {provenance.code_hash(place.code_root)[:12]}"
    if commit.endswith("+"):
        raise Warned(
            f"{code}, files differ from commit {commit[:12]}",
            expected="a checkout as it was committed",
            do="commit or undo the changes, so that this build can be had again",
        )
    return f"{code}, commit {commit[:12]}" if commit else f"{code}, no git checkout"


def _approval(place: Place) -> str:
    if place.approval is None:
        if not place.approving:
            raise Skipped("session.approved is empty: not asked for on paper")
        raise ConfigError(
            "session.approved is empty",
            expected="the file of config approve, which a live session asks for",
            do="set it in your configuration, then: python run.py config approve, with the same options",
        )
    approval = read_approval(place.approval)
    approval.check(build_of(place.config, place.code_root, place.own_code), place.approval)
    return approval.said


# --- where it writes -----------------------------------------------------------------------------------------------


def _disk(place: Place) -> str:
    folder = _existing(place.sessions)
    free = shutil.disk_usage(folder).free
    needed = SEGMENTS_NEEDED * place.segment_mb << 20
    said = f"{free / (1 << 30):,.1f} GiB free at {folder}"
    do = "remove old sessions: python run.py sessions prune; or choose another session.directory"
    if free < needed:
        raise DataError(said, expected=f"{needed / (1 << 30):,.1f} GiB for the first files of a journal", do=do)
    if free < ALARM_BYTES:
        raise Warned(said, expected=f"{ALARM_BYTES >> 30} GiB: trading halts on a full disk", do=do)
    return said


def _journal(place: Place) -> str:
    """A file as the journal makes its own: allocated in full, written, synced."""
    folder = _existing(place.sessions)
    size = place.segment_mb << 20
    try:
        with _scratch(folder) as file:
            os.posix_fallocate(file.fileno(), 0, size)
            file.write(b"\0" * 4096)
            file.flush()
            began_s = time.perf_counter()
            os.fsync(file.fileno())
            took_s = time.perf_counter() - began_s
    except OSError as error:
        raise DataError(
            f"a file of {place.segment_mb} MB cannot be made in {folder}: {error.strerror}",
            expected="a folder that is yours on a disk with room",
            do="correct session.directory or journal.segment_mb",
        ) from None
    said = f"{folder} takes files of {place.segment_mb} MB; a sync took {took_s * 1e3:.1f} ms"
    if took_s > SYNC_SLOW_S and place.fsync == "always":
        raise Warned(said, expected="a disk that syncs faster, since each order waits for it", do="or journal.fsync")
    return said


def _logs(place: Place) -> str:
    if place.logs is None:
        return "in the session's folder"
    folder = _existing(place.logs)
    try:
        _scratch(folder).close()
    except OSError as error:
        raise DataError(
            f"nothing can be written to {folder}: {error.strerror}",
            expected="a folder that is yours",
            do="logs.directory",
        ) from None
    return str(place.logs)


def _scratch(folder: Path) -> Any:
    """A file that has no name, or loses it when it is closed."""
    return tempfile.TemporaryFile(prefix=".kestrel-doctor-", dir=folder)


def _existing(folder: Path) -> Path:
    """The folder, or the nearest one above it that is there."""
    at = folder.absolute()
    while not at.exists() and at != at.parent:
        at = at.parent
    return at


# --- who reaches it -------------------------------------------------------------------------------------------------


def _kill_switch(place: Place) -> str:
    folders = run_folders(place.sessions)
    for folder in folders:
        halt = read_halt(folder)
        if halt is not None:
            raise KestrelError(
                f"the kill switch is on ({folder / HALT_NAME}): {halt['reason'] or 'no reason given'}",
                expected="no HALT file",
                do="look into why, then: python run.py resume",
            )
    return "off; looked for in " + ", ".join(map(str, folders))


def _control(place: Place) -> str:
    for folder in run_folders(place.sessions):
        if not os.access(_existing(folder), os.W_OK | os.X_OK):
            raise KestrelError(
                f"no control socket can be made in {folder}",
                expected="a folder that is yours: a daemon that nobody can halt does not start",
                do="session.directory moves the run folder beside it, KESTREL_RUN_DIR the user's",
            )
    return "sockets can be made"


def _metrics(place: Place) -> str:
    host, port = place.metrics_host, place.metrics_port
    if port == "auto":
        return f"any free port of {host}"
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(*found[:3]) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind(found[4])
    except (OSError, UnicodeError) as error:
        raise ConfigError(
            f"metrics endpoint {host}:{port}: {getattr(error, 'strerror', None) or error}",
            expected="a free port of this machine",
            do="set metrics.port to a free port or to auto",
        ) from None
    return f"{host}:{port} is free"


def _lock(place: Place) -> str:
    if not place.account:
        raise Skipped("no account that outlives the session")
    holder = Succession(user_run_folder(), place.account, MachineLock(place.account)).holder()
    if holder:
        raise SessionLocked(
            f"account {place.account} is traded by {holder}",
            expected="one daemon on an account",
            do="stop that one first",
        )
    return f"nobody trades on {place.account}"


def _last_session(place: Place) -> str:
    if not place.account:
        raise Skipped("no account that outlives the session")
    if place.venue_truth:
        raise Skipped("--venue-truth: what the venue says alone counts")
    left = Succession(user_run_folder(), place.account).left(place.currency)
    if left is None:
        return f"none on {place.account}"
    held = ", ".join(f"{one.qty} {one.instrument}" for one in left.state.money.holdings if one.qty) or "no position"
    said = f"{left.session}: {left.state.open_count} open orders, {held}"
    if left.state.risk_state is not RiskState.ACTIVE:
        raise Warned(
            f"{said}; it ended {left.state.risk_state.value}: {left.state.risk_reason}",
            expected="active: the state holds in the next session too",
            do="settle what it was about, start, then: python run.py resume",
        )
    return said
