"""One forecast out of several, by weights that are learned and sum to 1.

Owns these weights.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Mixture(nn.Module):
    """``(B, K, O)`` to ``(B, O)``; the weights begin equal.  With ``learned`` false they stay so."""

    logits: Tensor

    def __init__(self, count: int, *, learned: bool = True) -> None:
        super().__init__()
        if learned:
            self.logits = nn.Parameter(torch.zeros(count))
        else:
            self.register_buffer("logits", torch.zeros(count))

    def weights(self) -> Tensor:
        """``(K,)``, each above 0, together 1."""
        return torch.softmax(self.logits, dim=0)

    def forward(self, forecasts: Tensor) -> Tensor:
        return (forecasts * self.weights()[:, None]).sum(dim=1)  # (B, O)
