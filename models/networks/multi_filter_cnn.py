"""Convolutions of several sizes side by side, then self-attention over the rows.

Owns the layers only.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models.networks.convolution import Convolution
from models.networks.front import Front
from models.networks.masking import zero_padding
from models.networks.network import Network
from models.networks.settings import AssetSettings, MultiFilterCnnSettings
from models.networks.step_attention import RowAttention


class MultiFilterCnn(Network):
    """64 filters of each of the sizes 3, 5, 7 and 11 by default; one output a row, or that of the newest row."""

    def __init__(
        self,
        settings: MultiFilterCnnSettings,
        window: int,
        columns: int,
        outputs: int = 1,
        assets: AssetSettings | None = None,
    ) -> None:
        super().__init__()
        del window
        width = settings.filters * len(settings.kernels)
        self.of_every_row = settings.output == "steps"
        self.front = Front(columns, settings.input_norm, assets)
        self.filters = nn.ModuleList(
            Convolution(self.front.columns, settings.filters, kernel) for kernel in settings.kernels
        )
        self.rows = RowAttention(width, settings.heads, settings.dropout)
        self.dropout = nn.Dropout(settings.dropout)
        self.head = nn.Linear(width, outputs)

    def extract_steps(self, x: Tensor, mask: Tensor | None = None, asset: Tensor | None = None) -> Tensor:
        """``(B, W, D)``; padded rows are zeros."""
        y = self.rows(self._filtered(x, mask, asset), mask)  # (B, W, D)
        return zero_padding(self.dropout(y), mask)

    def extract_features(self, x: Tensor, mask: Tensor | None = None, asset: Tensor | None = None) -> Tensor:
        return self.extract_steps(x, mask, asset)[:, -1]  # (B, D)

    def forward(self, x: Tensor, mask: Tensor | None = None, asset: Tensor | None = None) -> Tensor:
        """``(B, O)`` of the newest row, or ``(B, W, O)`` of all, where those of padded rows say nothing."""
        steps = self.extract_steps(x, mask, asset)  # (B, W, D)
        outputs: Tensor = self.head(steps if self.of_every_row else steps[:, -1])
        return outputs

    def attention_weights(self, x: Tensor, mask: Tensor | None = None, asset: Tensor | None = None) -> Tensor:
        """``(B, heads, W, W)``: what each row reads of each."""
        return self.rows.attend(self._filtered(x, mask, asset), mask).weights

    def _filtered(self, x: Tensor, mask: Tensor | None, asset: Tensor | None) -> Tensor:
        x = self.front(x, mask, asset)  # (B, W, F)
        return torch.cat([convolution(x, mask) for convolution in self.filters], dim=2)  # (B, W, D)
