"""Orders that become other orders: the old one is cancelled, and what is left of the new wish is sent when it is gone.

Owns which order follows which, and how much of a wish is left.  For every venue alike, where an order cannot be changed
in place (``engine.editing``): at no moment can both versions fill, so that nothing is held twice.  A fill of an old
version that comes late makes its successor smaller.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable
from decimal import Decimal

import msgspec

from engine.carried import CarriedVersions
from engine.commands import OrderIntent, ReplaceIntent
from engine.managed_order import ManagedOrder
from engine.order_states import FINAL

ZERO = Decimal(0)
VERSIONS_KEPT = 4096
"""Versions that are known as such; the oldest is forgotten first, and what it has filled still counts."""


class _Chain(msgspec.Struct, gc=False, eq=False):
    """The versions of one order: the newest, the quantity that all together were to fill, what all but the newest have
    filled, and how much of that is whose."""

    newest: ManagedOrder
    total_qty: Decimal = ZERO
    earlier_qty: Decimal = ZERO
    counted: dict[str, Decimal] = msgspec.field(default_factory=dict)


class Replacements:
    """Of one desk."""

    def __init__(self) -> None:
        self._wished: dict[str, ReplaceIntent] = {}
        self._chains: dict[str, _Chain] = {}  # by client order id of each version
        self._only_reducing: set[str] = set()

    def wish(self, intent: ReplaceIntent) -> None:
        """To be carried out when the order is gone; a later wish takes the place of an earlier one."""
        self._wished[intent.client_order_id] = intent

    def cap(self, order: ManagedOrder, left_qty: Decimal) -> None:
        """What follows the order, whose cancel is out, fills no more than that; with nothing left nothing follows."""
        wish = self._wished.get(order.client_order_id)
        most_qty = self.filled_qty(order) + left_qty
        if wish is not None and wish.qty > most_qty:
            self._wished[order.client_order_id] = msgspec.structs.replace(wish, qty=most_qty)

    def only_reduce(self, client_order_id: str) -> None:
        """What follows the order is to reduce only, although the order itself may turn the account
        (``engine.netted_exits``)."""
        self._only_reducing.add(client_order_id)

    def drop(self, client_order_id: str) -> None:
        """The order stays: its cancel was refused."""
        self._wished.pop(client_order_id, None)

    def clear(self) -> None:
        """Nothing follows any more: trading is halted or ends."""
        self._wished.clear()

    def take(self, order: ManagedOrder, now_ns: int) -> OrderIntent | None:
        """The order is gone: what is to follow it, None where nothing is left to do."""
        wish = self._wished.pop(order.client_order_id, None)
        only_reduces = order.intent.reduce_only or order.client_order_id in self._only_reducing
        self._only_reducing.discard(order.client_order_id)
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
            reduce_only=only_reduces,
            reason=wish.reason or order.intent.reason,
            parent_id=order.client_order_id,
        )

    def follow(self, before: ManagedOrder, after: ManagedOrder) -> None:
        """``after`` was opened in place of ``before``."""
        chain = self._chains.get(before.client_order_id)
        if chain is None:
            chain = self._chains[before.client_order_id] = _Chain(before)
        _count(chain, before)
        chain.newest, chain.total_qty = after, after.intent.qty + chain.earlier_qty
        self._chains[after.client_order_id] = chain
        while len(self._chains) > VERSIONS_KEPT:
            oldest = next(iter(self._chains))
            self._chains.pop(oldest).counted.pop(oldest, None)

    def filled_qty(self, order: ManagedOrder) -> Decimal:
        """What an order has filled, and all versions before it where it is the newest."""
        chain = self._chains.get(order.client_order_id)
        return order.filled_qty if chain is None or chain.newest is not order else order.filled_qty + chain.earlier_qty

    def has(self, client_order_id: str) -> bool:
        """Whether it has followed another order, or another has followed it."""
        return client_order_id in self._chains

    def was_followed(self, client_order_id: str) -> bool:
        """Whether another order is in its place."""
        chain = self._chains.get(client_order_id)
        return chain is not None and chain.newest.client_order_id != client_order_id

    def surplus(self, order: ManagedOrder) -> tuple[ManagedOrder, Decimal] | None:
        """A version has filled: the newest, and by how much all together have filled or may still fill more than was
        wanted.  None where nothing is too much."""
        chain = self._chains.get(order.client_order_id)
        if chain is None:
            return None
        if chain.newest is not order:
            _count(chain, order)
        return _surplus_of(chain)

    def surpluses(self) -> list[tuple[ManagedOrder, Decimal]]:
        """The same of all."""
        chains = {id(chain): chain for chain in self._chains.values()}
        return [found for chain in chains.values() if (found := _surplus_of(chain)) is not None]

    def accept(self, newest: ManagedOrder, qty: Decimal) -> None:
        """So much was filled too much, and is told: it is told once, also where a next session looks again."""
        chain = self._chains.get(newest.client_order_id)
        if chain is not None:
            chain.total_qty += qty

    def accept_all(self) -> None:
        """An operator has gone on with what all have filled too much so far."""
        for newest, surplus_qty in self.surpluses():
            self.accept(newest, max(surplus_qty - open_qty(newest), ZERO))

    # --- from one session to the next -------------------------------------------------------------------------------

    def carried(self, known: Container[str]) -> tuple[CarriedVersions, ...]:
        """Versions of orders that a next session knows (``known``, by client order id)."""
        chains = {id(chain): chain for chain in self._chains.values()}
        return tuple(
            [
                CarriedVersions(
                    chain.newest.client_order_id,
                    chain.total_qty,
                    chain.earlier_qty,
                    tuple([(name, qty) for name, qty in chain.counted.items() if name in known]),
                )
                for chain in chains.values()
                if chain.newest.client_order_id in known
            ]
        )

    def restore(self, carried: Iterable[CarriedVersions], get: Callable[[str], ManagedOrder | None]) -> None:
        """After the orders.  What old versions fill from then on makes the newest smaller, as before."""
        for one in carried:
            newest = get(one.newest)
            if newest is not None:
                chain = _Chain(newest, one.total_qty, one.earlier_qty, dict(one.earlier))
                self._chains.update(dict.fromkeys((*chain.counted, one.newest), chain))


def _count(chain: _Chain, order: ManagedOrder) -> None:
    """What it has filled is part of what the older versions have."""
    name, filled_qty = order.client_order_id, order.filled_qty
    chain.earlier_qty += filled_qty - chain.counted.get(name, ZERO)
    chain.counted[name] = filled_qty


def open_qty(order: ManagedOrder) -> Decimal:
    """What it may still fill."""
    return ZERO if order.state in FINAL else order.leaves_qty


def _surplus_of(chain: _Chain) -> tuple[ManagedOrder, Decimal] | None:
    newest = chain.newest
    surplus_qty = chain.earlier_qty + newest.filled_qty + open_qty(newest) - chain.total_qty
    return (newest, surplus_qty) if surplus_qty > ZERO else None
