"""Scores and net returns over the paths of a combinatorial purged cross-validation: a distribution and not one figure.

Each path walks through all folds once, each fold forecast by a network that has seen nothing that touches it.  Paths
share trainings and rows: their spread tells how much the result hangs on what was learned from, and is no standard
error.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from models.evaluation.description import Kind, Task
from models.evaluation.draws import Draws, Estimate, rounded
from models.evaluation.forecasts import qlikes, return_scores, variance_scores
from models.evaluation.losses import log_losses
from models.evaluation.metrics import class_scores
from models.evaluation.returns import by_day, net_of_return, net_of_signal
from models.evaluation.rows import Rows
from models.evaluation.scoring import LOSS
from models.evaluation.selection import BLOCKS, expected_max_sharpe, probabilistic_sharpe, sharpes

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]
_YEAR_DAYS = 365.25
_DAY_NS = 86_400_000_000_000
_DAYS_LEAST = 2 * BLOCKS
_NO_DRAWS = 2  # nobody asks for an interval of a path


@dataclass(frozen=True)
class Forecast:
    """What one split says of the rows that it held out: ``fold (N,)``, ``said (N, K)``, ``stands (N,)`` for the class
    that is said (0 of a quantity), ``naive (N,)`` the loss by row of whoever knows the training part's mean alone."""

    rows: Rows
    fold: Int64
    said: Float64
    stands: Int64
    naive: Float64

    def of_fold(self, fold: int) -> Forecast:
        own = self.fold == fold
        return Forecast(self.rows.where(own), self.fold[own], self.said[own], self.stands[own], self.naive[own])


class Costs(msgspec.Struct, frozen=True):
    """Of a position, in and out, in bps; a signal brings ``gain_bps`` or takes ``loss_bps``."""

    cost_bps: float
    gain_bps: float = 0.0
    loss_bps: float = 0.0


class Traded(msgspec.Struct, frozen=True):
    """Net returns of a path.  ``sharpe``: annualised; ``psr``: probability that it is above 0; ``dsr``: that it is
    above what the best of all trials of the study would have by luck, None where the run is of no study.  ``equity``:
    by day, added up.  Of fewer than 32 days nothing but ``net`` is told."""

    net: float
    sharpe: float | None = None
    psr: float | None = None
    dsr: float | None = None
    equity: tuple[float, ...] = ()


class PathScores(msgspec.Struct, frozen=True):
    """``skill``: share of the naive loss that is saved."""

    scores: dict[str, float]
    naive_loss: float
    skill: float
    traded: Traded | None = None


class Paths(msgspec.Struct, frozen=True):
    """``paths-N-K.json``.  ``rows``: of each path; ``days_ns``: those of the equity of a strategy."""

    run: str
    task: str
    network: str
    primary: str
    loss: str
    folds: int
    held_out: int
    splits: int
    seed: int
    rows: int
    first_ns: int
    last_ns: int
    days_ns: tuple[int, ...]
    costs: Costs | None
    paths: list[PathScores]
    suspicions: list[str]
    explained: str
    commit: str
    config_sha256: str
    data_fingerprint: str

    @property
    def suspicious(self) -> bool:
        return bool(self.suspicions) and not self.explained

    @property
    def figures(self) -> list[str]:
        """What there is a spread of."""
        names = [self.primary, self.loss, "skill"]
        if self.costs is not None:
            told = all(one.traded is not None and one.traded.sharpe is not None for one in self.paths)
            names += ["net", "sharpe", "psr"] if told else ["net"]
        return list(dict.fromkeys(names))

    def spread(self, of: str) -> tuple[float, float, float, float]:
        """Mean, deviation, least and greatest over the paths: of a score, ``skill``, ``sharpe``, ``net`` or ``psr``."""
        if of in ("sharpe", "net", "psr"):
            values = np.array([getattr(one.traded, of) for one in self.paths if one.traded is not None])
        else:
            values = np.array([one.skill if of == "skill" else one.scores[of] for one in self.paths])
        spread = float(values.std(ddof=1)) if len(values) > 1 else 0.0
        return float(values.mean()), spread, float(values.min()), float(values.max())


def joined(splits: Sequence[Forecast], path: Sequence[int]) -> Forecast:
    """The forecasts of a path, in order of time: ``path[fold]`` is the split that forecasts a fold."""
    pieces = [splits[split].of_fold(fold) for fold, split in enumerate(path)]
    order = np.argsort(np.concatenate([one.rows.ts_ns for one in pieces]), kind="stable")

    def whole(*names: str) -> npt.NDArray[Any]:
        return np.concatenate([attrgetter(".".join(names))(one) for one in pieces])[order]

    rows = Rows(whole("rows", "instrument"), whole("rows", "ts_ns"), whole("rows", "label"), whole("rows", "features"))
    return Forecast(rows, whole("fold"), whole("said"), whole("stands"), whole("naive"))


def naive_losses(kind: Kind, classes: int, train: Float64, label: Float64) -> Float64:
    """Loss of each row ``(N,)`` of whoever knows the mean of the training labels alone; of a return, nothing."""
    if kind == "classes":
        share = np.bincount(train.astype(np.int64), minlength=classes) / len(train)
        return log_losses(label.astype(np.int64), np.tile(share, (len(label), 1)))
    if kind == "variance":
        return qlikes(label, np.full(len(label), train.mean()))
    squares: Float64 = label**2
    return squares


def score_path(task: Task, one: Forecast, costs: Costs | None, trials: Float64 | None = None) -> PathScores:
    """``trials (T, N)``: net returns of all trials of the study that the settings come from, where there was one."""
    estimates = _scores(task, one)
    scores = {name: rounded(estimate.value) for name, estimate in estimates.items() if np.isfinite(estimate.value)}
    naive = float(one.naive.mean())
    skill = 1.0 - estimates[LOSS[task.kind]].value / naive if naive > 0 else 0.0
    traded = None if costs is None else _traded(task, one, costs, trials)
    return PathScores(scores, rounded(naive), rounded(skill), traded)


def _scores(task: Task, one: Forecast) -> dict[str, Estimate]:
    draws = Draws.cut(one.rows.ts_ns, task.horizon_s, draws=_NO_DRAWS)
    if task.kind == "variance":
        return variance_scores(one.rows.label, one.said[:, 0], draws)
    if task.kind == "return":
        return return_scores(one.rows.label, one.said[:, 0], draws)
    down = task.classes.index(task.down) if task.down else -1
    up = task.classes.index(task.up) if task.up else -1
    return class_scores(one.rows.classes, one.said, one.stands, draws, down=down, up=up)


def _traded(task: Task, one: Forecast, costs: Costs, trials: Float64 | None) -> Traded:
    if task.signal:
        own = {"gain_bps": costs.gain_bps, "loss_bps": costs.loss_bps, "cost_bps": costs.cost_bps}
        net = net_of_signal(one.rows, one.stands == 1, task.horizon_s, **own)
    else:
        net = net_of_return(one.rows, one.said[:, 0], costs.cost_bps, task.horizon_rows)
    days, daily = by_day(one.rows, net)
    total, equity = rounded(float(daily.sum())), tuple(rounded(float(value)) for value in daily.cumsum())
    if len(daily) < _DAYS_LEAST:
        return Traded(total, equity=equity)
    sharpe = float(sharpes(daily[:, None])[0])
    dsr = None
    if trials is not None and trials.shape[1] > 1:
        by_luck = expected_max_sharpe(trials.shape[1], float(sharpes(trials).var(ddof=1)))
        dsr = rounded(_above(daily, sharpe, by_luck))
    years = max(float(days[-1] - days[0]) / _DAY_NS + 1, 1.0) / _YEAR_DAYS
    return Traded(
        total,
        rounded(sharpe * float(np.sqrt(len(days) / years))),
        rounded(_above(daily, sharpe, 0.0)),
        dsr,
        equity,
    )


def _above(daily: Float64, sharpe: float, benchmark: float) -> float:
    """Probability that the true Sharpe ratio per day is above ``benchmark``; 0 where nothing was ever held."""
    if sharpe == 0.0:
        return 0.0
    from scipy.stats import kurtosis, skew

    return probabilistic_sharpe(sharpe, benchmark, len(daily), float(skew(daily)), float(kurtosis(daily, fisher=False)))
