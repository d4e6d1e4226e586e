"""Convolutions that smooth and combine the columns, then LSTM layers over the rows.

Owns the layers only.
"""

from __future__ import annotations

from torch import Tensor, nn

from models.networks.convolution import Convolution
from models.networks.dense import dense_head
from models.networks.front import Front
from models.networks.network import Network
from models.networks.recurrence import Encoded, Recurrence
from models.networks.settings import AssetSettings, CnnLstmSettings
from models.networks.step_attention import NewestRow


class CnnLstm(Network):
    """One or two convolutions with BatchNorm, one or two LSTM layers, optional attention."""

    def __init__(
        self,
        settings: CnnLstmSettings,
        window: int,
        columns: int,
        outputs: int = 1,
        assets: AssetSettings | None = None,
    ) -> None:
        super().__init__()
        del window
        self.front = Front(columns, settings.input_norm, assets)
        widths = [self.front.columns, *settings.filters]
        self.convolutions = nn.ModuleList(
            Convolution(channels, filters, settings.kernel)
            for channels, filters in zip(widths, settings.filters, strict=False)
        )
        self.dropout = nn.Dropout(settings.dropout)
        self.recurrence = Recurrence(
            "lstm",
            widths[-1],
            settings.hidden,
            settings.layers,
            bidirectional=settings.bidirectional,
            dropout=settings.dropout,
        )
        width = self.recurrence.width
        self.newest = NewestRow(settings.attention, width, settings.heads, settings.dropout)
        self.dense, self.head = dense_head(width, settings.dense, outputs, settings.dropout)

    def encode(self, x: Tensor, mask: Tensor | None = None, asset: Tensor | None = None) -> Encoded:
        """Hidden states of every row and of the end."""
        x = self.front(x, mask, asset)  # (B, W, F)
        for convolution in self.convolutions:
            x = self.dropout(convolution(x, mask))  # (B, W, filters)
        return self.recurrence(x, mask)

    def extract_features(self, x: Tensor, mask: Tensor | None = None, asset: Tensor | None = None) -> Tensor:
        steps = self.encode(x, mask, asset).steps  # (B, W, D)
        features: Tensor = self.dense(self.newest(steps, mask))  # (B, dense)
        return features

    def attention_weights(self, x: Tensor, mask: Tensor | None = None, asset: Tensor | None = None) -> Tensor:
        """``(B, heads, rows that ask, W)``; raises ``ValueError`` where the settings have no attention."""
        return self.newest.weights(self.encode(x, mask, asset).steps, mask)
