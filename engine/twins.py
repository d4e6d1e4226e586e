"""Twins: a strategy a second time, for a share of its size on the canary's predictions, with books of its own.

Owns when there is one.  It sleeps until an instrument of it has a canary, and stays from then on, because what it holds
is its own to leave: without a canary it is asked about the champion's predictions while it holds something, and enters
nothing.
"""

from __future__ import annotations

from collections.abc import Collection

from engine.arithmetic import own_context
from engine.intents import where
from engine.lanes import Lane, StrategySlot
from engine.stakes import CANARY_SUFFIX, base_name


class Twins:
    """Of one core.  ``slots`` and ``lanes`` are the core's own."""

    def __init__(self, slots: list[StrategySlot], lanes: dict[str, Lane]) -> None:
        self._slots = slots
        self._lanes = lanes

    def wake(self, lane: Lane) -> str:
        """Those of trusted strategies that use a model on this instrument; returns why one cannot be, or nothing."""
        for slot in lane.model_slots:
            refusal = self._wake(slot) if slot.alive else ""
            if refusal:
                return refusal
        return ""

    def wake_carried(self, names: Collection[str], holding: Collection[tuple[str, str]]) -> list[str]:
        """Those that an earlier session had.  ``holding``: who holds something or has orders, and in which instrument.
        Returns what of theirs is then left to nobody."""
        left = []
        for name in sorted(name for name in names if base_name(name) != name):
            base = next((slot for slot in self._slots if slot.name == base_name(name)), None)
            why = f"there is no strategy {base_name(name)} in this session" if base is None else self._wake(base)
            for owner, instrument in sorted(holding):
                strays = base is not None and not base.listens_to(instrument)
                if owner == name and (why or strays):
                    reason = why or f"{base_name(name)} does not trade it in this session"
                    left.append(f"what {name} has of {instrument} ({reason})")
        return left

    def _wake(self, slot: StrategySlot) -> str:
        name = slot.name + CANARY_SUFFIX
        if any(one.name == name for one in self._slots):
            return ""
        if not slot.uses_model:
            return f"{slot.name} has no model in this session"
        if slot.make_twin is None:
            return f"strategy {slot.name} cannot be made a second time"
        context = own_context()
        try:
            strategy = context.run(slot.make_twin, name)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # user code: whatever it raises, its strategy goes on alone
            return f"a second {slot.name} failed: {where(error)}"
        twin = StrategySlot(strategy, instruments=slot.instruments, context=context)
        self._slots.insert(self._slots.index(slot) + 1, twin)
        for instrument, lane in self._lanes.items():
            if twin.listens_to(instrument):
                lane.listen([one for one in self._slots if one.listens_to(instrument)])
        return ""
