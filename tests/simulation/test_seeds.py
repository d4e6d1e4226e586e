"""The whole daemon under simulated time, network and faults: seeds that are fixed, so that they fail for a reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from config.simulation import SimulatedWorld
from connectors.simulation.faults import KINDS
from engine.runtime.simulation.sweep import Outcome, simulate

HOURS = 0.25
SEEDS = range(1, 5)


@pytest.fixture(scope="module")
def world() -> SimulatedWorld:
    return SimulatedWorld()


def told(outcome: Outcome) -> str:
    return "\n".join(f"seed {outcome.seed}, {v.at_s:.6f} s: {v.invariant}: {v.text}" for v in outcome.violations)


@pytest.mark.parametrize("seed", SEEDS)
def test_books_and_venue_agree_after_the_faults_of_a_seed(seed: int, world: SimulatedWorld, tmp_path: Path) -> None:
    """A quarter of an hour of drawn faults, then quiet: no invariant broken on the way, nothing lost or doubled."""
    outcome = simulate(seed, world, hours=HOURS, root=tmp_path)
    assert not outcome.violations, told(outcome)
    assert outcome.events > 100
    assert outcome.orders


def test_a_seed_runs_exactly_the_same_again(world: SimulatedWorld, tmp_path: Path) -> None:
    """The digest is of every record, in order, and of the number of callbacks; another seed between the two runs."""
    first = simulate(3, world, hours=0.1, root=tmp_path)
    simulate(4, world, hours=0.05, root=tmp_path)
    again = simulate(3, world, hours=0.1, root=tmp_path)
    assert (again.digest, again.events, again.orders, again.kinds) == (
        first.digest,
        first.events,
        first.orders,
        first.kinds,
    )


@pytest.mark.parametrize(
    "kinds",
    [
        pytest.param(("killed_after_journal",), marks=pytest.mark.fault("A1"), id="A1"),
        pytest.param(("killed_after_send",), marks=pytest.mark.fault("A2"), id="A2"),
        pytest.param(("killed_before_ack_is_kept",), marks=pytest.mark.fault("A3"), id="A3"),
        pytest.param(("killed_in_fill",), marks=pytest.mark.fault("A4"), id="A4"),
        pytest.param(("killed_in_reconciliation",), marks=pytest.mark.fault("A5"), id="A5"),
        pytest.param(("killed_torn_tail",), marks=pytest.mark.fault("A6"), id="A6"),
        pytest.param(("user_messages_swapped",), marks=pytest.mark.fault("B3"), id="B3"),
        pytest.param(("traded_by_hand",), marks=pytest.mark.fault("B8"), id="B8"),
        pytest.param(("user_message_lost",), marks=pytest.mark.fault("B9"), id="B9"),
        pytest.param(("order_error_after",), marks=pytest.mark.fault("B14"), id="B14"),
        pytest.param(
            ("orders_listing_lags", "order_error_after", "user_message_lost"), marks=pytest.mark.fault("B16"), id="B16"
        ),
        pytest.param(("half_open",), marks=pytest.mark.fault("C1"), id="C1"),
        pytest.param(("user_stream_mute",), marks=pytest.mark.fault("C2"), id="C2"),
        pytest.param(("read_error",), marks=pytest.mark.fault("C14"), id="C14"),
        pytest.param(("partition",), marks=pytest.mark.fault("C17"), id="C17"),
    ],
)
def test_a_fault_alone_and_often_is_survived(kinds: tuple[str, ...], tmp_path: Path) -> None:
    """Hardly anything else goes wrong, so that it is this fault that happened; after it books and venue agree."""
    world = SimulatedWorld(only=frozenset(kinds), often=12.0)
    outcome = simulate(1, world, hours=0.12, root=tmp_path)
    assert not outcome.violations, told(outcome)
    assert outcome.kinds.get(kinds[0], 0) > 0


def test_every_fault_has_an_occasion() -> None:
    """A kind that is drawn and never happens would be counted on in vain: each has a share or a pace."""
    assert all((kind.share > 0) != (kind.every_s > 0) for kind in KINDS.values())
