"""What training steps are measured beside is the same network: as many parameters that learn or stand, one shape."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="the trainer is not installed: pip install -e '.[train]'")

from benchmarks.plain_networks import PLAIN  # noqa: E402
from models import networks  # noqa: E402


def counts(network: torch.nn.Module) -> tuple[int, int]:
    every = list(network.parameters())
    return sum(p.numel() for p in every), sum(p.numel() for p in every if p.requires_grad)


@pytest.mark.parametrize("name", networks.names())
def test_a_plain_network_has_the_parameters_and_the_shape_of_ours(name):
    """In training mode, at the reference size; torch's recurrent layers have the biases that ours have."""
    ours = networks.build(name, head="multi_task" if name == "hybrid" else "regression")
    plain = PLAIN[name]()
    assert counts(plain) == counts(ours)
    x = torch.randn(4, networks.WINDOW, networks.COLUMNS)
    ours.train()
    plain.train()
    assert plain(x).shape == ours(x).shape


def test_every_network_has_its_plain_counterpart():
    assert set(PLAIN) == set(networks.names())
