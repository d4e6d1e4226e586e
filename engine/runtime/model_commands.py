"""The command ``alarm``: what an operator does about a model that serves, by hand."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from engine.errors import ConfigError, KestrelError
from engine.runtime.commands import ReasonOption, SessionsOption
from engine.runtime.control import ask, run_folder, running_sessions, said_of, user_run_folder
from engine.runtime.model_requests import ACTIONS, ALARM


def alarm(
    action: Annotated[str, typer.Argument(help="clear, alert, size_down or stop")],
    model: Annotated[str, typer.Argument(help="NAME@VERSION, as status shows it; 4 digits of the version are enough")],
    instrument: Annotated[str, typer.Argument(help="one alone (default: each on which the model stands)")] = "",
    source: Annotated[str, typer.Option(help="clear: of which source alone; else the alarm's name")] = "",
    factor: Annotated[float, typer.Option(help="size_down: what is left of a size")] = 0.5,
    reason: ReasonOption = "",
    sessions: SessionsOption = None,
) -> None:
    """Stop a model that serves, size it down, or end its alarms (clear)."""
    if action not in ACTIONS:
        raise ConfigError(f"the action is {action!r}", expected=f"one of {', '.join(ACTIONS)}")
    run_dir = user_run_folder() if sessions is None else run_folder(sessions)
    found = running_sessions(run_dir)
    if not found:
        raise KestrelError(f"no daemon is running: none listens in {run_dir}", do="start one: make paper")
    request = {
        "model": model,
        "instrument": instrument,
        "action": action,
        "source": source or ("" if action == "clear" else "operator"),
        "factor": factor if action == "size_down" else 1.0,
        "text": reason,
    }
    done = False
    for path in found:
        try:
            answer = ask(path, ALARM, request)
        except KestrelError as error:
            print(f"kestrel: {error}", file=sys.stderr)
            continue
        done = True
        for standing in answer["standing"]:
            print(f"{said_of(path)}: {action}: {standing}")
    if not done:
        raise typer.Exit(1)
