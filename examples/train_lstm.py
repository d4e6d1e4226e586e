"""A recurrent network with attention on the direction of the mid, and which rows it looks at.

    python examples/train_lstm.py

It needs the extra train.  A demonstration, as train_cnn.py is.
"""

from __future__ import annotations

import sys

import numpy as np
import torch
from recorded_windows import WINDOW, load_windows
from torch import nn

from models import networks


def main(events: int = 6_000, epochs: int = 3) -> int:
    torch.manual_seed(0)
    torch.set_num_threads(1)

    # 1. Windows in time order; the later ones are for the test alone.
    windows = load_windows(events)
    train, test = windows.cut(0.7)
    print(f"{len(train.x)} windows to learn from, {len(test.x)} to be judged by; {windows.source}")

    # 2. Two layers in both directions; each column is normalised by its own window, inside the network.
    network = networks.build(
        "lstm",
        window=WINDOW,
        columns=len(windows.columns),
        head="three_class",
        hidden=24,
        attention="additive",
        input_norm="instance",
        dense=32,
    )
    print(f"lstm: {sum(p.numel() for p in network.parameters()):,} parameters")

    # 3. Down, flat or up by a third of the typical move of the training rows: nothing is taken from the test.
    threshold_bps = float(np.abs(train.move_bps).mean()) / 3
    x = torch.from_numpy(train.x)
    y = torch.from_numpy(classes(train.move_bps, threshold_bps))
    optimiser = torch.optim.AdamW(network.parameter_groups(2e-3, {"recurrence": 1e-3}, weight_decay=1e-2))
    for epoch in range(epochs):
        network.train()
        losses = []
        for batch in torch.randperm(len(x)).split(64)[:-1]:
            loss = nn.functional.cross_entropy(network(x[batch]), y[batch])
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimiser.step()
            losses.append(loss.item())
        print(f"epoch {epoch + 1}: training log-loss {np.mean(losses):.4f}")

    # 4. The test, beside the shares of the classes in training.
    network.eval()
    seen, wanted = torch.from_numpy(test.x), torch.from_numpy(classes(test.move_bps, threshold_bps))
    with torch.no_grad():
        loss = nn.functional.cross_entropy(network(seen), wanted)
        prior = nn.functional.cross_entropy(torch.bincount(y, minlength=3).log().expand(len(wanted), -1), wanted)
        weights = network.attention_weights(seen)[:, 0, 0].mean(dim=0)  # (W,)
        hidden = network.encode(seen[:1]).hidden
    print(f"test log-loss {loss:.4f}, prior {prior:.4f}")

    # 5. What it looks at, on the mean of the test: one weight a row, together 1.
    newest = weights[-5:].sum()
    print(f"attention: {newest:.0%} on the newest 5 of {WINDOW} rows, {1 - newest:.0%} on the others")
    print(f"hidden states of the first test window: {tuple(hidden.shape)} (layers x directions, batch, hidden)")
    return 0


def classes(move_bps: np.ndarray, threshold_bps: float) -> np.ndarray:
    """0 down, 1 flat, 2 up."""
    return (1 + (move_bps > threshold_bps) - (move_bps < -threshold_bps)).astype(np.int64)


if __name__ == "__main__":
    sys.exit(main())
