"""The command ``models refresh``: its options, where newer rows come from, and what it prints."""

from __future__ import annotations

import getpass
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from engine.cli import JsonFlag, print_json
from engine.errors import BundleError, ConfigError
from models.evaluation.commands import LEDGER
from models.refusals import needing
from models.registry.standing import Standing
from models.registry.store import Registry
from models.shipped import REGISTRY

CATALOGUE = Path("var/catalogue")
SESSIONS = Path("var/sessions")
Compact = Callable[[Path, str, Path], Any]
"""Stores the market of a session (its folder's parent, its name) in a catalogue; None where it was stored before."""


def register(app: typer.Typer, compact: Compact, commit: Callable[[], str]) -> None:
    """Put the command on ``app``.  ``commit`` says which code learns and judges."""

    @app.command("refresh")
    def models_refresh(
        name: Annotated[str, typer.Argument(help="the champion of that name, or NAME@VERSION")],
        run: Annotated[Path, typer.Option("--run", help="folder of the run that it was made from")],
        sessions: Annotated[
            list[str] | None, typer.Option("--sessions", help="recorded sessions whose market is stored first")
        ] = None,
        instruments: Annotated[
            list[str] | None, typer.Option("--instruments", help="of the catalogue; default: those of the run")
        ] = None,
        files: Annotated[
            list[str] | None, typer.Option("--files", help="of the data folder, in place of the catalogue")
        ] = None,
        catalogue: Annotated[Path, typer.Option(help="where the newer market is")] = CATALOGUE,
        session_folder: Annotated[Path, typer.Option(help="folder of the sessions")] = SESSIONS,
        registry: Annotated[Path, typer.Option(help="folder of versions and champions")] = REGISTRY,
        data: Annotated[Path | None, typer.Option(help="folder of recorded data (default: KESTREL_DATA)")] = None,
        into: Annotated[Path | None, typer.Option(help="folder of the new run (default: the next RUN-rN)")] = None,
        ledger: Annotated[Path, typer.Option(help="where each opening of held-out rows is written first")] = LEDGER,
        forget_max: Annotated[
            float, typer.Option(help="by which share of the champion's the log-loss on old rows may rise")
        ] = 0.01,
        explain: Annotated[str, typer.Option(help="why a result that looks too good is true")] = "",
        as_json: JsonFlag = False,
    ) -> None:
        """Go on with a version's head and normaliser on newer rows: a shadow if that is better, else the figures."""
        with needing("the trainer"):
            from models.evaluation.run_folder import RunFolder
            from models.trainer.incremental import Refresh
            from models.trainer.refresh import Record, refresh_run
            from models.trainer.settings import Data
            from models.trainer.training_folder import places_of
        from models.bundle import load_bundle
        from models.registry.promotion import promote

        if files and (sessions or instruments):
            raise ConfigError("--files with --sessions or --instruments", expected="files, or the catalogue")
        held = Registry(registry)
        version = _version(held, name)
        for session in sessions or ():
            compact(session_folder, session, catalogue)
        if files:
            newer = Data(files=tuple(files))
        else:
            places = places_of(run)
            known = RunFolder(places[0]).data.instruments if places else ()
            newer = Data(catalogue=str(catalogue), instruments=tuple(instruments or known))
        made, gate, folder = refresh_run(
            load_bundle(held.path_of(version)),
            run,
            Refresh(forget_max=forget_max),
            newer,
            Record(ledger, commit(), time.time_ns(), explain),
            into=into,
            data=data,
            progress=lambda text: print(text, file=sys.stderr),
        )
        fresh, _ = held.add(made)
        promote(
            held,
            made.manifest.name,
            fresh.partition("@")[2],
            to="shadow",
            who=_user(),
            why=f"refreshed from {version}: {gate.text}",
            now_ns=time.time_ns(),
        )
        print(f"{fresh}: shadow, refreshed from {version}")
        print(f"  {gate.text}")
        judged = made.manifest.evaluation
        if judged is not None:
            print(f"  {judged.verdict} against {judged.best_baseline}, by {judged.primary}")
            for suspicion in judged.suspicions:
                print(f"  too good to be true: {suspicion}" + (f" (explained: {explain})" if explain else ""))
        print(f"  run: {folder}")
        if as_json:
            told = {"version": fresh, "parent": version, "run": str(folder), "rows": gate.rows}
            print_json({**told, "difference": gate.difference.value, "old": gate.old.value})


def _version(held: Registry, name: str) -> str:
    """Raises ``BundleError`` where no champion, or several, are called so."""
    plain, _, sha = name.partition("@")
    if sha:
        return held.resolve(plain, sha)
    standings: list[Standing] = held.standings()
    found = sorted({one.champion for one in standings if (one.champion or "").partition("@")[0] == plain} - {None})
    if len(found) != 1:
        raise BundleError(
            f"{name!r} is champion of {len(found)} scopes", expected="one", do="name a version: NAME@VERSION"
        )
    return str(found[0])


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"  # a container may run without any name
