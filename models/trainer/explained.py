"""Which columns a trained network lives on: integrated gradients of its first seed, on validation rows.

Owns what is explained: the network behind its normaliser, so that columns are compared in the units that it reads; raw
prices of several instruments have no mean window.  An embedding of instruments counts as that of an unknown one.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn

from models.evaluation.importance import Importance, of_network
from models.networks.served import Served
from models.trainer.dataset import Dataset
from models.trainer.fit import Fitted
from models.trainer.tasks import Target

_ROWS: Final = 256


class _Output(nn.Module):
    """``(B, W, F)`` normalised windows to one raw output ``(B, 1)``."""

    def __init__(self, served: Served, number: int) -> None:
        super().__init__()
        self.network, self.number = served.network, number

    def forward(self, x: Tensor) -> Tensor:
        raw: Tensor = self.network(x).flatten(1)
        return raw[:, self.number : self.number + 1]


def explained(rows: Dataset, fitted: Fitted, target: Target) -> list[Importance]:
    """Of each raw output of a forecast: of two classes the second's, of more one each."""
    served = fitted.served.eval()
    with torch.no_grad():
        windows = rows.windows(rows.validation.every(_ROWS).position)  # (N, W, F)
        read = served.normaliser(torch.from_numpy(windows)).numpy()
    outputs = range(target.outputs.start, target.outputs.stop)
    names = [f"network, {name}" for name in target.classes] if len(outputs) > 1 else ["network"]
    return [
        of_network(name, _Output(served, number), read, rows.table.spec.columns, target=0)
        for name, number in zip(names, outputs, strict=True)
    ]
