"""One trial: training runs in, their validation scores out.  The same function in this process, in others, on Ray.

Owns what happens inside a trial; it knows no study and no Optuna.
"""

from __future__ import annotations

import errno
import math
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import msgspec

from engine.errors import ConfigError, DataError, KestrelError
from models.evaluation.description import EpochLine
from models.evaluation.run_folder import METRICS, RunFolder
from models.tuning.plain import Plain

State = Literal["complete", "pruned", "failed"]
Report = Callable[[int, float], bool]
"""Told the epoch, counted over all runs of the trial, and the score so far; answers whether to give the trial up."""


class Task(msgspec.Struct, frozen=True):
    """What a trial is to do, as any process can be told.

    ``runs``: training settings as plain data, a run each; ``folders``: where each of them is written.  ``epochs``: the
    most of them in a run, over all its seeds.  ``keep``: the folders stay; ``resume``: what is there is gone on with.
    ``until``: the run pauses after so many epochs and can be gone on with.  ``watched``: it may be given up.
    ``profit``: also net returns by day.
    """

    number: int
    runs: tuple[Plain, ...]
    folders: tuple[str, ...]
    metric: str
    epochs: int
    data: str | None = None
    keep: bool = False
    resume: bool = False
    until: int | None = None
    watched: bool = True
    profit: dict[str, float] | None = None


class Outcome(msgspec.Struct, frozen=True):
    """``scores``: of each run, on its validation rows; ``by_seed``: of each seed of the last run.  ``stop``: no further
    trial makes sense.  ``days_ns`` and ``net``: net returns by day where the task asked for them.
    ``data``: the fingerprint of the first run's rows."""

    state: State
    scores: tuple[float, ...] = ()
    by_seed: tuple[float, ...] = ()
    epochs: int = 0
    seconds: float = 0.0
    error: str = ""
    stop: bool = False
    days_ns: tuple[int, ...] = ()
    net: tuple[float, ...] = ()
    data: str = ""

    @property
    def score(self) -> float:
        return sum(self.scores) / len(self.scores) if self.scores else math.nan


class GivenUp(Exception):  # noqa: N818 - ends a run from inside, and is no error
    """The pruner ends the trial."""


class WrongMetric(ConfigError):  # noqa: N818 - said as users say it
    """The task does not tell the score that is searched by: true of every trial."""


def run_trial(task: Task, report: Report) -> Outcome:
    """Train, and tell what came out.  Raises nothing that a trial can cause: a failed one says why in a line."""
    started = time.monotonic()
    course = _Course(task, report)
    state: State = "failed"
    error, stop = "", False
    try:
        for place in range(len(task.runs)):
            course.scores.append(course.train(place))
        state = "complete"
    except GivenUp:
        state = "pruned"
    except WrongMetric as wrong:
        error, stop = str(wrong), True
    except KestrelError as wrong:
        error, stop = str(wrong), _disk_is_full(wrong)
    except MemoryError:
        error = "out of memory"
    except Exception as wrong:  # what a library raises on settings that make no sense; three alike end the study
        first = (str(wrong).strip().splitlines() or [""])[0]
        error, stop = f"{type(wrong).__name__}: {first}"[:500], _disk_is_full(wrong)
    finally:
        if not task.keep:
            for folder in task.folders:
                shutil.rmtree(folder, ignore_errors=True)
    seconds = round(time.monotonic() - started, 3)
    if state != "complete":
        return Outcome(state, epochs=course.epochs, seconds=seconds, error=error, stop=stop)
    return Outcome(
        state,
        tuple(course.scores),
        course.by_seed,
        course.epochs,
        seconds,
        days_ns=course.days_ns,
        net=course.net,
        data=course.data,
    )


class _Paused(Exception):  # noqa: N818 - ends a run from inside, and is no error
    def __init__(self, score: float | None) -> None:
        super().__init__()
        self.score = score


class _Course:
    """A trial on its way; what it has learned is there also when it ends early."""

    def __init__(self, task: Task, report: Report) -> None:
        self.task = task
        self.scores: list[float] = []
        self.by_seed: tuple[float, ...] = ()
        self.epochs = 0
        self.days_ns: tuple[int, ...] = ()
        self.net: tuple[float, ...] = ()
        self.data = ""
        self._report = report
        self._seen = 0

    def train(self, place: int) -> float:
        """The score of one run of the trial."""
        from models.trainer import checkpoint
        from models.trainer.run import run_training, weights_path
        from models.trainer.settings import settings_of

        task, folder = self.task, Path(self.task.folders[place])
        settings = settings_of(task.runs[place])
        data = None if task.data is None else Path(task.data)
        self._seen = 0
        try:
            if task.until is not None:
                self._pause_if_there(folder)
            result = run_training(
                settings,
                folder=folder,
                data=data,
                on_epoch=lambda line: self._on_epoch(line, place),
                resume=task.resume and folder.exists(),
            )
        except _Paused as paused:
            return self._finite(paused.score)
        if task.metric not in result.validation:
            raise WrongMetric(
                f"the task {settings.task} has no validation score {task.metric}",
                expected=f"one of {', '.join(sorted(result.validation))}",
                do="correct metric",
            )
        seeds = (checkpoint.load(weights_path(folder, seed))["scores"] for seed in settings.fit.seeds)
        self.by_seed = tuple(float(scores[task.metric]) for scores in seeds)
        self.data = self.data or RunFolder(result.runs[0]).data.fingerprint
        self._keep_returns(result.runs)
        return self._finite(result.validation[task.metric])

    def _on_epoch(self, line: EpochLine, place: int) -> None:
        self._seen += 1
        self.epochs += 1
        value = line.validation.get(self.task.metric)
        if self.task.until is not None and line.epoch + 1 >= self.task.until:
            raise _Paused(value)
        if value is None or not self.task.watched:
            return
        so_far = (sum(self.scores) + value) / (len(self.scores) + 1)
        if self._report(place * self.task.epochs + self._seen, so_far):
            raise GivenUp

    def _pause_if_there(self, folder: Path) -> None:
        """A run that was killed after its last epoch of this generation has learned enough."""
        path = folder / METRICS
        lines = [line for line in path.read_bytes().splitlines() if line] if path.exists() else []
        if lines:
            last = msgspec.json.decode(lines[-1], type=EpochLine)
            if last.epoch + 1 >= (self.task.until or 0):
                raise _Paused(last.validation.get(self.task.metric))

    def _keep_returns(self, runs: tuple[Path, ...]) -> None:
        if self.task.profit is None:
            return
        from models.tuning.profit import daily_returns

        if len(runs) != 1:
            raise ConfigError("profit of a task with several forecasts", expected="one", do="leave out profit")
        days_ns, net = daily_returns(RunFolder(runs[0]), self.task.profit)
        self.days_ns, self.net = tuple(days_ns.tolist()), tuple(net.tolist())

    def _finite(self, score: float | None) -> float:
        if score is None or not math.isfinite(score):
            raise DataError(f"{self.task.metric} of the validation rows is {score}", expected="a number")
        return float(score)


def _disk_is_full(error: BaseException) -> bool:
    """Also where it is the cause of an error that was worded anew."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError) and seen.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        seen = seen.__cause__ or seen.__context__
    return False
