"""Layers over the rows of windows in the form that serves: all rows of all windows as one matrix.

Owns these forms; they serve, they do not learn.  A runtime computes product and bias of a matrix in one node, and those
of a batch of matrices in two; torch's own attention turns rows and batch around before and after.
"""

from __future__ import annotations

import math
from copy import deepcopy

import torch
from torch import Tensor, nn

from models.networks.step_attention import RowAttention


class FlatRows(nn.Module):
    """``(B, W, D)`` to ``(B, W, N)`` by a layer ``(rows, D)`` to ``(rows, N)`` that takes each row by itself."""

    def __init__(self, layer: nn.Module, width: int) -> None:
        super().__init__()
        self.layer = layer
        self.width = width

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layer(x.reshape(-1, x.shape[2]))  # (B W, N)
        return y.reshape(-1, x.shape[1], self.width)


class FlatRowAttention(nn.Module):
    """The same as the ``RowAttention`` that it is made of, of full windows."""

    def __init__(self, rows: RowAttention) -> None:
        super().__init__()
        attention = rows.attention
        width, self.heads = attention.embed_dim, attention.num_heads
        self.size = width // self.heads
        self.query = nn.Linear(width, width)
        self.key, self.value = nn.Linear(width, width, bias=False), nn.Linear(width, width, bias=False)
        self.out = deepcopy(attention.out_proj)
        with torch.no_grad():
            query, key, value = attention.in_proj_weight.chunk(3)
            of_query, _, of_value = attention.in_proj_bias.chunk(3)
            # What the scores are divided by is in the question already.
            self.query.weight.copy_(query / math.sqrt(self.size))
            self.query.bias.copy_(of_query / math.sqrt(self.size))
            # A bias of the keys adds the same to all scores of a row, which a softmax does not see.  One of the values
            # comes out whole, as weights sum to 1.
            self.key.weight.copy_(key)
            self.value.weight.copy_(value)
            self.out.bias.add_(self.out.weight @ of_value)
        self.norm = deepcopy(rows.norm)

    def forward(self, x: Tensor, mask: None = None, read: Tensor | None = None) -> Tensor:
        """``read (B, W, D)``: the rows that are read, where they are not those that ask."""
        del mask
        asking, read_rows = x.shape[1], (x if read is None else read).shape[1]
        flat = x.reshape(-1, x.shape[2])  # (B W, D)
        seen = flat if read is None else read.reshape(-1, read.shape[2])
        query = self.query(flat).reshape(-1, asking, self.heads, self.size).transpose(1, 2)  # (B, heads, W, D / heads)
        key = self.key(seen).reshape(-1, read_rows, self.heads, self.size).permute(0, 2, 3, 1)
        value = self.value(seen).reshape(-1, read_rows, self.heads, self.size).transpose(1, 2)
        weights = torch.softmax(query @ key, dim=-1)  # (B, heads, W, W)
        context = (weights @ value).transpose(1, 2).reshape(-1, x.shape[2])  # (B W, D)
        return self.norm(x + self.out(context).reshape(-1, asking, x.shape[2]))  # type: ignore[no-any-return]
