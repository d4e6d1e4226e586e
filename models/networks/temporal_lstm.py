"""The deep recurrent network: skips and norms between the layers, attention over the rows, one output or a sequence.

Owns the layers only.  The decoder follows Bahdanau, Cho and Bengio 2015.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from models.networks.dense import dense_head
from models.networks.front import Front
from models.networks.masking import zero_padding
from models.networks.network import Network
from models.networks.recurrence import Encoded, Recurrence
from models.networks.settings import AssetSettings, TemporalLstmSettings
from models.networks.step_attention import AdditiveAttention, Attended


class Decoded(NamedTuple):
    """``outputs (B, T, O)``, ``weights (B, T, W)``: what each of the T outputs read of each row."""

    outputs: Tensor
    weights: Tensor


class TemporalLstm(Network):
    """Three bidirectional layers of 64 by default.

    ``encoder``: the newest row and an attention context give one output.  ``sequence``: a decoder gives ``target_len``
    of them, each from the last one and from what it attends to.
    """

    def __init__(
        self,
        settings: TemporalLstmSettings,
        window: int,
        columns: int,
        outputs: int = 1,
        assets: AssetSettings | None = None,
    ) -> None:
        super().__init__()
        del window
        self.front = Front(columns, settings.input_norm, assets)
        width = settings.hidden * (1 + settings.bidirectional)
        # To the width of a layer, so that every layer has a skip.
        self.embed = nn.Linear(self.front.columns, width)
        self.recurrence = Recurrence(
            "lstm",
            width,
            settings.hidden,
            settings.layers,
            bidirectional=settings.bidirectional,
            dropout=settings.dropout,
            skip=settings.skip,
            norm=True,
            checkpointing=settings.checkpointing,
        )
        self.attention = AdditiveAttention(width)
        if settings.mode == "sequence":
            self.decoder: Decoder | None = Decoder(width, outputs, settings.target_len, settings.dropout)
        else:
            self.decoder = None
            self.dense, self.head = dense_head(2 * width, settings.dense, outputs, settings.dropout)

    def encode(self, x: Tensor, mask: Tensor | None = None, asset: Tensor | None = None) -> Encoded:
        """Hidden states of every row and of the end."""
        x = zero_padding(self.embed(self.front(x, mask, asset)), mask)  # (B, W, D)
        return self.recurrence(x, mask)

    def extract_features(self, x: Tensor, mask: Tensor | None = None, asset: Tensor | None = None) -> Tensor:
        """``(B, dense)``; with a decoder what it begins from, the newest row and its context ``(B, 2 D)``."""
        steps = self.encode(x, mask, asset).steps  # (B, W, D)
        seen = torch.cat([steps[:, -1], self.attention(steps, mask).context], dim=1)  # (B, 2 D)
        return seen if self.decoder is not None else self.dense(seen)

    def forward(
        self,
        x: Tensor,
        mask: Tensor | None = None,
        asset: Tensor | None = None,
        targets: Tensor | None = None,
    ) -> Tensor:
        """``(B, O)``, or ``(B, target_len, O)`` with a decoder.

        ``targets (B, target_len, O)``: teacher forcing, the decoder reads the true output before each step.
        """
        if self.decoder is None:
            return super().forward(x, mask, asset)
        return self.decode(x, mask, asset, targets).outputs  # (B, T, O)

    def decode(
        self,
        x: Tensor,
        mask: Tensor | None = None,
        asset: Tensor | None = None,
        targets: Tensor | None = None,
    ) -> Decoded:
        """The sequence and the attention of each of its steps.  Raises ``ValueError`` in mode ``encoder``."""
        if self.decoder is None:
            raise ValueError("the network has no decoder; expected the setting mode: sequence")
        return self.decoder(self.encode(x, mask, asset).steps, mask, self.attention, targets)

    def attention_weights(self, x: Tensor, mask: Tensor | None = None, asset: Tensor | None = None) -> Tensor:
        """``(B, 1, 1, W)``: what the context is made of."""
        attended: Attended = self.attention(self.encode(x, mask, asset).steps, mask)
        return attended.weights


class Decoder(nn.Module):
    """An LSTM cell that attends to the encoded rows; ``(B, W, D)`` to ``(B, T, O)``."""

    def __init__(self, width: int, outputs: int, target_len: int, dropout: float) -> None:
        super().__init__()
        self.target_len = target_len
        self.outputs = outputs
        self.begin = nn.Linear(width, width)
        self.cell = nn.LSTMCell(outputs + width, width)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(2 * width, outputs)

    def forward(
        self, steps: Tensor, mask: Tensor | None, attention: AdditiveAttention, targets: Tensor | None = None
    ) -> Decoded:
        hidden = torch.tanh(self.begin(steps[:, -1]))  # (B, D)
        cell = torch.zeros_like(hidden)
        last = hidden.new_zeros(hidden.shape[0], self.outputs)  # (B, O): nothing came before
        outputs, weights = [], []
        for step in range(self.target_len):
            attended = attention(steps, mask, hidden)  # (B, D)
            hidden, cell = self.cell(torch.cat([last, attended.context], dim=1), (hidden, cell))  # (B, D)
            made = self.head(self.dropout(torch.cat([hidden, attended.context], dim=1)))  # (B, O)
            outputs.append(made)
            weights.append(attended.weights[:, 0, 0])
            last = made if targets is None else targets[:, step]
        return Decoded(torch.stack(outputs, dim=1), torch.stack(weights, dim=1))
