"""Sets and intervals that hold the truth as often as promised, by MAPIE; the quantile comes from validation rows.

The promise is for rows that are exchangeable with validation.  Markets are not: what is reported is the coverage that
the test really had, in all and by group, beside what was promised.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]
LEVELS = (0.8, 0.9)
SERVED_LEVELS = (0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.98, 0.99)
"""Of the quantiles that go into a bundle: between them a session interpolates."""


@dataclass(frozen=True)
class Coverage:
    """``size``: mean classes in a set, or mean width; ``singletons``: share of sets of one class, and how often those
    are right (``singleton_accuracy``); ``by_group``: coverage by name."""

    level: float
    coverage: float
    size: float
    singletons: float | None
    singleton_accuracy: float | None
    by_group: dict[str, float]


def score_quantiles(scores: Float64, levels: tuple[float, ...] = SERVED_LEVELS) -> dict[float, float]:
    """By level, the score that at least such a share of a further exchangeable row's scores is at or below: of ``n``
    sorted scores the ``ceil((n + 1) level)``th (Vovk et al. 2005).  What ``n`` scores cannot promise is left out.
    """
    ordered = np.sort(scores)
    places = {level: int(np.ceil(round((len(scores) + 1) * level, 9))) for level in levels}
    return {level: float(ordered[place - 1]) for level, place in places.items() if place <= len(ordered)}


def class_scores(label: Int64, p: Float64) -> Float64:
    """(N,) one minus the probability of what came (LAC)."""
    return np.asarray(1.0 - p[np.arange(len(label)), label], np.float64)


def class_sets(
    validation: tuple[Int64, Float64], p: Float64, levels: tuple[float, ...] = LEVELS
) -> npt.NDArray[np.bool_]:
    """``(N, K, levels)``: which classes are in each row's set (LAC, Sadinle et al. 2019).

    ``validation``: labels and probabilities that the quantile is taken of.
    """
    from mapie.classification import SplitConformalClassifier

    label, chances = validation
    wrapped = SplitConformalClassifier(
        _given_classifier(p.shape[1]), confidence_level=list(levels), conformity_score="lac", prefit=True
    )
    wrapped.conformalize(_exact(chances), label)
    _, sets = wrapped.predict_set(_exact(p))
    return np.asarray(sets, bool)


def intervals(validation: tuple[Float64, Float64], forecast: Float64, levels: tuple[float, ...] = LEVELS) -> Float64:
    """``(N, 2, levels)``: lower and upper ends around a forecast.  ``validation``: targets and forecasts.

    For a variance, give logarithms: its errors are shares.
    """
    from mapie.conformity_scores import AbsoluteConformityScore
    from mapie.regression import SplitConformalRegressor

    target, said = validation
    score = AbsoluteConformityScore()
    # It adds and subtracts what it was given and asks for the same again: where a network ran away, digits are lost.
    score.consistency_check = False
    wrapped = SplitConformalRegressor(
        _given_regressor(), confidence_level=list(levels), conformity_score=score, prefit=True
    )
    wrapped.conformalize(said[:, None], target)
    _, ends = wrapped.predict_interval(forecast[:, None])
    return np.asarray(ends, np.float64)


def class_coverage(
    label: Int64, sets: npt.NDArray[np.bool_], groups: npt.NDArray[np.str_] | None = None
) -> list[Coverage]:
    """One for each level of ``LEVELS``."""
    found = []
    for number, level in enumerate(LEVELS):
        inside = sets[np.arange(len(label)), label, number]
        size = sets[:, :, number].sum(axis=1)
        single = size == 1
        found.append(
            Coverage(
                level,
                float(inside.mean()),
                float(size.mean()),
                float(single.mean()),
                float(inside[single].mean()) if single.any() else None,
                _by_group(inside, groups),
            )
        )
    return found


def interval_coverage(target: Float64, ends: Float64, groups: npt.NDArray[np.str_] | None = None) -> list[Coverage]:
    """One for each level of ``LEVELS``."""
    found = []
    for number, level in enumerate(LEVELS):
        low, high = ends[:, 0, number], ends[:, 1, number]
        inside = (target >= low) & (target <= high)
        found.append(
            Coverage(level, float(inside.mean()), float((high - low).mean()), None, None, _by_group(inside, groups))
        )
    return found


def _by_group(inside: npt.NDArray[np.bool_], groups: npt.NDArray[np.str_] | None) -> dict[str, float]:
    if groups is None:
        return {}
    return {str(name): float(inside[groups == name].mean()) for name in np.unique(groups)}


def _exact(p: Float64) -> Float64:
    """MAPIE asks for sums of 1 to the last digits; predictions are stored as float32."""
    whole: Float64 = p / p.sum(axis=1, keepdims=True)
    return whole


def _given_classifier(classes: int) -> Any:
    """A classifier whose rows are its probabilities already."""
    from sklearn.base import BaseEstimator, ClassifierMixin

    class Given(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
        def __init__(self) -> None:
            self.classes_ = np.arange(classes)
            self.n_features_in_ = classes

        def fit(self, _x: Float64, _y: Int64) -> Any:
            return self

        def predict_proba(self, x: Float64) -> Float64:
            return np.asarray(x, np.float64)

        def predict(self, x: Float64) -> Int64:
            likeliest: Int64 = np.asarray(x).argmax(axis=1).astype(np.int64)
            return likeliest

        def __sklearn_is_fitted__(self) -> bool:
            return True

    return Given()


def _given_regressor() -> Any:
    """A regressor whose only column is its forecast already."""
    from sklearn.base import BaseEstimator, RegressorMixin

    class Given(RegressorMixin, BaseEstimator):  # type: ignore[misc]
        def __init__(self) -> None:
            self.n_features_in_ = 1

        def fit(self, _x: Float64, _y: Float64) -> Any:
            return self

        def predict(self, x: Float64) -> Float64:
            return np.asarray(x, np.float64)[:, 0]

        def __sklearn_is_fitted__(self) -> bool:
            return True

    return Given()
