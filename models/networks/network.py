"""What every network is: windows in, raw outputs out, and the same few verbs around it.

Owns the common contract and freezing; each network owns its layers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn


class Network(nn.Module):
    """``x (B, W, F) float32`` to raw outputs ``(B, O)``, logits where the task is a class.

    ``mask (B, W) bool`` is True where a row is real.  Padding comes before the real rows and the newest row is always
    real; what stands in padded rows, NaN included, changes nothing.  ``asset (B,) int64`` are asset ids where the
    network was built with an embedding; without ids all are unknown.
    """

    head: nn.Module
    held_back = 0.0
    """The last share of the training rows that ``members`` do not learn from, as what combines them must."""

    def __init__(self) -> None:
        super().__init__()
        self._frozen = 0

    def forward(self, x: Tensor, mask: Tensor | None = None, asset: Tensor | None = None) -> Tensor:
        outputs: Tensor = self.head(self.extract_features(x, mask, asset))  # (B, O)
        return outputs

    def extract_features(self, x: Tensor, mask: Tensor | None = None, asset: Tensor | None = None) -> Tensor:
        """``(B, D)``: what the last layer decides by."""
        raise NotImplementedError

    def members(self) -> dict[str, Network]:
        """Networks inside this one that are trained first, each alone, and frozen then."""
        return {}

    def layers(self) -> list[nn.Module]:
        """From the input to the output; what ``freeze_layers`` counts.  A recurrent layer counts by itself."""
        layers: list[nn.Module] = []
        for child in self.children():
            if not isinstance(child, Frozen):
                layers += child.units() if hasattr(child, "units") else [child]
        return [layer for layer in layers if any(True for _ in layer.parameters())]

    def freeze_layers(self, count: int) -> None:
        """The first ``count`` layers learn no more and stay in evaluation mode; 0 thaws all."""
        layers = self.layers()
        if not 0 <= count <= len(layers):
            raise ValueError(f"freeze_layers({count}): the network has {len(layers)} layers")
        self._frozen = count
        for number, layer in enumerate(layers):
            layer.requires_grad_(number >= count)
        self.train(self.training)

    def train(self, mode: bool = True) -> Network:
        super().train(mode)
        # A frozen batch norm that went on counting, or a frozen dropout, would change what is said to be frozen.
        for layer in self.layers()[: self._frozen]:
            layer.eval()
        return self

    def parts(self) -> dict[str, nn.Module]:
        """The named parts that may have learning rates of their own; together they hold every parameter that is not a
        member's."""
        return {
            name: child
            for name, child in self.named_children()
            if not isinstance(child, Frozen) and any(True for _ in child.parameters())
        }

    def parameter_groups(self, rate: float, rates: Mapping[str, float], weight_decay: float) -> list[dict[str, Any]]:
        """For an optimiser: what learns, by part, with the part's own rate or ``rate``.

        Biases, norms and other vectors are not shrunk: their size says nothing about over-fitting.  A bilinear layer's
        bias is a matrix, and a bias.
        """
        groups: list[dict[str, Any]] = []
        for name, part in self.parts().items():
            learning = [
                (p.ndim > 1 and inner.rpartition(".")[2] != "bias", p)
                for inner, p in part.named_parameters()
                if p.requires_grad
            ]
            for decay, params in (
                (weight_decay, [p for shrunk, p in learning if shrunk]),
                (0.0, [p for shrunk, p in learning if not shrunk]),
            ):
                if params:
                    lr = rates.get(name, rate)
                    groups.append({"params": params, "weight_decay": decay, "lr": lr, "part": name})
        return groups


class Frozen(nn.ModuleDict):
    """Members of a greater network: they compute, and neither learn nor change."""

    def __init__(self, members: Mapping[str, Network]) -> None:
        super().__init__(members)
        self.freeze()

    def freeze(self) -> None:
        self.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> Frozen:
        del mode
        super().train(False)
        return self
