"""Exits that a venue makes of itself for what an entry fills, and that have not shown themselves.

Owns whether one may be there, and what nobody else may close meanwhile: such an exit is in no list of open orders yet,
and where the account holds more than strategies have bought it would sell beside any other.
"""

from __future__ import annotations

from decimal import Decimal

from engine.commands import OrderIntent, Rejected
from engine.group_book import GroupBook
from engine.groups import ZERO, Group
from engine.managed_order import EXTERNAL, ManagedOrder
from engine.order_ids import attached_id
from engine.order_states import FINAL
from engine.orders import OrderManager
from engine.stakes import CLOSERS, EVERYONE
from engine.view import CoreView


class AwaitedExits:
    """Of the groups of one desk."""

    def __init__(self, orders: OrderManager, view: CoreView, book: GroupBook) -> None:
        self._orders = orders
        self._view = view
        self._book = book

    def may_come(self, group: Group) -> bool:
        """Whether the venue may make an exit of itself, or has made one that has not shown itself: beside that one
        nothing may be sent."""
        return any(
            entry.state not in FINAL
            or (entry.filled_qty > ZERO and attached_id(entry.client_order_id) not in group.left)
            for entry in self._entries(group)
        )

    def is_entering(self, group: Group) -> bool:
        """Whether an entry may still fill that has its exits with it."""
        return any(entry.state not in FINAL for entry in self._entries(group))

    def refusal(self, intent: OrderIntent) -> Rejected | None:
        """Why an order must wait that would close what such an exit may be closing already; None where none is awaited
        or enough is left beside it.  An operator who does not ask to reduce sells what is the owner's."""
        is_closer = intent.strategy in CLOSERS
        if is_closer and not intent.reduce_only:
            return None
        awaited_qty = ZERO
        for group in self._book.watched.get(intent.instrument, ()):
            if group.side is intent.side and (is_closer or group.strategy == intent.strategy):
                awaited_qty += self._qty(group)
        if not awaited_qty:
            return None
        left_qty = self._closable_qty(intent, is_closer=is_closer) - awaited_qty
        if intent.qty <= left_qty:
            return None
        limit = f"{max(left_qty, ZERO):f} beside the exit of {awaited_qty:f} that comes with an entry"
        return Rejected(self._view.now_ns, intent, "exit_awaited", f"{intent.qty:f}", limit)

    def _qty(self, group: Group) -> Decimal:
        """What exits may close that have not shown themselves."""
        return sum(
            [
                entry.filled_qty
                for entry in self._entries(group)
                if attached_id(entry.client_order_id) not in group.left
            ],
            ZERO,
        )

    def _closable_qty(self, intent: OrderIntent, *, is_closer: bool) -> Decimal:
        """What the strategy holds (whoever closes for all: what all of them hold) and no open order closes."""
        view, side = self._view, int(intent.side)
        name = intent.instrument
        held_qty = view.stake(EVERYONE, name).qty if is_closer else view.strategy_qty(intent.strategy, name)
        qty = -held_qty * side
        for order in self._orders.open_orders(name):
            if order.intent.side is intent.side and (
                order.intent.strategy != EXTERNAL if is_closer else order.intent.strategy == intent.strategy
            ):
                qty -= order.leaves_qty
        return qty

    def _entries(self, group: Group) -> list[ManagedOrder]:
        found = [self._orders.get(client_order_id) for client_order_id in group.entered]
        return [one for one in found if one is not None and one.brings_exits]
