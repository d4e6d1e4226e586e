"""Who judges them."""

from __future__ import annotations

from typing import Protocol

from engine.commands import NewOrder, OrderIntent, RiskState, RiskStateChanged, Verdict
from engine.events import Halted, Reduced, Resumed
from engine.ports.view import View


class RiskGate(Protocol):
    """Judges intents and owns the kill switch: the state latches until an explicit ``Resumed``."""

    @property
    def state(self) -> RiskState: ...

    def review(self, intent: OrderIntent, view: View) -> Verdict:
        """Judge one intent against the view.  Fails closed: what cannot be judged is rejected."""
        ...

    def review_again(self, intent: OrderIntent, view: View) -> Verdict:
        """Judge an order that waited for the disk once more.  It was counted when it was opened: rate and duplicate
        checks are skipped, all others apply."""
        ...

    def on_opened(self, order: NewOrder) -> None:
        """The approved order was opened, or one was changed in place to be like it: count it (rates, duplicates)."""
        ...

    def breach(self, view: View) -> tuple[RiskState, str] | None:
        """Loss and drawdown breakers: the state to go to and why, or None.  Called on timers and after fills."""
        ...

    def apply(self, event: Halted | Reduced | Resumed) -> RiskStateChanged | None:
        """An operator's command; None when it changes nothing."""
        ...

    def latch(self, state: RiskState, reason: str, ts_ns: int) -> RiskStateChanged | None:
        """A breaker's or the core's own decision; never towards more freedom."""
        ...

    def carried(self) -> str:
        """What it has latched besides ``state``, for the next session; empty for nothing.  Asked on each timer and
        fill: where it has changed, the core puts its state on record at once."""
        ...

    def restore(self, carried: str) -> None:
        """Go on with what ``carried`` said in an earlier session."""
        ...
