"""What a bundle's graph is: raw features in, a calibrated probability out.

Owns the default normaliser and the calibrated head around a network; the other normalisers are in
``models.networks.normalisers``.  Which kind each column has and the statistics it is scaled by are found by
``models.trainer`` on training rows only; here they are constants of the graph, so that the engine hands over raw
features and nothing can be scaled twice or differently.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from models.networks.served_form import served_form

KINDS = ("price", "price_difference", "qty", "qty_total", "plain")
"""How a column is brought to a scale that does not depend on the instrument:

- ``price``: distance to the window's last close, in bps of the window's mean close
- ``price_difference``: bps of the window's mean close
- ``qty``: multiples of the column's mean absolute value in the window
- ``qty_total`` (cumulative, as OBV): distance to its last value, in multiples of the mean of the first ``qty`` column,
  or of its own mean distance where there is no such column
- ``plain``: ratios, returns, bps and counts stay as they are
"""

CLIP = 8.0
"""Limit of a z-score: one mad tick must not saturate a layer."""
INPUT_LIMIT = 1e30
"""Features up to this size, either sign, give a finite result; greater ones are refused before the graph sees them."""
_EPS = 1e-12
"""Added to what is divided by: a window without volume gives zeros, not infinities."""


class Normaliser(nn.Module):
    """Per column: to a scale-free unit by its kind, then ``(x - mean) / std``, clipped to +-8.

    Written for few graph nodes on few elements: at batch 1 a node costs half a microsecond whatever it computes, and
    one over the whole window a microsecond.  So what columns are measured in (close, quantities) is picked first,
    totalled over the window in one node, and spread over the columns by one small constant matrix.  The reference is
    subtracted before anything is scaled: folded into a constant term it would save a node and subtract, in float32,
    numbers ten thousand times their difference.
    """

    offset_of_last: Tensor
    size_columns: Tensor
    own_columns: Tensor
    scale_of_size: Tensor
    constant_scale: Tensor
    mean: Tensor
    std: Tensor

    def __init__(self, kinds: Sequence[str], close_index: int) -> None:
        """``kinds``: one of ``KINDS`` per column; ``close_index``: the column that holds the close (mid) price."""
        super().__init__()
        unknown = set(kinds) - set(KINDS)
        if unknown:
            raise ValueError(f"unknown column kinds {sorted(unknown)}; expected {KINDS}")
        self.kinds = tuple(kinds)
        columns = len(kinds)
        qty = [j for j, kind in enumerate(kinds) if kind == "qty"]
        own = [] if qty else [j for j, kind in enumerate(kinds) if kind == "qty_total"]
        offset = torch.zeros(columns, columns)  # (from last[i], to column j)
        scale = torch.zeros(1 + len(qty) + len(own), columns)  # (from mean size[i], to column j); size 0 is the close
        constant = torch.full((columns,), _EPS)
        for j, kind in enumerate(kinds):
            if kind == "price":
                offset[close_index, j] = 1.0
            elif kind == "qty_total":
                offset[j, j] = 1.0
            if kind in ("price", "price_difference"):
                scale[0, j] = 1e-4
            elif kind in ("qty", "qty_total"):
                measure = qty.index(j) if kind == "qty" else own.index(j) if own else 0
                scale[1 + measure, j] = 1.0
            else:
                constant[j] = 1.0
        self.register_buffer("offset_of_last", offset)
        self.register_buffer("size_columns", torch.tensor([close_index, *qty]))
        self.register_buffer("own_columns", torch.tensor(own, dtype=torch.int64))
        self.register_buffer("scale_of_size", scale)
        self.register_buffer("constant_scale", constant)
        self.register_buffer("mean", torch.zeros(columns))
        self.register_buffer("std", torch.ones(columns))

    def scale_free(self, x: Tensor) -> Tensor:
        """``(B, W, F)`` raw to ``(B, W, F)`` in units that do not depend on the instrument's price or lot."""
        distance, total = self._distance_and_total_sizes(x)
        return distance / (total @ (self.scale_of_size / x.shape[1]) + self.constant_scale)

    def forward(self, x: Tensor) -> Tensor:
        # What is multiplied or divided by std alone is constant, so the export folds it.
        spread = self.scale_of_size * self.std / x.shape[1]  # (1 + Q, F)
        distance, total = self._distance_and_total_sizes(x)
        scale = total @ spread + self.constant_scale * self.std  # (B, 1, F)
        return (distance / scale - self.mean / self.std).clamp(-CLIP, CLIP)  # (B, W, F)

    def _distance_and_total_sizes(self, x: Tensor) -> tuple[Tensor, Tensor]:
        distance = x - x[:, -1:] @ self.offset_of_last  # (B, W, F)
        picked = x.index_select(2, self.size_columns)
        if len(self.own_columns):
            picked = torch.cat([picked, distance.index_select(2, self.own_columns)], dim=2)  # (B, W, 1 + Q)
        return distance, torch.linalg.vector_norm(picked, ord=1, dim=1, keepdim=True)  # (B, 1, 1 + Q)

    def column_scaling(self) -> list[tuple[str, float, float]]:
        """Per column: kind, then mean and std of the z-score."""
        return list(zip(self.kinds, self.mean.tolist(), self.std.tolist(), strict=True))

    def fit(self, windows: Tensor) -> None:
        """Sets mean and std from ``windows (N, W, F)``, which must be training rows only.

        Both are taken after a cut at the 0.1 and 99.9 percentiles: a single bad tick would otherwise set the scale.
        """
        free = self.scale_free(windows).reshape(-1, windows.shape[-1]).double()
        low = torch.quantile(free[:: max(1, len(free) // 100_000)], 0.001, dim=0)
        high = torch.quantile(free[:: max(1, len(free) // 100_000)], 0.999, dim=0)
        free = free.clamp(low, high)
        self.mean.copy_(free.mean(dim=0))
        self.std.copy_(free.std(dim=0).clamp_min(1e-6))


class Served(nn.Module):
    """Normaliser, network, temperature, sigmoid: the module that is exported.  Output ``p_up (B, 1)``."""

    temperature: Tensor

    def __init__(self, normaliser: nn.Module, network: nn.Module) -> None:
        super().__init__()
        self.normaliser = normaliser
        self.network = network
        self.register_buffer("temperature", torch.ones(()))

    def logits(self, x: Tensor) -> Tensor:
        logits: Tensor = self.network(self.normaliser(x))
        return logits

    def forward(self, x: Tensor) -> Tensor:
        return torch.sigmoid(self.logits(x) / self.temperature)  # (B, 1)

    def export_form(self) -> Served:
        """The same function in the form that the runtime computes fastest; evaluation mode, no gradients."""
        # A copy: freezing this form must not freeze the network it was made from.
        served = Served(self.normaliser, served_form(self.network))
        served.temperature.copy_(self.temperature)
        return served.eval().requires_grad_(False)
