"""Proof that the simulation sees: defects planted into the product are caught within a few seeds."""

from __future__ import annotations

from pathlib import Path

import pytest

from config.simulation import SimulatedWorld
from engine.runtime.simulation.sweep import simulate
from tests.support.planted import PLANTED

MOST_SEEDS = 50
KNOWN = {
    "drop_the_reservation": 6,
    "trade_while_halted": 2,
    "never_arrived_at_once": 30,
}
"""A seed that is known to catch it, where it is not the first."""


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_defect_is_caught(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The product is made wrong in one way; a seed that passes without the defect must fail with it."""
    world = SimulatedWorld()
    PLANTED[name](monkeypatch)
    first = KNOWN.get(name, 1)
    for seed in (first, *(seed for seed in range(1, MOST_SEEDS + 1) if seed != first)):
        if simulate(seed, world, hours=0.3, root=tmp_path).violations:
            return
    pytest.fail(f"{name} was not seen by {MOST_SEEDS} seeds")
