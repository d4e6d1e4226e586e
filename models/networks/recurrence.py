"""Recurrent layers, one above the other: LSTM or GRU, in one direction or both, with skips, norms and padding.

Owns the stack only.  Each layer is torch's own; a mask packs the real rows, so the backward direction begins at the
newest row and the forward one at the first real row.  Without a mask nothing is packed: that form is exported.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence
from torch.utils.checkpoint import checkpoint


class Encoded(NamedTuple):
    """What the stack made of a window.

    ``steps (B, W, D)`` with D the hidden size times the directions; ``hidden`` and ``cell`` (None of a GRU) are those
    after the last row that each direction reads, ``(layers * directions, B, H)`` in torch's order.
    """

    steps: Tensor
    hidden: Tensor
    cell: Tensor | None


class Recurrence(nn.Module):
    """``(B, W, F)`` to ``Encoded``.  Dropout stands between the layers, as in ``nn.LSTM``."""

    def __init__(
        self,
        kind: Literal["lstm", "gru"],
        columns: int,
        hidden: int,
        layers: int,
        *,
        bidirectional: bool = False,
        dropout: float = 0.0,
        skip: bool = False,
        norm: bool = False,
        checkpointing: bool = False,
    ) -> None:
        super().__init__()
        make = nn.LSTM if kind == "lstm" else nn.GRU
        self.kind = kind
        self.width = hidden * (1 + bidirectional)
        self.directions = 1 + bidirectional
        self.skip = skip
        self.checkpointing = checkpointing
        widths = [columns, *[self.width] * (layers - 1)]
        self.layers = nn.ModuleList(
            make(width, hidden, batch_first=True, bidirectional=bidirectional) for width in widths
        )
        self.norms = nn.ModuleList(nn.LayerNorm(self.width) for _ in range(layers if norm else 0))
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, x: Tensor, mask: Tensor | None = None, state: tuple[Tensor, Tensor | None] | None = None
    ) -> Encoded:
        """``state``: ``hidden`` and ``cell`` of an earlier call, to go on from there; one direction only."""
        if state is not None and self.directions == 2:
            raise ValueError("a state is carried in one direction only; the network is bidirectional")
        hidden: list[Tensor] = []
        cell: list[Tensor] = []
        for number, layer in enumerate(self.layers):
            y, newest = self._layer(layer, x, mask, self._state_of(number, state))  # (B, W, D)
            hidden.append(newest[0] if self.kind == "lstm" else newest)
            if self.kind == "lstm":
                cell.append(newest[1])
            if self.skip and y.shape == x.shape:
                y = y + x
            if self.norms:
                y = self.norms[number](y)
            x = self.dropout(y) if number + 1 < len(self.layers) else y  # (B, W, D)
        return Encoded(x, torch.cat(hidden), torch.cat(cell) if cell else None)

    def units(self) -> list[nn.Module]:
        """Each layer with its norm."""
        if not self.norms:
            return list(self.layers)
        return [nn.ModuleList(pair) for pair in zip(self.layers, self.norms, strict=True)]

    def _layer(self, layer: nn.Module, x: Tensor, mask: Tensor | None, state: Any) -> tuple[Tensor, Any]:
        run = _run_all if mask is None else _run_real
        if self.checkpointing and self.training and torch.is_grad_enabled():
            return checkpoint(run, layer, x, mask, state, use_reentrant=False)
        return run(layer, x, mask, state)

    def _state_of(self, layer: int, state: tuple[Tensor, Tensor | None] | None) -> Any:
        if state is None:
            return None
        hidden, cell = state
        rows = slice(layer * self.directions, (layer + 1) * self.directions)
        return hidden[rows] if cell is None else (hidden[rows], cell[rows])


def _run_all(layer: nn.Module, x: Tensor, mask: None, state: Any) -> tuple[Tensor, Any]:
    del mask
    y, newest = layer(x, state)
    return y, newest


def _run_real(layer: nn.Module, x: Tensor, mask: Tensor, state: Any) -> tuple[Tensor, Any]:
    """Packing wants the real rows first, and they are last: they go there and back again."""
    rows = torch.arange(x.shape[1], device=x.device)
    real = mask.sum(dim=1)  # (B,)
    padding = x.shape[1] - real
    first = (rows + padding.unsqueeze(1)) % x.shape[1]  # (B, W)
    packed = pack_padded_sequence(_picked(x, first), real.cpu(), batch_first=True, enforce_sorted=False)
    y, newest = layer(packed, state)
    y, _ = pad_packed_sequence(y, batch_first=True, total_length=x.shape[1])  # (B, W, D), zeros behind
    return _picked(y, (rows - padding.unsqueeze(1)) % x.shape[1]), newest


def _picked(x: Tensor, rows: Tensor) -> Tensor:
    return x.gather(1, rows.unsqueeze(2).expand(-1, -1, x.shape[2]))
