"""Is one forecast better than another, and which of many may be the best.

Classification is compared by the bootstrap of ``draws`` on identical dates; forecasts of a quantity by Diebold and
Mariano as well, and all of a table by the model confidence set.  Losses of a panel are averaged by period first: the
instruments of a day are one observation.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from models.evaluation.draws import Draws, Estimate
from models.manifest import Metric

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]
Verdict = Literal["ahead", "level within noise", "behind", "not compared"]
LESS_IS_BETTER: Final = frozenset({"log_loss", "brier", "ece", "qlike", "mse"})
_SET_SIZE = 0.05
_SET_DRAWS = 1000


@dataclass(frozen=True)
class EqualAccuracy:
    """The test of Diebold and Mariano: ``p`` is two-sided; a negative statistic favours the first forecast."""

    statistic: float
    p: float
    periods: int


def verdict(metric: str, difference: Estimate) -> Verdict:
    """Of ours minus theirs: ahead or behind only where the paired 95 % interval leaves 0 out."""
    return verdict_of_interval(metric, difference.metric, 0.0)


def verdict_of_interval(metric: str, interval: Metric, figure: float) -> Verdict:
    """Of a score whose interval is known already, against ``figure``."""
    if interval.low is None or interval.high is None:
        return "not compared"
    if interval.low <= figure <= interval.high:
        return "level within noise"
    return "ahead" if (interval.high < figure) == (metric in LESS_IS_BETTER) else "behind"


def verdict_on_figure(metric: str, ours: Estimate, figure: float) -> Verdict:
    """Of a published figure: its own noise is unknown, so that only ours is in the interval."""
    return verdict_of_interval(metric, ours.metric, figure)


def by_period(losses: Float64, draws: Draws) -> Float64:
    """Mean loss of each period ``(B,)``, in order of time."""
    rows = np.bincount(draws.of_row, minlength=draws.periods)
    means: Float64 = draws.sums(losses) / np.maximum(rows, 1)
    return means[rows > 0]


def horizon_in_periods(draws: Draws, instrument: Int64, horizon_rows: int) -> int:
    """How many periods ahead a forecast is: what ``diebold_mariano`` takes.

    With one row of an instrument a period (days, of daily bars) that is the label's rows.  With several, a label runs
    from the last of them into the next period, and losses of neighbours are of one piece.
    """
    met = len(np.unique(np.stack([draws.of_row, instrument]), axis=1).T)
    rows_each = len(draws.of_row) / met
    return horizon_rows if rows_each < 1.5 else 1 + math.ceil(horizon_rows / rows_each)


def diebold_mariano(ours: Float64, theirs: Float64, horizon: int) -> EqualAccuracy:
    """Two series of losses ``(T,)`` of forecasts ``horizon`` periods ahead.

    Diebold and Mariano (1995) with the correction and the t distribution of Harvey, Leybourne and Newbold (1997).
    Their variance can be negative where ``horizon`` is more than 1; then Bartlett's weights take its place.
    """
    from scipy.stats import t as student

    difference = ours - theirs
    count = len(difference)
    centred = difference - difference.mean()
    lags = min(horizon - 1, count - 1)
    covariances = np.array([float(centred[lag:] @ centred[: count - lag]) / count for lag in range(lags + 1)])
    variance = covariances[0] + 2 * covariances[1:].sum()
    if variance <= 0:
        weights = 1 - np.arange(1, lags + 1) / (lags + 1)
        variance = covariances[0] + 2 * float(weights @ covariances[1:])
    if count < 3 or variance <= 0:
        return EqualAccuracy(0.0, 1.0, count)
    small_sample = max((count + 1 - 2 * horizon + horizon * (horizon - 1) / count) / count, 0.0)
    statistic = float(difference.mean() / np.sqrt(variance / count) * np.sqrt(small_sample))
    return EqualAccuracy(statistic, float(2 * student.sf(abs(statistic), count - 1)), count)


def model_confidence_set(losses: Mapping[str, Float64], block: int, *, seed: int = 0) -> dict[str, float]:
    """p-value of each name (Hansen, Lunde and Nason 2011): from 0.05 up it may be the best of them.

    ``losses``: series by period ``(T,)``, all of the same periods.
    """
    from arch.bootstrap import MCS

    names = list(losses)
    table = np.stack([losses[name] for name in names], axis=1)
    # Two equal columns have no variance to divide by: one stands for both.
    first = {name: next(one for one in names if np.allclose(losses[one], losses[name], 0, 1e-12)) for name in names}
    distinct = [name for name in names if first[name] == name]
    if len(distinct) < 2:
        return dict.fromkeys(names, 1.0)
    chosen = table[:, [names.index(name) for name in distinct]]
    test = MCS(chosen, size=_SET_SIZE, reps=_SET_DRAWS, block_size=block, method="max", seed=seed)
    test.compute()
    p = {distinct[int(place)]: float(row["Pvalue"]) for place, row in test.pvalues.iterrows()}
    return {name: p[first[name]] for name in names}


@dataclass(frozen=True)
class Spread:
    """Over seeds.  ``worst``: the least, or the greatest where less is better."""

    mean: float
    sd: float
    worst: float


def across_seeds(metric: str, values: Float64) -> Spread:
    worst = values.max() if metric in LESS_IS_BETTER else values.min()
    return Spread(float(values.mean()), float(values.std(ddof=1)) if len(values) > 1 else 0.0, float(worst))
