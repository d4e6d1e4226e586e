"""DeepLOB-like: convolutions over neighbouring columns and over time, an Inception module, one LSTM layer.

Owns the layers only.  Zhang, Zohren and Roberts 2019, "DeepLOB: deep convolutional neural networks for limit order
books" (arXiv:1808.03668).  As there: three blocks of 32 filters that condense the columns by 2, by 2 and to one, with
two convolutions of four rows after each, leaky ReLU of 0.01; an Inception module of three branches of 64; an LSTM of 64
whose newest row decides.  Unlike there: any columns in any number (the paper's are price and quantity of ten levels of
both sides, in that order), a BatchNorm after each convolution, and "same" padding along time everywhere (the paper's
convolutions of four rows shorten the window by three each), so that short windows will do.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models.networks.front import Front
from models.networks.network import Network
from models.networks.recurrence import Encoded, Recurrence
from models.networks.settings import AssetSettings, DeepLobSettings

_SLOPE = 0.01


class DeepLob(Network):
    """Reads a window as an image of rows by columns."""

    def __init__(
        self,
        settings: DeepLobSettings,
        window: int,
        columns: int,
        outputs: int = 1,
        assets: AssetSettings | None = None,
    ) -> None:
        super().__init__()
        del window
        filters, width = settings.filters, settings.inception
        self.front = Front(columns, settings.input_norm, assets)
        pairs = -(-self.front.columns // 2)
        fours = -(-pairs // 2)
        self.columns_padded = 4 * fours
        self.pairs = _block(1, filters, 2)
        self.fours = _block(filters, filters, 2)
        self.whole = _block(filters, filters, fours)
        self.short = nn.Sequential(_convolution(filters, width, 1), _convolution(width, width, 3))
        self.long = nn.Sequential(_convolution(filters, width, 1), _convolution(width, width, 5))
        self.pooled = nn.Sequential(nn.MaxPool2d((3, 1), stride=1, padding=(1, 0)), _convolution(filters, width, 1))
        self.dropout = nn.Dropout(settings.dropout)
        self.recurrence = Recurrence("lstm", 3 * width, settings.hidden, 1)
        self.head = nn.Linear(settings.hidden, outputs)

    def encode(self, x: Tensor, mask: Tensor | None = None, asset: Tensor | None = None) -> Encoded:
        """Hidden states of every row and of the end."""
        x = self.front(x, mask, asset).unsqueeze(1)  # (B, 1, W, F)
        x = nn.functional.pad(x, (0, self.columns_padded - x.shape[3]))  # (B, 1, W, 4 * F/4)
        x = self.whole(self.fours(self.pairs(x)))  # (B, filters, W, 1)
        x = torch.cat([self.short(x), self.long(x), self.pooled(x)], dim=1)  # (B, 3 * inception, W, 1)
        return self.recurrence(self.dropout(x.squeeze(3).transpose(1, 2)), mask)

    def extract_features(self, x: Tensor, mask: Tensor | None = None, asset: Tensor | None = None) -> Tensor:
        features: Tensor = self.encode(x, mask, asset).steps[:, -1]  # (B, hidden)
        return features


def _block(channels: int, filters: int, columns: int) -> nn.Sequential:
    """``(B, channels, W, C)`` to ``(B, filters, W, C / columns)``: columns side by side, then twice four rows."""
    return nn.Sequential(
        nn.Conv2d(channels, filters, (1, columns), stride=(1, columns)),
        nn.BatchNorm2d(filters),
        nn.LeakyReLU(_SLOPE),
        _convolution(filters, filters, 4),
        _convolution(filters, filters, 4),
    )


def _convolution(channels: int, filters: int, rows: int) -> nn.Sequential:
    """Over ``rows`` rows, with zeros beside the window; of an even number one more of them before it."""
    return nn.Sequential(
        nn.ZeroPad2d((0, 0, rows // 2, (rows - 1) // 2)),
        nn.Conv2d(channels, filters, (rows, 1)),
        nn.BatchNorm2d(filters),
        nn.LeakyReLU(_SLOPE),
    )
