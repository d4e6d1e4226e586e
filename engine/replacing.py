"""Orders that become other orders: the old one is cancelled, and what is left of the new wish is sent when it is gone.

Owns which order follows which, and how much of a wish is left.  Emulated for every venue alike: at no moment can both
versions fill, so that nothing is held twice.  A fill of an old version that comes late makes its successor smaller.
"""

from __future__ import annotations

from decimal import Decimal

import msgspec

from engine.commands import OrderIntent, ReplaceIntent
from engine.orders import FINAL, ManagedOrder

ZERO = Decimal(0)
VERSIONS_KEPT = 4096
"""Links from new versions to old ones; the oldest is forgotten first."""


class _Version(msgspec.Struct, gc=False):
    """A version of an order: the one before, and the quantity that all together were to fill."""

    before: ManagedOrder
    total_qty: Decimal


class Replacements:
    """Of one desk."""

    def __init__(self) -> None:
        self._wished: dict[str, ReplaceIntent] = {}
        self._versions: dict[str, _Version] = {}  # by client order id of the newer one
        self._next: dict[str, ManagedOrder] = {}  # by client order id of the older one

    def wish(self, intent: ReplaceIntent) -> None:
        """To be carried out when the order is gone; a later wish takes the place of an earlier one."""
        self._wished[intent.client_order_id] = intent

    def drop(self, client_order_id: str) -> None:
        """The order stays: its cancel was refused."""
        self._wished.pop(client_order_id, None)

    def clear(self) -> None:
        """Nothing follows any more: trading is halted or ends."""
        self._wished.clear()

    def take(self, order: ManagedOrder, now_ns: int) -> OrderIntent | None:
        """The order is gone: what is to follow it, None where nothing is left to do."""
        wish = self._wished.pop(order.client_order_id, None)
        if wish is None:
            return None
        left_qty = wish.qty - self.filled_qty(order)
        if left_qty <= ZERO:
            return None
        return msgspec.structs.replace(
            order.intent,
            ts_ns=now_ns,
            qty=left_qty,
            limit_px=wish.limit_px,
            reason=wish.reason or order.intent.reason,
            parent_id=order.client_order_id,
        )

    def follow(self, before: ManagedOrder, after: ManagedOrder) -> None:
        """``after`` was opened in place of ``before``."""
        self._versions[after.client_order_id] = _Version(before, after.intent.qty + self.filled_qty(before))
        self._next[before.client_order_id] = after
        while len(self._versions) > VERSIONS_KEPT:
            oldest = next(iter(self._versions))
            self._next.pop(self._versions.pop(oldest).before.client_order_id, None)

    def filled_qty(self, order: ManagedOrder) -> Decimal:
        """What this version and all before it have filled."""
        total = order.filled_qty
        version = self._versions.get(order.client_order_id)
        while version is not None:
            total += version.before.filled_qty
            version = self._versions.get(version.before.client_order_id)
        return total

    def surplus(self, order: ManagedOrder) -> tuple[ManagedOrder, Decimal] | None:
        """A version was filled although another had followed it: the newest one, and by how much all together have
        filled or may still fill more than was wanted.  None where nothing is too much."""
        newest = self._next.get(order.client_order_id)
        if newest is None:
            return None
        while (after := self._next.get(newest.client_order_id)) is not None:
            newest = after
        wanted_qty = self._versions[newest.client_order_id].total_qty
        open_qty = ZERO if newest.state in FINAL else newest.leaves_qty
        surplus_qty = self.filled_qty(newest) + open_qty - wanted_qty
        return (newest, surplus_qty) if surplus_qty > ZERO else None
