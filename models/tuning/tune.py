"""A study from its settings to ``best.yaml``: what ``run.py tune`` calls.

Owns the order of the steps.  It reads training and validation rows; no test is opened, and no line is written to the
ledger.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import yaml

from engine.durable import write_atomically
from engine.errors import ConfigError, DataError
from models.evaluation.description import Trials
from models.evaluation.selection import BLOCKS
from models.tuning import plots
from models.tuning.executor import BoardOf, Executor, InProcess, Processes, Reporting, RunTrial, Unwatched
from models.tuning.finalists import Finalist, train_finalists
from models.tuning.folds import runs_of
from models.tuning.log import TRIALS, TrialLine
from models.tuning.plain import told_values
from models.tuning.population import evolve, searched
from models.tuning.profit import all_returns
from models.tuning.ray_executor import RayCluster, connected
from models.tuning.search import epochs_of, search
from models.tuning.settings import Tuning, load_tuning
from models.tuning.study import Study
from models.tuning.trial import run_trial

ROOT = Path(__file__).resolve().parents[2]
BEST, SUMMARY = "best.yaml", "summary.json"
_DAYS_LEAST = 2 * BLOCKS


class Summary(msgspec.Struct, frozen=True):
    """``summary.json``.  ``baseline``: the score of the training settings as they were, where they were a trial."""

    name: str
    network: str
    metric: str
    maximise: bool
    method: str
    trials: dict[str, int]
    baseline: float | None
    importance: dict[str, float]
    finalists: tuple[Finalist, ...]
    by: str
    values: dict[str, Any]
    epochs: int
    seconds: float


def tune(
    config: Path,
    *,
    trials: int | None = None,
    processes: int | None = None,
    resume: bool = False,
    out: Path | None = None,
    data: Path | None = None,
    write: Path | None = None,
    show: Callable[[str], None] = lambda _text: None,
    run: RunTrial = run_trial,
) -> dict[str, Any]:
    """Search, train the finalists on several seeds, choose, and write ``best.yaml``.

    ``trials`` and ``processes`` instead of the settings' own; ``out``: the study's folder, default ``var/tune/NAME``;
    ``data``: the folder of recorded files, as in training; ``write``: a folder that gets what is worth keeping.
    Returns what ``tune --json`` prints.  Raises ``ConfigError`` or ``DataError``.
    """
    tuning = _with(load_tuning(config), trials, processes)
    runs = runs_of(tuning.for_search({}), tuning.settings.folds)
    # Whole paths: other processes have other folders.
    folder = (out or ROOT / "var" / "tune" / tuning.settings.name).resolve()
    data = None if data is None else data.resolve()
    evolving = tuning.settings.method == "population"
    if evolving:
        searched(tuning.space)
    started = time.monotonic()
    with contextlib.ExitStack() as opened:
        if tuning.settings.executor == "ray":
            opened.enter_context(connected(tuning.settings.ray))
        study = opened.enter_context(Study(folder, tuning, resume=resume))
        shutil.rmtree(folder / "trials", ignore_errors=True)  # of trials that were killed
        board = BoardOf(str(folder), tuning.settings.name, tuning.settings.pruner, epochs_of(runs[0]) * len(runs))
        executor = _executor(tuning, Unwatched() if evolving else board, run)
        try:
            if evolving:
                evolve(study, executor, data, lambda line: show(_told(tuning, line)))
            else:
                search(study, executor, tuning.settings.trials, data, lambda line: show(_told(tuning, line)))
            finalists = train_finalists(study, executor, data, show)
        except KeyboardInterrupt:
            show("the study is kept: the same command with --resume goes on")
            raise
        finally:
            executor.close()
        summary = _finish(study, finalists, time.monotonic() - started, show)
        if write is not None:
            _keep(folder, write)
        shutil.rmtree(folder / "trials", ignore_errors=True)
    plain: dict[str, Any] = msgspec.to_builtins(summary)
    return {**plain, "study": str(folder), "config": str(folder / BEST)}


def _with(tuning: Tuning, trials: int | None, processes: int | None) -> Tuning:
    for name, value in (("--trials", trials), ("--processes", processes)):
        if value is not None and value < 1:
            raise ConfigError(f"{name} {value}", expected="1 or more")
    changes = {"trials": trials, "processes": processes}
    settings = msgspec.structs.replace(tuning.settings, **{k: v for k, v in changes.items() if v is not None})
    return Tuning(tuning.path, settings, tuning.base, tuning.space)


def _executor(tuning: Tuning, reporting: Reporting, run: RunTrial) -> Executor:
    settings = tuning.settings
    if settings.executor == "ray":
        return RayCluster(settings.ray, reporting, run)
    return InProcess(reporting, run) if settings.processes == 1 else Processes(settings.processes, reporting, run)


def _finish(study: Study, finalists: list[Finalist], seconds: float, show: Callable[[str], None]) -> Summary:
    """Everything that is read afterwards; ``best.yaml`` last."""
    tuning, folder = study.tuning, study.folder
    chosen, lines = finalists[0], study.log.lines
    plots.draw(study.optuna, folder, tuning.settings.metric)
    if tuning.settings.profit is not None:
        returns = all_returns(folder, lines, chosen.number, tuning.settings.profit.periods_per_year)
        if returns is not None:
            _hand_on(returns, folder / chosen.folder, show)
    summary = Summary(
        tuning.settings.name,
        tuning.space.network,
        tuning.settings.metric,
        tuning.maximise,
        tuning.settings.method,
        dict(sorted(Counter(line.state for line in lines).items())),
        study.own_value(),
        {key: round(share, 4) for key, share in plots.importances(study.optuna).items()},
        tuple(finalists),
        tuning.settings.finalists.by,
        chosen.values,
        sum(line.epochs for line in lines),
        round(seconds, 1),
    )
    _write(folder / SUMMARY, msgspec.json.format(msgspec.json.encode(summary)) + b"\n")
    _write(folder / BEST, _best(tuning, chosen, len(lines)))
    return summary


def _hand_on(returns: Trials, run: Path, show: Callable[[str], None]) -> None:
    """What deflates the Sharpe ratio of the chosen run, where it is enough: an evaluation refuses less."""
    from models.evaluation.run_folder import RunFolder

    days = len(returns.returns)
    if days < _DAYS_LEAST:
        least = f"the {_DAYS_LEAST} of a deflated Sharpe ratio"
        show(f"{days} days of returns: fewer than {least}, which evaluate leaves out")
        return
    RunFolder(run).write_trials(returns)


def _best(tuning: Tuning, chosen: Finalist, trials: int) -> bytes:
    s = tuning.settings
    text = (
        f"# The best of {trials} trials of the study {s.name}, by {s.finalists.by} over {len(chosen.seeds)} seeds:\n"
        f"# {s.metric} {chosen.score:.6g} on validation rows, which chose it; the test is not opened yet.\n"
    )
    return (
        text.encode() + yaml.safe_dump(tuning.for_result(chosen.values), sort_keys=False, allow_unicode=True).encode()
    )


def _keep(folder: Path, write: Path) -> None:
    """What is worth committing, without the runs."""
    write.mkdir(parents=True, exist_ok=True)
    for name in (SUMMARY, TRIALS, BEST, plots.HISTORY, plots.IMPORTANCE, plots.PARALLEL):
        if (folder / name).is_file():
            _write(write / name, (folder / name).read_bytes())


def _write(path: Path, content: bytes) -> None:
    try:
        write_atomically(path, content, 0o644)
    except OSError as error:
        raise DataError(f"{path} cannot be written: {os.strerror(error.errno or 0)}", do="make room") from None


def _told(tuning: Tuning, line: TrialLine) -> str:
    """A line on the screen."""
    values = told_values(line.values)
    if line.state == "complete" and line.value is not None:
        return f"trial {line.number}: {tuning.settings.metric} {line.value:.6g} in {line.seconds:.0f} s ({values})"
    why = f": {line.error}" if line.error else f" after {line.epochs} epochs"
    return f"trial {line.number}: {line.state}{why} ({values})"
