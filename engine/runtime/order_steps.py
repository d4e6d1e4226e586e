"""How an order may go on from one look at it to the next (I6): pure."""

from __future__ import annotations

from decimal import Decimal
from typing import NamedTuple

from engine.managed_order import ManagedOrder
from engine.order_states import FINAL, TABLE, Happening, OrderState

_GROWN = TABLE[OrderState.FILLED, Happening.GROW]
_AFTER_GROWTH = {_GROWN} | {after for (state, _), after in TABLE.items() if state is _GROWN}


class Seen(NamedTuple):
    """What an order was when it was looked at."""

    state: OrderState
    filled_qty: Decimal
    qty: Decimal


def see(order: ManagedOrder) -> Seen:
    return Seen(order.state, order.filled_qty, order.most_qty)


def find_backward_step(before: Seen, after: Seen) -> str:
    """What no order may do; empty when it has done none of that.

    Executed quantity never shrinks.  An ended order stays ended, but for one that was said to have never arrived, and
    for one that had filled as far as was known, of which the venue shows a larger version: it lives on, and
    what comes next may come in the same moment.
    """
    if after.filled_qty < before.filled_qty:
        return f"its filled quantity went from {before.filled_qty} to {after.filled_qty}"
    if before.state not in FINAL or before.state is OrderState.REJECTED:
        return ""
    has_grown = before.state is OrderState.FILLED and after.qty > before.qty and after.qty > after.filled_qty
    if after.state in (before.state, OrderState.FILLED, *(_AFTER_GROWTH if has_grown else ())):
        return ""
    return f"it went from {before.state} to {after.state}"
