"""Attention over the rows of a window: additive, self and cross.

Owns these modules.  All weights are softmax, so they sum to 1 over the rows that are read, for each head.

- additive: Bahdanau, Cho and Bengio 2015; self and cross: Vaswani et al. 2017, torch's ``nn.MultiheadAttention``
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from models.networks.masking import row_softmax


class Attended(NamedTuple):
    """``context (B, D)`` or ``(B, W, D)``, ``weights (B, heads, rows that ask, rows that are read)``."""

    context: Tensor
    weights: Tensor


class AdditiveAttention(nn.Module):
    """The newest row asks all rows: ``v . tanh(K row + Q newest)``.  ``(B, W, D)`` to a context ``(B, D)``."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.key = nn.Linear(width, width)
        self.query = nn.Linear(width, width, bias=False)
        self.score = nn.Linear(width, 1, bias=False)

    def forward(self, steps: Tensor, mask: Tensor | None = None, query: Tensor | None = None) -> Attended:
        """``query (B, D)``: what asks instead of the newest row."""
        asked = self.query(steps[:, -1] if query is None else query)  # (B, D)
        scores = self.score(torch.tanh(self.key(steps) + asked.unsqueeze(1))).squeeze(2)  # (B, W)
        weights = row_softmax(scores, mask).unsqueeze(1)  # (B, 1, W)
        return Attended((weights @ steps).squeeze(1), weights.unsqueeze(1))  # (B, D), (B, 1, 1, W)


class RowAttention(nn.Module):
    """Rows ask rows, with residual and norm: ``LayerNorm(x + attention(x, read))``.  ``(B, W, D)`` to the same."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(width, heads, dropout=dropout, batch_first=True)
        self.dropout = nn.Dropout(dropout)
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor, mask: Tensor | None = None, read: Tensor | None = None) -> Tensor:
        """``read (B, W, D)``: the rows that are read, where they are not those that ask."""
        return self.norm(x + self.dropout(self._attend(x, mask, read, False)[0]))

    def attend(self, x: Tensor, mask: Tensor | None = None, read: Tensor | None = None) -> Attended:
        """The same, and the weights ``(B, heads, W, W)``.  Those that dropout took away would sum to anything: they are
        told without it, in training as well."""
        training = self.attention.training
        self.attention.training = False
        try:
            context, weights = self._attend(x, mask, read, True)
        finally:
            self.attention.training = training
        return Attended(self.norm(x + self.dropout(context)), weights)

    def _attend(self, x: Tensor, mask: Tensor | None, read: Tensor | None, weights: bool) -> tuple[Tensor, Tensor]:
        read = x if read is None else read
        padding = None if mask is None else ~mask
        done: tuple[Tensor, Tensor] = self.attention(
            x, read, read, key_padding_mask=padding, need_weights=weights, average_attn_weights=False
        )
        return done


class NewestRow(nn.Module):
    """The rows of a recurrent network as one vector: the newest as it is, or by attention.

    ``(B, W, D)`` to ``(B, D)``; ``attention`` is ``none``, ``additive`` or ``self``.
    """

    def __init__(self, attention: str, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.additive = AdditiveAttention(width) if attention == "additive" else None
        self.rows = RowAttention(width, heads, dropout) if attention == "self" else None

    def forward(self, steps: Tensor, mask: Tensor | None = None) -> Tensor:
        if self.additive is not None:
            return self.additive(steps, mask).context  # (B, D)
        if self.rows is not None:
            steps = self.rows(steps, mask)  # (B, W, D)
        return steps[:, -1]  # (B, D)

    def weights(self, steps: Tensor, mask: Tensor | None = None) -> Tensor:
        """``(B, 1, 1, W)`` of additive, ``(B, heads, W, W)`` of self-attention.  Raises ``ValueError`` without any."""
        if self.additive is not None:
            return self.additive(steps, mask).weights
        if self.rows is not None:
            return self.rows.attend(steps, mask).weights
        raise ValueError("the network has no attention; expected the setting attention: additive or self")
