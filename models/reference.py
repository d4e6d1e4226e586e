"""How the inputs of a model were spread in training and its forecasts on validation rows, and the numbers that this is
told of.

Owns the unit: raw prices drift by themselves, so each column is taken as the graph takes it, before mean and deviation,
in the newest row of the window.  Training and a session compute it by this one function.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

Float64 = npt.NDArray[np.float64]
Float32 = npt.NDArray[np.float32]

DECILES: Final = tuple(share / 10 for share in range(1, 10))
_NEAR_SPREAD: Final = 0.02
_NEAR_LEVEL: Final = 0.002
"""Deciles are nearly the same within this part of the distance from the first to the last, and of the median."""
_QUANTILE: Final = re.compile(r"p(\d\d)")
_EPS: Final = 1e-12
"""As ``models.networks.served`` adds to what it divides by."""


def newest_in_unit(windows: Float32, kinds: Sequence[str], close: int) -> Float64:
    """``(N, F)``: of windows ``(N, W, F)`` of raw features the newest row, each column by its kind.

    ``kinds`` are those of ``models.manifest.Scaling``, ``close`` the column that holds the close (any, where no kind
    asks for it): prices in bps from the last close, quantities in multiples of their mean size in the window.  What is
    cumulative says nothing in its newest row alone and is told over the whole window.  All else is as it is.
    """
    raw = windows.astype(np.float64)
    newest: Float64 = raw[:, -1].copy()
    close_px = raw[:, :, close]
    level = np.abs(close_px).mean(axis=1)[:, None] + _EPS
    prices, differences, sizes, totals = (
        [column for column, kind in enumerate(kinds) if kind == wanted]
        for wanted in ("price", "price_difference", "qty", "qty_total")
    )
    newest[:, prices] = 1e4 * (newest[:, prices] - close_px[:, -1:]) / level
    newest[:, differences] *= 1e4 / level
    newest[:, sizes] /= np.abs(raw[:, :, sizes]).mean(axis=1) + _EPS
    moved = raw[:, -1:, totals] - raw[:, :, totals]
    newest[:, totals] = moved[:, 0] / (np.abs(moved).mean(axis=1) + _EPS)
    return newest


def spread_of(values: Float64) -> tuple[Float64, Float64]:
    """Deciles ``(F, 9)`` of finite ``values (N, F)``, and the share of rows ``(F, 10)`` in each bin that they cut.

    A bin holds its lower edge.  Deciles that are nearly the same (of a column of few values, or a nearly constant one)
    become the two sides of one bin around them: cut apart, a shift by a millionth would be another population.  The
    shares are counted, so that they are those of the bins as they are.
    """
    edges: Float64 = np.quantile(values, DECILES, axis=0).T
    shares = np.empty((len(edges), len(DECILES) + 1))
    for column, cuts in enumerate(edges):
        near = _NEAR_SPREAD * (cuts[-1] - cuts[0]) + _NEAR_LEVEL * abs(cuts[4]) + _EPS
        begin = 0
        for end in range(1, len(cuts) + 1):
            if end < len(cuts) and cuts[end] - cuts[end - 1] <= near:
                continue
            if end - begin > 1:
                cuts[begin], cuts[begin + 1 : end] = cuts[begin] - near / 2, cuts[end - 1] + near / 2
            begin = end
        bins = np.searchsorted(cuts, values[:, column], side="right")
        shares[column] = np.bincount(bins, minlength=shares.shape[1]) / len(values)
    return edges, shares


def bins_between(quantiles: Mapping[str, float]) -> tuple[Float64, Float64] | None:
    """Edges ``(1, B - 1)`` and shares ``(1, B)`` of the bins between quantiles of one number, by name (``p05`` is that
    of 5 %).

    None where there are none, and where two are nearly the same: which share of the rows is on which side of a value
    that many have, a quantile does not tell.
    """
    known = sorted(
        (int(found[1]) / 100, value) for name, value in quantiles.items() if (found := _QUANTILE.fullmatch(name))
    )
    cuts = np.asarray([value for _, value in known])
    if not len(cuts) or not all(map(math.isfinite, cuts)):
        return None
    near = _NEAR_SPREAD * (cuts[-1] - cuts[0]) + _NEAR_LEVEL * abs(float(np.median(cuts))) + _EPS
    if (np.diff(cuts) <= near).any():
        return None
    shares = np.diff([0.0, *(share for share, _ in known), 1.0])
    return cuts[None], shares[None]
