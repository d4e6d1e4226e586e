"""A strategy that enters by brackets and by trailing stops, close to the price, so that they are reached.

Owns which: drawn from a seed.  What becomes of them is the core's, also while the strategy is not asked; at the end it
calls them back, so that nothing is under way.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from engine.commands import CancelIntent, GroupIntent, Intent, OrderIntent, OrderType, TimeInForce
from engine.events import OrderFilled, Side, Timer
from engine.lanes import never_acts
from engine.ports import View
from engine.runtime.simulation.trader import SimulatedStrategy

ENTER_SHARE = 0.05
"""Of the timers at which nothing of it is watched."""
CALL_BACK_SHARE = 0.002
"""Of the timers at which something is."""
DISTANCES_BPS = (3.0, 8.0, 30.0)


class SimulatedBrackets(SimulatedStrategy):
    """``lots``: what it buys, by instrument.  It enters nothing from ``until_ns`` on."""

    @never_acts
    def on_fill(self, fill: OrderFilled, view: View) -> Sequence[Intent]:  # noqa: ARG002
        return ()

    def on_timer(self, timer: Timer, view: View) -> Sequence[Intent]:  # noqa: ARG002
        self._told.asked(self.name)
        wishes: list[Intent] = []
        for instrument in self.instruments:
            ours = [one for one in view.groups(instrument) if one.strategy == self.name]
            ends = view.now_ns >= self._until_ns
            draw, top = self._random.random(), view.top(instrument)
            if ours:
                if ends or draw < CALL_BACK_SHARE:
                    wishes += [CancelIntent(view.now_ns, self.name, one.group_id, "drawn") for one in ours]
            elif not ends and draw < ENTER_SHARE and top is not None and top.is_readable:
                wishes.append(self._enter(instrument, top.ask_px, view))
        return wishes

    def _enter(self, instrument: str, ask_px: float, view: View) -> GroupIntent:
        rules, draw = view.instrument(instrument), self._random
        self._count += 1
        qty, reason = rules.lot_qty * self._lots[instrument], f"{self.name} {self._count}"
        up, down = (draw.choice(DISTANCES_BPS) * 1e-4 for _ in range(2))
        target = rules.price(ask_px * (1.0 + up), Side.SELL)
        stop = rules.price(ask_px * (1.0 - down), Side.SELL)
        stop_limit_px = rules.price(ask_px * (1.0 - down - 5e-4), Side.SELL)
        limit = self._exit(instrument, qty, OrderType.LIMIT, view, limit_px=target)
        kind = draw.random()
        if kind < 0.4:  # one order at the venue
            exits = (limit, self._exit(instrument, qty, OrderType.STOP, view, trigger_px=stop))
        elif kind < 0.7:
            trailing_px = max(rules.price(ask_px * down), rules.tick_px)
            exits = (limit, self._exit(instrument, qty, OrderType.STOP, view, trailing_px=trailing_px))
        else:
            first = self._exit(instrument, qty, OrderType.STOP_LIMIT, view, trigger_px=stop, limit_px=stop_limit_px)
            exits = (first, limit)
        entry_px = rules.price(ask_px * 1.0005 if draw.random() < 0.7 else ask_px * 0.9998, Side.BUY)
        entry = OrderIntent(
            view.now_ns, self.name, instrument, Side.BUY, qty, OrderType.LIMIT, entry_px, TimeInForce.GTC, reason=reason
        )
        return GroupIntent(view.now_ns, self.name, exits, entry)

    def _exit(self, instrument: str, qty: Decimal, kind: OrderType, view: View, **prices: Decimal) -> OrderIntent:
        return OrderIntent(
            view.now_ns,
            self.name,
            instrument,
            Side.SELL,
            qty,
            kind,
            prices.get("limit_px"),
            TimeInForce.GTC,
            reduce_only=True,
            reason="way out",
            trigger_px=prices.get("trigger_px"),
            trailing_px=prices.get("trailing_px"),
        )

    def state(self) -> dict[str, Any]:
        return {"count": self._count}

    def restore(self, state: dict[str, Any]) -> None:
        self._count = int(state["count"])
