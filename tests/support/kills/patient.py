"""A strategy without a model that wants one group of orders, or nothing, and then waits."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import msgspec

from engine.commands import GroupIntent, Intent, OrderIntent, OrderType, TimeInForce
from engine.events import Side
from engine.ports import View
from strategies.base import BaseStrategy

QTY = Decimal("0.006")
BELOW, FAR_BELOW, ABOVE = 0.999, 0.991, 1.009


class PatientParams(msgspec.Struct, frozen=True):
    wants: bool = True


class Patient(BaseStrategy):
    """As soon as it is let, a purchase 10 bps below the market, with a target and a stop that are not reached."""

    Params = PatientParams

    def __init__(self, name: str, instruments: Sequence[str], params: Any = None) -> None:
        super().__init__(name, instruments, params)
        self.is_done = not self.params.wants

    def on_quote(self, instrument: str, view: View) -> Sequence[Intent]:
        top, rules = view.top(instrument), view.instrument(instrument)
        self.is_done = self.is_done or bool(view.groups(instrument))
        if self.is_done or top is None or not top.is_readable:
            return ()

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

        entry = order(Side.BUY, OrderType.LIMIT, limit_px=rules.price(top.bid_px * BELOW))
        target = order(Side.SELL, OrderType.LIMIT, limit_px=rules.price(top.ask_px * ABOVE, Side.SELL))
        stop = order(Side.SELL, OrderType.STOP, trigger_px=rules.price(top.bid_px * FAR_BELOW, Side.SELL))
        return [GroupIntent(view.now_ns, self.name, (target, stop), entry)]
