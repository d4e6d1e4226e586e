"""The command ``models judge``: a version beside the champions of recorded sessions, by the declared tests."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import typer

from engine.cli import JsonFlag, print_json
from engine.errors import ConfigError
from models.observer.told import Judged
from models.shipped import REGISTRY

Judge = Callable[[Path, Sequence[str], Path, str], list[Judged]]
"""Sessions' folder, their names, the registry and the version; what the tests say of it beside each champion."""


def register(app: typer.Typer, judge: Judge) -> None:
    """``judge`` reads sessions, which this package may not."""

    @app.command("judge")
    def models_judge(
        name: str,
        version: str,
        session: Annotated[list[str], typer.Option(help="id, unique beginning of an id, or folder; several in order")],
        sessions: Annotated[Path, typer.Option(help="folder of sessions")] = Path("var/sessions"),
        registry: Annotated[Path, typer.Option(help="folder of versions and champions")] = REGISTRY,
        as_json: JsonFlag = False,
    ) -> None:
        """Run a version on recorded sessions as a shadow, and judge it beside what served there.  Changes nothing."""
        from models.registry.store import Registry

        wanted = Registry(registry).resolve(name, version)
        found = judge(sessions, session, registry, wanted)
        if not found:
            raise ConfigError(
                f"{wanted} was not compared with anything: no row and no signal of it beside a model that served",
                expected="sessions in which a model served an instrument of its scope",
                do="name others with --session",
            )
        for one in found:
            print(f"{one.model} beside {one.champion}: {one.verdict.said}")
            for test, (passed, text) in one.verdict.tests.items():
                print(f"  {'passed' if passed else 'failed'}  {test}: {text}")
        if as_json:
            plain = [{"model": one.model, "champion": one.champion, **one.verdict.plain()} for one in found]
            print_json({"judged": plain})
