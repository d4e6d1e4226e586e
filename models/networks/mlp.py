"""The dense network on the flattened window.

Owns the layers only.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models.networks.dense import dense_stack
from models.networks.front import Front
from models.networks.network import Network
from models.networks.settings import AssetSettings, MlpSettings


class Mlp(Network):
    """Hidden layers of 128, 64 and 32 by default; each column of each row has weights of its own."""

    def __init__(
        self, settings: MlpSettings, window: int, columns: int, outputs: int = 1, assets: AssetSettings | None = None
    ) -> None:
        super().__init__()
        self.front = Front(columns, settings.input_norm, assets)
        self.dense = dense_stack(window * self.front.columns, settings.sizes, settings.dropout)
        self.head = nn.Linear(settings.sizes[-1], outputs)

    def extract_features(self, x: Tensor, mask: Tensor | None = None, asset: Tensor | None = None) -> Tensor:
        x = self.front(x, mask, asset)  # (B, W, F)
        features: Tensor = self.dense(torch.flatten(x, 1))  # (B, sizes[-1])
        return features
