"""Do the inputs and outputs of today look like those of training?  The population stability index, in fixed windows.

PSI of shares ``a`` against ``e`` by bin: ``sum((a - e) ln(a / e))``; below 0.1 is taken for the same, beyond 0.25 for
another population (N. Siddiqi, Credit Risk Scorecards, 2006).  Memory is the bins of one window.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from models.reference import spread_of

Float64 = npt.NDArray[np.float64]

_PRIOR: Final = 0.5
"""Rows added to each bin: an empty one would make the logarithm infinite."""


def stability_index(expected: Float64, counts: Float64) -> Float64:
    """``(...)`` PSI of ``counts (..., B)`` against shares ``expected (..., B)``, the same prior on both sides."""
    rows = counts.sum(axis=-1, keepdims=True)
    bins = counts.shape[-1]
    share = (counts + _PRIOR) / (rows + _PRIOR * bins)
    wanted = (expected * rows + _PRIOR) / (rows + _PRIOR * bins)
    found: Float64 = ((share - wanted) * np.log(share / wanted)).sum(axis=-1)
    return found


class Stability:
    """Of columns whose bins and shares are known: ``edges (F, B - 1)``, ``shares (F, B)`` as ``models.reference`` makes
    them.

    ``psi (F,)`` is that of the last whole window of ``rows`` rows; None before the first.
    """

    def __init__(self, edges: Float64, shares: Float64, rows: int) -> None:
        self._edges = edges
        self._shares = shares
        self._rows = rows
        self._counts = np.zeros(shares.shape)
        self._columns = np.arange(len(edges))
        self._seen = 0
        self.psi: Float64 | None = None

    def add(self, values: Float64) -> bool:
        """A row ``(F,)``; True when it completed a window."""
        if not np.isfinite(values).all():
            return False
        self._counts[self._columns, (values[:, None] >= self._edges).sum(axis=1)] += 1.0
        self._seen += 1
        if self._seen < self._rows:
            return False
        self.psi = stability_index(self._shares, self._counts)
        self._counts[:] = 0.0
        self._seen = 0
        return True


class Learned:
    """Stability against the first ``learn`` rows that were seen, where training left no reference."""

    def __init__(self, columns: int, learn: int, rows: int) -> None:
        self._held = np.empty((learn, columns))
        self._seen = 0
        self._rows = rows
        self._stability: Stability | None = None

    @property
    def psi(self) -> Float64 | None:
        return None if self._stability is None else self._stability.psi

    def add(self, values: Float64) -> bool:
        if self._stability is not None:
            return self._stability.add(values)
        if np.isfinite(values).all():
            self._held[self._seen] = values
            self._seen += 1
            if self._seen == len(self._held):
                self._stability = Stability(*spread_of(self._held), self._rows)
                self._held = np.empty((0, 0))
        return False
