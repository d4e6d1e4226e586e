"""The strategy of the benchmark: a marketable IOC order on every n-th tick, in and out in turn.

With a model it answers predictions, without one feature rows; either way an order per tick when ``every`` is 1.  It
looks at no signal: what is measured is the way, not the decision.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import msgspec

from engine.commands import Intent, OrderIntent, OrderType, TimeInForce
from engine.events import Prediction, Side
from engine.ports import View
from strategies.base import BaseStrategy

# Enum members are slow to reach through their class in CPython 3.11.
_BUY, _SELL = Side.BUY, Side.SELL
_LIMIT, _IOC = OrderType.LIMIT, TimeInForce.IOC


class EveryTickParams(msgspec.Struct, frozen=True):
    """``every``: an order on each so many-th tick, 0 for never; ``qty``: base units of each order.

    ``on_rows``: on feature rows also where a model serves.
    """

    every: int = 1
    qty: Decimal = Decimal("0.01")
    on_rows: bool = False


class EveryTick(BaseStrategy):
    Params = EveryTickParams

    def __init__(self, name: str, instruments: Sequence[str], params: Any = None) -> None:
        super().__init__(name, instruments, params)
        self.params: EveryTickParams
        self._with_model = False
        self._ticks = 0
        self.passed = 0
        """Ticks that made no order because the last one was not answered yet."""

    def on_model(self, instrument: str, facts: Any) -> None:  # noqa: ARG002
        self._with_model = True

    def on_prediction(self, prediction: Prediction, prediction_seq: int, view: View) -> Sequence[Intent]:
        if self.params.on_rows:
            return ()
        return self._order(prediction.instrument, view, prediction.model, prediction_seq)

    def on_row(self, instrument: str, view: View) -> Sequence[Intent]:
        return () if self._with_model and not self.params.on_rows else self._order(instrument, view, "", 0)

    def _order(self, name: str, view: View, model: str, prediction_seq: int) -> Sequence[Intent]:
        self._ticks += 1
        every = self.params.every
        if not every or self._ticks % every:
            return ()
        top = view.top(name)
        if top is None:
            return ()
        if view.open_orders(name):
            self.passed += 1
            return ()  # the last one is not answered yet: a second one could only trade with it
        # What a partly filled order leaves is too little to sell as much again.
        side = _SELL if view.strategy_qty(self.name, name) >= self.params.qty else _BUY
        px = view.instrument(name).price(top.ask_px if side > 0 else top.bid_px, side)
        return (
            OrderIntent(
                view.now_ns,
                self.name,
                name,
                side,
                self.params.qty,
                _LIMIT,
                px,
                _IOC,
                reason="bench",
                model=model,
                prediction_seq=prediction_seq,
            ),
        )
