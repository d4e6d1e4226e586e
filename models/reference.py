"""How the inputs of a model were spread in training, and the numbers that this is told of.

Owns the unit: raw prices drift by themselves, so each column is taken as the graph takes it, before mean and deviation,
in the newest row of the window.  Training and a session compute it by this one function.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

Float64 = npt.NDArray[np.float64]
Float32 = npt.NDArray[np.float32]

DECILES: Final = tuple(share / 10 for share in range(1, 10))
_EPS: Final = 1e-12
"""As ``models.networks.served`` adds to what it divides by."""


def newest_in_unit(windows: Float32, kinds: Sequence[str], close: int) -> Float64:
    """``(N, F)``: of windows ``(N, W, F)`` of raw features the newest row, each column by its kind.

    ``kinds`` are those of ``models.manifest.Scaling``, ``close`` the column that holds the close (any, where no kind
    asks for it): prices in bps from the last close, quantities in multiples of their mean size in the window.  What is
    cumulative says nothing in its newest row alone and is told over the whole window.  All else is as it is.
    """
    raw = windows.astype(np.float64)
    newest = raw[:, -1].copy()
    level = np.abs(raw[:, :, close]).mean(axis=1) + _EPS
    for column, kind in enumerate(kinds):
        if kind == "price":
            newest[:, column] = 1e4 * (raw[:, -1, column] - raw[:, -1, close]) / level
        elif kind == "price_difference":
            newest[:, column] = 1e4 * raw[:, -1, column] / level
        elif kind == "qty":
            newest[:, column] /= np.abs(raw[:, :, column]).mean(axis=1) + _EPS
        elif kind == "qty_total":
            moved = raw[:, -1, column, None] - raw[:, :, column]
            newest[:, column] = moved[:, 0] / (np.abs(moved).mean(axis=1) + _EPS)
    return newest


def spread_of(values: Float64) -> tuple[Float64, Float64]:
    """Deciles ``(F, 9)`` of finite ``values (N, F)``, and the share of rows ``(F, 10)`` in each bin that they cut.

    A bin holds its lower edge.  The shares are counted: a column of few values has several deciles in one of them.
    """
    edges: Float64 = np.quantile(values, DECILES, axis=0).T
    shares = np.empty((len(edges), len(DECILES) + 1))
    for column, cuts in enumerate(edges):
        bins = np.searchsorted(cuts, values[:, column], side="right")
        shares[column] = np.bincount(bins, minlength=shares.shape[1]) / len(values)
    return edges, shares
