"""Normalisers that need no declaration of what a column measures: constants of the graph, or the window itself.

Owns the modules only, raw features in.  Their statistics are fitted in ``models.trainer.normalise``, on training rows;
the one that makes columns scale-free by their unit is ``models.networks.served: Normaliser``.

Windows are float32, and a price of 60,000 has float32 steps of 0.004: that much is lost before the graph sees it, under
any normaliser.  What these modules add, against the same formula in float64: at most 4e-7 of ``1 + |z|`` (``Affine``)
and 2e-6 of it (``PerWindow``, the worst of heavy-tailed windows was 1e-6).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

Float64Array = npt.NDArray[np.float64]

_STEP = 2.0**-23
"""The relative step of float32: a column that moves by less than that of its size has not moved."""
_TINY = 1e-12
"""The least that a column's greatest move in the window counts as: one that did not move at all gives zeros."""


class Affine(nn.Module):
    """``(x - centre) / scale`` per column, cut at ``limits`` where there are any.  ``(B, W, F)`` to ``(B, W, F)``.

    ``centre (F,)`` and ``scale (F,)`` are float64; a scale of 0 says that the column was constant in training: whatever
    it is later, it comes out as 0, as the network never saw it move.
    """

    rounded_centre: Tensor
    inverse: Tensor
    remainder: Tensor

    def __init__(
        self, kind: str, centre: Float64Array, scale: Float64Array, limits: tuple[float, float] | None
    ) -> None:
        super().__init__()
        self.kind = kind
        self.centre = np.asarray(centre, np.float64)
        self.scale = np.asarray(scale, np.float64)
        self.limits = limits
        inverse = np.divide(1.0, self.scale, out=np.zeros_like(self.scale), where=self.scale > 0)
        rounded = self.centre.astype(np.float32)
        # The centre in two parts.  Taking its float32 part from a value of like size is exact; what that part lacks,
        # up to 0.002 at 60,000, is a constant once scaled.  In one part it would shift every z-score of the column.
        self.register_buffer("rounded_centre", torch.from_numpy(rounded))
        self.register_buffer("inverse", torch.from_numpy(inverse.astype(np.float32)))
        self.register_buffer("remainder", torch.from_numpy(((self.centre - rounded) * inverse).astype(np.float32)))

    def forward(self, x: Tensor) -> Tensor:
        z = (x - self.rounded_centre) * self.inverse - self.remainder  # (B, W, F)
        return z if self.limits is None else z.clamp(*self.limits)

    def column_scaling(self) -> list[tuple[str, float, float]]:
        """Per column: kind, what is subtracted, what is divided by (0: the column is always 0)."""
        return [(self.kind, float(c), float(s)) for c, s in zip(self.centre, self.scale, strict=True)]


class PerWindow(nn.Module):
    """z-score of each column within its own window; nothing is fitted.  ``(B, W, F)`` to ``(B, W, F)``.

    ``(x - mean) / (std + 2^-23 (|last| + reach))`` with the population's deviation over the W rows, ``last`` the
    newest value and ``reach`` the greatest distance from it: a flat column gives zeros, and one that wobbles by the
    rounding of float32 is not blown up to a deviation of 1.  Level and size of the moves are lost: give the network a
    column that tells them (returns, spread in bps) where it needs them.  No value exceeds ``sqrt(W - 1)``.
    """

    def __init__(self, columns: int) -> None:
        super().__init__()
        self.columns = columns

    def forward(self, x: Tensor) -> Tensor:
        last = x[:, -1:]  # (B, 1, F)
        # Distances first: a mean of prices would lose in float32 what a window's moves are made of.
        distance = x - last  # (B, W, F)
        # A clamp, no sum: the exporter takes an addition of less than 1e-8 for one of nothing and leaves it out.
        reach = distance.abs().amax(dim=1, keepdim=True).clamp_min(_TINY)  # (B, 1, F)
        share = distance / reach  # in [-1, 1]: a square of 1e30 would leave float32
        centred = share - share.mean(dim=1, keepdim=True)
        std = torch.linalg.vector_norm(centred, dim=1, keepdim=True) * x.shape[1] ** -0.5  # (B, 1, F)
        return centred / (std + _STEP * (last.abs() / reach + 1.0))

    def column_scaling(self) -> list[tuple[str, float, float]]:
        """Per column: kind and no statistics."""
        return [("per_window", 0.0, 1.0)] * self.columns


class Unscaled(nn.Module):
    """Raw features to the network: for columns that are ratios already, or a network that normalises by itself."""

    def __init__(self, columns: int) -> None:
        super().__init__()
        self.columns = columns

    def forward(self, x: Tensor) -> Tensor:
        return x

    def column_scaling(self) -> list[tuple[str, float, float]]:
        """Per column: kind and no statistics."""
        return [("none", 0.0, 1.0)] * self.columns
