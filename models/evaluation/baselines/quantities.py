"""Baselines for a variance (constant, persistence, HAR, ridge HAR-X, LightGBM, GARCH, EWMA) and for a return."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from engine.errors import DataError
from models.evaluation.baselines.classifiers import tree_settings
from models.evaluation.baselines.garch import ewma_forecast, garch_forecast, lack_of_returns
from models.evaluation.description import Task
from models.evaluation.forecasts import qlikes
from models.evaluation.rows import Rows

Float64 = npt.NDArray[np.float64]
Forecast = Callable[[Rows], Float64]
_RIDGES = (1.0, 100.0, 10_000.0)


@dataclass(frozen=True)
class Forecaster:
    """A fitted baseline; ``predict`` gives ``(N,)`` in the unit of the label."""

    name: str
    predict: Forecast
    model: Any = None


def fit_variances(
    task: Task, features: Sequence[str], train: Rows, validation: Rows, seed: int, *, instruments: int
) -> list[Forecaster]:
    """All baselines that the task's columns allow, for this number of ``instruments``.  Raises ``DataError`` for a
    variance that is not positive."""
    for part, rows in (("train", train), ("validation", validation)):
        if not (rows.label > 0).all():
            raise DataError(f"{int((rows.label <= 0).sum()):,} variances of the {part} part are not positive")
    mean = float(train.label.mean())
    fitted = [Forecaster("constant", lambda rows: np.full(len(rows), mean))]
    if train.past_label is not None:
        fitted.append(Forecaster("persistence", _persistence(train.past_label)))
    har = [list(features).index(name) for name in task.columns.har]
    if har:
        month = har[2]
        fitted.append(_scaled("monthly mean", lambda rows: np.exp(rows.features[:, month].astype(np.float64)), train))
        fitted.append(_scaled("HAR-log", _har(train, har), train))
    ridge, _ = _ridge(np.log, np.exp, train, validation, _mean_qlike)
    trees, model = _trees(np.log, np.exp, train, validation, seed)
    fitted += [
        _scaled("ridge HAR-X", ridge, train),
        _scaled("LightGBM", trees, train, model),
        _scaled("ridge HAR-X and LightGBM", lambda rows: np.sqrt(ridge(rows) * trees(rows)), train),
    ]
    if train.series is not None and not lack_of_returns(train, instruments):
        fitted.append(_scaled("GARCH(1,1)-t", garch_forecast(train, validation, task.horizon_rows), train))
    if train.series is not None:
        fitted.append(_scaled("EWMA 0.94", ewma_forecast(train, validation), train))
    return fitted


def fit_returns(train: Rows, validation: Rows, seed: int) -> list[Forecaster]:
    """Nothing, the training mean, ridge regression, LightGBM."""
    mean = float(train.label.mean())
    ridge, _ = _ridge(_same, _same, train, validation, _mean_square)
    trees, model = _trees(_same, _same, train, validation, seed)
    return [
        Forecaster("zero", lambda rows: np.zeros(len(rows))),
        Forecaster("training mean", lambda rows: np.full(len(rows), mean)),
        Forecaster("ridge regression", ridge),
        Forecaster("LightGBM", trees, model),
    ]


def _same(values: Float64) -> Float64:
    return values


def _mean_qlike(target: Float64, forecast: Float64) -> float:
    return float(qlikes(target, forecast).mean())


def _mean_square(target: Float64, forecast: Float64) -> float:
    return float(((target - forecast) ** 2).mean())


def _persistence(training: Float64) -> Forecast:
    """The last variance; where the market stood still, the least one of training that did move."""
    moved = training[training > 0]
    least = float(moved.min()) if len(moved) else 1e-12

    def predict(rows: Rows) -> Float64:
        if rows.past_label is None:
            raise DataError("the train part has past labels and another has none", expected="all parts or none")
        return np.maximum(rows.past_label, least)

    return predict


def _scaled(name: str, predict: Forecast, train: Rows, model: Any = None) -> Forecaster:
    """Times the mean of target over forecast in training: the factor with the least QLIKE.

    It takes back that the exponential of a mean logarithm is too small, and that returns from close to close and the
    label measure variance differently.
    """
    factor = float((train.label / predict(train)).mean())
    return Forecaster(name, lambda rows: predict(rows) * factor, model)


def _har(train: Rows, columns: list[int]) -> Forecast:
    """Log variance on those of the last day, week and month (Corsi 2009), by least squares."""

    def design(rows: Rows) -> Float64:
        return np.column_stack([np.ones(len(rows)), rows.features[:, columns].astype(np.float64)])

    weights, *_ = np.linalg.lstsq(design(train), np.log(train.label), rcond=None)
    return lambda rows: np.exp(design(rows) @ weights)


def _ridge(
    into: Callable[[Float64], Float64],
    back: Callable[[Float64], Float64],
    train: Rows,
    validation: Rows,
    loss: Callable[[Float64, Float64], float],
) -> tuple[Forecast, Any]:
    """All columns; of three penalties the one with the least validation loss."""
    from sklearn.linear_model import Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    def of(model: Any) -> Forecast:
        return lambda rows: back(model.predict(rows.features.astype(np.float64)))

    models = [make_pipeline(StandardScaler(), Ridge(penalty)) for penalty in _RIDGES]
    for model in models:
        model.fit(train.features.astype(np.float64), into(train.label))
    losses = [loss(validation.label, of(model)(validation)) for model in models]
    best = models[int(np.argmin(losses))]
    return of(best), best


def _trees(
    into: Callable[[Float64], Float64],
    back: Callable[[Float64], Float64],
    train: Rows,
    validation: Rows,
    seed: int,
) -> tuple[Forecast, Any]:
    from lightgbm import LGBMRegressor, early_stopping

    model = LGBMRegressor(**tree_settings(len(train), seed))
    model.fit(
        train.features,
        into(train.label),
        eval_X=validation.features,
        eval_y=into(validation.label),
        callbacks=[early_stopping(30, verbose=False)],
    )
    return lambda rows: back(np.asarray(model.predict(rows.features), np.float64)), model
