"""Monte-Carlo dropout: how much a forecast moves when dropout stays on.

Owns the modes that this needs.  Gal and Ghahramani 2016.  It is for offline use: the exported graph has no dropout, and
deep ensembles (``models.networks.lstm_ensemble``) calibrate better.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn

_DROPPING = (nn.Dropout, nn.MultiheadAttention)


class Sampled(NamedTuple):
    """``mean`` and population ``deviation`` of the ``samples (P, B, O)`` over the passes, both ``(B, O)``."""

    mean: Tensor
    deviation: Tensor
    samples: Tensor


@contextmanager
def dropout_active(network: nn.Module) -> Iterator[None]:
    """Evaluation mode, except that dropout drops, also inside attention; all modes are as before at the end.

    Frozen members and layers drop too: the uncertainty is that of the whole.  Batch norms stay in evaluation: their
    batch statistics would make a forecast depend on its neighbours.
    """
    before = {module: module.training for module in network.modules()}
    try:
        for module in before:
            module.training = isinstance(module, _DROPPING)
        yield
    finally:
        for module, training in before.items():
            module.training = training


@torch.no_grad()
def sample_forecasts(
    network: nn.Module, x: Tensor, passes: int = 20, mask: Tensor | None = None, asset: Tensor | None = None
) -> Sampled:
    """``passes`` forecasts for ``x (B, W, F)``, padding and assets as ``Network`` takes them; their seed is torch's."""
    beside = () if mask is None and asset is None else (mask, asset)
    with dropout_active(network):
        samples = torch.stack([network(x, *beside) for _ in range(passes)])  # (P, B, O)
    return Sampled(samples.mean(dim=0), samples.std(dim=0, correction=0), samples)
