"""Orders that are changed in place, where their venue can: one change at a time, the latest wish last.

Owns which change goes that way, and its judgement by risk before it leaves.  What may not goes by a cancel and another
order (``engine.replacing``).  Until the venue has shown which version lives, the worse of both counts
(``engine.orders``); a change is never asked for twice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal

import msgspec

from engine.commands import Command, NewOrder, OrderIntent, Rejected, ReplaceIntent, ReplaceOrder
from engine.counters import Counters
from engine.latch import RiskLatch
from engine.managed_order import ManagedOrder
from engine.offers import ALL_PLAIN, Offer
from engine.order_states import OrderState
from engine.orders import OrderManager
from engine.ports import RiskGate
from engine.view import CoreView

_RESTING = frozenset({OrderState.ACCEPTED, OrderState.PARTLY_FILLED})
_Version = tuple[Decimal, Decimal]
"""Quantity in all, limit price."""


class Edits:
    """Of one desk.  ``out`` takes its commands, ``refuse`` what risk says against a wish; ``stays(order)``: whether an
    order is a plain one that nothing wants gone; ``beside_awaited``: see ``engine.awaited_exits``."""

    def __init__(
        self,
        *,
        gate: RiskGate,
        orders: OrderManager,
        view: CoreView,
        counters: Counters,
        latch: RiskLatch,
        offers: Mapping[str, Offer],
        out: list[Command],
        refuse: Callable[[Rejected], None],
        stays: Callable[[ManagedOrder], bool],
        beside_awaited: Callable[[OrderIntent], Rejected | None],
    ) -> None:
        self._gate = gate
        self._orders = orders
        self._view = view
        self._counters = counters
        self._latch = latch
        self._offers = offers
        self._out = out
        self._refuse = refuse
        self._stays = stays
        self._beside_awaited = beside_awaited
        self._next: dict[str, ReplaceIntent] = {}  # by client order id: wished while a change was under way

    def take(self, order: ManagedOrder, wish: ReplaceIntent) -> bool:
        """Carry out a wish in place.  False where that cannot be: then nothing was done."""
        self._next.pop(order.client_order_id, None)
        limit_px, old_px = wish.limit_px, order.intent.limit_px
        if limit_px is None or old_px is None or not self._is_editable(order, wish.qty):
            return False
        if order.edit is not None:
            self._next[order.client_order_id] = wish
            return True
        old, new = (order.intent.qty, old_px), (wish.qty, limit_px)
        judged = self._judge(order, wish, old, new) if new != old else order.intent
        if judged is None:
            return False
        if isinstance(judged, Rejected):
            self._refuse(judged)
        elif new != old:
            self._send(order, wish, old, new, judged)
        return True

    def settled(self, order: ManagedOrder) -> ReplaceIntent | None:
        """A change is done or refused, or its order has ended: what was wished meanwhile."""
        return None if order.edit is not None else self._next.pop(order.client_order_id, None)

    def forget(self, client_order_id: str) -> None:
        """The order is to go: what was wished for it has no more to wait for."""
        self._next.pop(client_order_id, None)

    def clear(self) -> None:
        self._next.clear()

    def _is_editable(self, order: ManagedOrder, qty: Decimal) -> bool:
        intent = order.intent
        offer = self._offers.get(order.new.venue, ALL_PLAIN)
        return (
            (intent.order_type, intent.time_in_force) in offer.edits
            and type(order.new) is NewOrder  # what comes with an entry would have to change with it
            and order.state in _RESTING
            and bool(order.venue_order_id)
            and not order.cancel_sent
            and qty > order.filled_qty
            and intent.expire_ns is None
            and self._stays(order)
        )

    def _judge(
        self, order: ManagedOrder, wish: ReplaceIntent, old: _Version, new: _Version
    ) -> OrderIntent | Rejected | None:
        """What would be left of the new version, as risk has approved it in place of what is left of the old one; None
        where both together could come to more than either alone, and that is too much.

        Of an order that grows and becomes cheaper, some may fill at the old price and all the rest at the new one: it
        has to be within the limits at the old price as well.  What only shrinks is not asked about.
        """
        view = self._view
        (old_qty, old_px), (qty, limit_px) = old, new
        intent = msgspec.structs.replace(
            order.intent,
            ts_ns=view.now_ns,
            qty=qty - order.filled_qty,
            limit_px=limit_px,
            reason=wish.reason or order.intent.reason,
        )
        if limit_px == old_px and qty < old_qty:
            return intent
        if qty > old_qty and self._orders.awaiting:
            waits = self._beside_awaited(msgspec.structs.replace(intent, qty=qty - old_qty))
            if waits is not None:
                return waits
        self._orders.suspend(order)
        try:
            if qty > old_qty and limit_px < old_px:
                at_old_px = msgspec.structs.replace(intent, limit_px=old_px)
                if isinstance(self._gate.review_again(at_old_px, view), Rejected):
                    return None
            verdict = self._gate.review(intent, view)
            return verdict if isinstance(verdict, Rejected) else verdict.intent
        finally:
            self._orders.resume(order)

    def _send(
        self, order: ManagedOrder, wish: ReplaceIntent, old: _Version, new: _Version, judged: OrderIntent
    ) -> None:
        """On record, held at its worst, then out."""
        self._counters.intents += 1
        now_ns, name, venue = self._view.now_ns, order.client_order_id, order.new.venue
        command = ReplaceOrder(
            now_ns, name, venue, order.venue_order_id, order.intent.instrument, *new, *old, wish.reason
        )  # fmt: skip
        if not self._latch.put_on_record(command):
            return
        if new[1] != old[1] or new[0] > old[0]:
            self._gate.on_opened(NewOrder(now_ns, name, venue, judged))
        self._orders.edit(order, command)
        self._counters.edits += 1
        self._out.append(command)
