"""The attention network: an encoder of transformer blocks over the rows of the window.

Owns the layers only.  Blocks after Vaswani et al. 2017: attention, residual, norm; feed-forward, residual, norm.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from models.networks.dense import dense_head
from models.networks.front import Front
from models.networks.masking import row_mean
from models.networks.network import Network
from models.networks.settings import AssetSettings, AttentionSettings
from models.networks.step_attention import RowAttention


class Attention(Network):
    """410,241 parameters at the default sizes: 40 columns, two blocks of 8 heads of 16, feed-forward 512."""

    positions: Tensor

    def __init__(
        self,
        settings: AttentionSettings,
        window: int,
        columns: int,
        outputs: int = 1,
        assets: AssetSettings | None = None,
    ) -> None:
        super().__init__()
        width = settings.width
        self.checkpointing = settings.checkpointing
        self.front = Front(columns, settings.input_norm, assets)
        self.embed = nn.Linear(self.front.columns, width)
        self.register_buffer("positions", sinusoids(window, width))
        self.dropout = nn.Dropout(settings.dropout)
        self.blocks = nn.ModuleList(
            Block(width, settings.heads, settings.feed_forward, settings.dropout) for _ in range(settings.layers)
        )
        self.dense, self.head = dense_head(width, settings.dense, outputs, settings.dropout)

    def extract_features(self, x: Tensor, mask: Tensor | None = None, asset: Tensor | None = None) -> Tensor:
        x = self._embedded(x, mask, asset)  # (B, W, D)
        for block in self.blocks:
            if self.checkpointing and self.training and torch.is_grad_enabled():
                x = checkpoint(block, x, mask, use_reentrant=False)
            else:
                x = block(x, mask)  # (B, W, D)
        features: Tensor = self.dense(row_mean(x, mask))  # (B, dense)
        return features

    def attention_weights(self, x: Tensor, mask: Tensor | None = None, asset: Tensor | None = None) -> Tensor:
        """``(B, layers, heads, W, W)``: what each row reads of each; the last axis sums to 1."""
        x = self._embedded(x, mask, asset)
        weights = []
        for block in self.blocks:
            weights.append(block.rows.attend(x, mask).weights)  # (B, heads, W, W)
            x = block(x, mask)
        return torch.stack(weights, dim=1)

    def layers(self) -> list[nn.Module]:
        before = [self.front, self.embed] if any(True for _ in self.front.parameters()) else [self.embed]
        return [*before, *self.blocks, self.dense, self.head]

    def _embedded(self, x: Tensor, mask: Tensor | None, asset: Tensor | None) -> Tensor:
        x = self.embed(self.front(x, mask, asset))  # (B, W, D)
        # Positions count from the newest row, which is always the last: a shorter window keeps its rows' positions.
        return self.dropout(x + self.positions[-x.shape[1] :])


class Block(nn.Module):
    """Self-attention and feed-forward, each with residual and norm.  ``(B, W, D)`` to the same."""

    def __init__(self, width: int, heads: int, feed_forward: int, dropout: float) -> None:
        super().__init__()
        self.rows = RowAttention(width, heads, dropout)
        self.feed_forward = nn.Sequential(
            nn.Linear(width, feed_forward), nn.ReLU(), nn.Dropout(dropout), nn.Linear(feed_forward, width)
        )
        self.dropout = nn.Dropout(dropout)
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        x = self.rows(x, mask)  # (B, W, D)
        return self.norm(x + self.dropout(self.feed_forward(x)))


def sinusoids(window: int, width: int) -> Tensor:
    """The fixed positional encoding ``(W, D)``: sines in even columns, cosines in odd ones (Vaswani et al. 2017)."""
    position = torch.arange(window, dtype=torch.float32).unsqueeze(1)  # (W, 1)
    rate = torch.exp(torch.arange(0, width, 2, dtype=torch.float32) * (-math.log(10_000.0) / width))  # (D / 2,)
    table = torch.empty(window, width)
    table[:, 0::2] = torch.sin(position * rate)
    table[:, 1::2] = torch.cos(position * rate)
    return table
