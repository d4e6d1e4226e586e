"""Positions of strategies whose model does not serve, on their way to nothing (``ServingRules.fallback: flat``).

Owns the steps, which are an operator's close (``engine.manual``) for one strategy's own position: what is open of it
there is cancelled first, then reduce-only market orders in its name close what it holds, again and again as long as
something is left that can be sold.  What others hold of the same instrument is theirs.
"""

from __future__ import annotations

from decimal import Decimal

import msgspec

from engine.commands import NewOrder, OrderIntent, OrderType
from engine.desk import Desk
from engine.events import Side
from engine.manual import TRIES, TRY_AGAIN_NS, closable
from engine.orders import OrderManager
from engine.reconciliation import Reconciliation
from engine.view import CoreView

_ZERO = Decimal(0)
_NOBODYS_FAULT = ("tradable", "exit_waits", "in_the_way", "no_quote", "stale_quote")
"""Checks that refuse a closing order now, and are no reason to give up."""


class _Closing(msgspec.Struct):
    reason: str
    next_ns: int = 0
    tries: int = 0
    last_qty: Decimal = _ZERO


class Flattening:
    """Of one core; ``advance`` is called when one begins and on each timer."""

    def __init__(self, *, desk: Desk, orders: OrderManager, view: CoreView, reconciliation: Reconciliation) -> None:
        self._desk = desk
        self._orders = orders
        self._view = view
        self._reconciliation = reconciliation
        self._closing: dict[tuple[str, str], _Closing] = {}
        self.given_up: dict[tuple[str, str], str] = {}
        """Positions that could not be closed, by strategy and instrument, and why."""

    @property
    def is_busy(self) -> bool:
        return bool(self._closing)

    def begin(self, strategy: str, instrument: str, reason: str) -> None:
        self._closing.setdefault((strategy, instrument), _Closing(reason))
        self.given_up.pop((strategy, instrument), None)

    def stop(self, strategy: str, instrument: str) -> None:
        """Its model serves again: the position is the strategy's own affair."""
        self._closing.pop((strategy, instrument), None)
        self.given_up.pop((strategy, instrument), None)

    def advance(self) -> None:
        if self._desk.closing:
            return
        for (strategy, instrument), one in list(self._closing.items()):
            if self._step(strategy, instrument, one):
                del self._closing[strategy, instrument]

    def _step(self, strategy: str, name: str, one: _Closing) -> bool:
        """True when it is done, or given up."""
        view, now_ns = self._view, self._view.now_ns
        if name.rpartition("@")[2] in self._reconciliation.awaited or name in self._desk.shut:
            return False  # what is held is not known yet, or an operator closes all of it
        for group in view.groups(name):
            if group.strategy == strategy:
                self._desk.groups.cancel(group.group_id, "", one.reason)
        its = [order for order in self._orders.open_orders(name) if order.intent.strategy == strategy]
        if its:
            others = [
                order for order in its if not (order.intent.reduce_only and order.intent.order_type is OrderType.MARKET)
            ]
            self._desk.cancel_these(others, one.reason)
            return False
        held_qty = view.strategy_qty(strategy, name)
        qty = closable(view.instrument(name), abs(held_qty)) if held_qty else _ZERO
        if not qty:
            return True
        if now_ns < one.next_ns:
            return False
        one.tries = one.tries + 1 if held_qty == one.last_qty else 1
        if one.tries > TRIES:
            self.given_up[strategy, name] = f"{held_qty:f} left after {TRIES} tries"
            return True
        one.last_qty, one.next_ns = held_qty, now_ns + TRY_AGAIN_NS
        side = Side.SELL if held_qty > _ZERO else Side.BUY
        intent = OrderIntent(now_ns, strategy, name, side, qty, OrderType.MARKET, reduce_only=True, reason=one.reason)
        made = self._desk.place(intent)
        if made is not None and not isinstance(made, NewOrder) and made.check in _NOBODYS_FAULT:
            one.tries -= 1
        return False
