"""A network of ours in the protocol: a plain course over all windows, without validation, as the benchmark has none."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from models import networks
from models.fi2010.files import BOOK_COLUMNS, CLASSES
from models.fi2010.protocol import Learn, Part, Predict

_WEIGHTED_MAX = 10.0
_AT_ONCE = 1_024


def network_learner(
    name: str, *, epochs: int = 20, batch: int = 128, rate: float = 1e-3, seed: int = 1, **settings: Any
) -> Learn:
    """``settings``: of the network ``name`` (``models.networks``).  Classes weigh by how seldom they are, at most 10
    times; AdamW with one falling cosine.  The same seed gives the same network."""

    def learn(part: Part) -> Predict:
        torch.manual_seed(seed)
        net = networks.build(name, window=part.window, columns=len(BOOK_COLUMNS), head="three_class", **settings)
        counts = np.bincount(part.label, minlength=len(CLASSES))
        weights = np.minimum(len(part) / (len(CLASSES) * np.maximum(counts, 1)), _WEIGHTED_MAX)
        loss = nn.CrossEntropyLoss(torch.tensor(weights, dtype=torch.float32))
        optimiser = torch.optim.AdamW(net.parameters(), lr=rate)
        steps = epochs * max(1, len(part) // batch)
        course = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
        random = np.random.default_rng(seed)
        net.train()
        for _ in range(epochs):
            order = random.permutation(len(part))
            # Batch norm needs more than one window: what is left of an epoch comes in another one.
            for first in range(0, max(1, len(part) // batch) * batch, batch):
                numbers = order[first : first + batch]
                optimiser.zero_grad(set_to_none=True)
                loss(net(torch.from_numpy(part.windows(numbers))), torch.from_numpy(part.label[numbers])).backward()
                optimiser.step()
                course.step()
        net.eval()
        return lambda judged: _classes(net, judged)

    return learn


def _classes(net: nn.Module, part: Part) -> npt.NDArray[np.int64]:
    with torch.no_grad():
        said = [
            net(torch.from_numpy(part.windows(slice(first, first + _AT_ONCE)))).argmax(dim=1).numpy()
            for first in range(0, len(part), _AT_ONCE)
        ]
    return np.concatenate(said)
