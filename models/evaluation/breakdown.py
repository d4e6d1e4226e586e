"""Where a forecast errs: its loss beside a baseline's, by symbol, month and regime."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from models.evaluation.draws import Draws, Estimate, mean_estimate
from models.evaluation.rows import Rows
from models.manifest import Metric

Float64 = npt.NDArray[np.float64]
Names = npt.NDArray[np.str_]
_REGIMES = ("low", "middle", "high")


@dataclass(frozen=True)
class Group:
    """``loss``: ours; ``difference``: ours minus the baseline's on the same rows, paired."""

    name: str
    rows: int
    loss: float
    difference: Metric


def symbols(rows: Rows, instruments: Sequence[str]) -> Names:
    return np.array(instruments, dtype=np.str_)[rows.instrument]


def months(rows: Rows) -> Names:
    """``2024-07``, UTC."""
    return np.datetime_as_string(rows.ts_ns.astype("datetime64[ns]"), unit="M")


def regimes(rows: Rows, train: Rows, features: Sequence[str], column: str) -> Names:
    """Thirds of a column, cut where the thirds of the training rows end."""
    place = list(features).index(column)
    edges = np.quantile(train.features[:, place], [1 / 3, 2 / 3])
    names = np.array([f"{name} {column}" for name in _REGIMES], dtype=np.str_)
    return names[np.searchsorted(edges, rows.features[:, place])]


def by_group(groups: Names, ours: Float64, theirs: Float64, draws: Draws) -> list[Group]:
    """A row per name, in order; a group is compared on its own dates."""
    found = []
    for name in np.unique(groups):
        own = groups == name
        difference: Estimate = mean_estimate((ours - theirs)[own], draws.where(own))
        found.append(Group(str(name), int(own.sum()), float(ours[own].mean()), difference.metric))
    return found
