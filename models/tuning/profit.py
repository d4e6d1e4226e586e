"""What a run's validation forecasts would have brought after costs, by day: what trials can be chosen and deflated by.

How a position is counted: ``models.evaluation.returns``.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import numpy.typing as npt

from engine.durable import write_atomically
from engine.errors import ConfigError, DataError
from models.evaluation.description import Trials
from models.evaluation.ranking import best_threshold
from models.evaluation.returns import by_day, net_of_return, net_of_signal
from models.evaluation.rows import Rows
from models.evaluation.run_folder import RunFolder
from models.tuning.log import TrialLine
from models.tuning.trial import Outcome

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]
_DAY_NS = 86_400_000_000_000
_RETURNS = "returns"


def daily_returns(run: RunFolder, costs: dict[str, float]) -> tuple[Int64, Float64]:
    """Days ``(D,)`` (ns) of the validation part and net returns ``(D,)``: of each day the sum over its positions, a
    stake of 1 split over the instruments; the mean over the run's seeds.

    - a signal: bought where the probability is beyond the threshold that had the best F1 in the *other* half of the
      days, once an episode; it brings ``gain_bps`` or takes ``loss_bps``
    - a return: held in the forecast's direction where it is beyond the cost; the stake is split over the positions that
      run at a time

    Raises ``ConfigError`` for a task whose rows tell no prices: its profit waits for a back-test.
    """
    task = run.data.task
    rows, said = run.rows("validation"), run.predictions("validation")
    if task.signal and not costs["gain_bps"] > 0:
        raise ConfigError(
            "profit of a signal without gain_bps and loss_bps", expected="both, in bps", do="correct profit"
        )
    if not task.signal and task.kind != "return":
        raise ConfigError(
            f"the profit of the task {task.name} is pending: its rows tell no prices, and there is no back-test yet",
            expected="a signal or a return",
            do="take finalists.by score, and leave out profit",
        )
    days = np.unique(rows.ts_ns // _DAY_NS)
    each = [
        _of_signal(rows, values[:, 1], task.horizon_s, costs, days)
        if task.signal
        else net_of_return(rows, values[:, 0], costs["cost_bps"], task.horizon_rows)
        for values in said.values
    ]
    daily = [by_day(rows, one)[1] for one in each]
    return days * _DAY_NS, np.mean(daily, axis=0)


def _of_signal(rows: Rows, p: Float64, horizon_s: float, costs: dict[str, float], days: Int64) -> Float64:
    """Net return of each row ``(N,)``, 0 where nothing was bought."""
    early = rows.ts_ns // _DAY_NS < days[len(days) // 2]
    said = np.zeros(len(rows), bool)
    for half in (early, ~early):
        other = ~half
        if half.any() and rows.label[other].any():
            said |= half & (p >= best_threshold(rows.label[other], p[other]))
    own = {name: costs[name] for name in ("gain_bps", "loss_bps", "cost_bps")}
    return net_of_signal(rows, said, horizon_s, **own)


def keep_returns(folder: Path, number: int, outcome: Outcome) -> None:
    """Beside the study, for the count of all trials; nothing where the trial has none."""
    if not outcome.days_ns:
        return
    content = io.BytesIO()
    np.savez_compressed(content, days_ns=np.array(outcome.days_ns, np.int64), net=np.array(outcome.net))
    path = _path(folder, number)
    try:
        path.parent.mkdir(exist_ok=True)
        write_atomically(path, content.getvalue())
    except OSError as error:
        raise DataError(
            f"{path} cannot be written: {error.strerror}", do="make room, then go on with --resume"
        ) from None


def all_returns(folder: Path, lines: list[TrialLine], chosen: int, periods_per_year: float) -> Trials | None:
    """Net returns by day of every trial of the study, ``chosen`` among them, so that deflation counts all of them.

    One that failed or was given up held nothing, and brought 0.  None where the chosen one has no returns.
    """
    if not _path(folder, chosen).is_file():
        return None
    days, _ = _load(_path(folder, chosen))
    columns, names = [], []
    for line in lines:
        path = _path(folder, line.number)
        column = np.zeros(len(days))
        if path.is_file():
            theirs, column = _load(path)
            if not np.array_equal(theirs, days):
                raise DataError(f"trial {line.number} has returns of other days than trial {chosen}")
        columns.append(column)
        names.append(f"trial-{line.number}")
    place = [line.number for line in lines].index(chosen)
    return Trials(tuple(names), place, float(periods_per_year), np.stack(columns, axis=1))


def _path(folder: Path, number: int) -> Path:
    return folder / _RETURNS / f"{number:04d}.npz"


def _load(path: Path) -> tuple[Int64, Float64]:
    try:
        with np.load(path, allow_pickle=False) as stored:
            return stored["days_ns"], stored["net"]
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{path} cannot be read: {error}") from None
