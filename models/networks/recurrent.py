"""A network of one kind of recurrent cell over the window, the newest row through a dense layer.

Owns the layers; which cell it is, its own file says.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import Tensor

from models.networks.dense import dense_head
from models.networks.front import Front
from models.networks.network import Network
from models.networks.recurrence import Encoded, Recurrence
from models.networks.settings import AssetSettings, GruSettings, LstmSettings
from models.networks.step_attention import NewestRow


class Recurrent(Network):
    """``cell`` is set by whoever derives from it."""

    cell: ClassVar[Literal["lstm", "gru"]]

    def __init__(
        self,
        settings: GruSettings | LstmSettings,
        window: int,
        columns: int,
        outputs: int = 1,
        assets: AssetSettings | None = None,
    ) -> None:
        super().__init__()
        del window
        self.front = Front(columns, settings.input_norm, assets)
        self.recurrence = Recurrence(
            self.cell,
            self.front.columns,
            settings.hidden,
            settings.layers,
            bidirectional=settings.bidirectional,
            dropout=settings.dropout,
            skip=settings.skip,
            checkpointing=settings.checkpointing,
        )
        width = self.recurrence.width
        self.newest = NewestRow(settings.attention, width, settings.heads, settings.dropout)
        self.dense, self.head = dense_head(width, settings.dense, outputs, settings.dropout)

    def encode(
        self,
        x: Tensor,
        mask: Tensor | None = None,
        asset: Tensor | None = None,
        state: tuple[Tensor, Tensor | None] | None = None,
    ) -> Encoded:
        """Hidden states of every row and of the end; ``state`` goes on from an earlier call (one direction only)."""
        return self.recurrence(self.front(x, mask, asset), mask, state)

    def extract_features(self, x: Tensor, mask: Tensor | None = None, asset: Tensor | None = None) -> Tensor:
        steps = self.encode(x, mask, asset).steps  # (B, W, D)
        features: Tensor = self.dense(self.newest(steps, mask))  # (B, dense)
        return features

    def attention_weights(self, x: Tensor, mask: Tensor | None = None, asset: Tensor | None = None) -> Tensor:
        """``(B, heads, rows that ask, W)``; raises ``ValueError`` where the settings have no attention."""
        return self.newest.weights(self.encode(x, mask, asset).steps, mask)
