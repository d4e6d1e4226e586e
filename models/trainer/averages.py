"""Weights averaged over the steps of a training, and the batch statistics that belong to them.

Owns the decay at the beginning and the recomputation; the averaging is torch's.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.swa_utils import AveragedModel


def averaged(module: nn.Module, decay: float) -> AveragedModel:
    """An exponential average of the module's parameters.

    The decay begins at a tenth and rises to ``decay``: with 0.999 from the start, the random weights of the beginning
    would be half of the average for 700 steps.
    """

    def step(kept: Any, now: Any, count: Any) -> None:
        share = 1.0 - min(decay, (1.0 + float(count)) / (10.0 + float(count)))
        torch._foreach_lerp_(list(kept), list(now), share)

    return AveragedModel(module, multi_avg_fn=step)


@torch.no_grad()
def recompute_statistics(module: nn.Module, batches: Iterable[tuple[Tensor, ...]], forward: Any) -> None:
    """The means and variances of batch norms that learn, over ``batches``, each given to ``forward``.

    Averaged weights have activations of their own; the running statistics are those of the weights of each step.
    Everything else stays in evaluation mode: dropout would be in the statistics.
    """
    norms = [
        norm
        for norm in module.modules()
        if isinstance(norm, _BatchNorm) and any(p.requires_grad for p in norm.parameters())
    ]
    module.eval()
    if not norms:
        return
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # torch's word for a plain mean over all batches
        norm.train()
    for batch in batches:
        forward(*batch)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        norm.eval()
