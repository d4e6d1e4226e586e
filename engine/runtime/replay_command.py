"""The command ``replay``: its options, and what it says at the end.

Which core decides again is wired in ``run.py``, which gives it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from engine.cli import JsonFlag, SetOption, print_json

if TYPE_CHECKING:
    from engine.core import TradingCore
    from engine.replay import ReplayRecorder
    from engine.runtime.session import SessionHeader

BuildAgain = Callable[["SessionHeader", Sequence[str], "ReplayRecorder", bool, bool], "TradingCore"]
"""The core of a recorded session: its header, ``--set`` as typed, who gives what was recorded, whether features and
model run again, and whether processor and libraries are those of the session."""


def register(app: typer.Typer, build_again: BuildAgain) -> None:
    """Put the command on ``app``."""

    @app.command("replay")
    def replay(
        session: Annotated[str, typer.Argument(help="id, unique beginning of an id, folder, or latest")],
        recompute: Annotated[bool, typer.Option("--recompute", help="also run features and model again")] = False,
        salvage: Annotated[
            bool, typer.Option("--salvage", help="read a damaged journal up to its damage; exit 3")
        ] = False,
        sessions: Annotated[Path, typer.Option(help="folder of sessions")] = Path("var/sessions"),
        assign: SetOption = None,
        as_json: JsonFlag = False,
    ) -> None:
        """Run a recorded session again and report the first decision that differs (exit 1 if any)."""
        from engine.replay import ReplayRecorder
        from engine.runtime.provenance import library_versions, processor
        from engine.runtime.rerun import open_recorded, rerun

        recorded = open_recorded(sessions, session)
        header = recorded.header
        recorder = ReplayRecorder()
        # Bits are comparable only where processor and libraries equal; elsewhere the bundle's tolerance holds.
        same_machine = header.processor == processor() and header.libraries == library_versions()
        core = build_again(header, assign or (), recorder, recompute, same_machine)
        outcome = rerun(recorded, recorder, core, salvage=salvage)
        outcome.show(sys.stderr if as_json else sys.stdout)
        if as_json:
            print_json(outcome.content())
        raise typer.Exit(outcome.status)
