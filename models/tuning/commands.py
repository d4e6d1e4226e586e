"""The command ``tune``: its options and what it prints."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer

from engine.cli import JsonFlag, print_json
from models.refusals import needing
from models.tuning.plain import told_values


def register(app: typer.Typer) -> None:
    """Put the command on ``app``."""

    @app.command("tune")
    def tune(
        config: Annotated[Path, typer.Option("--config", help="such as config/tune/quick-signal.yaml")],
        trials: Annotated[int | None, typer.Option(help="how many the study is to have in all")] = None,
        processes: Annotated[int | None, typer.Option(help="trials at a time, each in a process")] = None,
        resume: Annotated[bool, typer.Option("--resume", help="go on with the study that is there")] = False,
        out: Annotated[Path | None, typer.Option(help="folder of the study (default: var/tune/NAME)")] = None,
        data: Annotated[Path | None, typer.Option(help="folder of recorded data (default: KESTREL_DATA)")] = None,
        write: Annotated[Path | None, typer.Option(help="a folder for pictures, trials and summary")] = None,
        as_json: JsonFlag = False,
    ) -> None:
        """Search for training settings on validation rows.  Needs the extra train (make test installs it)."""
        with needing("tuning"):
            import_module("models.trainer.run")  # what every trial does: told before a study is begun
            from models.tuning.tune import tune as run_study

            result = run_study(
                config,
                trials=trials,
                processes=processes,
                resume=resume,
                out=out,
                data=data,
                write=write,
                show=lambda text: print(text, file=sys.stderr, flush=True),
            )
        show(result)
        if as_json:
            print_json(result)


def show(result: dict[str, Any]) -> None:
    """How the trials ended, the finalists with the chosen one first, and what to do next."""
    ended = ", ".join(f"{count} {state}" for state, count in result["trials"].items())
    print(f"{result['name']}: {ended}; {result['metric']} of the finalists on validation rows, mean over seeds:")
    for one in result["finalists"]:
        scores = one["scores"]
        net = "" if one["net"] is None else f", {1e4 * one['net']:.3g} bps a day"
        print(
            f"  trial {one['number']}: {sum(scores) / len(scores):.6g} (in the search {one['search_value']:.6g}{net})"
        )
    if result["baseline"] is not None:
        print(f"  the settings as they were, in the search: {result['baseline']:.6g}")
    print(f"chosen by {result['by']}: {told_values(result['values'])}")
    print(f"next: python run.py train --config {result['config']}")
