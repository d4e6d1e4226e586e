"""Whether two orders of ours could trade with each other: pure comparisons of sides and prices."""

from __future__ import annotations

from decimal import Decimal

from engine.arithmetic import plain
from engine.commands import EXIT_WAITS, OrderIntent
from engine.events import Side
from engine.ports import OpenOrder
from risk.checks import ZERO, Finding


def check_self_trade(
    intent: OrderIntent, orders: tuple[OpenOrder, ...], mark_px: Decimal, market_factor: Decimal
) -> Finding | None:
    """No entry that could trade with an order of ours.  ``orders``: the open ones of the account; ``market_factor``:
    see ``reach_px``, for an order at market."""
    side, px, name = intent.side, intent.limit_px, intent.instrument
    if px is None:
        px = reach_px(side, mark_px, market_factor)
    for order in orders:
        if order.side == side or order.instrument != name or not would_trade(side, px, order):
            continue
        if waits_for_price(order, mark_px):
            continue
        if order.limit_px is None and intent.limit_px is not None:
            return (EXIT_WAITS, f"{order.client_order_id} at market", "no order of ours in the way")
        return ("self_trade", f"{order.client_order_id} at {plain(order.limit_px)}", "no order of ours in the way")
    return None


def waits_for_price(order: OpenOrder, mark_px: Decimal) -> bool:
    """Whether it waits for a price that has not come: it is in no book.  A bracket is: at its target."""
    trigger_px, limit_px = order.trigger_px, order.limit_px
    if trigger_px is None or (limit_px is not None and (limit_px - trigger_px) * int(order.side) < ZERO):
        return False
    beyond_px = (mark_px - trigger_px) * int(order.side)
    return beyond_px > ZERO if order.touches else beyond_px < ZERO


def reach_px(side: Side, mark_px: Decimal | None, market_factor: Decimal) -> Decimal | None:
    """How far an order at market is held to go: ``market_factor`` times the mark, as far below it for a sell; None: any
    distance, while nobody knows the price or it has no share to slip by."""
    if mark_px is None or not mark_px.is_finite() or mark_px <= ZERO:
        return None
    return mark_px * (market_factor if side > 0 else 2 - market_factor)


def would_trade(side: Side, px: Decimal | None, order: OpenOrder) -> bool:
    """Whether an order at ``px`` could trade with this one of the other side, at either price of one that is being
    changed."""
    if would_meet(side, px, order.limit_px):
        return True
    return order.other_px is not None and would_meet(side, px, order.other_px)


def would_meet(side: Side, px: Decimal | None, other_px: Decimal | None) -> bool:
    """Whether an order at ``px`` could trade with one of the other side at ``other_px``; None: at any price."""
    return px is None or other_px is None or (px >= other_px if side > 0 else px <= other_px)
