"""The ensemble: an LSTM, a CNN and an attention network, frozen, weighed by what they say and combined by what learns.

Owns the weight predictor and the meta-learner.  The members are trained before, each alone, on rows that these two do
not learn from (``models.trainer.fit``): weights learned where the members learned would trust the one that over-fits.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models.networks.attention import Attention
from models.networks.cnn import Cnn
from models.networks.initialisation import initialise_as
from models.networks.lstm import Lstm
from models.networks.network import Frozen, Network
from models.networks.settings import AssetSettings, EnsembleSettings


class Ensemble(Network):
    """1,145,959 parameters at the default sizes, of which 3,012 learn; the output is ``(weighted + meta) / 2``."""

    def __init__(
        self,
        settings: EnsembleSettings,
        window: int,
        columns: int,
        outputs: int = 1,
        assets: AssetSettings | None = None,
    ) -> None:
        super().__init__()
        self.held_back = settings.combiner_share
        sizes = (window, columns, outputs, assets)
        self.base = Frozen(
            {
                "lstm": initialise_as(settings.lstm, Lstm(settings.lstm, *sizes)),
                "cnn": initialise_as(settings.cnn, Cnn(settings.cnn, *sizes)),
                "attention": initialise_as(settings.attention, Attention(settings.attention, *sizes)),
            }
        )
        count = len(self.base)
        self.weigh = nn.Sequential(
            nn.Linear(count * outputs, 64),  # (B, 64)
            nn.ReLU(),
            nn.Linear(64, count),  # (B, 3)
        )
        self.meta = nn.Sequential(
            nn.Linear(count * outputs, 64),  # (B, 64)
            nn.BatchNorm1d(64),
            nn.ReLU(),
            nn.Linear(64, 32),  # (B, 32)
            nn.BatchNorm1d(32),
            nn.ReLU(),
            nn.Linear(32, outputs),  # (B, O)
        )

    def members(self) -> dict[str, Network]:
        return dict(self.base.items())

    def forward(self, x: Tensor, mask: Tensor | None = None, asset: Tensor | None = None) -> Tensor:
        said = self.base_predictions(x, mask, asset)  # (B, 3, O)
        weighted = (said * self._weights(said).unsqueeze(2)).sum(dim=1)  # (B, O)
        return (weighted + self.meta(torch.flatten(said, 1))) / 2

    def base_predictions(self, x: Tensor, mask: Tensor | None = None, asset: Tensor | None = None) -> Tensor:
        """``(B, 3, O)``: what LSTM, CNN and attention say."""
        return torch.stack([member(x, mask, asset) for member in self.base.values()], dim=1)

    def ensemble_weights(self, x: Tensor, mask: Tensor | None = None, asset: Tensor | None = None) -> Tensor:
        """``(B, 3)``, together 1 in each row."""
        return self._weights(self.base_predictions(x, mask, asset))

    def extract_features(self, x: Tensor, mask: Tensor | None = None, asset: Tensor | None = None) -> Tensor:
        """``(B, 3 O)``: the predictions, which is all that is decided by."""
        return torch.flatten(self.base_predictions(x, mask, asset), 1)

    def _weights(self, said: Tensor) -> Tensor:
        return torch.softmax(self.weigh(torch.flatten(said, 1)), dim=1)  # (B, 3)
