"""The mixer: dense layers along time and along features in turn.

Owns the layers only.  Chen, Li, Arik, Yoder and Pfister 2023, "TSMixer" (arXiv:2303.06053).
"""

from __future__ import annotations

from torch import Tensor, nn

from models.networks.front import Front
from models.networks.masking import zero_padding
from models.networks.network import Network
from models.networks.settings import AssetSettings, MixerSettings


class Mixer(Network):
    """Two blocks of width 64 by default; the last layer condenses time to one row."""

    def __init__(
        self,
        settings: MixerSettings,
        window: int,
        columns: int,
        outputs: int = 1,
        assets: AssetSettings | None = None,
    ) -> None:
        super().__init__()
        width = settings.width
        self.front = Front(columns, settings.input_norm, assets)
        self.embed = nn.Linear(self.front.columns, width)
        self.blocks = nn.ModuleList(
            MixerBlock(window, width, settings.expansion, settings.dropout) for _ in range(settings.layers)
        )
        self.norm = nn.LayerNorm(width)
        self.rows = nn.Linear(window, 1)
        self.head = nn.Linear(width, outputs)

    def extract_features(self, x: Tensor, mask: Tensor | None = None, asset: Tensor | None = None) -> Tensor:
        x = zero_padding(self.embed(self.front(x, mask, asset)), mask)  # (B, W, D)
        for block in self.blocks:
            x = zero_padding(block(x), mask)  # (B, W, D)
        x = zero_padding(self.norm(x), mask)
        features: Tensor = self.rows(x.transpose(1, 2)).squeeze(2)  # (B, D)
        return features

    def layers(self) -> list[nn.Module]:
        before = [self.front] if any(True for _ in self.front.parameters()) else []
        return [*before, self.embed, *self.blocks, self.norm, self.rows, self.head]


class MixerBlock(nn.Module):
    """Rows are mixed for each feature, then features for each row, each with norm before and residual.  ``(B, W, D)``
    to the same."""

    def __init__(self, window: int, width: int, expansion: int, dropout: float) -> None:
        super().__init__()
        self.time_norm = nn.LayerNorm(width)
        self.time = nn.Sequential(nn.Linear(window, window), nn.ReLU(), nn.Dropout(dropout))
        self.feature_norm = nn.LayerNorm(width)
        self.features = nn.Sequential(
            nn.Linear(width, expansion * width),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(expansion * width, width),
            nn.Dropout(dropout),
        )

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.time(self.time_norm(x).transpose(1, 2)).transpose(1, 2)  # (B, W, D)
        return x + self.features(self.feature_norm(x))
