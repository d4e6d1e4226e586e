"""The command ``doctor``: its options.  What is looked at is ``config.doctor``'s; ``run.py`` gives what it reaches."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import typer

from config.commands import parse_overrides
from engine.cli import ConfigOption, JsonFlag, SetOption, print_json

if TYPE_CHECKING:
    from config.doctor import Around


def register(app: typer.Typer, around: Callable[[], Around]) -> None:
    """Put the command on ``app``."""

    @app.command("doctor")
    def doctor(config: ConfigOption = None, assign: SetOption = None, as_json: JsonFlag = False) -> None:
        """Look at all that a session needs: settings, key, clock, disk, models, venue (exit 1 if anything failed).

        With profile production it asks what a live session asks, and names the account for live --confirm.
        """
        from config.doctor import examine_configured

        found = examine_configured(config or (), parse_overrides(assign), around())
        if as_json:
            print_json(found)
        if not found["ok"]:
            raise typer.Exit(1)
