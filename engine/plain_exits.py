"""Resting orders by which strategies wanted to leave what somebody else has closed meanwhile.

Owns which orders that are, and that they fill no more than what is left: by hand, by the guardian, by the venue or by
the account's owner a position can be gone while its strategy's own sale still rests.  That sale would open the
opposite position, or sell what is the owner's.  Exits of groups are sized by their groups (``engine.group_course``).

An order of a strategy is its way out by effect, as for risk: it fits into what the strategy held, beside the older ones
of its side.  That is judged in the moment in which somebody else closes; afterwards nothing tells such an order from
an entry.  So a session that dies before the cancel is through leaves it to its strategy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from decimal import ROUND_DOWN, Decimal

from engine.commands import OrderType, ReplaceIntent
from engine.managed_order import ManagedOrder
from engine.order_states import FINAL
from engine.orders import OrderManager
from engine.owners import Taken
from engine.replacing import Replacements
from engine.view import CoreView

ZERO = Decimal(0)
REASON = "more than is left to close"
_RESTING = (OrderType.LIMIT, OrderType.STOP_LIMIT)
"""Of which a smaller one can take the place."""


class PlainExits:
    """Of one desk.  ``withdraw`` asks for an order's cancel, paced; ``is_grouped``: whether an order is a group's."""

    def __init__(
        self,
        *,
        orders: OrderManager,
        view: CoreView,
        replacements: Replacements,
        withdraw: Callable[[ManagedOrder, str], None],
        is_grouped: Callable[[str], bool],
    ) -> None:
        self._orders = orders
        self._view = view
        self._replacements = replacements
        self._withdraw = withdraw
        self._is_grouped = is_grouped
        self._known: dict[str, None] = {}
        """Client order ids, oldest first; each goes with its order."""

    def __bool__(self) -> bool:
        return bool(self._known)

    def lost(self, taken: Iterable[Taken]) -> None:
        """Somebody else has closed so much of what strategies held; it is booked already."""
        lost_qty: dict[tuple[str, str], Decimal] = {}
        for owner, name, qty in taken:
            lost_qty[owner, name] = lost_qty.get((owner, name), ZERO) + qty
        for (owner, name), qty in lost_qty.items():
            left_qty = self._view.strategy_qty(owner, name) - qty  # as it was before
            if not qty or not left_qty or (qty > ZERO) is (left_qty > ZERO):
                continue
            is_sale = left_qty > ZERO
            left_qty = abs(left_qty)
            for order in self._orders.open_orders(name):
                if order.intent.strategy != owner or (order.intent.side < 0) is not is_sale:
                    continue
                if order.intent.reduce_only or order.leaves_qty <= left_qty:
                    left_qty = max(left_qty - order.leaves_qty, ZERO)
                    if not self._is_grouped(order.client_order_id):
                        self._known[order.client_order_id] = None
                        # Also what its strategy may have wished in its place before.
                        self._replacements.only_reduce(order.client_order_id)

    def look(self) -> None:
        """Take back, or make smaller, what is more than its strategy holds; asked for again until it is."""
        left: dict[tuple[str, str, int], Decimal] = {}
        for name in list(self._known):
            order = self._orders.get(name)
            if order is None or order.state in FINAL:
                del self._known[name]
                continue
            intent = order.intent
            key = (intent.strategy, intent.instrument, int(intent.side))
            if key not in left:
                left[key] = self._left_qty(order)
            left_qty = left[key]
            left[key] = max(left_qty - order.leaves_qty, ZERO)
            if order.leaves_qty > left_qty:
                self._fit(order, left_qty)

    def _left_qty(self, order: ManagedOrder) -> Decimal:
        """What its strategy holds and no exit of a group closes."""
        intent = order.intent
        own_qty = self._view.strategy_qty(intent.strategy, intent.instrument)
        left_qty = -own_qty if intent.side > 0 else own_qty
        for one in self._orders.open_orders(intent.instrument):
            wish = one.intent
            if (
                wish.strategy == intent.strategy
                and wish.side is intent.side
                and wish.reduce_only
                and one.client_order_id not in self._known
            ):
                left_qty -= one.leaves_qty
        return max(left_qty, ZERO)

    def _fit(self, order: ManagedOrder, left_qty: Decimal) -> None:
        intent = order.intent
        rules = self._view.instrument(intent.instrument)
        whole_qty = (left_qty / rules.lot_qty).to_integral_value(ROUND_DOWN) * rules.lot_qty
        if whole_qty < rules.min_qty:
            whole_qty = ZERO
        if order.cancel_sent:
            self._replacements.cap(order, whole_qty)
            return
        if whole_qty and intent.order_type in _RESTING:
            all_qty = self._replacements.filled_qty(order) + whole_qty
            self._replacements.wish(
                ReplaceIntent(
                    self._view.now_ns, intent.strategy, order.client_order_id, all_qty, intent.limit_px, REASON
                )
            )
        self._withdraw(order, REASON)
