"""The hybrid on three tasks at once: the next move, its variance and the regime, with a spread by Monte-Carlo dropout.

    python examples/train_hybrid.py

It needs the extra train.  A demonstration, as train_cnn.py is.
"""

from __future__ import annotations

import sys
from typing import NamedTuple

import numpy as np
import torch
from recorded_windows import WINDOW, Windows, load_windows
from torch import Tensor, nn

from models import networks
from models.networks.heads import REGIMES, forecasts, split_tasks
from models.networks.hybrid import BRANCHES
from models.networks.uncertainty import sample_forecasts


class Targets(NamedTuple):
    move: Tensor  # (N, 1) in typical moves of the training rows
    log_variance: Tensor  # (N, 1) of the same rows, of a move in the same unit
    regime: Tensor  # (N,) index in REGIMES


def main(events: int = 6_000, epochs: int = 3) -> int:
    torch.manual_seed(0)
    torch.set_num_threads(1)

    # 1. Windows in time order; the later ones are for the test alone.
    train, test = load_windows(events).cut(0.7)
    print(f"{len(train.x)} windows to learn from, {len(test.x)} to be judged by; {train.source}")

    # 2. The network, with slower learning in the recurrent branch.
    network = networks.build(
        "hybrid",
        window=WINDOW,
        columns=len(train.columns),
        head="multi_task",
        width=32,
        dense=32,
        input_norm="instance",
    )
    print(f"hybrid: {sum(p.numel() for p in network.parameters()):,} parameters in {', '.join(network.parts())}")
    optimiser = torch.optim.AdamW(network.parameter_groups(2e-3, {"lstm": 1e-3}, weight_decay=1e-2))

    # 3. One loss of three; each task's scale is learned (Kendall, Gal and Cipolla 2018).
    scale_bps = float(np.abs(train.move_bps).mean())
    volatile_from = float(np.quantile(train.variance_bps, 0.8))
    x, targets = torch.from_numpy(train.x), make_targets(train, scale_bps, volatile_from)
    log_scales = nn.Parameter(torch.zeros(3))
    optimiser.add_param_group({"params": [log_scales], "weight_decay": 0.0})
    for epoch in range(epochs):
        network.train()
        losses = []
        for batch in torch.randperm(len(x)).split(64)[:-1]:
            each = task_losses(network(x[batch]), Targets(*(column[batch] for column in targets)))
            loss = (each * torch.exp(-log_scales) + log_scales).sum()
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimiser.step()
            losses.append(each.detach())
        move, variance, regime = torch.stack(losses).mean(dim=0).tolist()
        print(f"epoch {epoch + 1}: move {move:.4f}, log-variance {variance:.4f}, regime {regime:.4f}")

    # 4. The test: all three tasks beside what training says without looking, and how much each branch counts.
    network.eval()
    seen, wanted = torch.from_numpy(test.x), make_targets(test, scale_bps, volatile_from)
    with torch.no_grad():
        each = task_losses(network(seen), wanted).tolist()
        said = forecasts("multi_task", network(seen[-1:]))
        known = task_losses(constant_forecast(targets).expand(len(seen), -1), wanted).tolist()
    for name, (move, variance, regime) in (("test", each), ("constant", known)):
        print(f"{name}: move {move:.4f}, log-variance {variance:.4f}, regime {regime:.4f}")
    weights = zip(BRANCHES, network.ensemble_weights().tolist(), strict=True)
    print("branches: " + ", ".join(f"{name} {weight:.0%}" for name, weight in weights))

    # 5. The newest window: what is forecast, and how much the forecast moves when dropout stays on.
    spread = sample_forecasts(network, seen[-1:], passes=20).deviation[0, 0] * scale_bps
    likeliest = int(said["regime"].argmax())
    print(
        f"newest window: {float(said['return']) * scale_bps:+.3f} bps (+-{float(spread):.3f}), "
        f"{REGIMES[likeliest]} with {float(said['regime'][0, likeliest]):.0%}"
    )
    return 0


def make_targets(windows: Windows, scale_bps: float, volatile_from: float) -> Targets:
    """Volatile is the most volatile fifth of the training rows; of the others a move beyond half the typical one counts
    as bull or bear."""
    move = windows.move_bps / scale_bps
    regime = 1 + (move > 0.5) - (move < -0.5)
    regime = np.where(windows.variance_bps > volatile_from, REGIMES.index("volatile"), regime)
    variance = np.log(windows.variance_bps / scale_bps**2 + 1e-3)
    return Targets(
        torch.from_numpy(move).unsqueeze(1),
        torch.from_numpy(variance.astype(np.float32)).unsqueeze(1),
        torch.from_numpy(regime.astype(np.int64)),
    )


def constant_forecast(training: Targets) -> Tensor:
    """``(1, 6)``: the median move, the mean log-variance and the shares of the regimes in training."""
    shares = torch.bincount(training.regime, minlength=len(REGIMES)).clamp(min=1).float()
    return torch.cat([training.move.median()[None], training.log_variance.mean()[None], shares.log()])[None]


def task_losses(raw: Tensor, targets: Targets) -> Tensor:
    """``(3,)``: Huber, squared error, cross-entropy."""
    tasks = split_tasks(raw)
    return torch.stack(
        [
            nn.functional.huber_loss(tasks["return"], targets.move),
            nn.functional.mse_loss(tasks["log_variance"], targets.log_variance),
            nn.functional.cross_entropy(tasks["regime"], targets.regime),
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
