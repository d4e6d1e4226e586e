"""How much of an entry may leave: the share of a canary, the factor of an alarm, nothing while no model serves.

Owns the arithmetic and the refusals.  Who has which part is ``engine.trusting``'s to say; exits pass untouched, because
only what adds to the strategy's own holding is cut.

What counts is the position that a wish would lead to, with what is held and what is open in its direction: a strategy
that asks again for what it has not got would come to its full size by many orders, each of them cut.  An order that is
to bring the position from ``before`` to ``after`` is left with ``factor * after - before``.
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
        if size is None or size.factor or not self._adds(intent, size):
            return None
        return self._refused(intent, size)

    def bars(self, order: ManagedOrder) -> bool:
        """Whether it is one of those that would add where nothing may be added (``entering``)."""
        size = self.table.get((order.intent.strategy, order.intent.instrument))
        return size is not None and not size.factor and order in self.entering(order.intent.instrument)

    def entering(self, instrument: str) -> list[ManagedOrder]:
        """Open orders of strategies that may add nothing, which would add to their holdings if all that rest filled:
        those that only reduce close first, then the oldest."""
        orders = [one for one in self._orders.open_orders(instrument) if not one.cancel_sent]
        found = []
        left_qty: dict[tuple[str, int], Decimal] = {}
        for order in sorted(orders, key=lambda one: not one.intent.reduce_only):  # sorted keeps the order of age
            intent = order.intent
            size = self.table.get((intent.strategy, instrument))
            if size is None or size.factor:
                continue
            key = intent.strategy, int(intent.side)
            if key not in left_qty:
                left_qty[key] = max(-self._held_qty(intent), _ZERO)
            left_qty[key] -= order.leaves_qty
            if left_qty[key] < _ZERO and not intent.reduce_only:
                left_qty[key] += order.leaves_qty
                found.append(order)
        return found

    def _held_qty(self, intent: OrderIntent) -> Decimal:
        """What the strategy holds in the order's direction; below zero: what it may close."""
        own_qty = self._view.strategy_qty(intent.strategy, intent.instrument)
        return own_qty if intent.side > 0 else -own_qty

    def _open_qty(self, intent: OrderIntent, besides: str, *, rests: bool = False) -> Decimal:
        """What other open orders of the strategy may fill in this direction.  ``rests``: without those that have been
        asked to go, ``besides``: without this one."""
        found = _ZERO
        for order in self._orders.open_orders(intent.instrument):
            wish = order.intent
            if wish.strategy != intent.strategy or wish.side != intent.side or order.client_order_id == besides:
                continue
            if not (rests and order.cancel_sent):
                found += order.leaves_qty
        return found

    def _closing_qty(self, intent: OrderIntent, besides: str, *, rests: bool) -> Decimal:
        """What it may close beside open orders that close the same.  ``rests``: those that are being cancelled will not
        fill any more."""
        held_qty = -self._held_qty(intent)
        return max(held_qty - self._open_qty(intent, besides, rests=rests), _ZERO) if held_qty > _ZERO else _ZERO

    def _adds(self, intent: OrderIntent, size: EntrySize, besides: str = "") -> bool:
        """Whether some of it would add to what the strategy holds itself.  Where something may be added, an exit that
        takes the place of one that is being cancelled is none that does.  One that may only reduce adds where it is
        more than all that is held, as others may hold the rest; what is beside it, risk counts."""
        if intent.reduce_only:
            return intent.qty > max(-self._held_qty(intent), _ZERO)
        return intent.qty > self._closing_qty(intent, besides, rests=bool(size.factor))

    def _fitting_qty(self, intent: OrderIntent, size: EntrySize, besides: str = "") -> Decimal:
        """What of an order that adds may leave, to the lot.  Raises ``KeyError`` and ``ArithmeticError``."""
        lot_qty = self._view.instrument(intent.instrument).lot_qty
        closing_qty = self._closing_qty(intent, besides, rests=False)
        before_qty = self._before_qty(intent, besides)
        wanted_qty = closing_qty + max((before_qty + intent.qty - closing_qty) * size.factor - before_qty, _ZERO)
        return wanted_qty // lot_qty * lot_qty

    def _before_qty(self, intent: OrderIntent, besides: str = "") -> Decimal:
        """The position in its direction without it."""
        return max(self._held_qty(intent) + self._open_qty(intent, besides), _ZERO)

    def _fit_order(self, intent: OrderIntent) -> OrderIntent | Rejected:
        size = self.table.get((intent.strategy, intent.instrument))
        if size is None or not self._adds(intent, size):
            return intent
        try:
            rules = self._view.instrument(intent.instrument)
            qty, least_qty = self._fitting_qty(intent, size), max(rules.min_qty, rules.lot_qty)
        except (KeyError, ArithmeticError):  # not defined, or more digits than there are: nothing is left of it
            qty, least_qty = _ZERO, _ONE
        if qty >= least_qty:
            return intent if qty >= intent.qty else msgspec.structs.replace(intent, qty=qty)
        if not size.factor:
            return self._refused(intent, size)
        before_qty = self._before_qty(intent)
        there = f" beside {before_qty:f}" if before_qty else ""
        seen = f"{intent.qty}{there} times {size.factor} ({size.reason})"
        return Rejected(self._view.now_ns, intent, CHECK_SIZE, seen, f"at least {least_qty}")

    def _refused(self, intent: OrderIntent, size: EntrySize) -> Rejected:
        seen = size.reason
        if self._held_qty(intent) <= -intent.qty:
            seen = f"its open orders close what it holds; {seen}"
        return Rejected(self._view.now_ns, intent, CHECK_MODEL, seen, "a model that serves")

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
        if size is None or wish.qty - filled_qty <= open_qty:
            return wish
        rest = msgspec.structs.replace(order.intent, qty=wish.qty - filled_qty)
        if not self._adds(rest, size, order.client_order_id):
            return wish
        try:
            left_qty = max(self._fitting_qty(rest, size, order.client_order_id), open_qty)
        except (KeyError, ArithmeticError):
            left_qty = open_qty
        return msgspec.structs.replace(wish, qty=filled_qty + left_qty)
