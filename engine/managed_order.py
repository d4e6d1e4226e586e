"""One order of ours: what is known of it, and the forms in which it is told.

Owns the record, how an order begins that somebody else has made, and its pictures: for strategies and risk, and for the
next session.  Who writes it is ``engine.orders``.
"""

from __future__ import annotations

from decimal import Decimal

import msgspec

from engine.carried import CarriedOrder
from engine.commands import NewOrder, NewOrderWithExits, OrderIntent, OrderType, ReplaceOrder, TimeInForce
from engine.events import OrderAttached, OrderFound, Side
from engine.order_states import OrderState
from engine.ports import OpenOrder

ZERO = Decimal(0)
EXTERNAL = ""
"""Strategy of orders that nobody here has sent."""
_HELD = OrderState.HELD
_TOUCH = OrderType.MARKET_IF_TOUCHED


class ManagedOrder(msgspec.Struct, gc=False, eq=False):
    """One order of ours; written by ``OrderManager`` alone.  ``new`` and ``intent`` are the version of it that the
    venue has shown last."""

    new: NewOrder
    intent: OrderIntent
    opened_ns: int
    reserved: dict[str, Decimal]
    """Open quantities of its side by instrument; ``reserved_qty`` of them is its own."""
    reserved_qty: Decimal
    state: OrderState = _HELD
    venue_order_id: str = ""
    filled_qty: Decimal = ZERO
    avg_px: Decimal = ZERO
    picture: OpenOrder | None = None
    """What ``describe`` made of the present state."""
    cancel_sent: bool = False
    """A cancel is out that was not refused."""
    cancel_asked_ns: int = 0
    """When the last one went out; 0: none yet."""
    overfilled: bool = False
    acknowledged: bool = False
    """The venue has said that it has the order."""
    trade_ids: tuple[str, ...] = ()
    """Of the fills that are booked in it."""
    edit: ReplaceOrder | None = None
    """A change that is under way, or of unknown outcome."""

    @property
    def client_order_id(self) -> str:
        return self.new.client_order_id

    @property
    def most_qty(self) -> Decimal:
        """What it may fill in all: the larger quantity of two versions."""
        qty, edit = self.intent.qty, self.edit
        return qty if edit is None or edit.qty < qty else edit.qty

    @property
    def leaves_qty(self) -> Decimal:
        leaves_qty = (self.intent.qty if self.edit is None else self.most_qty) - self.filled_qty
        return leaves_qty if leaves_qty > ZERO else ZERO

    @property
    def brings_exits(self) -> bool:
        """Whether the venue makes an exit for what it fills."""
        return isinstance(self.new, NewOrderWithExits)


def found_order(found: OrderFound) -> NewOrder:
    """An order that nobody here has sent, as if it had been."""
    intent = OrderIntent(
        found.ts_event_ns,
        EXTERNAL,
        found.instrument,
        found.side,
        found.qty,
        OrderType.MARKET if found.limit_px is None else OrderType.LIMIT,
        found.limit_px,
        TimeInForce.GTC,
    )
    return NewOrder(found.ts_recv_ns, found.client_order_id, found.venue, intent)


def attached_order(event: OrderAttached, entry: ManagedOrder | None) -> NewOrder:
    """The exit that the venue has made for an entry, as if the entry's strategy had sent it; nobody's where that is not
    known any more (None)."""
    intent = OrderIntent(
        event.ts_event_ns,
        EXTERNAL if entry is None else entry.intent.strategy,
        event.instrument,
        event.side,
        event.qty,
        OrderType.BRACKET,
        event.limit_px,
        TimeInForce.GTC,
        reduce_only=True,
        reason="came with its entry",
        parent_id="" if entry is None else entry.intent.parent_id,
        trigger_px=event.trigger_px,
    )
    return NewOrder(event.ts_recv_ns, event.client_order_id, event.venue, intent)


def has_booked(order: ManagedOrder | None, trade_id: str) -> bool | None:
    """Whether an execution counts in its order; None where nobody can say: the order is not known, or it is somebody
    else's that had filled before it was found."""
    if order is None:
        return None
    if trade_id in order.trade_ids:
        return True
    return None if order.intent.strategy == EXTERNAL and order.filled_qty else False


def carry(order: ManagedOrder) -> CarriedOrder:
    """What a next session needs to go on with it."""
    return CarriedOrder(
        order.new, order.state.value, order.venue_order_id, order.filled_qty, order.avg_px, order.trade_ids, order.edit
    )


def describe_each(orders: list[ManagedOrder]) -> tuple[OpenOrder, ...]:
    return tuple([order.picture or describe(order) for order in orders])


def describe(order: ManagedOrder) -> OpenOrder:
    """The read-only picture of an order that strategies and risk see."""
    intent, edit = order.intent, order.edit
    picture = order.picture = OpenOrder(
        order.client_order_id,
        intent.strategy,
        intent.instrument,
        Side(intent.side),
        intent.qty if edit is None else order.most_qty,
        order.leaves_qty,
        intent.limit_px,
        order.state._value_,  # ``value`` is a slow look-up in CPython 3.11
        intent.reduce_only,
        order.opened_ns,
        intent.trigger_px,
        intent.order_type is _TOUCH,
        None if edit is None or edit.limit_px == intent.limit_px else edit.limit_px,
    )
    return picture
