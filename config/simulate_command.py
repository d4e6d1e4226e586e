"""The command ``simulate``: its options.  The sweep belongs to the runtime: ``run.py`` gives it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from engine.cli import JsonFlag


def register(app: typer.Typer, run: Callable[..., int]) -> None:
    """Put the command on ``app``.  ``run`` takes the fields of ``engine.runtime.simulation.command.Plan`` and gives the
    exit status."""

    @app.command("simulate")
    def simulate(
        seeds: Annotated[
            int | None, typer.Option(min=1, help="how many (default: 10, or what --until-hours takes)")
        ] = None,
        first_seed: Annotated[int, typer.Option(min=0, help="the first of them")] = 1,
        hours: Annotated[float, typer.Option(min=0.01, max=240.0, help="of simulated trading with faults, each")] = 1.0,
        workers: Annotated[
            int | None, typer.Option(min=0, help="processes (default: one a core; 0: only this one)")
        ] = None,
        ledger: Annotated[
            Path | None, typer.Option(help="keep each seed that ran here, and run none of them again")
        ] = None,
        until_hours: Annotated[float | None, typer.Option(min=0.0, help="stop when the ledger holds so many")] = None,
        across_versions: Annotated[bool, typer.Option(help="count what other versions of the code have run")] = False,
        record: Annotated[
            Path | None, typer.Option(help="sums of ledgers that are gone: they count, and this ledger's are added")
        ] = None,
        write: Annotated[Path | None, typer.Option(help="page to write the ledger's totals to")] = None,
        as_json: JsonFlag = False,
    ) -> None:
        """The whole daemon under simulated time, network and faults (exit 1 if an invariant is broken)."""
        status = run(
            seeds=seeds,
            first_seed=first_seed,
            hours=hours,
            workers=workers,
            ledger=ledger,
            until_hours=until_hours,
            across_versions=across_versions,
            record=record,
            write=write,
            as_json=as_json,
        )
        raise typer.Exit(status)
