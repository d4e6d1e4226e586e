"""The command ``observe``, which a daemon starts beside itself: a session's journal is followed to its end.

What observes, and what is done with what it finds, is wired in ``run.py``, which gives it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from engine.runtime.observer_process import Watching
    from engine.runtime.session import Session

Wire = Callable[["Session"], tuple["Watching", Callable[[Any], str]]]
"""Who observes this session, and what carries out what the daemon was told: it gives what was done, empty: nothing."""


def register(app: typer.Typer, wire: Wire) -> None:
    """Put the command on ``app``, where ``--help`` does not show it."""

    @app.command("observe", hidden=True)
    def observe(
        folder: Annotated[Path, typer.Argument(help="of the session")],
        process_id: Annotated[int, typer.Argument(help="of its daemon")],
    ) -> None:
        """Watch the models of a running session: started by its daemon."""
        from engine.runtime.control import socket_path, user_run_folder
        from engine.runtime.observer_process import Telling, Watch, follow, say
        from engine.runtime.session import Session
        from engine.runtime.storing import step_back

        step_back()
        session = Session.open(folder)
        observer, carry_out = wire(session)
        telling = Telling(socket_path(user_run_folder(), session.id, process_id))

        def on_told(told: Any) -> None:
            say(told)
            if done := carry_out(told):
                say(done)

        watch = Watch(session.path, observer, telling, on_told)
        raise typer.Exit(follow(watch, telling))
