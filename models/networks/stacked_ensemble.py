"""Networks of any kinds below, frozen, and a small dense network above that learns what to make of them.

Owns the upper level.  Wolpert 1992, "Stacked generalization": it must learn on rows that the lower level has not seen
(``models.trainer.fit``).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models.networks.dense import dense_stack
from models.networks.network import Frozen, Network
from models.networks.settings import AssetSettings, StackedEnsembleSettings


class StackedEnsemble(Network):
    """``(mean of the members + meta) / 2``, so that it begins near the mean and not at chance."""

    def __init__(
        self,
        settings: StackedEnsembleSettings,
        window: int,
        columns: int,
        outputs: int = 1,
        assets: AssetSettings | None = None,
    ) -> None:
        from models.networks.registry import make  # which knows this network too

        super().__init__()
        self.held_back = settings.combiner_share
        self.base = Frozen(
            {
                f"{member.name}_{number + 1}": make(member, window, columns, outputs, assets)
                for number, member in enumerate(settings.members)
            }
        )
        # No dropout: of a handful of inputs none can be spared.
        self.meta = dense_stack(len(self.base) * outputs, settings.sizes, 0.0)
        self.head = nn.Linear(settings.sizes[-1], outputs)

    def members(self) -> dict[str, Network]:
        return dict(self.base.items())

    def forward(self, x: Tensor, mask: Tensor | None = None, asset: Tensor | None = None) -> Tensor:
        said = self.base_predictions(x, mask, asset)  # (B, K, O)
        return (said.mean(dim=1) + self.head(self.meta(torch.flatten(said, 1)))) / 2

    def base_predictions(self, x: Tensor, mask: Tensor | None = None, asset: Tensor | None = None) -> Tensor:
        """``(B, members, O)``."""
        return torch.stack([member(x, mask, asset) for member in self.base.values()], dim=1)

    def extract_features(self, x: Tensor, mask: Tensor | None = None, asset: Tensor | None = None) -> Tensor:
        """``(B, members O)``: the predictions, which is all that is decided by."""
        return torch.flatten(self.base_predictions(x, mask, asset), 1)
