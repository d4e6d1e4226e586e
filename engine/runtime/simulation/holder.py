"""A strategy that buys, holds for minutes and leaves, or is taken out by the guardian meanwhile.

Owns when it enters and leaves: drawn from a seed.  What it holds it asks the core, so that it goes on after a restart.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from engine.commands import Intent, OrderIntent, OrderType, TimeInForce
from engine.events import OrderFilled, Side, Timer
from engine.lanes import never_acts
from engine.ports import View
from engine.runtime.simulation.trader import SimulatedStrategy

ENTER_SHARE = 0.01
"""Of the timers at which it holds nothing."""
LEAVE_SHARE = 0.002
"""Of the timers at which it holds something."""


class SimulatedHolder(SimulatedStrategy):
    """``lots``: what it buys, by instrument.  It enters nothing from ``until_ns`` on."""

    @never_acts
    def on_fill(self, fill: OrderFilled, view: View) -> Sequence[Intent]:  # noqa: ARG002
        return ()

    def on_timer(self, timer: Timer, view: View) -> Sequence[Intent]:  # noqa: ARG002
        self._told.asked(self.name)
        if view.now_ns >= self._until_ns:
            return ()
        wishes: list[Intent] = []
        for instrument in self.instruments:
            draw, top = self._random.random(), view.top(instrument)
            if top is None or not (top.bid_px > 0.0 and top.ask_px > 0.0):
                continue
            rules, held_qty = view.instrument(instrument), view.strategy_qty(self.name, instrument)
            if held_qty < rules.min_qty:
                if draw < ENTER_SHARE:
                    qty = rules.lot_qty * self._lots[instrument]
                    wishes.append(self._order(instrument, Side.BUY, qty, top.ask_px * 1.0005, view))
            elif draw < LEAVE_SHARE:
                wishes.append(self._order(instrument, Side.SELL, held_qty, top.bid_px * 0.9995, view))
        return wishes

    def _order(self, instrument: str, side: Side, qty: Any, px: float, view: View) -> OrderIntent:
        self._count += 1
        return OrderIntent(
            view.now_ns,
            self.name,
            instrument,
            side,
            qty,
            OrderType.LIMIT,
            view.instrument(instrument).price(px, side),
            TimeInForce.IOC,
            reduce_only=side is Side.SELL,
            reason=f"{self.name} {self._count}",
        )

    def state(self) -> dict[str, Any]:
        return {"count": self._count}

    def restore(self, state: dict[str, Any]) -> None:
        self._count = int(state["count"])
