"""A CNN on the direction of the mid, from quotes to an ONNX graph that computes the same.

    python examples/train_cnn.py

It needs the extra train.  A demonstration: five seconds of training on an hour of quotes make no trading model.
"""

from __future__ import annotations

import sys

import numpy as np
import torch
from recorded_windows import WINDOW, Windows, load_windows
from torch import nn

from models import networks
from models.networks.normalisers import PerWindow
from models.networks.served import Served
from models.trainer.export import check_parity, export


def main(events: int = 6_000, epochs: int = 3) -> int:
    torch.manual_seed(0)
    torch.set_num_threads(1)

    # 1. Windows in time order; the later ones are for the test alone.
    windows = load_windows(events)
    moved = windows.move_bps != 0  # rows without a move have no direction
    windows = windows._replace(
        x=windows.x[moved], move_bps=windows.move_bps[moved], variance_bps=windows.variance_bps[moved]
    )
    earlier, test = windows.cut(0.7)
    train, validation = earlier.cut(0.8)
    print(f"{len(train.x)} windows to learn from, {len(test.x)} to be judged by; {windows.source}")

    # 2. The network; the normaliser in front becomes a part of the graph, so that it takes raw features.
    columns = len(windows.columns)
    served = Served(PerWindow(columns), networks.build("cnn", window=WINDOW, columns=columns))
    print(f"cnn: {sum(p.numel() for p in served.network.parameters()):,} parameters")

    # 3. A plain loop; kept are the weights that said most about windows which they had not seen.
    optimiser = torch.optim.AdamW(served.parameters(), lr=1e-3, weight_decay=5e-2)
    best = float("inf")
    x, up = torch.from_numpy(train.x), torch.from_numpy((train.move_bps > 0).astype(np.float32)).unsqueeze(1)
    for epoch in range(epochs):
        served.train()
        losses = []
        for batch in torch.randperm(len(x)).split(64)[:-1]:  # the last one may be a single window
            loss = nn.functional.binary_cross_entropy_with_logits(served.logits(x[batch]), up[batch])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            losses.append(loss.item())
        seen = log_loss(p_up(served, validation), validation.move_bps > 0)
        print(f"epoch {epoch + 1}: training log-loss {np.mean(losses):.4f}, validation {seen:.4f}")
        if seen < best:
            best, kept = seen, {name: value.clone() for name, value in served.state_dict().items()}
    served.load_state_dict(kept)

    # 4. The test, beside what the share of ups in training says by itself.
    rose = test.move_bps > 0
    prior = np.full(len(rose), up.mean().item())
    print(f"test log-loss {log_loss(p_up(served, test), rose):.4f}, prior {log_loss(prior, rose):.4f}")

    # 5. The graph that a session would serve, compared with torch on the test's windows.
    graph = export(served, WINDOW, columns)
    print(f"graph of {len(graph):,} bytes, at most {check_parity(served, graph, test.x):.1g} off")
    return 0


@torch.no_grad()
def p_up(served: Served, windows: Windows) -> np.ndarray:
    """``(N,)``: what the graph will say."""
    return served.eval()(torch.from_numpy(windows.x)).numpy()[:, 0].astype(np.float64)


def log_loss(p_up: np.ndarray, rose: np.ndarray) -> float:
    return float(-np.log(np.clip(np.where(rose, p_up, 1 - p_up), 1e-9, 1)).mean())


if __name__ == "__main__":
    sys.exit(main())
