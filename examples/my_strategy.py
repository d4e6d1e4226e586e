"""A strategy of your own: buy when the price fell far below its average, leave when it is back.

Try it: copy this file, then in your configuration

    strategies:
      - name: mine
        path: examples/my_strategy.py:BuyTheDip
        params: {below_bps: 5}
"""

from decimal import Decimal

import msgspec

from engine.commands import OrderIntent, OrderType
from engine.events import Side
from strategies.base import BaseStrategy


class Params(msgspec.Struct, frozen=True):
    below_bps: float = 5.0  # enter when the price is this far below sma_20
    notional: float = 200.0  # quote currency


class BuyTheDip(BaseStrategy):
    Params = Params

    def on_row(self, instrument, view):
        features, top, rules = view.features(instrument), view.top(instrument), view.instrument(instrument)
        if features is None or top is None or view.open_orders(instrument):
            return ()  # wait: nothing known yet, or an order is still on its way
        gap_bps = (top.mid_px / features.latest("sma_20") - 1) * 1e4
        held = view.strategy_qty(self.name, instrument)
        if held >= rules.min_qty and gap_bps >= 0:
            return [self._order(instrument, Side.SELL, held, rules.price(top.bid_px, -1), view)]
        if held == 0 and gap_bps <= -self.params.below_bps:
            qty = rules.quantity(self.params.notional / top.ask_px)
            return [self._order(instrument, Side.BUY, qty, rules.price(top.ask_px, 1), view)] if qty else ()
        return ()

    def _order(self, instrument: str, side: Side, qty: Decimal, px: Decimal, view):
        leaving = side is Side.SELL
        return OrderIntent(view.now_ns, self.name, instrument, side, qty, OrderType.LIMIT, px, reduce_only=leaving)
