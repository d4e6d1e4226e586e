"""How much of an entry may leave: the share of a canary, the factor of an alarm, nothing while no model serves.

Owns the arithmetic and the refusals.  Who has which part is ``engine.serving``'s to say; exits pass untouched, because
only what adds to the strategy's own holding is cut.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import msgspec

from engine.commands import GroupIntent, Intent, OrderIntent, Rejected, ReplaceIntent
from engine.managed_order import ManagedOrder
from engine.orders import OrderManager
from engine.view import CoreView

CHECK_MODEL, CHECK_SIZE = "model", "model_size"
"""Checks of a refusal: no model serves; what is left of the size is less than the venue takes."""
_ZERO, _ONE = Decimal(0), Decimal(1)


class EntrySize(msgspec.Struct, frozen=True):
    """``factor`` of 0 to 1, and why."""

    factor: Decimal
    reason: str


class EntrySizes:
    """Of one desk.  ``table`` has who does not enter at full size, by strategy and instrument; empty for most.
    ``filled_qty``: what an order has filled with all versions before it.
    """

    def __init__(self, view: CoreView, orders: OrderManager, filled_qty: Callable[[ManagedOrder], Decimal]) -> None:
        self._view = view
        self._orders = orders
        self._filled_qty = filled_qty
        self.table: dict[tuple[str, str], EntrySize] = {}

    def put(self, strategy: str, instrument: str, factor: Decimal, reason: str) -> None:
        """From here on; a factor of 1 ends it."""
        if factor >= _ONE:
            self.table.pop((strategy, instrument), None)
        else:
            self.table[strategy, instrument] = EntrySize(factor, reason)

    def fit(self, intent: Intent) -> Intent | Rejected:
        """A wish as it may be judged."""
        kind = type(intent)
        if kind is OrderIntent:
            return self._fit_order(intent)  # type: ignore[arg-type]
        if kind is GroupIntent:
            return self._fit_group(intent)  # type: ignore[arg-type]
        return self._fit_replacement(intent) if kind is ReplaceIntent else intent  # type: ignore[arg-type]

    def refusal(self, intent: OrderIntent) -> Rejected | None:
        """Of an order that was wished for before, and enters now: its size is not cut again."""
        size = self.table.get((intent.strategy, intent.instrument))
        if size is None or size.factor or not self.adds(intent):
            return None
        return Rejected(self._view.now_ns, intent, CHECK_MODEL, size.reason, "a model that serves")

    def adds(self, intent: OrderIntent) -> bool:
        """Whether some of it would add to what the strategy holds itself."""
        return not intent.reduce_only and intent.qty > self._closing_qty(intent)

    def _closing_qty(self, intent: OrderIntent) -> Decimal:
        own_qty = self._view.strategy_qty(intent.strategy, intent.instrument)
        return max(-own_qty if intent.side > 0 else own_qty, _ZERO)

    def _fit_order(self, intent: OrderIntent) -> OrderIntent | Rejected:
        size = self.table.get((intent.strategy, intent.instrument))
        if size is None or not self.adds(intent):
            return intent
        closing_qty = self._closing_qty(intent)
        try:
            rules = self._view.instrument(intent.instrument)
            wanted_qty = closing_qty + (intent.qty - closing_qty) * size.factor
            qty = wanted_qty // rules.lot_qty * rules.lot_qty
            least_qty = max(rules.min_qty, rules.lot_qty)
        except (KeyError, ArithmeticError):  # not defined, or more digits than there are: nothing is left of it
            qty, least_qty = _ZERO, _ONE
        if qty >= least_qty:
            return intent if qty >= intent.qty else msgspec.structs.replace(intent, qty=qty)
        if not size.factor:
            return Rejected(self._view.now_ns, intent, CHECK_MODEL, size.reason, "a model that serves")
        seen = f"{intent.qty} times {size.factor} ({size.reason})"
        return Rejected(self._view.now_ns, intent, CHECK_SIZE, seen, f"at least {least_qty}")

    def _fit_group(self, group: GroupIntent) -> GroupIntent | Rejected:
        # Without an entry, an exit that is not reduce-only may turn the position: it is cut as a turn is.
        first = group.entry or next((one for one in group.exits if not one.reduce_only), None)
        fitted = first if first is None else self._fit_order(first)
        if isinstance(fitted, Rejected):
            return fitted
        if fitted is None or fitted is first:
            return group
        exits = tuple([msgspec.structs.replace(one, qty=fitted.qty) for one in group.exits])
        return msgspec.structs.replace(group, entry=None if group.entry is None else fitted, exits=exits)

    def _fit_replacement(self, wish: ReplaceIntent) -> ReplaceIntent:
        """What an order has left stays; in all, its new version is at most what it would be as a new order."""
        order = self._orders.get(wish.client_order_id)
        if order is None:
            return wish
        size = self.table.get((wish.strategy, order.intent.instrument))
        filled_qty, open_qty = self._filled_qty(order), order.leaves_qty
        left_qty = wish.qty - filled_qty
        if size is None or left_qty <= open_qty:
            return wish
        rest = msgspec.structs.replace(order.intent, qty=left_qty)
        if not self.adds(rest):
            return wish
        closing_qty = self._closing_qty(rest)
        whole_qty = closing_qty + filled_qty if closing_qty else _ZERO  # what fills before anything adds
        try:
            lot_qty = self._view.instrument(rest.instrument).lot_qty
            wanted_qty = whole_qty + (wish.qty - whole_qty) * size.factor - filled_qty
            left_qty = max(wanted_qty // lot_qty * lot_qty, open_qty)
        except (KeyError, ArithmeticError):
            left_qty = open_qty
        return msgspec.structs.replace(wish, qty=filled_qty + left_qty)
