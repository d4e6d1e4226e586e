"""A strategy that trades on a model, and on nothing else but its own exits.

Owns which order a forecast becomes: drawn from a seed.  It enters, adds, turns, reprices, brackets and leaves, because
each of these is cut, refused or let through in another way when the model's standing changes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from engine.commands import CancelIntent, GroupIntent, Intent, OrderIntent, OrderType, ReplaceIntent, TimeInForce
from engine.events import OrderFilled, Prediction, PredictionStatus, Side, Timer
from engine.lanes import never_acts
from engine.ports import View
from engine.runtime.simulation.trader import SimulatedStrategy, Told

ENTER_SHARE = 0.6
"""Of the rows with a forecast."""
CHANGE_SHARE = 0.1
"""Of the timers, for each order of its own that rests."""
LEAVE_SHARE = 0.01
"""Of the timers at which it holds something."""
HELD_MOST = 3
"""Times what it enters at once; then it only leaves."""


class SimulatedWalker(SimulatedStrategy):
    """``lots``: what it enters, by instrument.  It enters nothing from ``until_ns`` on."""

    def __init__(
        self, name: str, lots: Mapping[str, int], seed: str, *, until_ns: int, told: Told | None = None
    ) -> None:
        super().__init__(name, lots, seed, until_ns=until_ns, told=told)
        self._seed = seed

    def twin(self, name: str) -> SimulatedWalker:
        """Another one like it, under another name."""
        return SimulatedWalker(name, self._lots, self._seed, until_ns=self._until_ns, told=self._told)

    def on_prediction(self, prediction: Prediction, prediction_seq: int, view: View) -> Sequence[Intent]:  # noqa: ARG002
        self._told.asked(self.name)
        instrument, top = prediction.instrument, view.top(prediction.instrument)
        if prediction.status is not PredictionStatus.OK or view.now_ns >= self._until_ns:
            return ()
        if top is None or not top.is_readable or self._random.random() >= ENTER_SHARE:
            return ()
        held_qty = view.strategy_qty(self.name, instrument)
        least_qty = view.instrument(instrument).lot_qty * self._lots[instrument]
        side = Side.BUY if prediction.values[0] > 0.5 else Side.SELL
        if int(side) * held_qty >= HELD_MOST * least_qty:
            return ()
        if side is Side.BUY and not held_qty and self._random.random() < 0.3:
            return (self._bracket(instrument, least_qty, top.ask_px, view),)
        qty = least_qty
        if int(side) * held_qty < 0 and self._random.random() < 0.7:
            qty = abs(held_qty) + (least_qty if self._random.random() < 0.5 else 0)
        touch = top.ask_px if side is Side.BUY else top.bid_px
        away = self._random.choice((5.0, 5.0, -2.0, -20.0)) * 1e-4
        return (self._order(instrument, side, qty, touch * (1.0 + int(side) * away), view, rests=away < 0.0),)

    @never_acts
    def on_fill(self, fill: OrderFilled, view: View) -> Sequence[Intent]:  # noqa: ARG002
        return ()

    def on_timer(self, timer: Timer, view: View) -> Sequence[Intent]:  # noqa: ARG002
        self._told.asked(self.name)
        ends, draw = view.now_ns >= self._until_ns, self._random
        wishes: list[Intent] = []
        for order in view.open_orders():
            if order.strategy != self.name or order.limit_px is None:
                continue
            if ends or draw.random() < CHANGE_SHARE:
                wishes.append(self._change(order, view, calls_back=ends or draw.random() < 0.5))
        for instrument in self.instruments:
            held_qty, top = view.strategy_qty(self.name, instrument), view.top(instrument)
            if not held_qty or ends or top is None or not top.is_readable or draw.random() >= LEAVE_SHARE:
                continue
            side = Side.SELL if held_qty > 0 else Side.BUY
            px = (top.bid_px if held_qty > 0 else top.ask_px) * (1.0 + int(side) * 5e-4)
            wishes.append(
                self._order(instrument, side, abs(held_qty), px, view, rests=False, is_exit=draw.random() < 0.5)
            )
        return wishes

    def _change(self, order: Any, view: View, *, calls_back: bool) -> Intent:
        if calls_back:
            return CancelIntent(view.now_ns, self.name, order.client_order_id, "drawn")
        self._count += 1
        qty = order.qty * self._random.choice((1, 1, 2))
        px = view.instrument(order.instrument).price(
            float(order.limit_px) * self._random.choice((0.9995, 1.0, 1.0005)), order.side
        )
        self._told.wished(order.client_order_id, qty)
        self._told.entered(f"{self.name} {self._count}", qty)
        return ReplaceIntent(view.now_ns, self.name, order.client_order_id, qty, px, f"{self.name} {self._count}")

    def _order(
        self,
        instrument: str,
        side: Side,
        qty: Decimal,
        px: float,
        view: View,
        *,
        rests: bool,
        is_exit: bool = False,
    ) -> OrderIntent:
        self._count += 1
        self._told.entered(f"{self.name} {self._count}", qty)
        return OrderIntent(
            view.now_ns,
            self.name,
            instrument,
            side,
            qty,
            OrderType.LIMIT,
            view.instrument(instrument).price(px, side),
            TimeInForce.GTC if rests else TimeInForce.IOC,
            reduce_only=is_exit,
            reason=f"{self.name} {self._count}",
        )

    def _bracket(self, instrument: str, qty: Decimal, ask_px: float, view: View) -> GroupIntent:
        rules = view.instrument(instrument)
        entry = self._order(instrument, Side.BUY, qty, ask_px * 1.0005, view, rests=True)
        target = OrderIntent(
            view.now_ns,
            self.name,
            instrument,
            Side.SELL,
            qty,
            OrderType.LIMIT,
            rules.price(ask_px * 1.001, Side.SELL),
            TimeInForce.GTC,
            reduce_only=True,
            reason="way out",
        )
        stop = OrderIntent(
            view.now_ns,
            self.name,
            instrument,
            Side.SELL,
            qty,
            OrderType.STOP,
            None,
            TimeInForce.GTC,
            reduce_only=True,
            reason="way out",
            trigger_px=rules.price(ask_px * 0.999, Side.SELL),
        )
        return GroupIntent(view.now_ns, self.name, (target, stop), entry)

    def state(self) -> dict[str, Any]:
        return {"count": self._count}

    def restore(self, state: dict[str, Any]) -> None:
        self._count = int(state["count"])
