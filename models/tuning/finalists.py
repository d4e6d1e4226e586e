"""The best trials trained again on several seeds before one is chosen: the best of many is partly the luckiest.

Owns the choice and ``finalists.jsonl``.  A finalist that was killed goes on from its checkpoint.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import msgspec

from engine.durable import append_synced
from engine.errors import DataError
from models.tuning.executor import Executor, Killed
from models.tuning.log import TrialLine
from models.tuning.plain import Plain
from models.tuning.search import epochs_of, profit_of, with_rows
from models.tuning.settings import Tuning
from models.tuning.study import Study
from models.tuning.trial import Outcome, Task

FINALISTS = "finalists.jsonl"


class Finalist(msgspec.Struct, frozen=True):
    """``scores``: of the validation rows, by seed.  ``folder``: of its run, in the study's, ready to be evaluated.
    ``net`` and ``sharpe`` (of a year): of a day's net return, where profit is asked for; ``search_value``: what it had
    in the search."""

    number: int
    values: dict[str, Any]
    search_value: float
    seeds: tuple[int, ...]
    scores: tuple[float, ...]
    folder: str
    net: float | None = None
    sharpe: float | None = None

    @property
    def score(self) -> float:
        return fmean(self.scores)

    @property
    def deviation(self) -> float:
        return stdev(self.scores) if len(self.scores) > 1 else 0.0


class FailedFinalist(msgspec.Struct, frozen=True):
    """What settings that came to their end in the search did not come to on other ``seeds``, and why."""

    number: int
    values: dict[str, Any]
    seeds: tuple[int, ...]
    error: str


def train_finalists(study: Study, executor: Executor, data: Path | None, show: Callable[[str], None]) -> list[Finalist]:
    """In the order of the choice, the chosen one first.

    Those of an earlier attempt are taken as they are.  One that fails is on the record and stands back: it would fail
    again.  Raises ``DataError`` when there is none, one was killed, or none can be trained to its end.
    """
    tuning, path = study.tuning, study.folder / FINALISTS
    lines = study.best(tuning.settings.finalists.top)
    if not lines:
        raise DataError(
            f"no trial of {study.folder} was trained to its end", do="give more trials, or prune less, with --resume"
        )
    done = {one.number: one for one in _read(path) if one.seeds == tuning.settings.finalists.seeds}
    why, running, waiting = "", 0, [line for line in lines if line.number not in done]
    by_number = {line.number: line for line in lines}
    while waiting or running:
        while waiting and running < executor.slots:
            line = waiting.pop(0)
            executor.submit(_task(tuning, study.folder, line.number, line.values, data))
            running += 1
        task, found = executor.next()
        running -= 1
        if isinstance(found, Killed) or found.stop:
            why = found if isinstance(found, Killed) else found.error
            raise DataError(f"finalist {task.number} of {study.folder}: {why}", do="go on with --resume")
        line = by_number[task.number]
        if found.state != "complete":
            why = found.error
            _append(path, FailedFinalist(line.number, line.values, tuning.settings.finalists.seeds, why))
            show(f"finalist {line.number}: failed: {why}")
            continue
        one = _finalist(tuning, line, task, found)
        _append(path, one)
        done[one.number] = one
        show(f"finalist {one.number}: {one.score:.6g} +- {one.deviation:.2g}")
    trained = [done[line.number] for line in lines if line.number in done]
    if not trained:
        raise DataError(
            f"no finalist of {study.folder} was trained to its end: {why}", do="give more trials, with --resume"
        )
    return chosen_first(tuning, trained)


def chosen_first(tuning: Tuning, finalists: list[Finalist]) -> list[Finalist]:
    """By mean score over the seeds, or by mean net return: one of which that is not known goes last."""
    if tuning.settings.finalists.by == "profit":
        return sorted(finalists, key=lambda one: (one.net is None, -(one.net or 0.0), one.number))
    sign = -1.0 if tuning.maximise else 1.0
    return sorted(finalists, key=lambda one: (sign * one.score, one.number))


def _task(tuning: Tuning, folder: Path, number: int, values: Plain, data: Path | None) -> Task:
    plain = with_rows(tuning.for_result(values), folder)
    return Task(
        number,
        (plain,),
        (str(_place(folder, number, tuning)),),
        tuning.settings.metric,
        epochs_of(plain),
        None if data is None else str(data),
        keep=True,
        resume=True,
        watched=False,
        profit=profit_of(tuning.settings),
    )


def _finalist(tuning: Tuning, line: TrialLine, task: Task, found: Outcome) -> Finalist:
    net = sharpe = None
    if tuning.settings.profit is not None and len(found.net) > 1:
        net, spread = fmean(found.net), stdev(found.net)
        sharpe = net / spread * tuning.settings.profit.periods_per_year**0.5 if spread > 0 else 0.0
    assert line.value is not None
    return Finalist(
        line.number,
        line.values,
        line.value,
        tuning.settings.finalists.seeds,
        found.by_seed,
        str(_place(Path(), task.number, tuning)),
        net,
        sharpe,
    )


def _place(folder: Path, number: int, tuning: Tuning) -> Path:
    """Other seeds are another run."""
    return folder / "finalists" / "-".join((f"{number:04d}", "seeds", *map(str, tuning.settings.finalists.seeds)))


def _read(path: Path) -> list[Finalist]:
    """Lines that are whole, of those that did not fail; a finalist whose line a kill cut off is told again."""
    if not path.exists():
        return []
    found = []
    for raw in filter(None, path.read_bytes().split(b"\n")):
        try:
            plain = msgspec.json.decode(raw, type=dict[str, Any])
            if "error" not in plain:
                found.append(msgspec.convert(plain, Finalist))
        except msgspec.ValidationError as error:
            raise DataError(f"{path}: {error}", do="move it aside; --resume trains them again") from None
        except msgspec.DecodeError:
            continue
    return found


def _append(path: Path, one: Finalist | FailedFinalist) -> None:
    try:
        # The first line end ends what a kill may have cut off before.
        append_synced(path, b"\n" + msgspec.json.encode(one) + b"\n")
    except OSError as error:
        raise DataError(
            f"{path} cannot be written: {error.strerror}", do="make room, then go on with --resume"
        ) from None
