"""Commands that operate running daemons: ``status``, ``halt``, ``reduce``, ``resume``.

They reach a daemon by its control socket and by the HALT file; what those are is ``engine.runtime.control``.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from engine.cli import JsonFlag, print_json
from engine.errors import KestrelError
from engine.runtime.control import ask, clear_halt, run_folder, running_sessions, write_halt

ReasonOption = Annotated[str, typer.Option(help="why, for the record")]


def status(
    sessions: Annotated[Path, typer.Option(help="folder of sessions")] = Path("var/sessions"), as_json: JsonFlag = False
) -> None:
    """What running daemons say about themselves."""
    found = running_sessions(run_folder(sessions))
    if not found:
        raise KestrelError("no daemon is running", do="start one: make paper")
    answers: list[dict[str, Any]] = []
    for path in found:
        # One that is stuck must not hide the others.
        try:
            answers.append(ask(path, "status"))
        except KestrelError as error:
            answers.append({"session": path.stem, "state": "no answer", "error": str(error)})
    for answer in answers:
        for key, value in answer.items():
            if key != "ok":
                print(f"{key:<13} {json.dumps(value) if isinstance(value, dict) else value}")
    if as_json:
        print_json({"daemons": answers})
    if any("error" in answer for answer in answers):
        raise typer.Exit(1)


def halt(
    reason: ReasonOption = "", sessions: Annotated[Path, typer.Option(help="folder of sessions")] = Path("var/sessions")
) -> None:
    """Kill switch: cancel everything, let nothing out that adds risk.  Works when the daemon is stuck or absent."""
    # The file first: it needs nobody's answer.  A disk that takes no file must not keep the socket from being tried.
    failed: KestrelError | None = None
    try:
        path = write_halt(run_folder(sessions), "operator", reason, time.time_ns())
        print(f"wrote {path}: daemons halt, and none starts until 'resume'")
    except KestrelError as error:
        failed = error
    told = _tell("halt", reason, sessions, required=False)
    if failed is not None:
        raise failed
    if not told:
        raise typer.Exit(1)


def reduce(
    reason: ReasonOption = "", sessions: Annotated[Path, typer.Option(help="folder of sessions")] = Path("var/sessions")
) -> None:
    """Only orders that reduce positions may leave."""
    if not _tell("reduce", reason, sessions):
        raise typer.Exit(1)


def resume(
    reason: ReasonOption = "", sessions: Annotated[Path, typer.Option(help="folder of sessions")] = Path("var/sessions")
) -> None:
    """End a halt or a reduction, explicitly."""
    if clear_halt(run_folder(sessions)):
        print("removed the HALT file")
    if not _tell("resume", reason, sessions, required=False):
        raise typer.Exit(1)


def _tell(command: str, reason: str, sessions: Path, *, required: bool = True) -> bool:
    """Tell every running daemon; False when one of them did not confirm."""
    found = running_sessions(run_folder(sessions))
    if not found and required:
        raise KestrelError("no daemon is running", do="start one: make paper")
    confirmed = True
    for path in found:
        try:
            print(f"{path.stem}: {ask(path, command, {'reason': reason})['state']}")
        except KestrelError as error:
            confirmed = False
            print(f"kestrel: {error}", file=sys.stderr)
    return confirmed
