"""Which orders a venue takes, and what stands in for one that it does not.

Owns the substitutes for times in force.  Stops, brackets and trailing orders that a venue lacks are ``engine.groups``'.
"""

from __future__ import annotations

import msgspec

from engine.commands import OrderIntent, OrderType, TimeInForce

# Enum members are slow to reach through their class in CPython 3.11; this is on the way of an order.
_MARKET, _LIMIT, _STOP_LIMIT = OrderType.MARKET, OrderType.LIMIT, OrderType.STOP_LIMIT
_GTC, _IOC, _GTD = TimeInForce.GTC, TimeInForce.IOC, TimeInForce.GTD


class Offer(msgspec.Struct, frozen=True):
    """``kinds``: what the venue takes as it is.  Brackets and stops among them rest there; others are watched here.

    ``entries``: those of them that may bring a bracket with them, which the venue places for what they fill.
    ``edits``: those of which it changes price and quantity in place (``engine.editing``).

    Two more it may hold for an exit of a group, which the core goes on with where they end: ``trails``, a trailing stop
    that follows by itself; ``bounds_stops``, a stop that trades at its limit or better or is given up, in place of a
    stop-limit.
    """

    kinds: frozenset[tuple[OrderType, TimeInForce]]
    entries: frozenset[tuple[OrderType, TimeInForce]] = frozenset()
    trails: bool = False
    bounds_stops: bool = False
    edits: frozenset[tuple[OrderType, TimeInForce]] = frozenset()

    def takes(self, order_type: OrderType, time_in_force: TimeInForce) -> bool:
        return (order_type, time_in_force) in self.kinds

    def attaches_to(self, entry: OrderIntent) -> bool:
        """Whether the venue takes a bracket with this entry."""
        return (entry.order_type, entry.time_in_force) in self.entries

    def holds(self, wish: OrderIntent) -> bool:
        """Whether an exit of a group can rest at the venue as it is."""
        if wish.trailing_px is not None:
            return self.trails
        return self.takes(wish.order_type, _GTC) or (
            wish.order_type is _STOP_LIMIT and self.bounds_stops and wish.reduce_only
        )

    def substitute(self, intent: OrderIntent) -> OrderIntent | None:
        """The order to send for ``intent``; None when nothing that the venue takes does the same.

        Immediate-or-cancel and good-till-date become good-till-cancelled with an ``expire_ns``, at which the desk
        cancels them.  All-or-nothing cannot be had by cancelling.
        """
        kind, tif = intent.order_type, intent.time_in_force
        if intent.trailing_px is not None:
            return intent if self.trails else None
        if self.takes(kind, tif) or (tif is _GTC and intent.parent_id and self.holds(intent)):
            return intent
        if kind is _MARKET or not self.takes(kind, _GTC):
            return None
        if tif is _IOC:
            return msgspec.structs.replace(intent, time_in_force=_GTC, expire_ns=intent.ts_ns)
        if tif is _GTD:
            return msgspec.structs.replace(intent, time_in_force=_GTC)
        return None


ALL_PLAIN = Offer(
    frozenset(
        {(_LIMIT, tif) for tif in TimeInForce}
        | {(_MARKET, tif) for tif in TimeInForce}
        | {(OrderType.STOP_LIMIT, _GTC), (OrderType.STOP_LIMIT, _GTD)}
    )
)
"""A venue of which nothing is said: everything but stops at market, brackets and trailing orders."""
