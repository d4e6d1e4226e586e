"""Strategies that are not heard of an instrument for now, because what they hold there is being closed.

Owns the table and what becomes of their wishes.  Who is held off, and how long, is ``engine.flattening``'s to say.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from engine.commands import CancelIntent, GroupIntent, Intent, OrderIntent, Rejected, ReplaceIntent
from engine.orders import OrderManager
from engine.ports import OpenGroup
from engine.view import CoreView

CHECK_CLOSING = "closing"
"""Check of a refusal: somebody has the position closed, here or by hand."""


class HeldOff:
    """Of one desk.  ``table``: why, by strategy and instrument; empty nearly always."""

    def __init__(
        self,
        *,
        view: CoreView,
        orders: OrderManager,
        groups: Callable[[], Sequence[OpenGroup]],
        refuse: Callable[[Rejected], None],
    ) -> None:
        self._view = view
        self._orders = orders
        self._groups = groups
        self._refuse = refuse
        self.table: dict[tuple[str, str], str] = {}

    def stops(self, intent: Intent) -> bool:
        """Whether a wish has come to nothing.  One to cancel is not put on record: all that may be cancelled is being
        cancelled, and the closing order must not be."""
        if isinstance(intent, CancelIntent):
            return (intent.strategy, self._instrument_of(intent)) in self.table
        wish = self._wish_of(intent)
        reason = None if wish is None else self.table.get((intent.strategy, wish.instrument))
        if wish is None or reason is None:
            return False
        self._refuse(Rejected(self._view.now_ns, wish, CHECK_CLOSING, reason, "closed first"))
        return True

    def _wish_of(self, intent: OrderIntent | ReplaceIntent | GroupIntent) -> OrderIntent | None:
        if isinstance(intent, OrderIntent):
            return intent
        if isinstance(intent, GroupIntent):
            return intent.entry or next(iter(intent.exits), None)
        order = self._orders.get(intent.client_order_id)
        return None if order is None else order.intent

    def _instrument_of(self, cancel: CancelIntent) -> str:
        """Of an order or a group; empty for neither."""
        order = self._orders.get(cancel.client_order_id)
        if order is not None:
            return order.intent.instrument
        return next((one.instrument for one in self._groups() if one.group_id == cancel.client_order_id), "")
