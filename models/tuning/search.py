"""The search: ask for trials, have them run, tell what came out, until the study has as many as it is to have."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec

from engine.errors import DataError
from models.trainer.settings import settings_of
from models.tuning.executor import Executor, Killed
from models.tuning.folds import runs_of
from models.tuning.log import TrialLine
from models.tuning.plain import Plain, value_at
from models.tuning.profit import keep_returns
from models.tuning.settings import TuneSettings, Tuning
from models.tuning.study import Study
from models.tuning.trial import Task

Show = Callable[[TrialLine], None]


def search(study: Study, executor: Executor, trials: int, data: Path | None, show: Show) -> None:
    """Until ``trials`` of the study have begun and ended.  Raises ``DataError`` when no further trial makes sense."""
    running = 0
    while True:
        while running < executor.slots and study.begun < trials:
            number, values = study.ask()
            executor.submit(make_task(study.tuning, study.folder, number, values, data))
            running += 1
        if not running:
            return
        task, found = executor.next()
        running -= 1
        if isinstance(found, Killed):
            show(study.tell_killed(task.number, found))
            continue
        keep_returns(study.folder, task.number, found)
        show(study.tell(task.number, found))
        if found.stop:
            raise DataError(
                f"trial {task.number}: {found.error}", do="the study keeps what it has; go on with --resume"
            )
        study.check_failures()


def make_task(tuning: Tuning, folder: Path, number: int, values: Plain, data: Path | None) -> Task:
    """The trial of some values."""
    settings = tuning.settings
    runs = runs_of(with_rows(tuning.for_search(values), folder), settings.folds)
    place = folder / "trials" / f"{number:04d}"
    return Task(
        number,
        tuple(runs),
        tuple(str(place / f"run-{run}") for run in range(1, len(runs) + 1)),
        settings.metric,
        epochs_of(runs[0]),
        None if data is None else str(data),
        profit=profit_of(settings),
    )


def with_rows(plain: Plain, folder: Path) -> Plain:
    """Rows are made once for the whole study, where the settings do not keep them somewhere already."""
    if value_at(plain, "data.rows_folder"):
        return plain
    return {**plain, "data": {**plain["data"], "rows_folder": str((folder / "rows").resolve())}}


def epochs_of(plain: Plain) -> int:
    """The most that one run of these settings trains, over all its seeds."""
    fit = settings_of(plain, "settings").fit
    return fit.epochs * len(fit.seeds)


def profit_of(settings: TuneSettings) -> dict[str, float] | None:
    return None if settings.profit is None else msgspec.to_builtins(settings.profit)
