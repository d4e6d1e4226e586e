"""Brackets: buy, and leave at a target or by a stop, whichever comes first; the engine looks after both.

Try it:

    python run.py paper --set "strategies=[{name: mine, path: 'examples/brackets.py:Brackets', model: none}]"

At Coinbase target and stop rest at the venue as one order; with `trailing: true` the stop follows the price and waits
in the core, while the target rests (docs/orders.md).
"""

import msgspec

from engine.commands import GroupIntent, OrderIntent, OrderType, TimeInForce
from engine.events import Side
from strategies.base import BaseStrategy


class Params(msgspec.Struct, frozen=True):
    notional: float = 200.0  # quote currency
    target_bps: float = 5.0
    stop_bps: float = 5.0
    trailing: bool = False
    pause_ns: int = 2_000_000_000  # between two brackets


class Brackets(BaseStrategy):
    Params = Params

    def __init__(self, name, instruments, params=None):
        super().__init__(name, instruments, params)
        self._entered_ns = {}

    def on_quote(self, instrument, view):
        p, rules, top = self.params, view.instrument(instrument), view.top(instrument)
        if view.groups(instrument) or not top.is_readable or top.suspect:
            return ()  # one at a time, and only on prices that are sure
        held_qty = view.strategy_qty(self.name, instrument)
        if held_qty and rules.notional(held_qty, rules.price(top.bid_px)) >= rules.min_notional:
            return ()  # less than that nobody can sell: it is not waited for
        if view.now_ns - self._entered_ns.get(instrument, 0) < p.pause_ns:
            return ()
        self._entered_ns[instrument] = view.now_ns
        qty = rules.quantity(p.notional / top.ask_px)
        target_px = rules.price(top.ask_px * (1 + p.target_bps / 1e4), -1)
        stop_px = rules.price(top.bid_px * (1 - p.stop_bps / 1e4), -1)
        levels = {"trailing_px": rules.price(top.bid_px) - stop_px} if p.trailing else {"trigger_px": stop_px}
        return [
            GroupIntent(
                view.now_ns,
                self.name,
                exits=(
                    self._exit(instrument, qty, view, OrderType.LIMIT, limit_px=target_px),
                    self._exit(instrument, qty, view, OrderType.STOP, **levels),
                ),
                entry=OrderIntent(view.now_ns, self.name, instrument, Side.BUY, qty, OrderType.MARKET),
            )
        ]

    def _exit(self, instrument, qty, view, kind, **fields):
        gtc = TimeInForce.GTC
        return OrderIntent(
            view.now_ns, self.name, instrument, Side.SELL, qty, kind, time_in_force=gtc, reduce_only=True, **fields
        )

    def state(self):
        return {"entered_ns": self._entered_ns}

    def restore(self, state):
        self._entered_ns.update(state.get("entered_ns", {}))
