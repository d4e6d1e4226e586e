"""A strategy without a model that always has something under way: orders that trade, orders that rest, changes of
those in place, cancels."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import msgspec

from engine.commands import CancelIntent, Intent, OrderIntent, OrderType, ReplaceIntent, TimeInForce
from engine.events import Side
from engine.ports import View
from strategies.base import BaseStrategy

QTY = Decimal("0.00137")
RESTING_MAX = 3
FIRST = 3
"""Quotes that pass before it trades: the one at the start of a stream comes before the market moves."""


class RestlessParams(msgspec.Struct, frozen=True):
    """``every``: it uses one quote of so many."""

    every: int = 1


class Restless(BaseStrategy):
    """Each quote one wish, by turns: buy at once, rest a purchase at the best bid, sell at once, change one that rests
    or give it back."""

    Params = RestlessParams

    def __init__(self, name: str, instruments: Sequence[str], params: Any = None) -> None:
        super().__init__(name, instruments, params)
        self.asked = 0
        self.turn = 0

    def on_quote(self, instrument: str, view: View) -> Sequence[Intent]:
        self.asked += 1
        if self.asked <= FIRST or self.asked % self.params.every:
            return ()
        top = view.top(instrument)
        if top is None or not (top.bid_px > 0 and top.ask_px > 0):
            return ()
        self.turn += 1
        definition = view.instrument(instrument)
        open_orders = view.open_orders(instrument)
        resting = [order for order in open_orders if order.state in ("accepted", "partly_filled")]
        kind = self.turn % 4
        own = [order for order in resting if order.strategy == self.name]
        if own and self.turn % 8 == 3:
            turn = self.turn // 8
            px, qty = definition.price(top.bid_px) - (turn % 3) * definition.tick_px, QTY * (1 + turn % 2)
            return [ReplaceIntent(view.now_ns, self.name, own[-1].client_order_id, qty, px)]
        if len(resting) > RESTING_MAX or (kind == 3 and resting):
            return [CancelIntent(view.now_ns, self.name, resting[0].client_order_id)]
        if kind == 0:
            px = definition.price(top.ask_px) + 50 * definition.tick_px
            return [self._order(view, instrument, Side.BUY, px, TimeInForce.IOC)]
        if kind == 2 and view.strategy_qty(self.name, instrument) >= QTY:
            px = definition.price(top.bid_px) - 50 * definition.tick_px
            return [self._order(view, instrument, Side.SELL, px, TimeInForce.IOC)]
        return [self._order(view, instrument, Side.BUY, definition.price(top.bid_px), TimeInForce.GTC)]

    def _order(self, view: View, instrument: str, side: Side, px: Decimal, lasting: TimeInForce) -> OrderIntent:
        return OrderIntent(
            view.now_ns, self.name, instrument, side, QTY, OrderType.LIMIT, limit_px=px, time_in_force=lasting
        )

    def state(self) -> dict[str, Any]:
        return {"turn": self.turn}

    def restore(self, state: dict[str, Any]) -> None:
        self.turn = state["turn"]
