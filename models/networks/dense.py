"""The dense layers that end most networks.

Owns these two shapes of them.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn


def dense_head(width: int, dense: int, outputs: int, dropout: float) -> tuple[nn.Sequential, nn.Linear]:
    """``(B, width)`` to features ``(B, dense)``, and those to ``(B, outputs)``."""
    features = nn.Sequential(
        nn.Linear(width, dense),  # (B, dense)
        nn.ReLU(),
        nn.BatchNorm1d(dense),
        nn.Dropout(dropout),
    )
    return features, nn.Linear(dense, outputs)


def dense_stack(width: int, sizes: Sequence[int], dropout: float) -> nn.Sequential:
    """``(B, width)`` through hidden layers of ``sizes`` to ``(B, sizes[-1])``."""
    layers: list[nn.Module] = []
    for size in sizes:
        layers += [nn.Linear(width, size), nn.BatchNorm1d(size), nn.ReLU(), nn.Dropout(dropout)]  # (B, size)
        width = size
    return nn.Sequential(*layers)
