"""How much of a label is its own: rows whose labels run at the same time say the same thing several times.

M. López de Prado, Advances in Financial Machine Learning (2018), chapter 4: concurrency and average uniqueness.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from models.labels.labelled import Float64, Int64


def concurrency(first: Int64, last: Int64, rows: int) -> Int64:
    """``(rows,)``: labels that run in each row; label k runs in the rows ``first[k]`` to ``last[k]``, both in."""
    edges = np.zeros(rows + 1, np.int64)
    np.add.at(edges, first, 1)
    np.add.at(edges, last + 1, -1)
    return np.cumsum(edges[:-1])


def average_uniqueness(first: Int64, last: Int64, rows: int) -> Float64:
    """(K,) mean of ``1 / concurrency`` over the rows of each label: 1 where no other runs, 1/h where h always do."""
    running = concurrency(first, last, rows)
    inverse = np.divide(1.0, running, out=np.zeros(rows), where=running > 0)
    total = np.concatenate([[0.0], np.cumsum(inverse)])
    unique: Float64 = (total[last + 1] - total[first]) / (last + 1 - first)
    return unique


def episodes(first: Int64, last: Int64, chosen: npt.NDArray[np.bool_]) -> int:
    """Stretches that the chosen labels of one instrument make: signals that overlap are one, as a trader would
    count."""
    starts, ends = first[chosen], last[chosen]
    if not len(starts):
        return 0
    order = np.argsort(starts, kind="stable")
    reached = np.maximum.accumulate(ends[order])
    return 1 + int((starts[order][1:] > reached[:-1]).sum())
