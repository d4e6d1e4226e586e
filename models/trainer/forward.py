"""The network of a run, and what it says of rows: the same for the loop, for its scores and for a test that is opened.

Owns the call.  Which device it is made on is decided here too.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from engine.errors import DataError
from models import networks
from models.networks.network import Network
from models.networks.served import Served
from models.networks.settings import AssetSettings
from models.trainer.dataset import Dataset, Part
from models.trainer.settings import TrainSettings
from models.windows.loader import batches

Float64 = npt.NDArray[np.float64]
_EVAL_BATCH = 1024


def build_network(settings: TrainSettings, data: Dataset) -> Network:
    """Freshly initialised from torch's generator, with the head of the task and an embedding where one is asked for."""
    assets = None
    if settings.assets is not None:
        assets = AssetSettings(
            count=len(data.assets.instruments), width=settings.assets.width, id_dropout=settings.assets.id_dropout
        )
    return make_network(settings, data.window, data.values.shape[1], data.plan.head, data.plan.horizons, assets)


def make_network(
    settings: TrainSettings, window: int, columns: int, head: Any, horizons: int, assets: AssetSettings | None = None
) -> Network:
    """A network that decodes a sequence has one output a step: a step is a horizon then."""
    shape = settings.network.output_shape(window, 1)
    by_step = head == "multi_horizon" and shape == (-1, horizons, 1)
    network: Network = networks.build(
        settings.network,
        window=window,
        columns=columns,
        head="regression" if by_step else head,
        horizons=horizons,
        assets=assets,
    )
    return network


def outputs_of(served: Served, x: Tensor, asset: Tensor | None) -> Tensor:
    """``(B, O)`` raw outputs of raw windows ``(B, W, F)``; what comes by step is laid side by side."""
    raw: Tensor = served.network(served.normaliser(x), None, asset)
    return raw.flatten(1)


@torch.no_grad()
def raw_outputs(served: Served, data: Dataset, part: Part) -> Float64:
    """``(N, O)`` in evaluation mode."""
    served.eval()
    device = next((p.device for p in served.parameters()), torch.device("cpu"))
    pieces = []
    for batch in batches(part.part, data.samples, _EVAL_BATCH):
        x = torch.from_numpy(batch.windows).to(device)
        asset = torch.from_numpy(data.numbers[batch.index]).to(device)
        pieces.append(outputs_of(served, x, asset).float().cpu().numpy())
    return np.concatenate(pieces).astype(np.float64)


def make_deterministic(settings: TrainSettings) -> torch.device:
    """The device of the settings.  The same settings give the same bits on the same machine: on a CPU all of them,
    sums depend on how threads share them; on a GPU as far as its kernels do."""
    fit = settings.fit
    device = torch.device("cuda" if fit.device != "cpu" and torch.cuda.is_available() else "cpu")
    if fit.device == "cuda" and device.type != "cuda":
        raise DataError("fit.device is cuda, and torch sees no GPU", expected="one, or device: auto")
    if device.type == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.backends.cuda.matmul.allow_tf32 = fit.gpu.tf32
        torch.backends.cudnn.allow_tf32 = fit.gpu.tf32
        torch.backends.cuda.enable_flash_sdp(fit.gpu.flash_attention)
    torch.use_deterministic_algorithms(True, warn_only=device.type == "cuda")
    torch.set_num_threads(fit.threads)
    return device
