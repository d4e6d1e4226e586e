"""What a signal is worth to somebody who trades it: independent episodes instead of rows.

Signals cluster: a rule that says BUY for eight hours in a row was right once or wrong once, not eight times.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from models.evaluation.draws import Draws, mean_estimate
from models.evaluation.rows import Rows
from models.manifest import Metric

Int64 = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Episodes:
    """``rows`` said, the ``episodes`` they make, and how often the first row of an episode was right."""

    rows: int
    episodes: int
    precision: Metric


def first_of_episodes(rows: Rows, said: Bool, horizon_s: float) -> Bool:
    """``(N,)``: rows that begin an episode: said, while no label of an earlier one said for the instrument still runs.

    Signals that overlap are one, as ``models.labels.uniqueness.episodes`` counts them.  Where a label ends, the next
    may begin: it reads none of its bars.
    """
    first = np.zeros(len(rows), bool)
    for instrument in np.unique(rows.instrument):
        own = np.flatnonzero((rows.instrument == instrument) & said)
        if len(own):
            own = own[np.argsort(rows.ts_ns[own], kind="stable")]
            begins = rows.ts_ns[own]
            first[own[np.r_[True, begins[1:] >= begins[:-1] + round(horizon_s * 1e9)]]] = True
    return first


def judge_signals(rows: Rows, said: Int64, horizon_s: float, draws: Draws) -> Episodes | None:
    """Of the second class.  None where it was never said."""
    chosen = said == 1
    first = first_of_episodes(rows, chosen, horizon_s)
    if not first.any():
        return None
    precision = mean_estimate(rows.label[first], draws.where(first)).metric
    return Episodes(int(chosen.sum()), int(first.sum()), precision)
