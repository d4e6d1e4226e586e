"""A strategy that trades all the time and in every way, whatever the market does.

Owns which order it wishes next: drawn from a seed and from what it is shown, so that the same session asks for the same
again.  It is there to make orders, not money.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

from engine.commands import CancelIntent, Intent, OrderIntent, OrderType, TimeInForce
from engine.events import OrderFilled, Prediction, Side, Timer
from engine.lanes import never_acts
from engine.ports import View

CANCEL_SHARE = 0.02
"""Of the open orders at each timer."""
CHASE_SHARE = 0.1
"""Of the fills that are answered with an order at once."""


class SimulatedTrader:
    """``wishes_per_s`` on average, while there is a price; timers come once a second."""

    def __init__(self, name: str, instruments: Sequence[str], seed: str, *, wishes_per_s: float, lots: int) -> None:
        self.name = name
        self.instruments = tuple(instruments)
        self.paused = False
        self._random = random.Random(seed)
        self._rate = wishes_per_s
        self._lots = lots
        self._count = 0

    def on_model(self, instrument: str, facts: Mapping[str, float]) -> None: ...

    @never_acts
    def on_prediction(self, prediction: Prediction, prediction_seq: int, view: View) -> Sequence[Intent]:  # noqa: ARG002
        return ()

    @never_acts
    def on_row(self, instrument: str, view: View) -> Sequence[Intent]:  # noqa: ARG002
        return ()

    @never_acts
    def on_quote(self, instrument: str, view: View) -> Sequence[Intent]:  # noqa: ARG002
        return ()

    def on_fill(self, fill: OrderFilled, view: View) -> Sequence[Intent]:
        if self._random.random() >= CHASE_SHARE:
            return ()
        return self._wish(fill.instrument, fill.side.opposite, view)

    def on_timer(self, timer: Timer, view: View) -> Sequence[Intent]:  # noqa: ARG002
        draw = self._random.random
        wishes: list[Intent] = [
            CancelIntent(view.now_ns, self.name, order.client_order_id, "drawn")
            for order in view.open_orders()
            if draw() < CANCEL_SHARE
        ]
        if draw() < self._rate:
            instrument = self._random.choice(self.instruments)
            for _ in range(1 + (draw() < 0.1)):
                wishes.extend(self._wish(instrument, Side.BUY if draw() < 0.5 else Side.SELL, view))
        return wishes

    def _wish(self, instrument: str, side: Side, view: View) -> list[Intent]:
        top = view.top(instrument)
        if self.paused or top is None or not (top.bid_px > 0.0 and top.ask_px > 0.0):
            return []
        rules = view.instrument(instrument)
        draw = self._random.random
        qty = rules.lot_qty * self._lots * self._random.randint(1, 10)
        away = self._random.choice((-5.0, -1.0, 0.0, 1.0, 4.0, 20.0)) * 1e-4
        touch = top.ask_px if side is Side.SELL else top.bid_px
        limit_px = rules.price(touch * (1.0 + side.opposite * away), side)
        kind, time_in_force, post_only = OrderType.LIMIT, TimeInForce.GTC, away >= 0.0 and draw() < 0.5
        fate = draw()
        if fate < 0.15:
            time_in_force, post_only = TimeInForce.IOC, False
        elif fate < 0.25:
            kind, time_in_force, post_only = OrderType.MARKET, TimeInForce.IOC, False
        self._count += 1
        return [
            OrderIntent(
                view.now_ns,
                self.name,
                instrument,
                side,
                qty,
                kind,
                None if kind is OrderType.MARKET else limit_px,
                time_in_force,
                post_only,
                reduce_only=side is Side.SELL and draw() < 0.2,
                reason=f"wish {self._count}",
            )
        ]

    def state(self) -> dict[str, Any]:
        return {"count": self._count}

    def restore(self, state: dict[str, Any]) -> None:
        self._count = int(state["count"])
