"""What a training step costs: batch 32 at the reference sizes, every network, beside plain torch on the same shapes.

A step is gradients to nothing, forward, backward and AdamW, on one thread.  The plain ones are torch's own modules put
together without this project (``benchmarks.plain_networks``).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from benchmarks.figures import Reading, latency
from models import networks

BATCH = 32
_ROUNDS = 6


def run(quick: bool) -> list[Reading]:
    """``network_<name>`` and ``network_<name>_plain``, in turns: a busy machine is as busy for both.

    Raises ``KestrelError`` without torch.
    """
    networks.require_torch()
    import torch

    from benchmarks.plain_networks import PLAIN

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(1)
    try:
        x = torch.randn(BATCH, networks.WINDOW, networks.COLUMNS)
        rounds, steps = (1, 5) if quick else (_ROUNDS, 10)
        readings = []
        for name in networks.names():
            own = networks.build(name, head="multi_task" if name == "hybrid" else "regression")
            pair = {f"network_{name}": _step_of(own, x), f"network_{name}_plain": _step_of(PLAIN[name](), x)}
            samples_ns: dict[str, list[int]] = {each: [] for each in pair}
            for _ in range(rounds):
                for each, step in pair.items():
                    samples_ns[each] += _timed(step, steps)
            readings += [
                latency(each, taken, per_second=1e9 * len(taken) / sum(taken)) for each, taken in samples_ns.items()
            ]
    finally:
        torch.set_num_threads(threads)
    return readings


def _step_of(network: Any, x: Any) -> Callable[[], None]:
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
    return step


def _timed(step: Callable[[], None], steps: int) -> list[int]:
    """Nanoseconds of each step, without the first, which finds the caches full of the other network."""
    step()
    taken = []
    for _ in range(steps):
        before = time.perf_counter_ns()
        step()
        taken.append(time.perf_counter_ns() - before)
    return taken
