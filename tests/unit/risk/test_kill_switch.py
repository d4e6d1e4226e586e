"""The latch: its table, and that nothing but a resume loosens it."""

from __future__ import annotations

import itertools

import pytest

from engine.commands import RiskState
from engine.events import Halted, Reduced, Resumed, Timer
from risk.kill_switch import TRANSITIONS, Cause, KillSwitch

HALT = Halted(1, 2, "cli", "stop")
REDUCE = Reduced(1, 2, "cli", "careful")
RESUME = Resumed(1, 2, "cli", "checked")
TIGHTNESS = {RiskState.ACTIVE: 0, RiskState.REDUCING: 1, RiskState.HALTED: 2}


def test_the_table_is_complete() -> None:
    """Every state has an answer to every cause."""
    assert set(TRANSITIONS) == set(itertools.product(RiskState, Cause))


@pytest.mark.fault("F8")
def test_only_resume_loosens() -> None:
    """Goes through the table: a looser state follows from RESUME alone, and RESUME always means ACTIVE."""
    for (before, cause), after in TRANSITIONS.items():
        if cause is Cause.RESUME:
            assert after is RiskState.ACTIVE
        else:
            assert TIGHTNESS[after] >= TIGHTNESS[before]


@pytest.mark.fault("F7")
def test_a_halt_latches_until_resumed() -> None:
    """Halts, reduces, breaches, resumes; looks at each answer."""
    switch = KillSwitch()
    change = switch.apply(HALT)
    assert change is not None
    assert (change.ts_ns, change.before, change.after) == (2, RiskState.ACTIVE, RiskState.HALTED)
    assert "cli" in change.reason
    assert switch.apply(HALT) is None
    assert switch.apply(REDUCE) is None
    assert switch.latch(RiskState.REDUCING, "loss", 3) is None
    assert switch.latch(RiskState.ACTIVE, "a breaker cannot loosen", 3) is None
    assert switch.state is RiskState.HALTED
    resumed = switch.apply(RESUME)
    assert resumed is not None
    assert resumed.after is RiskState.ACTIVE
    assert switch.apply(RESUME) is None


def test_a_breach_tightens_step_by_step() -> None:
    """REDUCING, then HALTED, as breakers ask."""
    switch = KillSwitch()
    assert switch.latch(RiskState.REDUCING, "daily loss", 5) is not None
    assert switch.latch(RiskState.REDUCING, "daily loss", 6) is None
    change = switch.latch(RiskState.HALTED, "drawdown", 7)
    assert change is not None
    assert (change.before, change.after, change.reason) == (RiskState.REDUCING, RiskState.HALTED, "drawdown")


def test_other_events_are_a_defect() -> None:
    """A timer is no control event: the caller is told instead of the state staying quietly."""
    with pytest.raises(TypeError, match="Timer"):
        KillSwitch().apply(Timer(1, 1, "tick"))  # type: ignore[arg-type]
