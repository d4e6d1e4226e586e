"""The convolutional network: three convolutions along time, then three dense layers.

Owns the layers only, and the form of them that is exported.
"""

from __future__ import annotations

from copy import deepcopy

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from models.networks.front import Front
from models.networks.network import Network
from models.networks.settings import AssetSettings, CnnSettings


class Cnn(Network):
    """130,081 parameters at the default sizes: window 30, 40 columns."""

    widths = (32, 64, 128)

    def __init__(
        self, settings: CnnSettings, window: int, columns: int, outputs: int = 1, assets: AssetSettings | None = None
    ) -> None:
        super().__init__()
        self.window = window
        self.front = Front(columns, settings.input_norm, assets)
        self.features = nn.Sequential(
            nn.Conv1d(self.front.columns, 32, kernel_size=3, padding=1),  # (B, 32, W)
            nn.BatchNorm1d(32),
            nn.ReLU(),
            nn.MaxPool1d(2),  # (B, 32, W/2)
            nn.Conv1d(32, 64, kernel_size=5, padding=2),  # (B, 64, W/2)
            nn.BatchNorm1d(64),
            nn.ReLU(),
            nn.MaxPool1d(2),  # (B, 64, W/4)
            nn.Conv1d(64, 128, kernel_size=7, padding=3),  # (B, 128, W/4)
            nn.BatchNorm1d(128),
            nn.ReLU(),
            nn.MaxPool1d(2),  # (B, 128, W/8)
        )
        flat = 128 * (window // 8)  # 384 at W = 30
        self.head = nn.Sequential(
            nn.Linear(flat, 128),  # (B, 128)
            nn.BatchNorm1d(128),
            nn.ReLU(),
            nn.Dropout(settings.dropout),
            nn.Linear(128, 64),  # (B, 64)
            nn.BatchNorm1d(64),
            nn.ReLU(),
            nn.Dropout(settings.dropout),
            nn.Linear(64, outputs),  # (B, O)
        )

    def forward(self, x: Tensor, mask: Tensor | None = None, asset: Tensor | None = None) -> Tensor:
        x = torch.flatten(self.feature_maps(x, mask, asset), 1)  # (B, 128 * W/8)
        outputs: Tensor = self.head(x)  # (B, O)
        return outputs

    def feature_maps(
        self, x: Tensor, mask: Tensor | None = None, asset: Tensor | None = None, convolutions: int = 3
    ) -> Tensor:
        """After the first ``convolutions`` and their poolings: ``(B, widths[n - 1], W / 2^n)`` with n of them."""
        x = self.front(x, mask, asset).transpose(1, 2)  # (B, F, W): convolutions run along time
        maps: Tensor = self.features[: 4 * convolutions](x)
        return maps

    def extract_features(self, x: Tensor, mask: Tensor | None = None, asset: Tensor | None = None) -> Tensor:
        flat = torch.flatten(self.feature_maps(x, mask, asset), 1)  # (B, 128 * W/8)
        features: Tensor = self.head[:-1](flat)  # (B, 64)
        return features

    def layers(self) -> list[nn.Module]:
        front = [self.front] if any(True for _ in self.front.parameters()) else []
        return [
            *front,
            *(self.features[at : at + 4] for at in (0, 4, 8)),
            *(self.head[at : at + 4] for at in (0, 4, 8)),
        ]

    def export_form(self) -> nn.Module:
        """The same function as 2-d convolutions of height 1, batch norms folded in, for inference only.

        ONNX Runtime has channel-blocked CPU kernels for 2-d convolutions and none for 1-d: measured at batch 1, 42 us
        against 70 us for the network alone.  The parity check of the export compares it with ``forward``.
        """
        return _CnnExport(self)


class _CnnExport(nn.Module):
    """What is measured at batch 1 to be fastest in ONNX Runtime (7 % less than 2-d convolutions alone):

    - the height comes before the turn to channels first, as the runtime then turns and blocks in one step
    - no convolution computes the odd last value that its pooling drops
    - the first two dense layers are convolutions too, and the data stays in channel blocks until 64 values are left
    """

    def __init__(self, cnn: Cnn) -> None:
        super().__init__()
        # A copy: freezing this form must not freeze the network it was made from.
        self.front = deepcopy(cnn.front)
        window = cnn.window
        layers: list[nn.Module] = []
        for at in (0, 4, 8):
            folded = fuse_conv_bn_eval(_conv(cnn.features[at]), _norm(cnn.features[at + 1]))
            kernel = folded.kernel_size[0]
            # Zeros on the left as in training; on the right as many less as the last value has no partner.
            layers.append(nn.ZeroPad2d((kernel // 2, kernel // 2 - window % 2, 0, 0)))
            layers += [_wide(folded.weight.unsqueeze(2), folded.bias), nn.ReLU(), nn.MaxPool2d((1, 2))]
            window //= 2
        first = fuse_linear_bn_eval(_linear(cnn.head[0]), _norm(cnn.head[1]))
        second = fuse_linear_bn_eval(_linear(cnn.head[4]), _norm(cnn.head[5]))
        layers += [_wide(first.weight.reshape(first.out_features, -1, 1, window), first.bias), nn.ReLU()]
        layers += [_wide(second.weight[:, :, None, None], second.bias), nn.ReLU()]
        self.layers = nn.Sequential(*layers)
        self.last = deepcopy(cnn.head[8])

    def forward(self, x: Tensor, mask: None = None, asset: Tensor | None = None) -> Tensor:
        x = self.front(x, mask, asset).unsqueeze(1).permute(0, 3, 1, 2)  # (B, F, 1, W)
        outputs: Tensor = self.last(torch.flatten(self.layers(x), 1))  # (B, O)
        return outputs


def _wide(weight: Tensor, bias: Tensor | None) -> nn.Conv2d:
    """A 2-d convolution without padding from ``weight (out, in, 1, kernel)`` and ``bias (out)``."""
    assert bias is not None
    conv = nn.Conv2d(weight.shape[1], weight.shape[0], (1, weight.shape[3]))
    conv.weight.data = weight.detach().clone()
    conv.bias.data = bias.detach().clone()  # type: ignore[union-attr]
    return conv


def _conv(module: nn.Module) -> nn.Conv1d:
    assert isinstance(module, nn.Conv1d)
    return module


def _linear(module: nn.Module) -> nn.Linear:
    assert isinstance(module, nn.Linear)
    return module


def _norm(module: nn.Module) -> nn.BatchNorm1d:
    assert isinstance(module, nn.BatchNorm1d)
    return module
