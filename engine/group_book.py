"""Which groups there are, by their own ids, their instruments and their orders; those that ended are kept a while.

Owns these indexes.  What groups do is ``engine.grouping``'s, what one is ``engine.groups``.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence

from engine.carried import CarriedGroup
from engine.commands import NewOrder
from engine.groups import DONE, NONE, ZERO, Group, carry, restored
from engine.ladder import exit_of
from engine.managed_order import ManagedOrder
from engine.order_ids import attached_id
from engine.order_states import FINAL
from engine.orders import OrderManager
from engine.ports import OpenGroup

ENDED_KEPT = 256
"""Groups that are remembered after their end: what the venue tells late of their orders still belongs to them."""


class GroupBook:
    """``groups`` by id, ``watched`` by instrument, ``of`` by client order id; ``ended`` and ``late`` are the same of
    those that have ended.  Read-only for everybody else."""

    def __init__(self, orders: OrderManager) -> None:
        self._orders = orders
        self.groups: dict[str, Group] = {}
        self.watched: dict[str, list[Group]] = {}
        self.of: dict[str, Group] = {}
        self.ended: dict[str, Group] = {}
        self.late: dict[str, Group] = {}

    def add(self, group: Group) -> None:
        """Its orders count with what they have filled by now."""
        self.groups[group.group_id] = group
        self.watched.setdefault(group.instrument, []).append(group)
        for part in (group.entered, group.left):
            for client_order_id in part:
                self.of[client_order_id] = group
                order = self._orders.get(client_order_id)
                if order is not None:
                    part[client_order_id] = order.filled_qty
        order = self._orders.get(group.sent_id)
        if group.sent_id and (order is None or order.state in FINAL):
            group.sent_id, group.sent_exit = "", NONE

    def link(self, new: NewOrder) -> None:
        """An order was opened for a group, or in place of an order of its entry."""
        parent = new.intent.parent_id
        group = self.groups.get(parent) or self.of.get(parent)
        if group is None or new.client_order_id in self.of:
            return
        self.of[new.client_order_id] = group
        if new.intent.side is not group.side:
            group.entered[new.client_order_id] = ZERO
            return
        group.left[new.client_order_id] = ZERO
        group.sent_id, group.sent_exit = new.client_order_id, exit_of(group, new.intent)

    def link_attached(self, group: Group, entry_id: str, new: NewOrder | None) -> None:
        """The exit that came with an entry has shown itself; None: there is none.  Where another one has taken its
        place it is one too many."""
        name = attached_id(entry_id)
        lives = group.group_id in self.groups
        (self.of if lives else self.late)[name] = group
        group.left.setdefault(name, ZERO)
        if lives and new is not None and not group.sent_id:
            group.sent_id, group.sent_exit = name, exit_of(group, new.intent)

    def unlink(self, group: Group, client_order_id: str) -> None:
        """An exit order that closed nothing and is long gone."""
        del group.left[client_order_id]
        self.of.pop(client_order_id, None)

    def forget(self, group: Group) -> None:
        """It has ended."""
        del self.groups[group.group_id]
        self.ended[group.group_id] = group
        if len(self.ended) > ENDED_KEPT:
            oldest = self.ended.pop(next(iter(self.ended)))
            for client_order_id in (*oldest.entered, *oldest.left):
                self.late.pop(client_order_id, None)
        self.late.update(dict.fromkeys((*group.entered, *group.left), group))
        left = [one for one in self.watched[group.instrument] if one is not group]
        if left:
            self.watched[group.instrument] = left
        else:
            del self.watched[group.instrument]
        for client_order_id in (*group.entered, *group.left):
            self.of.pop(client_order_id, None)

    def reopen(self, group: Group) -> None:
        """As if it had never ended."""
        self.ended.pop(group.group_id, None)
        for client_order_id in (*group.entered, *group.left):
            self.late.pop(client_order_id, None)
        group.ending, group.told, group.attempts, group.next_ns = "", False, 0, 0
        before = dict(group.entered)
        self.add(group)
        group.entered = {name: before.get(name, qty) for name, qty in group.entered.items()}  # to be counted anew

    # --- what somebody asks about an order --------------------------------------------------------------------------

    def knows(self, parent_id: str) -> bool:
        """Whether an order that names this as its parent would be taken for one of a group."""
        return parent_id in self.groups or parent_id in self.of

    def has(self, client_order_id: str) -> bool:
        """Whether it is an order of a group, also of one that has ended."""
        return client_order_id in self.of or client_order_id in self.late

    def is_exit(self, client_order_id: str) -> bool:
        group = self.of.get(client_order_id)
        return group is not None and client_order_id in group.left

    def protects(self, order: ManagedOrder) -> bool:
        """Whether this is an exit of a group, which outlives the trust in its strategy."""
        group = self.of.get(order.client_order_id)
        return group is not None and group.reduce_only and order.client_order_id in group.left

    def why_stray(self, order: ManagedOrder) -> str:
        """Why an order of a group must go that the venue shows after it was given up; empty when it may stay."""
        group = self.of.get(order.client_order_id)
        if group is not None:
            strays = order.client_order_id in group.left and order.client_order_id != group.sent_id
            return "another exit is in its place" if strays else ""
        group = self.late.get(order.client_order_id)
        # An entry of a group that was done has its exits back with its first fill.
        if group is None or (group.ending == DONE and order.client_order_id in group.entered):
            return ""
        return f"its group has ended: {group.ending}"

    # --- all of them ------------------------------------------------------------------------------------------------

    def carried_ended(self, known: Container[str]) -> tuple[CarriedGroup, ...]:
        """Of those that had nothing left to close, the ones of whose entry a next session knows an order (``known``, by
        client order id): a late fill of it must find its exits there too."""
        return tuple(
            [
                carry(one)
                for one in self.ended.values()
                if one.ending == DONE and any(name in known for name in one.entered)
            ]
        )

    def restore_ended(self, carried: Iterable[CarriedGroup]) -> None:
        for one in carried:
            group = restored(one)
            group.told = True
            self.ended[group.group_id] = group
            self.late.update(dict.fromkeys((*group.entered, *group.left), group))

    def carried(self) -> tuple[CarriedGroup, ...]:
        return tuple([carry(group) for group in self.groups.values()])

    def pictures(self, instrument: str | None = None) -> Sequence[OpenGroup]:
        if not self.groups:
            return ()
        groups = self.groups.values() if instrument is None else self.watched.get(instrument, ())
        return tuple([group.picture() for group in groups])
