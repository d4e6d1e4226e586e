"""What a bundle's graph is: raw features in, a calibrated probability out.

Owns the normaliser and the calibrated head around a network.  Which kind each column has and the statistics it is
scaled by are found by ``models.trainer`` on training rows only; here they are constants of the graph, so that the
engine hands over raw features and nothing can be scaled twice or differently.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

KINDS = ("price", "price_difference", "qty", "qty_total", "plain")
"""How a column is brought to a scale that does not depend on the instrument:

- ``price``: distance to the window's last close, in bps of that close
- ``price_difference``: bps of the window's last close
- ``qty``: multiples of the column's mean absolute value in the window
- ``qty_total`` (cumulative, as OBV): distance to its last value, then as ``qty``
- ``plain``: ratios, returns, bps and counts stay as they are
"""

CLIP = 8.0
"""Limit of a z-score: one mad tick must not saturate a layer."""
_INPUT_LIMIT = 1e30
"""Inputs are cut here so that no intermediate sum of a finite window leaves the range of float32."""
_EPS = 1e-12


class Normaliser(nn.Module):
    """Per column: to a scale-free unit by its kind, then ``(x - mean) / std``, clipped to +-8.

    Written for few graph nodes: at batch 1 a node costs about a microsecond whatever it computes, so what each column
    needs is picked from the window's last row by two small constant matrices instead of by slicing.
    """

    offset_of_last: Tensor
    scale_of_last: Tensor
    typical_scale: Tensor
    constant_scale: Tensor
    mean: Tensor
    std: Tensor

    def __init__(self, kinds: Sequence[str], close_index: int) -> None:
        """``kinds``: one of ``KINDS`` per column; ``close_index``: the column that holds the close (mid) price."""
        super().__init__()
        unknown = set(kinds) - set(KINDS)
        if unknown:
            raise ValueError(f"unknown column kinds {sorted(unknown)}; expected {KINDS}")
        columns = len(kinds)
        offset = torch.zeros(columns, columns)  # (from last[i], to column j)
        scale = torch.zeros(columns, columns)
        typical = torch.zeros(columns)
        constant = torch.full((columns,), _EPS)
        for j, kind in enumerate(kinds):
            if kind == "price":
                offset[close_index, j] = 1.0
            elif kind == "qty_total":
                offset[j, j] = 1.0
            if kind in ("price", "price_difference"):
                scale[close_index, j] = 1e-4
            elif kind in ("qty", "qty_total"):
                typical[j] = 1.0
            else:
                constant[j] = 1.0
        self.register_buffer("offset_of_last", offset)
        self.register_buffer("scale_of_last", scale)
        self.register_buffer("typical_scale", typical)
        self.register_buffer("constant_scale", constant)
        self.register_buffer("mean", torch.zeros(columns))
        self.register_buffer("std", torch.ones(columns))

    def scale_free(self, x: Tensor) -> Tensor:
        """``(B, W, F)`` raw to ``(B, W, F)`` in units that do not depend on the instrument's price or lot."""
        distance, scale = self._distance_and_scale(x)
        return distance / scale.unsqueeze(1)

    def forward(self, x: Tensor) -> Tensor:
        distance, scale = self._distance_and_scale(x)
        gain = (1.0 / self.std) / scale  # (B, F)
        return (distance * gain.unsqueeze(1) - self.mean / self.std).clamp(-CLIP, CLIP)  # (B, W, F)

    def _distance_and_scale(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = x.clamp(-_INPUT_LIMIT, _INPUT_LIMIT)  # (B, W, F)
        last = x[:, -1]  # (B, F)
        distance = x - (last @ self.offset_of_last).unsqueeze(1)  # (B, W, F)
        total = torch.linalg.vector_norm(distance, ord=1, dim=1)  # (B, F)
        of_last = last.abs() @ self.scale_of_last  # (B, F)
        scale = of_last + total * (self.typical_scale / x.shape[1]) + self.constant_scale  # (B, F)
        return distance, scale

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

    def __init__(self, normaliser: Normaliser, network: nn.Module) -> None:
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
        network = self.network.eval()
        convert = getattr(network, "export_form", None)
        served = Served(self.normaliser, network if convert is None else convert())
        served.temperature.copy_(self.temperature)
        return served.eval().requires_grad_(False)
