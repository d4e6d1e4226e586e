"""Reliability of probabilities: what was said beside what happened, and the mean distance between the two.

Owns the formulas; evaluation and the watching of a session use the same.  Bins hold equally many rows: with equal
widths most bins of a rare class would be empty.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]
BINS = 15


def reliability(happened: Float64, p: Float64, bins: int = BINS) -> list[tuple[float, float, int]]:
    """Mean probability, share that happened and number of rows of each bin, by rising probability.

    Rows are sorted and cut into ``bins`` equal parts, each cut moved behind the rows that say the same: what a forecast
    says once is one bin.  Cut apart, the bins of a constant would be stretches of time, and their shares its "error".
    """
    order = np.argsort(p, kind="stable")
    ranked = p[order]
    sizes = [len(part) for part in np.array_split(order, bins)]
    ends = np.cumsum(sizes)[:-1]
    ends = np.unique(np.searchsorted(ranked, ranked[ends[(ends > 0) & (ends < len(p))] - 1], side="right"))
    parts = [part for part in np.split(order, ends) if len(part)]
    return [(float(p[part].mean()), float(happened[part].mean()), len(part)) for part in parts]


def expected_calibration_error(label: Int64, p: Float64, bins: int = BINS) -> float:
    """Mean distance between said and happened, by rows.

    Of two classes: of the second one's probability.  Of more: of the likeliest class's, right or not (Guo et al. 2017).
    """
    if p.shape[1] == 2:
        said, happened = p[:, 1], (label == 1).astype(np.float64)
    else:
        said, happened = p.max(axis=1), (p.argmax(axis=1) == label).astype(np.float64)
    return sum(abs(mean - share) * rows for mean, share, rows in reliability(happened, said, bins)) / len(label)
