"""Three convolutional branches of different depth, each seeing further back, fused.

Owns the layers only.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models.networks.convolution import Convolution
from models.networks.dense import dense_head
from models.networks.front import Front
from models.networks.masking import row_mean
from models.networks.network import Network
from models.networks.settings import AssetSettings, MultiScaleCnnSettings


class MultiScaleCnn(Network):
    """Local, middle and long range: 3, 9 and 29 rows are seen by one value of each branch."""

    def __init__(
        self,
        settings: MultiScaleCnnSettings,
        window: int,
        columns: int,
        outputs: int = 1,
        assets: AssetSettings | None = None,
    ) -> None:
        super().__init__()
        del window
        filters = settings.filters
        self.front = Front(columns, settings.input_norm, assets)
        columns = self.front.columns
        self.local = nn.ModuleList([Convolution(columns, filters, 3)])
        self.middle = nn.ModuleList([Convolution(columns, filters, 5), Convolution(filters, filters, 5)])
        self.long = nn.ModuleList(
            [
                Convolution(columns, filters, 5, dilation=1),
                Convolution(filters, filters, 5, dilation=2),
                Convolution(filters, filters, 5, dilation=4),
            ]
        )
        self.dense, self.head = dense_head(6 * filters, settings.dense, outputs, settings.dropout)

    def extract_features(self, x: Tensor, mask: Tensor | None = None, asset: Tensor | None = None) -> Tensor:
        x = self.front(x, mask, asset)  # (B, W, F)
        seen: list[Tensor] = []
        for branch in (self.local, self.middle, self.long):
            y = x
            for convolution in branch:
                y = convolution(y, mask)  # (B, W, filters)
            seen += [row_mean(y, mask), y[:, -1]]  # what there was, and what is now: (B, filters) each
        features: Tensor = self.dense(torch.cat(seen, dim=1))  # (B, dense)
        return features
