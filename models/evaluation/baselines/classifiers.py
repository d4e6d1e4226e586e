"""Baselines for classes: prior, persistence, logistic regression, LightGBM, their mean, and rules of one column."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from engine.errors import DataError
from models.evaluation.calibration import temperature_of, tempered
from models.evaluation.description import Task
from models.evaluation.losses import log_losses
from models.evaluation.ranking import best_threshold
from models.evaluation.rows import Rows

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]
Probabilities = Callable[[Rows], Float64]
_PENALTIES = (0.003, 0.03, 0.3)
_TABLE_BINS = 10
_TREES_MAX = 400


@dataclass(frozen=True)
class Classifier:
    """A fitted baseline.  ``predict`` gives ``(N, K)``; ``threshold``: of the signal's probability, from validation.

    ``says_past``: stands for the label of the horizon before, whatever the probabilities.  ``model`` and ``columns``:
    for what explains it.
    """

    name: str
    predict: Probabilities
    threshold: float | None = None
    says_past: bool = False
    model: Any = None

    def say(self, rows: Rows, p: Float64) -> Int64:
        """The class that it stands for, by row."""
        if self.says_past and rows.past_label is not None:
            past: Int64 = rows.past_label.astype(np.int64)
            return past
        return stand_for(p, self.threshold)


def stand_for(p: Float64, threshold: float | None) -> Int64:
    """The likeliest class; the second of two from ``threshold`` up where there is one."""
    if threshold is None:
        likeliest: Int64 = p.argmax(axis=1).astype(np.int64)
        return likeliest
    return (p[:, 1] >= threshold).astype(np.int64)


def fit_classifiers(task: Task, features: Sequence[str], train: Rows, validation: Rows, seed: int) -> list[Classifier]:
    """All baselines that the task's columns allow.  Raises ``DataError`` where a class is absent in training."""
    classes = len(task.classes)
    check_classes(task, "train", train)
    check_classes(task, "validation", validation)
    prior = np.bincount(train.classes, minlength=classes) / len(train)
    logistic, logistic_model = _logistic(train, validation, classes, balanced=False)
    trees, trees_model = _lightgbm(train, validation, classes, seed)
    fitted = [
        Classifier("prior", lambda rows: np.tile(prior, (len(rows), 1))),
        *_persistence(train, classes),
        *_volatility_table(task, features, train, classes),
        *(_rule(features, name, train, classes) for name in task.columns.rules),
        _calibrated("logistic regression", logistic, validation, logistic_model),
    ]
    if task.signal:
        balanced, _ = _logistic(train, validation, classes, balanced=True)
        fitted.append(_calibrated("logistic regression balanced", balanced, validation))
    fitted += [
        _calibrated("LightGBM", trees, validation, trees_model),
        _calibrated("logistic regression and LightGBM", lambda rows: (logistic(rows) + trees(rows)) / 2, validation),
    ]
    return [_with_threshold(one, validation) for one in fitted] if task.signal else fitted


def check_classes(task: Task, part: str, rows: Rows) -> None:
    """Raises ``DataError`` that names what is absent: nothing can be learned or scored about it."""
    found = np.bincount(rows.classes, minlength=len(task.classes))
    absent = [name for name, count in zip(task.classes, found, strict=True) if not count]
    if absent:
        raise DataError(
            f"no row of the {part} part is {', '.join(absent)}",
            expected=f"rows of each class ({', '.join(task.classes)})",
            do="take a longer period or another threshold of the label",
        )


def _with_threshold(fitted: Classifier, validation: Rows) -> Classifier:
    up = (validation.classes == 1).astype(np.float64)
    threshold = best_threshold(up, fitted.predict(validation)[:, 1])
    return Classifier(fitted.name, fitted.predict, threshold, fitted.says_past, fitted.model)


def _calibrated(name: str, predict: Probabilities, validation: Rows, model: Any = None) -> Classifier:
    """With a temperature from validation rows, as the network has one."""
    temperature = temperature_of(validation.classes, predict(validation))
    return Classifier(name, lambda rows: tempered(predict(rows), temperature), model=model)


def _persistence(train: Rows, classes: int) -> list[Classifier]:
    """How often each label followed each; a pseudo-row per class, so that none is impossible."""
    if train.past_label is None:
        return []
    table = np.ones((classes, classes))
    np.add.at(table, (train.past_label.astype(np.int64), train.classes), 1.0)
    table /= table.sum(axis=1, keepdims=True)

    def predict(rows: Rows) -> Float64:
        if rows.past_label is None:
            raise DataError("the train part has past labels and another has none", expected="all parts or none")
        following: Float64 = table[rows.past_label.astype(np.int64)]
        return following

    return [Classifier("persistence", predict, says_past=True)]


def _volatility_table(task: Task, features: Sequence[str], train: Rows, classes: int) -> list[Classifier]:
    """How often each class happened in each tenth of a volatility column."""
    if not task.columns.volatility:
        return []
    column = list(features).index(task.columns.volatility)
    edges = np.quantile(train.features[:, column], np.linspace(0, 1, _TABLE_BINS + 1)[1:-1])
    table = np.ones((_TABLE_BINS, classes))
    np.add.at(table, (np.searchsorted(edges, train.features[:, column]), train.classes), 1.0)
    table /= table.sum(axis=1, keepdims=True)
    return [Classifier("volatility table", lambda rows: table[np.searchsorted(edges, rows.features[:, column])])]


def _rule(features: Sequence[str], name: str, train: Rows, classes: int) -> Classifier:
    """One column alone, as a logistic curve: it orders rows as the column does."""
    column = list(features).index(name)
    one = np.array([column])
    model = _fit_logistic(train.features[:, one], train.classes, penalty=1.0, balanced=False)
    return Classifier(f"rule {name}", lambda rows: _spread_out(model, rows.features[:, one], classes))


def _logistic(train: Rows, validation: Rows, classes: int, *, balanced: bool) -> tuple[Probabilities, Any]:
    """Of three penalties the one with the least validation log-loss.

    Balanced weights move the probabilities by the prior alone; that is taken back, the order of the rows stays.
    """
    prior = np.bincount(train.classes, minlength=classes) / len(train)

    def of(model: Any) -> Probabilities:
        def predict(rows: Rows) -> Float64:
            p = _spread_out(model, rows.features, classes)
            p = p * prior if balanced else p
            normalised: Float64 = p / p.sum(axis=1, keepdims=True)
            return normalised

        return predict

    models = [_fit_logistic(train.features, train.classes, penalty, balanced) for penalty in _PENALTIES]
    losses = [float(log_losses(validation.classes, of(model)(validation)).mean()) for model in models]
    best = models[int(np.argmin(losses))]
    return of(best), best


def _fit_logistic(x: npt.NDArray[np.float32], label: Int64, penalty: float, balanced: bool) -> Any:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(
        StandardScaler(), LogisticRegression(C=penalty, max_iter=300, class_weight="balanced" if balanced else None)
    )
    with warnings.catch_warnings():
        # Many correlated columns converge slowly in the last digits, which no score shows.
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(x.astype(np.float64), label)
    return model


def _spread_out(model: Any, x: npt.NDArray[np.float32], classes: int) -> Float64:
    p = np.zeros((len(x), classes))
    p[:, model.classes_] = model.predict_proba(x.astype(np.float64))
    return p


def _lightgbm(train: Rows, validation: Rows, classes: int, seed: int) -> tuple[Probabilities, Any]:
    """Small trees, as many as validation rows want."""
    from lightgbm import LGBMClassifier, early_stopping

    model = LGBMClassifier(**tree_settings(len(train), seed), objective="binary" if classes == 2 else "multiclass")
    model.fit(
        train.features,
        train.classes,
        eval_X=validation.features,
        eval_y=validation.classes,
        callbacks=[early_stopping(30, verbose=False)],
    )

    def predict(rows: Rows) -> Float64:
        p = np.zeros((len(rows), classes))
        p[:, model.classes_] = model.predict_proba(rows.features)
        return p

    return predict, model


def tree_settings(rows: int, seed: int) -> dict[str, Any]:
    """Shallow and slow: market data has little signal.  One thread and fixed seeds: the same trees each time."""
    return {
        "n_estimators": _TREES_MAX,
        "learning_rate": 0.03,
        "num_leaves": 15,
        "min_child_samples": max(20, min(200, rows // 100)),
        "colsample_bytree": 0.7,
        "subsample": 0.7,
        "subsample_freq": 1,
        "reg_lambda": 1.0,
        "random_state": seed,
        "n_jobs": 1,
        "deterministic": True,
        "force_row_wise": True,
        "verbosity": -1,
    }
