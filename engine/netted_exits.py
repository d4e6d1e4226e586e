"""Exits of a strategy whose position others hide in the account's: by an opposite one, or by orders that would turn
theirs.

Owns how such an exit leaves.  A venue, and risk, let an order that may only reduce close no more than the account
holds, and than other open orders leave of it: a strategy that is long 1 beside one that is short 1, or beside one whose
sale of 3 rests, could then never leave.  So what the account still has is closed first, by an order that may only
reduce; what is left, by one that may turn the account, into exactly what the others want, and that risk judges as such.
One that may rest stays what it is: what it would turn may have changed by then.
"""

from __future__ import annotations

from decimal import ROUND_DOWN, ROUND_UP, Decimal

import msgspec

from engine.commands import OrderIntent
from engine.instruments import Instrument
from engine.stakes import CLOSERS, EVERYONE
from engine.view import CoreView

_ROOM = Decimal("0.95")
"""The price may fall before the second part leaves."""


def unnet(intent: OrderIntent, view: CoreView) -> OrderIntent:
    """A strategy's reduce-only wish as it can leave; the same object in nearly all cases."""
    if not intent.reduce_only:
        return intent
    name, side = intent.instrument, intent.side
    is_buy = side > 0
    held_qty = view.position(name).qty
    account_qty = -held_qty if is_buy else held_qty
    left_qty = account_qty - view.open_qty(name, side)
    if intent.qty <= left_qty or intent.strategy in CLOSERS:
        return intent
    if intent.may_rest:
        return intent
    own_qty, books_qty = view.strategy_qty(intent.strategy, name), view.stake(EVERYONE, name).qty
    if is_buy:
        own_qty, books_qty = -own_qty, -books_qty
    try:
        rules = view.instrument(name)
    except KeyError:
        return intent
    # Where the account has less than the books, something is wrong that no order of ours mends.
    if account_qty < books_qty or not rules.can_short:
        return intent
    for order in view.open_orders(name):
        if order.side == side and order.strategy in (intent.strategy, EVERYONE, *CLOSERS):  # these may close it as well
            own_qty -= order.leaves_qty
    if intent.qty > own_qty:
        return intent
    least_qty = _least_qty(rules, view)
    most_qty = left_qty
    if intent.qty - left_qty < least_qty:  # no venue takes such a rest, which could then never leave
        most_qty = intent.qty - least_qty
    whole_qty = (most_qty / rules.lot_qty).to_integral_value(ROUND_DOWN) * rules.lot_qty
    if whole_qty >= least_qty:
        return msgspec.structs.replace(intent, qty=whole_qty)
    return msgspec.structs.replace(intent, reduce_only=False)


def _least_qty(rules: Instrument, view: CoreView) -> Decimal:
    """The smallest order that the venue takes, by its quantity and by what it is worth now."""
    least_qty, mark_px = max(rules.min_qty, rules.lot_qty), view.mark_px(rules.id)
    if mark_px is None or not rules.min_notional:
        return least_qty
    lot_worth = rules.worth_in_quote(rules.lot_qty, mark_px * _ROOM)
    if not lot_worth:
        return least_qty
    return max(least_qty, (rules.min_notional / lot_worth).to_integral_value(ROUND_UP) * rules.lot_qty)
