"""A convolution along time that keeps the number of rows and lets no padding through.

Owns this one layer.
"""

from __future__ import annotations

from torch import Tensor, nn

from models.networks.masking import zero_padding


class Convolution(nn.Module):
    """Conv1d with "same" padding, BatchNorm, ReLU.  ``(B, W, C)`` to ``(B, W, filters)``; padded rows stay zeros."""

    def __init__(self, channels: int, filters: int, kernel: int, dilation: int = 1) -> None:
        super().__init__()
        # Written out: "same" would compute the padding anew in every call of an exported graph.
        padding = dilation * (kernel - 1) // 2
        self.conv = nn.Conv1d(channels, filters, kernel, padding=padding, dilation=dilation)
        self.norm = nn.BatchNorm1d(filters)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        x = self.conv(x.transpose(1, 2))  # (B, filters, W)
        x = self.norm(x).relu().transpose(1, 2)  # (B, W, filters)
        return zero_padding(x, mask)
