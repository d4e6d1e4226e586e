"""The command ``evaluate``: its options and what it prints."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from engine.cli import JsonFlag, print_json
from engine.errors import DataError
from models.refusals import needing

if TYPE_CHECKING:
    from models.evaluation.evaluate import Predict
    from models.evaluation.outcome import Outcome

ROOT = Path(__file__).resolve().parents[2]
LEDGER = ROOT / "docs" / "results" / "test-ledger.jsonl"
SUSPICIOUS = 1


def register(app: typer.Typer, commit: Callable[[], str]) -> None:
    """Put the command on ``app``.  ``commit`` says which code evaluates."""

    @app.command("evaluate")
    def evaluate(
        run: Annotated[Path, typer.Option("--run", help="folder of a training run")],
        ledger: Annotated[Path, typer.Option(help="where each opening of a test is written first")] = LEDGER,
        data: Annotated[Path | None, typer.Option(help="folder of recorded data (default: KESTREL_DATA)")] = None,
        explain: Annotated[str, typer.Option(help="why a result that looks too good is true")] = "",
        group: Annotated[
            list[str] | None,
            typer.Option("--group", help="columns shuffled together: momentum=rsi_*,macd_*; repeat it"),
        ] = None,
        as_json: JsonFlag = False,
    ) -> None:
        """Open the test of a training run, score it beside its baselines and write its report.

        Exit 1 while a result that is too good (direction accuracy over 60 %, Sharpe over 3) is not explained.
        """
        with needing("the evaluation"):
            from models.evaluation.evaluate import evaluate as run_evaluation

            outcome = run_evaluation(
                run,
                ledger=ledger,
                commit=commit(),
                now_ns=time.time_ns(),
                explained=explain,
                predict_test=_predictor(run, data, group or ()),
                progress=lambda text: print(text, file=sys.stderr),
            )
        show(outcome, run)
        if as_json:
            print_json(summary(outcome, run))
        if outcome.suspicious:
            raise typer.Exit(SUSPICIOUS)


def _predictor(run: Path, data: Path | None, groups: Sequence[str]) -> Predict | None:
    """What predicts the test of a trained run; None where its predictions are there, or there is nothing to predict.

    Raises ``DataError`` for ``groups`` of columns where no network is there to be explained.
    """
    from models.evaluation.run_folder import RunFolder

    if RunFolder(run).has_predictions("test") and not groups:
        return None
    from models.trainer.predict_test import prepare, training_folder_of

    if training_folder_of(run) is not None:
        return prepare(run, data, groups)
    if groups:
        raise DataError(f"--group of a run without weights: {run}", expected="a run that run.py train has made")
    return None


def show(outcome: Outcome, run: Path) -> None:
    """The table of the primary metric, the verdict, and where the report is."""
    from models.evaluation.report import REPORT, figure_text

    width = max(len(one.name) for one in outcome.scores)
    print(f"{outcome.task}, {outcome.network}: {outcome.primary} on {outcome.rows['test']:,} test rows")
    for one in outcome.scores:
        print(f"  {one.name:<{width}}  {figure_text(one.metrics[outcome.primary])}")
    for comparison in outcome.comparisons:
        if comparison.theirs == outcome.best_baseline and comparison.metric == outcome.primary:
            print(
                f"{comparison.ours} against {comparison.theirs}: {comparison.verdict} "
                f"({figure_text(comparison.difference)})"
            )
    if outcome.reused:
        print(f"test re-used: {outcome.told_of_reuse}; this counts as development, not as a result of record")
    for text in outcome.suspicions:
        print(f"too good to be true: {text}" + (f" (explained: {outcome.explained})" if outcome.explained else ""))
    if outcome.suspicious:
        print('find out why, then evaluate again with --explain "..."')
    print(f"report: {run / REPORT}")


def summary(outcome: Outcome, run: Path) -> dict[str, object]:
    """What ``--json`` prints."""
    import msgspec

    from models.evaluation.report import REPORT

    plain = msgspec.to_builtins
    return {
        "task": outcome.task,
        "network": outcome.network,
        "primary": outcome.primary,
        "metrics": plain(outcome.scores[0].metrics),
        "baselines": {one.name: plain(one.metrics) for one in outcome.scores if one.role == "baseline"},
        "best_baseline": outcome.best_baseline,
        "verdict": outcome.headline.verdict,
        "comparisons": plain(outcome.comparisons),
        "figures": plain(outcome.figures),
        "reused": outcome.reused,
        "suspicions": outcome.suspicions,
        "explained": outcome.explained,
        "report": str(run / REPORT),
        "seconds": outcome.seconds,
    }
