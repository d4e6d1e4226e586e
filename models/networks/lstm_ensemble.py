"""Several LSTMs of one form from different starts, and the mean of what they say.

Owns the weights of that mean.  Lakshminarayanan, Pritzel and Blundell 2017, "Deep ensembles": their spread is the
uncertainty that calibrates best.
"""

from __future__ import annotations

import torch
from torch import Tensor

from models.networks.initialisation import initialise_as
from models.networks.lstm import Lstm
from models.networks.mixture import Mixture
from models.networks.network import Frozen, Network
from models.networks.settings import AssetSettings, LstmEnsembleSettings


class LstmEnsemble(Network):
    """The members are trained first, each alone; with equal weights there is nothing left to learn then."""

    def __init__(
        self,
        settings: LstmEnsembleSettings,
        window: int,
        columns: int,
        outputs: int = 1,
        assets: AssetSettings | None = None,
    ) -> None:
        super().__init__()
        self.held_back = settings.combiner_share if settings.weights == "learned" else 0.0
        self.base = Frozen(
            {
                f"lstm_{number + 1}": initialise_as(
                    settings.lstm, Lstm(settings.lstm, window, columns, outputs, assets)
                )
                for number in range(settings.members)
            }
        )
        self.mixture = Mixture(settings.members, learned=settings.weights == "learned")

    def members(self) -> dict[str, Network]:
        return dict(self.base.items())

    def forward(self, x: Tensor, mask: Tensor | None = None, asset: Tensor | None = None) -> Tensor:
        outputs: Tensor = self.mixture(self.base_predictions(x, mask, asset))  # (B, O)
        return outputs

    def base_predictions(self, x: Tensor, mask: Tensor | None = None, asset: Tensor | None = None) -> Tensor:
        """``(B, members, O)``."""
        return torch.stack([member(x, mask, asset) for member in self.base.values()], dim=1)

    def ensemble_weights(self) -> Tensor:
        """``(members,)``, together 1."""
        return self.mixture.weights()

    def extract_features(self, x: Tensor, mask: Tensor | None = None, asset: Tensor | None = None) -> Tensor:
        """``(B, members O)``: the predictions, which is all that is decided by."""
        return torch.flatten(self.base_predictions(x, mask, asset), 1)
