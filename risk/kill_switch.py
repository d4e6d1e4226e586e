"""The latch over ACTIVE, REDUCING and HALTED: one table.

Owns which cause moves which state.  Tightening latches: nothing but an operator's ``Resumed`` loosens it, and a breach
that still stands latches again at the next look.  Does not own what each state lets through (``risk.gate``).
"""

from __future__ import annotations

import enum

from engine.commands import RiskState, RiskStateChanged
from engine.events import Halted, Reduced, Resumed


class Cause(enum.StrEnum):
    """What can move the state; ``HALT`` and ``REDUCE`` come from operators, files, signals and breakers alike."""

    HALT = "halt"
    REDUCE = "reduce"
    RESUME = "resume"


TRANSITIONS: dict[tuple[RiskState, Cause], RiskState] = {
    (RiskState.ACTIVE, Cause.HALT): RiskState.HALTED,
    (RiskState.ACTIVE, Cause.REDUCE): RiskState.REDUCING,
    (RiskState.ACTIVE, Cause.RESUME): RiskState.ACTIVE,
    (RiskState.REDUCING, Cause.HALT): RiskState.HALTED,
    (RiskState.REDUCING, Cause.REDUCE): RiskState.REDUCING,
    (RiskState.REDUCING, Cause.RESUME): RiskState.ACTIVE,
    (RiskState.HALTED, Cause.HALT): RiskState.HALTED,
    (RiskState.HALTED, Cause.REDUCE): RiskState.HALTED,
    (RiskState.HALTED, Cause.RESUME): RiskState.ACTIVE,
}

_CAUSE_OF_STATE = {RiskState.HALTED: Cause.HALT, RiskState.REDUCING: Cause.REDUCE}


class KillSwitch:
    """Starts ACTIVE.  ``state`` is what holds now."""

    __slots__ = ("state",)

    def __init__(self) -> None:
        self.state = RiskState.ACTIVE

    def apply(self, event: Halted | Reduced | Resumed) -> RiskStateChanged | None:
        """Move by an operator's event.  None when that changes nothing."""
        if isinstance(event, Halted):
            cause = Cause.HALT
        elif isinstance(event, Reduced):
            cause = Cause.REDUCE
        elif isinstance(event, Resumed):
            cause = Cause.RESUME
        else:
            raise TypeError(f"not a control event: {type(event).__name__}")
        return self._move(cause, f"{event.source}: {event.reason}", event.ts_recv_ns)

    def latch(self, state: RiskState, reason: str, ts_ns: int) -> RiskStateChanged | None:
        """Tighten to ``state`` (a breaker, a broken journal, a restart).  ACTIVE loosens nothing and is ignored."""
        cause = _CAUSE_OF_STATE.get(state)
        return None if cause is None else self._move(cause, reason, ts_ns)

    def _move(self, cause: Cause, reason: str, ts_ns: int) -> RiskStateChanged | None:
        before = self.state
        after = TRANSITIONS[before, cause]
        if after is before:
            return None
        self.state = after
        return RiskStateChanged(ts_ns, before, after, reason)
