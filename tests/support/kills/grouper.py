"""A strategy without a model that always has orders under way that belong together: brackets, trailing stops, OCO."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import msgspec

from engine.commands import CancelIntent, GroupIntent, Intent, OrderIntent, OrderType, TimeInForce
from engine.events import Side
from engine.ports import View
from strategies.base import BaseStrategy

QTY = Decimal("0.00091")
GROUPS_MAX = 4
FIRST = 4
"""Quotes that pass before it trades, as its neighbour's."""
KINDS = 6
CALL_BACK = 11
"""After so many wishes the oldest group is taken back."""
DISTANCE_BPS = 1.2
"""Near enough that exits are reached within a second or so of the sandbox's market."""


class GrouperParams(msgspec.Struct, frozen=True):
    """``every``: it uses one quote of so many."""

    every: int = 2


class Grouper(BaseStrategy):
    """By turns: a bracket that rests at the venue as one order, one whose target rests and whose stop follows the price
    here, one whose stop rests and whose target waits here, a trailing stop for a purchase that rests, two purchases of
    which one is to be done, two sales of which one is to be done for what nobody looks after."""

    Params = GrouperParams

    def __init__(self, name: str, instruments: Sequence[str], params: Any = None) -> None:
        super().__init__(name, instruments, params)
        self.asked = 0
        self.turn = 0

    def on_quote(self, instrument: str, view: View) -> Sequence[Intent]:
        self.asked += 1
        if self.asked <= FIRST or self.asked % self.params.every:
            return ()
        top = view.top(instrument)
        if top is None or not top.is_readable:
            return ()
        self.turn += 1
        ours = [one for one in view.groups(instrument) if one.strategy == self.name]
        if ours and self.turn % CALL_BACK == 0:
            return [CancelIntent(view.now_ns, self.name, ours[0].group_id, "taken back")]
        if len(ours) >= GROUPS_MAX:
            return ()
        return [self._wish(self.turn % KINDS, instrument, view, top.bid_px, top.ask_px)]

    def _wish(self, kind: int, instrument: str, view: View, bid_px: float, ask_px: float) -> GroupIntent:
        rules = view.instrument(instrument)
        up, down = 1 + DISTANCE_BPS / 1e4, 1 - DISTANCE_BPS / 1e4
        above, below = rules.price(ask_px * up, Side.SELL), rules.price(bid_px * down, Side.SELL)
        far_below = rules.price(bid_px * (down - 5e-4), Side.SELL)
        far_above = rules.price(ask_px * (up + 5e-4), Side.BUY)
        trailing_px = rules.price(bid_px) - below

        def order(side: Side, what: OrderType, **prices: Decimal) -> OrderIntent:
            return OrderIntent(
                view.now_ns,
                self.name,
                instrument,
                side,
                QTY,
                what,
                time_in_force=TimeInForce.GTC,
                reduce_only=side is Side.SELL,
                **prices,  # type: ignore[arg-type]
            )

        target = order(Side.SELL, OrderType.LIMIT, limit_px=above)
        stop = order(Side.SELL, OrderType.STOP, trigger_px=below)
        trailing = order(Side.SELL, OrderType.STOP, trailing_px=trailing_px)
        at_once = order(Side.BUY, OrderType.LIMIT, limit_px=far_above)
        if kind == 0:
            return GroupIntent(view.now_ns, self.name, (target, stop), at_once)
        if kind == 1:
            return GroupIntent(view.now_ns, self.name, (target, trailing), at_once)
        if kind == 2:
            resting = order(Side.SELL, OrderType.STOP_LIMIT, trigger_px=below, limit_px=far_below)
            return GroupIntent(view.now_ns, self.name, (resting, target), at_once)
        if kind == 3:
            at_best = order(Side.BUY, OrderType.LIMIT, limit_px=rules.price(bid_px))
            return GroupIntent(view.now_ns, self.name, (trailing,), at_best)
        if kind == 4 and self._free_qty(instrument, view) >= QTY:
            return GroupIntent(view.now_ns, self.name, (target, stop))
        lower = order(Side.BUY, OrderType.LIMIT, limit_px=below)
        upper = order(Side.BUY, OrderType.STOP_LIMIT, trigger_px=above, limit_px=far_above)
        return GroupIntent(view.now_ns, self.name, (lower, upper))

    def _free_qty(self, instrument: str, view: View) -> Decimal:
        """What it holds and no group of its own is to close."""
        taken = (one.open_qty for one in view.groups(instrument) if one.strategy == self.name and one.side is Side.SELL)
        return view.strategy_qty(self.name, instrument) - sum(taken, Decimal(0))

    def state(self) -> dict[str, Any]:
        return {"turn": self.turn}

    def restore(self, state: dict[str, Any]) -> None:
        self.turn = state["turn"]
