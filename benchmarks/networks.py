"""What a training step costs: batch 32 at the reference sizes, every network, beside plain torch on the same shapes.

A step is gradients to nothing, forward, backward and AdamW, on one thread.  The plain ones are torch's own modules put
together without this project: the same layers and sizes, none of its switches.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from benchmarks.figures import Reading, latency
from models import networks

BATCH = 32
_SIZE = 128  # of a layer of the LSTM, the GRU and the attention network


def run(quick: bool) -> list[Reading]:
    """``network_<name>`` and ``network_<name>_plain``.  Raises ``KestrelError`` without torch."""
    networks.require_torch()
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(1)
    try:
        x = torch.randn(BATCH, networks.WINDOW, networks.COLUMNS)
        steps = 5 if quick else 60
        readings = []
        for name in networks.names():
            network = networks.build(name, head="multi_task" if name == "hybrid" else "regression")
            readings.append(_measure(f"network_{name}", network, x, steps))
        for name, make in _plain().items():
            readings.append(_measure(f"network_{name}_plain", make(), x, steps))
    finally:
        torch.set_num_threads(threads)
    return readings


def _measure(name: str, network: Any, x: Any, steps: int) -> Reading:
    import torch

    learning = [parameter for parameter in network.parameters() if parameter.requires_grad]
    optimiser = torch.optim.AdamW(learning, lr=1e-4) if learning else None
    network.train()

    def step() -> None:
        output = network(x)
        if optimiser is not None:  # a mean of frozen members has nothing to learn: its forecast alone is timed
            optimiser.zero_grad(set_to_none=True)
            output.square().mean().backward()
            optimiser.step()

    for _ in range(3):
        step()
    samples_ns = []
    for _ in range(steps):
        before = time.perf_counter_ns()
        step()
        samples_ns.append(time.perf_counter_ns() - before)
    return latency(name, samples_ns, per_second=1e9 * steps / sum(samples_ns))


class _Plain:
    """Torch's layers and how they follow each other, behind the verbs of a module."""

    def __init__(self, layers: Sequence[Any], forward: Callable[[Any], Any]) -> None:
        from torch import nn

        self.layers = nn.ModuleList(layers)
        self.forward = forward

    def __call__(self, x: Any) -> Any:
        return self.forward(x)

    def parameters(self) -> Iterator[Any]:
        return iter(self.layers.parameters())

    def train(self) -> None:
        self.layers.train()


def _plain() -> dict[str, Callable[[], _Plain]]:
    from torch import nn

    def head(width: int, dense: int) -> Any:
        return nn.Sequential(
            nn.Linear(width, dense), nn.ReLU(), nn.BatchNorm1d(dense), nn.Dropout(0.2), nn.Linear(dense, 1)
        )

    def recurrent(make: Any) -> _Plain:
        layers = make(networks.COLUMNS, _SIZE, 2, batch_first=True, bidirectional=True, dropout=0.2)
        end = head(2 * _SIZE, 128)
        return _Plain([layers, end], lambda x: end(layers(x)[0][:, -1]))

    def encoder() -> _Plain:
        embed = nn.Linear(networks.COLUMNS, _SIZE)
        blocks = nn.TransformerEncoder(nn.TransformerEncoderLayer(_SIZE, 8, 512, 0.2, batch_first=True), 2)
        end = head(_SIZE, 64)
        return _Plain([embed, blocks, end], lambda x: end(blocks(embed(x)).mean(dim=1)))

    def dense(width: int, sizes: Sequence[int]) -> list[Any]:
        layers: list[Any] = []
        for size in sizes:
            layers += [nn.Linear(width, size), nn.BatchNorm1d(size), nn.ReLU(), nn.Dropout(0.2)]
            width = size
        return [*layers, nn.Linear(width, 1)]

    def flat() -> _Plain:
        layers = nn.Sequential(nn.Flatten(), *dense(networks.WINDOW * networks.COLUMNS, (128, 64, 32)))
        return _Plain([layers], layers)

    def convolutions() -> _Plain:
        layers: list[Any] = []
        columns = networks.COLUMNS
        for filters, kernel in ((32, 3), (64, 5), (128, 7)):
            layers += [nn.Conv1d(columns, filters, kernel, padding="same"), nn.BatchNorm1d(filters), nn.ReLU()]
            layers += [nn.MaxPool1d(2)]
            columns = filters
        whole = nn.Sequential(*layers, nn.Flatten(), *dense(128 * (networks.WINDOW // 8), (128, 64)))
        return _Plain([whole], lambda x: whole(x.transpose(1, 2)))

    def convolved() -> _Plain:
        layers: list[Any] = []
        columns = networks.COLUMNS
        for filters in (32, 64):
            layers += [nn.Conv1d(columns, filters, 3, padding="same"), nn.BatchNorm1d(filters), nn.ReLU()]
            layers += [nn.Dropout(0.2)]
            columns = filters
        front, rows = nn.Sequential(*layers), nn.LSTM(columns, 64, 2, batch_first=True, dropout=0.2)
        end = head(64, 64)
        return _Plain([front, rows, end], lambda x: end(rows(front(x.transpose(1, 2)).transpose(1, 2))[0][:, -1]))

    return {
        "lstm": lambda: recurrent(nn.LSTM),
        "gru": lambda: recurrent(nn.GRU),
        "attention": encoder,
        "mlp": flat,
        "cnn": convolutions,
        "cnn_lstm": convolved,
    }
