"""Stop orders that wait for their trigger, in the order in which prices reach them.

Owns the waiting list.  What happens to a triggered order is the engine's business.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from decimal import Decimal

from connectors.matching.orders import BookOrder, LiveOrder
from engine.events import Side


class StopBook:
    """Waiting orders of one instrument; nearest trigger first, then the older."""

    __slots__ = ("_down", "_up")

    def __init__(self) -> None:
        # (trigger, seq, id) ascending.  Down-stops are kept negated, so that both lists fire from the front.
        self._up: list[tuple[Decimal, int, str]] = []
        self._down: list[tuple[Decimal, int, str]] = []

    def __len__(self) -> int:
        return len(self._up) + len(self._down)

    def add(self, live: LiveOrder) -> None:
        insort(self._list(live.order), self._key(live))

    def remove(self, live: LiveOrder) -> None:
        waiting = self._list(live.order)
        del waiting[bisect_left(waiting, self._key(live))]

    def pop_due(self, up_px: Decimal, down_px: Decimal) -> str | None:
        """Take out the next order whose trigger is reached: up-stops by ``up_px``, down-stops by ``down_px``."""
        if self._up and self._up[0][0] <= up_px:
            return self._up.pop(0)[2]
        if self._down and -self._down[0][0] >= down_px:
            return self._down.pop(0)[2]
        return None

    def _list(self, order: BookOrder) -> list[tuple[Decimal, int, str]]:
        return self._up if _fires_upwards(order) else self._down

    @staticmethod
    def _key(live: LiveOrder) -> tuple[Decimal, int, str]:
        trigger_px = live.order.trigger_px
        assert trigger_px is not None
        return (trigger_px if _fires_upwards(live.order) else -trigger_px, live.seq, live.order_id)


def _fires_upwards(order: BookOrder) -> bool:
    return order.side is Side.BUY if order.stop_up is None else order.stop_up
