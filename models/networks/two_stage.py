"""The two-stage pipeline: a CNN that is trained by itself and frozen, and an LSTM that reads its feature maps.

Owns the layers of the second stage; the first is ``models.networks.cnn``.
"""

from __future__ import annotations

from torch import Tensor

from models.networks.cnn import Cnn
from models.networks.dense import dense_head
from models.networks.initialisation import initialise_as
from models.networks.masking import check_mask
from models.networks.network import Frozen, Network
from models.networks.recurrence import Encoded, Recurrence
from models.networks.settings import AssetSettings, TwoStageSettings


class TwoStage(Network):
    """The LSTM's steps are the rows that are left after the CNN's poolings: a half, a quarter or an eighth."""

    def __init__(
        self,
        settings: TwoStageSettings,
        window: int,
        columns: int,
        outputs: int = 1,
        assets: AssetSettings | None = None,
    ) -> None:
        super().__init__()
        self.convolutions = settings.convolutions
        cnn = initialise_as(settings.cnn, Cnn(settings.cnn, window, columns, outputs, assets))
        self.first = Frozen({"cnn": cnn})
        self.recurrence = Recurrence(
            "lstm",
            cnn.widths[settings.convolutions - 1],
            settings.hidden,
            settings.layers,
            bidirectional=settings.bidirectional,
            dropout=settings.dropout,
        )
        self.dense, self.head = dense_head(self.recurrence.width, settings.dense, outputs, settings.dropout)

    def members(self) -> dict[str, Network]:
        return dict(self.first.items())

    def encode(self, x: Tensor, mask: Tensor | None = None, asset: Tensor | None = None) -> Encoded:
        """Hidden states of every pooled row and of the end."""
        check_mask(x, mask)
        maps = self.first["cnn"].feature_maps(x, mask, asset, self.convolutions)  # (B, C, T)
        return self.recurrence(maps.transpose(1, 2))

    def extract_features(self, x: Tensor, mask: Tensor | None = None, asset: Tensor | None = None) -> Tensor:
        features: Tensor = self.dense(self.encode(x, mask, asset).steps[:, -1])  # (B, dense)
        return features

    def base_predictions(self, x: Tensor, mask: Tensor | None = None, asset: Tensor | None = None) -> Tensor:
        """``(B, 1, O)``: what the CNN says by itself."""
        forecast: Tensor = self.first["cnn"](x, mask, asset)
        return forecast.unsqueeze(1)
