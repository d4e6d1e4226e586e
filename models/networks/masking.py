"""Windows that are not full: padding before the real rows, and sums that leave it out.

Owns these few formulas.  ``mask (B, W) bool`` is True where a row is real; None says that all are.
"""

from __future__ import annotations

import torch
from torch import Tensor


def check_mask(x: Tensor, mask: Tensor | None) -> None:
    """Raises ``ValueError`` for a mask of another shape, with padding after a real row, or without any real row."""
    if mask is None:
        return
    if mask.dtype != torch.bool or mask.shape != x.shape[:2]:
        raise ValueError(
            f"mask {tuple(mask.shape)} of {mask.dtype} for windows {tuple(x.shape)}; expected (batch, rows) of bool"
        )
    if torch.compiler.is_compiling():
        return  # a graph cannot look at values
    if not bool(mask[:, -1].all()) or bool((mask[:, :-1] & ~mask[:, 1:]).any()):
        raise ValueError("a mask with padding after a real row; expected padding before the real rows only")


def zero_padding(x: Tensor, mask: Tensor | None) -> Tensor:
    """``(B, W, D)`` with zeros where a row is padding.  A choice, no product: 0 times NaN is NaN."""
    return x if mask is None else torch.where(mask.unsqueeze(2), x, 0.0)


def row_mean(x: Tensor, mask: Tensor | None) -> Tensor:
    """``(B, W, D)`` to the mean of the real rows ``(B, D)``."""
    if mask is None:
        return x.mean(dim=1)
    return zero_padding(x, mask).sum(dim=1) / mask.sum(dim=1, keepdim=True)


def row_softmax(scores: Tensor, mask: Tensor | None) -> Tensor:
    """``(B, W)`` to weights of the real rows that sum to 1 ``(B, W)``."""
    if mask is not None:
        scores = scores.masked_fill(~mask, float("-inf"))
    return torch.softmax(scores, dim=1)
