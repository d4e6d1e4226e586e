"""What stands before the first layer of a network: padding made nothing, normalisation in the graph, asset embedding.

Owns these three; a network is built for ``Front.columns`` columns.

- BiN: bilinear input normalisation, Tran, Kanniainen, Gabbouj and Iosifidis 2021 (arXiv:2003.00598)
- instance: after RevIN, Kim et al. 2022; the scale it takes away comes back as columns
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from models.networks.masking import check_mask, row_mean, zero_padding
from models.networks.settings import AssetSettings

_STEP = 2.0**-20
"""A column that moves by less than this share of its value has moved by rounding: that much is added to a deviation."""
_VARIANCE = (1e-12, 1e38)
"""Limits of a variance: a column that did not move gives zeros, and a logarithm stays a number."""
_ROW_VARIANCE_MIN = 1e-5
"""Added to the variance along a row, inside the root."""
_ONE = 0.5413248546129181
"""softplus(_ONE) = 1."""


class Front(nn.Module):
    """``(B, W, F)`` to ``(B, W, columns)``; padded rows come out as zeros."""

    def __init__(self, columns: int, input_norm: str, assets: AssetSettings | None) -> None:
        super().__init__()
        self.norm: nn.Module | None = None
        if input_norm == "bilinear":
            self.norm = BilinearNorm(columns)
        elif input_norm == "instance":
            self.norm = InstanceNorm(columns)
            columns *= 2
        self.assets = None if assets is None else AssetEmbedding(assets)
        self.columns = columns if assets is None else columns + assets.width

    def forward(self, x: Tensor, mask: Tensor | None = None, asset: Tensor | None = None) -> Tensor:
        check_mask(x, mask)
        x = zero_padding(x, mask)  # (B, W, F)
        if self.norm is not None:
            x = self.norm(x, mask)  # (B, W, F or 2 F)
        if self.assets is not None:
            embedded = self.assets(asset, x.shape[0])  # (B, A)
            x = torch.cat([x, embedded.unsqueeze(1).expand(-1, x.shape[1], -1)], dim=2)  # (B, W, F + A)
        return x if self.norm is None and self.assets is None else zero_padding(x, mask)


class BilinearNorm(nn.Module):
    """z-scores along both axes of the window, each with its own scale and shift, added with positive gates.

    ``(B, W, F)`` to ``(B, W, F)``.  Over time: each column by its own window.  Over columns: each row by its columns;
    in the paper that axis has a scale for every time step, here one for all, so that any window length will do.  The
    gates are a softplus: a clamp that makes a new parameter when one goes negative loses it to the optimiser.
    """

    def __init__(self, columns: int) -> None:
        super().__init__()
        self.time_scale = nn.Parameter(torch.ones(columns))
        self.time_shift = nn.Parameter(torch.zeros(columns))
        self.column_scale = nn.Parameter(torch.ones(()))
        self.column_shift = nn.Parameter(torch.zeros(()))
        self.gates = nn.Parameter(torch.full((2,), _ONE))

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        over_time, _ = _standardised(x, mask)  # (B, W, F)
        centred = x - x.mean(dim=2, keepdim=True)
        over_columns = centred * torch.rsqrt((centred * centred).mean(dim=2, keepdim=True) + _ROW_VARIANCE_MIN)
        gates = softplus(self.gates)
        return gates[0] * (over_time * self.time_scale + self.time_shift) + gates[1] * (
            over_columns * self.column_scale + self.column_shift
        )


class InstanceNorm(nn.Module):
    """Each column by its own window, times a scale, plus a shift; beside it the logarithm of what it was divided by.

    ``(B, W, F)`` to ``(B, W, 2 F)``: volatility is often all there is to know, and a z-score alone takes it away.
    """

    def __init__(self, columns: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(columns))
        self.shift = nn.Parameter(torch.zeros(columns))

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        z, variance = _standardised(x, mask)  # (B, W, F), (B, 1, F)
        size = 0.5 * torch.log(variance)  # (B, 1, F)
        return torch.cat([z * self.scale + self.shift, size.expand_as(z)], dim=2)


def _standardised(x: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """z-scores over the real rows ``(B, W, F)``, and the variance whose root they were divided by ``(B, 1, F)``."""
    last = x[:, -1:]  # (B, 1, F), always real
    # Distances first: a mean of prices would lose in float32 what a window's moves are made of.
    distance = x - last  # (B, W, F)
    centred = distance - row_mean(distance, mask).unsqueeze(1)  # (B, W, F)
    variance = row_mean(centred * centred, mask).unsqueeze(1) + (_STEP * last) ** 2  # (B, 1, F)
    # A clamp, no sum: the exporter takes an addition of less than 1e-8 for one of nothing and leaves it out.
    variance = variance.clamp(*_VARIANCE)
    return centred * torch.rsqrt(variance), variance


class AssetEmbedding(nn.Module):
    """Asset ids ``(B,)`` to vectors ``(B, width)``.  Row 0 is the unknown asset; so is any id beyond the table."""

    def __init__(self, settings: AssetSettings) -> None:
        super().__init__()
        self.count = settings.count
        self.id_dropout = settings.id_dropout
        self.table = nn.Embedding(settings.count + 1, settings.width)

    def forward(self, asset: Tensor | None, batch: int) -> Tensor:
        if asset is None:
            return self.table.weight[:1].expand(batch, -1)  # (B, A)
        known = (asset >= 1) & (asset <= self.count)
        if self.training and self.id_dropout > 0:
            known = known & (torch.rand(asset.shape, device=asset.device) >= self.id_dropout)
        embedded: Tensor = self.table(torch.where(known, asset, 0))  # (B, A)
        return embedded
