"""The command ``evaluate``: its options and what it prints."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from engine.cli import JsonFlag, print_json
from engine.errors import ConfigError, DataError
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
        cpcv: Annotated[
            str, typer.Option("--cpcv", metavar="N,K", help="train and judge on all K of N folds before the test")
        ] = "",
        cost_bps: Annotated[
            float | None, typer.Option(min=0, help="with --cpcv: what a position costs, for net returns by path")
        ] = None,
        as_json: JsonFlag = False,
    ) -> None:
        """Open the test of a training run, score it beside its baselines and write its report.

        With --cpcv the test stays shut: combinatorial purged cross-validation of what lies before it.
        Exit 1 while a result that is too good (direction accuracy over 60 %, Sharpe over 3) is not explained.
        """
        if cpcv:
            if group:
                raise ConfigError("--cpcv with --group", expected="one of the two")
            walk_paths(run, *folds_of(cpcv), cost_bps, data, commit(), explain, as_json=as_json)
            return
        if cost_bps is not None:
            raise ConfigError("--cost-bps without --cpcv", expected="both")
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


def folds_of(text: str) -> tuple[int, int]:
    """``10,2``.  Raises ``ConfigError`` for what is no such thing."""
    folds, _, held_out = text.partition(",")
    if not (folds.strip().isdecimal() and held_out.strip().isdecimal()):
        raise ConfigError(f"--cpcv {text!r}", expected="folds, and how many are held out at a time", do="such as 10,2")
    return int(folds), int(held_out)


def walk_paths(
    run: Path,
    folds: int,
    held_out: int,
    cost_bps: float | None,
    data: Path | None,
    commit: str,
    explained: str,
    *,
    as_json: bool,
) -> None:
    """Train what is not trained, and tell the spread over the paths."""
    with needing("the evaluation"):
        from models.evaluation.paths_page import spread_rows
        from models.trainer.paths import Course, run_paths

        course = Course(folds, held_out, cost_bps, commit, explained)
        try:
            found = run_paths(run, course, data=data, progress=lambda text: print(text, file=sys.stderr))
        except KeyboardInterrupt:
            print("stopped; the same command goes on", file=sys.stderr)
            raise typer.Exit(130) from None
    print(f"{found.task}, {found.network}: {len(found.paths)} paths of {found.rows:,} rows, {found.splits} trainings")
    print(f"  {'':<12}  {'mean':>10}  {'sd':>10}  {'least':>10}  {'greatest':>10}")
    for name, *figures in spread_rows(found):
        print(f"  {name:<12}  {'  '.join(f'{figure:>10}' for figure in figures)}")
    for text in found.suspicions:
        print(f"too good to be true: {text}" + (f" (explained: {found.explained})" if found.explained else ""))
    if found.suspicious:
        print('find out why, then evaluate again with --explain "..."')
    print(f"report: {run / course.name}.html")
    if as_json:
        print_json({**msgspec.to_builtins(found), "report": f"{run / course.name}.html"})
    if found.suspicious:
        raise typer.Exit(SUSPICIOUS)


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
