"""From what was said to scores: the network's seeds, their average and the baselines, all through the same lines.

Owns what is chosen on validation rows (temperature, threshold) and how it is carried to the test.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from engine.errors import DataError
from models.evaluation.baselines.classifiers import Classifier, fit_classifiers, stand_for
from models.evaluation.baselines.quantities import Forecaster, fit_returns, fit_variances
from models.evaluation.calibration import temperature_of, tempered
from models.evaluation.comparison import LESS_IS_BETTER, Spread, across_seeds
from models.evaluation.description import RunData, Task
from models.evaluation.draws import Draws, Estimate, mean_of
from models.evaluation.forecasts import qlikes, return_scores, variance_scores
from models.evaluation.losses import log_losses
from models.evaluation.metrics import class_scores
from models.evaluation.outcome import Role
from models.evaluation.ranking import best_threshold
from models.evaluation.rows import Rows
from models.evaluation.stacking import MEAN, PARTNERS, STACKED, Pool, equal, fit_pool

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]
AVERAGED = "network, seeds averaged"
NETWORK = "network"
LOSS = {"classes": "log_loss", "variance": "qlike", "return": "mse"}


@dataclass(frozen=True)
class Scored:
    """``forecast``: ``(N, K)`` probabilities or ``(N,)``; ``loss (N,)``: by row, of a network the mean over seeds."""

    name: str
    role: Role
    estimates: dict[str, Estimate]
    loss: Float64
    forecast: Float64
    said: Int64 | None = None
    seeds: dict[str, Spread] = field(default_factory=dict)
    temperatures: tuple[float, ...] = ()
    thresholds: tuple[float, ...] = ()


@dataclass(frozen=True)
class Pooled:
    """The network with baselines in one forecast, with a temperature and a threshold of its own."""

    name: str
    pool: Pool
    temperature: float = 1.0
    threshold: float | None = None


@dataclass(frozen=True)
class Choices:
    """What validation rows decided, before any test row: of each seed and of the average."""

    classifiers: Sequence[Classifier] = ()
    forecasters: Sequence[Forecaster] = ()
    temperatures: tuple[float, ...] = ()
    thresholds: tuple[float | None, ...] = ()
    averaged_temperature: float = 1.0
    averaged_threshold: float | None = None
    pools: tuple[Pooled, ...] = ()


def choose(data: RunData, train: Rows, validation: Rows, said: Float64, seed: int) -> Choices:
    """Fit the baselines, calibrate the network's seeds ``said (S, N, K)`` and set thresholds."""
    task = data.task
    if task.kind == "variance":
        every = len(data.instruments)
        found = Choices(forecasters=fit_variances(task, data.features, train, validation, seed, instruments=every))
        return replace(found, pools=_pools(task, found, validation, said))
    if task.kind == "return":
        found = Choices(forecasters=fit_returns(train, validation, seed))
        return replace(found, pools=_pools(task, found, validation, said))
    baselines = fit_classifiers(task, data.features, train, validation, seed)
    label = validation.classes
    temperatures = tuple(temperature_of(label, one) for one in said)
    each = np.stack([tempered(one, t) for one, t in zip(said, temperatures, strict=True)])
    averaged = temperature_of(label, each.mean(axis=0))
    up = (label == 1).astype(np.float64)

    def threshold(p: Float64) -> float | None:
        return best_threshold(up, p[:, 1]) if task.signal else None

    found = Choices(
        baselines,
        temperatures=temperatures,
        thresholds=tuple(threshold(one) for one in each),
        averaged_temperature=averaged,
        averaged_threshold=threshold(tempered(each.mean(axis=0), averaged)),
    )
    return replace(found, pools=_pools(task, found, validation, said))


def _members(task: Task, choices: Choices, rows: Rows, said: Float64) -> Float64:
    """``(M, N, K)``: the average of the network's seeds, or its only one, then the partners among the baselines."""
    if task.kind == "classes":
        each = [tempered(one, t) for one, t in zip(said, choices.temperatures, strict=True)]
        ours = tempered(np.mean(each, axis=0), choices.averaged_temperature) if len(each) > 1 else each[0]
        return np.stack([ours, *(one.predict(rows) for one in choices.classifiers if one.name in PARTNERS)])
    own = said[:, :, 0].mean(axis=0)
    theirs = [one.predict(rows) for one in choices.forecasters if one.name in PARTNERS]
    return np.stack([own, *theirs])[:, :, None]


def _pools(task: Task, choices: Choices, validation: Rows, said: Float64) -> tuple[Pooled, ...]:
    if not task.stacked:
        return ()
    members = _members(task, choices, validation, said)
    found = []
    for name, pool in (
        (STACKED, fit_pool(task.kind, validation, members)),
        (MEAN, equal(len(members), log=task.kind == "variance")),
    ):
        p, temperature, threshold = pool.of(members), 1.0, None
        if task.kind == "classes":
            temperature = temperature_of(validation.classes, p)
            up = (validation.classes == 1).astype(np.float64)
            threshold = best_threshold(up, tempered(p, temperature)[:, 1]) if task.signal else None
        found.append(Pooled(name, pool, temperature, threshold))
    return tuple(found)


def _pooled(task: Task, choices: Choices, rows: Rows, said: Float64) -> list[tuple[Pooled, Float64]]:
    """Each pool with its forecast ``(N, K)`` of the rows."""
    if not choices.pools:
        return []
    members = _members(task, choices, rows, said)
    each = [(one, one.pool.of(members)) for one in choices.pools]
    return [(one, tempered(p, one.temperature) if task.kind == "classes" else p) for one, p in each]


def scores_of(
    task: Task, label: Float64, said: Float64, draws: Draws, threshold: float | None = None
) -> dict[str, Estimate]:
    """Every score of the kind of task of one forecast ``said (N, K)``; ``threshold``: from which a signal is said."""
    if task.kind == "variance":
        return variance_scores(label, said[:, 0], draws)
    if task.kind == "return":
        return return_scores(label, said[:, 0], draws)
    down = task.classes.index(task.down) if task.down else -1
    up = task.classes.index(task.up) if task.up else -1
    return class_scores(label.astype(np.int64), said, stand_for(said, threshold), draws, down=down, up=up)


def score_all(task: Task, choices: Choices, rows: Rows, said: Float64, draws: Draws) -> list[Scored]:
    """The network (means over its seeds), its average where it has several, both with baselines where that is asked
    for, then the baselines."""
    if task.kind == "classes":
        return _score_classes(task, choices, rows, said, draws)

    def one(name: str, role: Role, forecast: Float64) -> Scored:
        if task.kind == "variance":
            scores, loss = variance_scores(rows.label, forecast, draws), qlikes(rows.label, forecast)
        else:
            scores, loss = return_scores(rows.label, forecast, draws), (rows.label - forecast) ** 2
        return Scored(name, role, scores, loss, forecast)

    values = said[:, :, 0]
    found = [_over_seeds([one(NETWORK, "network", value) for value in values])]
    if len(values) > 1:
        found.append(one(AVERAGED, "averaged", values.mean(axis=0)))
    found += [one(each.name, "stacked", p[:, 0]) for each, p in _pooled(task, choices, rows, said)]
    return found + [one(base.name, "baseline", base.predict(rows)) for base in choices.forecasters]


def _score_classes(task: Task, choices: Choices, rows: Rows, said: Float64, draws: Draws) -> list[Scored]:
    label = rows.classes
    down = task.classes.index(task.down) if task.down else -1
    up = task.classes.index(task.up) if task.up else -1

    def one(name: str, role: Role, p: Float64, stands: Int64, **chosen: Any) -> Scored:
        scores = class_scores(label, p, stands, draws, down=down, up=up)
        return Scored(name, role, scores, log_losses(label, p), p, stands, **chosen)

    each = [tempered(p, t) for p, t in zip(said, choices.temperatures, strict=True)]
    seeds = [
        one(NETWORK, "network", p, stand_for(p, threshold), temperatures=(t,), thresholds=_given(threshold))
        for p, t, threshold in zip(each, choices.temperatures, choices.thresholds, strict=True)
    ]
    found = [_over_seeds(seeds)]
    if len(each) > 1:
        p, t, threshold = np.mean(each, axis=0), choices.averaged_temperature, choices.averaged_threshold
        p = tempered(p, t)
        found.append(
            one(AVERAGED, "averaged", p, stand_for(p, threshold), temperatures=(t,), thresholds=_given(threshold))
        )
    for pooled, p in _pooled(task, choices, rows, said):
        threshold = pooled.threshold
        chosen = {"temperatures": (pooled.temperature,), "thresholds": _given(threshold)}
        found.append(one(pooled.name, "stacked", p, stand_for(p, threshold), **chosen))
    for base in choices.classifiers:
        p = base.predict(rows)
        found.append(one(base.name, "baseline", p, base.say(rows, p), thresholds=_given(base.threshold)))
    return found


def _over_seeds(seeds: Sequence[Scored]) -> Scored:
    """One line of a table from one forecast a seed: means of scores, and their spread.

    ``forecast`` and ``said`` are those of the first seed, for what needs one forecast and there is no average.
    """
    names = seeds[0].estimates
    return Scored(
        seeds[0].name,
        seeds[0].role,
        {name: mean_of([one.estimates[name] for one in seeds]) for name in names},
        np.mean([one.loss for one in seeds], axis=0),
        seeds[0].forecast,
        seeds[0].said,
        {name: across_seeds(name, np.array([one.estimates[name].value for one in seeds])) for name in names},
        tuple(t for one in seeds for t in one.temperatures),
        tuple(t for one in seeds for t in one.thresholds),
    )


def best_of(scored: Sequence[Scored], metric: str) -> Scored:
    """The baseline to beat by ``metric``.  Raises ``DataError`` when no baseline has it."""
    have = [one for one in scored if one.role == "baseline" and metric in one.estimates]
    if not have:
        known = ", ".join(scored[0].estimates)
        raise DataError(f"no metric {metric!r}", expected=f"one of {known}", do="set primary in data.json")
    sign = 1.0 if metric in LESS_IS_BETTER else -1.0
    return min(have, key=lambda one: sign * one.estimates[metric].value)


def _given(threshold: float | None) -> tuple[float, ...]:
    return () if threshold is None else (threshold,)
