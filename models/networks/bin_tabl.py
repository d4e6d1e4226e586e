"""BiN and TABL: bilinear normalisation, bilinear layers along both axes, and attention along time.

Owns the layers only.  Tran, Iosifidis, Kanniainen and Gabbouj 2018, "Temporal attention-augmented bilinear network for
financial time-series data analysis" (arXiv:1712.00975).  The normalisation is ``models.networks.front: BilinearNorm``.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models.networks.front import Front
from models.networks.network import Network
from models.networks.settings import AssetSettings, BinTablSettings


class BinTabl(Network):
    """Small: layers of 60 x 10 and 120 x 5 and the attention layer by default."""

    def __init__(
        self,
        settings: BinTablSettings,
        window: int,
        columns: int,
        outputs: int = 1,
        assets: AssetSettings | None = None,
    ) -> None:
        super().__init__()
        self.front = Front(columns, settings.input_norm, assets)
        features, rows = [self.front.columns, *settings.features], [window, *settings.rows]
        self.bilinear = nn.ModuleList(
            BilinearLayer(features[n], rows[n], features[n + 1], rows[n + 1], settings.dropout)
            for n in range(len(settings.features))
        )
        self.head = TemporalAttention(features[-1], rows[-1], outputs)

    def extract_features(self, x: Tensor, mask: Tensor | None = None, asset: Tensor | None = None) -> Tensor:
        """``(B, D, T)``: features by (condensed) time, what the attention layer reads."""
        x = self.front(x, mask, asset).transpose(1, 2)  # (B, F, W)
        for layer in self.bilinear:
            x = layer(x)  # (B, D, T)
        return x

    def attention_weights(self, x: Tensor, mask: Tensor | None = None, asset: Tensor | None = None) -> Tensor:
        """``(B, O, T)``: what each output reads of each (condensed) row; the last axis sums to 1."""
        return self.head.weights(self.extract_features(x, mask, asset))


class BilinearLayer(nn.Module):
    """``relu(W1 X W2 + B)``: ``(B, F, W)`` to ``(B, D, T)``."""

    def __init__(self, features: int, rows: int, features_out: int, rows_out: int, dropout: float) -> None:
        super().__init__()
        self.left = _matrix(features_out, features)
        self.right = _matrix(rows, rows_out)
        self.bias = nn.Parameter(torch.zeros(features_out, rows_out))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        return self.dropout((self.left @ x @ self.right + self.bias).relu())


class TemporalAttention(nn.Module):
    """The TABL layer: ``(B, D, T)`` to ``(B, O)``.

    ``Y = W1 X``, scores ``Y W`` with ``1 / T`` on the diagonal of W, weights by softmax over time; the output reads
    ``g Y * weights + (1 - g) Y`` with a gate g in (0, 1).
    """

    off_diagonal: Tensor

    def __init__(self, features: int, rows: int, outputs: int) -> None:
        super().__init__()
        self.left = _matrix(outputs, features)
        self.mixing = nn.Parameter(torch.zeros(rows, rows))
        self.gate = nn.Parameter(torch.zeros(()))
        self.right = _matrix(rows, 1)
        self.bias = nn.Parameter(torch.zeros(outputs, 1))
        self.register_buffer("off_diagonal", 1.0 - torch.eye(rows))

    def weights(self, x: Tensor) -> Tensor:
        """``(B, O, T)``."""
        return self._read(x)[1]

    def forward(self, x: Tensor) -> Tensor:
        y, weights = self._read(x)  # (B, O, T)
        gate = torch.sigmoid(self.gate)
        y = gate * y * weights + (1.0 - gate) * y  # (B, O, T)
        return (y @ self.right + self.bias).squeeze(2)  # (B, O)

    def _read(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y = self.left @ x  # (B, O, T)
        rows = y.shape[2]
        # The diagonal is fixed: each row's own value counts in its score, whatever is learned.
        mixing = self.mixing * self.off_diagonal + (1.0 - self.off_diagonal) / rows
        return y, torch.softmax(y @ mixing, dim=2)


def _matrix(rows: int, columns: int) -> nn.Parameter:
    return nn.Parameter(nn.init.xavier_uniform_(torch.empty(rows, columns)))
