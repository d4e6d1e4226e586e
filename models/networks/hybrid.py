"""The hybrid: a CNN branch and an LSTM branch that read each other, three forecasts and their mixture.

Owns the layers only.  Whether it earns its size is the evaluation's question: its own LSTM branch is the baseline.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models.networks.convolution import Convolution
from models.networks.front import Front
from models.networks.masking import row_mean, zero_padding
from models.networks.mixture import Mixture
from models.networks.network import Network
from models.networks.recurrence import Recurrence
from models.networks.settings import AssetSettings, HybridSettings
from models.networks.step_attention import RowAttention

BRANCHES = ("cnn", "lstm", "fusion")


class Hybrid(Network):
    """Parts with learning rates of their own: ``front``, ``cnn``, ``lstm``, ``fusion``, ``heads``, ``mixture``."""

    def __init__(
        self,
        settings: HybridSettings,
        window: int,
        columns: int,
        outputs: int = 1,
        assets: AssetSettings | None = None,
    ) -> None:
        super().__init__()
        del window
        width = settings.width
        self.front = Front(columns, settings.input_norm, assets)
        self.cnn = nn.ModuleList([Convolution(self.front.columns, width, 3), Convolution(width, width, 5)])
        self.lstm = Recurrence(
            "lstm",
            self.front.columns,
            width // 2,
            settings.layers,
            bidirectional=True,
            dropout=settings.dropout,
        )
        self.fusion = Fusion(width, settings.heads, settings.dropout)
        widths = {"cnn": 2 * width, "lstm": width, "fusion": 2 * width}
        self.heads = nn.ModuleDict(
            {
                branch: nn.Sequential(
                    nn.Linear(widths[branch], settings.dense),  # (B, dense)
                    nn.ReLU(),
                    nn.Dropout(settings.dropout),
                    nn.Linear(settings.dense, outputs),  # (B, O)
                )
                for branch in BRANCHES
            }
        )
        self.mixture = Mixture(len(BRANCHES))

    def forward(self, x: Tensor, mask: Tensor | None = None, asset: Tensor | None = None) -> Tensor:
        forecasts = self.base_predictions(x, mask, asset)  # (B, 3, O)
        outputs: Tensor = self.mixture(forecasts)  # (B, O)
        return outputs

    def base_predictions(self, x: Tensor, mask: Tensor | None = None, asset: Tensor | None = None) -> Tensor:
        """``(B, 3, O)``: what each of ``BRANCHES`` says by itself."""
        seen = self._branches(x, mask, asset)
        return torch.stack([self.heads[branch](seen[branch]) for branch in BRANCHES], dim=1)

    def ensemble_weights(self) -> Tensor:
        """``(3,)`` of ``BRANCHES``, together 1."""
        return self.mixture.weights()

    def extract_features(self, x: Tensor, mask: Tensor | None = None, asset: Tensor | None = None) -> Tensor:
        """``(B, 5 width)``: of all three branches."""
        return torch.cat(list(self._branches(x, mask, asset).values()), dim=1)

    def attention_weights(self, x: Tensor, mask: Tensor | None = None, asset: Tensor | None = None) -> Tensor:
        """``(B, 2, heads, W, W)``: what the CNN's rows read of the LSTM's, and the other way round."""
        local, past = self.branch_steps(x, mask, asset)
        return self.fusion.weights(local, past, mask)

    def branch_steps(self, x: Tensor, mask: Tensor | None = None, asset: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Hidden states of every row, ``(B, W, width)`` of the CNN and of the LSTM."""
        x = self.front(x, mask, asset)  # (B, W, F)
        local = x
        for convolution in self.cnn:
            local = convolution(local, mask)  # (B, W, D)
        return local, self.lstm(x, mask).steps  # (B, W, D) both

    def _branches(self, x: Tensor, mask: Tensor | None, asset: Tensor | None) -> dict[str, Tensor]:
        local, past = self.branch_steps(x, mask, asset)
        return {
            "cnn": torch.cat([row_mean(local, mask), local[:, -1]], dim=1),  # (B, 2 D)
            "lstm": past[:, -1],  # (B, D)
            "fusion": self.fusion(local, past, mask),  # (B, 2 D)
        }


class Fusion(nn.Module):
    """Cross-attention both ways.  Two ``(B, W, D)`` to ``(B, 2 D)``: the mean of the one, the newest of the other."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.local_reads_past = RowAttention(width, heads, dropout)
        self.past_reads_local = RowAttention(width, heads, dropout)

    def forward(self, local: Tensor, past: Tensor, mask: Tensor | None = None) -> Tensor:
        a = zero_padding(self.local_reads_past(local, mask, past), mask)  # (B, W, D)
        b = self.past_reads_local(past, mask, local)  # (B, W, D)
        return torch.cat([row_mean(a, mask), b[:, -1]], dim=1)  # (B, 2 D)

    def weights(self, local: Tensor, past: Tensor, mask: Tensor | None = None) -> Tensor:
        """``(B, 2, heads, W, W)``."""
        a = self.local_reads_past.attend(local, mask, past).weights
        b = self.past_reads_local.attend(past, mask, local).weights
        return torch.stack([a, b], dim=1)
