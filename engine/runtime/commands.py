"""Commands that operate running daemons: ``status``, ``halt``, ``reduce``, ``resume``.

They reach every daemon of the user, whatever folder they are typed in; ``--sessions`` narrows all but ``halt`` to the
daemons of one folder of sessions.  By which sockets and files is ``engine.runtime.control``.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from engine.cli import JsonFlag, print_json
from engine.commands import RiskState
from engine.errors import KestrelError
from engine.runtime.control import (
    HALT_NAME,
    ask,
    clear_halt,
    read_halt,
    run_folder,
    running_sessions,
    said_of,
    user_run_folder,
    write_halt,
)

ReasonOption = Annotated[str, typer.Option(help="why, for the record")]
SessionsOption = Annotated[
    Path | None, typer.Option(help="only daemons with this folder of sessions (default: all of this user)")
]
USUAL_SESSIONS = Path("var/sessions")
"""Where the sessions of a daemon that was started in this folder usually are."""
_DONE = {
    "halt": (RiskState.HALTED,),
    "reduce": (RiskState.REDUCING, RiskState.HALTED),
    "resume": (RiskState.ACTIVE,),
}
"""The states in which a command has had its effect."""


def status(sessions: SessionsOption = None, as_json: JsonFlag = False) -> None:
    """What running daemons say about themselves."""
    answers: list[dict[str, Any]] = []
    for path in _daemons(_where(sessions)):
        # One that is stuck must not hide the others.
        try:
            answers.append(ask(path, "status"))
        except KestrelError as error:
            answers.append({"session": path.stem.rpartition(".")[0], "state": "no answer", "error": str(error)})
    for answer in answers:
        for key, value in answer.items():
            if key != "ok":
                for line in _said(value):
                    print(f"{key:<13} {line}")
    if as_json:
        print_json({"daemons": answers})
    if any("error" in answer for answer in answers):
        raise typer.Exit(1)


def _said(value: Any) -> list[str]:
    """A line, or one for each instrument or model where more than a word is told of each."""
    if not isinstance(value, dict):
        return [str(value)]
    if not value or not all(isinstance(one, dict) for one in value.values()):
        return [json.dumps(value)]
    return [
        f"{name}: {', '.join(f'{what} {_short(told)}' for what, told in one.items())}" for name, one in value.items()
    ]


def _short(told: Any) -> str:
    if isinstance(told, float):
        return f"{told:.4g}" if told < 10_000 else f"{told:.0f}"
    return json.dumps(told) if isinstance(told, dict | list) else str(told)


def halt(
    reason: ReasonOption = "",
    sessions: Annotated[Path | None, typer.Option(help="also write HALT beside this folder of sessions")] = None,
) -> None:
    """Kill switch: cancel everything, let nothing out that adds risk.  Works when a daemon is stuck or absent."""
    # The files first: they need nobody's answer.  A disk that takes no file must not keep the sockets from being tried.
    failed: KestrelError | None = None
    beside = run_folder(sessions or USUAL_SESSIONS)
    run_dirs = [beside] if sessions is not None or beside.is_dir() else []
    try:
        run_dirs.insert(0, user_run_folder())
    except KestrelError as error:
        failed = error
    for run_dir in run_dirs:
        try:
            path = write_halt(run_dir, "operator", reason, time.time_ns())
            print(f"wrote {path}: daemons that look there halt, and none starts until 'resume'")
        except KestrelError as error:
            failed = failed or error
    found = running_sessions(*run_dirs)
    if run_dirs and not found:
        print("no running daemon was found")
    told = _tell("halt", reason, found)
    if failed is not None:
        raise failed
    if not told:
        raise typer.Exit(1)


def reduce(reason: ReasonOption = "", sessions: SessionsOption = None) -> None:
    """Only orders that reduce positions may leave."""
    if not _tell("reduce", reason, _daemons(_where(sessions))):
        raise typer.Exit(1)


def resume(
    reason: ReasonOption = "",
    sessions: SessionsOption = None,
    force: Annotated[
        bool, typer.Option("--force", help="also while the venue has not confirmed the account; it is on record")
    ] = False,
) -> None:
    """End a halt or a reduction, explicitly.  Refused while a daemon's account is not settled."""
    if sessions is not None:
        _spare_others(run_folder(sessions))
    run_dirs = [user_run_folder(), run_folder(sessions or USUAL_SESSIONS)]
    lying = [run_dir for run_dir in run_dirs if read_halt(run_dir) is not None]
    found = running_sessions(_where(sessions))
    # Daemons first: one that refuses, or does not answer, must find the files that halt it.  The first that resumes
    # removes them for all: so every one is asked before any is told.
    if len(found) > 1 and not _may_resume(found, force=force):
        raise typer.Exit(1)
    if found and not _tell("resume", reason, found, force=force):
        raise typer.Exit(1)
    for run_dir in lying:
        clear_halt(run_dir)  # where no daemon has done it
        print(f"removed {run_dir / HALT_NAME}")
    if not found and not lying:
        raise KestrelError(
            f"nothing to resume: no daemon is running, and no HALT file lies in {' or '.join(map(str, run_dirs))}",
            do="a start that is refused names the command that removes its file",
        )
    if not found:
        print("no running daemon was found")


def _may_resume(found: list[Path], *, force: bool) -> bool:
    """Whether each of several daemons answers and would resume; what one says against it is printed."""
    agreed = True
    for path in found:
        try:
            ask(path, "may_resume", {"force": force})
        except KestrelError as error:
            agreed = False
            print(f"kestrel: {error}", file=sys.stderr)
    if not agreed:
        print("kestrel: none was resumed: end those first, or name one with --sessions", file=sys.stderr)
    return agreed


def _spare_others(run_dir: Path) -> None:
    """Raises ``KestrelError`` where the user's HALT file holds daemons of other sessions too: one of them may be stuck
    and not have seen it yet, and would wake up to find it gone."""
    mine = {path.stem for path in running_sessions(run_dir)}
    others = [path for path in running_sessions(user_run_folder()) if path.stem not in mine]
    if others and read_halt(user_run_folder()) is not None:
        raise KestrelError(
            f"{user_run_folder() / HALT_NAME} halts {', '.join(map(said_of, others))} as well",
            expected="no daemon of other sessions",
            do="end those first, or release all of them: resume without --sessions",
        )


def _where(sessions: Path | None) -> Path:
    return user_run_folder() if sessions is None else run_folder(sessions)


def _daemons(run_dir: Path) -> list[Path]:
    """Raises ``KestrelError`` when there is none: a command without effect is no success."""
    found = running_sessions(run_dir)
    if not found:
        raise KestrelError(f"no daemon is running: none listens in {run_dir}", do="start one: make paper")
    return found


def _tell(command: str, reason: str, found: list[Path], **more: Any) -> bool:
    """Tell every one of them; False when one did not confirm that it is so now."""
    confirmed = True
    for path in found:
        try:
            state = ask(path, command, {"reason": reason, **more})["state"]
        except KestrelError as error:
            confirmed = False
            print(f"kestrel: {error}", file=sys.stderr)
            continue
        confirmed = confirmed and state in _DONE[command]
        print(f"{said_of(path)}: {state}")
    return confirmed
