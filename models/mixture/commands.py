"""The command ``models weigh``: its options and what it prints."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
import typer

from engine.cli import JsonFlag, print_json
from engine.errors import DataError
from models.refusals import needing


def register(app: typer.Typer) -> None:
    """Put the command on ``app``."""

    @app.command("weigh")
    def models_weigh(
        runs: Annotated[list[Path], typer.Argument(help="folders of finished runs with their bundles, two or more")],
        out: Annotated[Path, typer.Option(help="the file that a mixture's weights_file names")],
        as_json: JsonFlag = False,
    ) -> None:
        """Learn the weights of a mixture on validation rows."""
        if len(runs) < 2:
            raise DataError("one run", expected="two or more, of one task on the same rows")
        from models.mixture.learned import write_weights

        with needing("reading a run folder"):
            from models.mixture.learning import learn_weights

            learned = learn_weights(runs)
        write_weights(out, learned)
        lost, metric = learned.losses, learned.metric.replace("_", "-")
        for version, weight in learned.weights.items():
            print(f"{version}: {weight:.4f} (alone {lost[version]:.6g})")
        print(
            f"{metric} on {learned.rows:,} validation rows: equal {lost['equal']:.6g}, learned "
            f"{lost['learned']:.6g}; {out}"
        )
        if as_json:
            print_json(msgspec.to_builtins(learned))
