"""Which order stands for an exit of a group: the one that rests, the one that goes when its price was reached, and what
follows where that closes nothing.

Owns the ladder: as it was asked for, across the spread, at market.  When an order is due is ``engine.grouping``'s.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec

from engine.commands import OrderIntent, OrderType, RiskState, TimeInForce
from engine.events import TradingStatus
from engine.groups import BOTH, NONE, ZERO, Exit, Group
from engine.instruments import AssetClass, Instrument
from engine.offers import Offer
from engine.venues import Restriction
from engine.view import CoreView

CROSSINGS = 2
"""Orders across the spread before one at market."""
SLIP_BPS = Decimal(10)
"""How far beyond the touch those go."""
_BPS = Decimal(10_000)


def resting_exit(group: Group, offer: Offer, risk_state: RiskState, unfit: frozenset[int] = frozenset()) -> int | None:
    """Which exit is to be at the venue as long as no price was reached, none of the ``unfit``; None: all of them wait
    here."""
    if risk_state is RiskState.HALTED:
        return None
    if BOTH not in unfit and target_and_stop(group) is not None and offer.takes(OrderType.BRACKET, TimeInForce.GTC):
        return BOTH
    for index, one in enumerate(group.exits):
        if index not in unfit and one.level_px is not None and offer.holds(one.intent):
            return index
    return None


def exit_order(group: Group, index: int, qty: Decimal, view: CoreView) -> OrderIntent:
    """The order for an exit, further up the ladder with each one that closed nothing."""
    if index == BOTH:
        found = target_and_stop(group)
        assert found is not None
        target, stop = found
        trigger_px = stop.intent.trigger_px
        return _made(group, target.intent, qty, view, order_type=OrderType.BRACKET, trigger_px=trigger_px)
    one = group.exits[index]
    wish = one.intent
    if group.fired == NONE:
        if wish.trailing_px is None or one.level_px is None:
            return _made(group, wish, qty, view)
        # Where it acts now is told with it, on the grid: whoever looks at the order sees a stop that waits.
        level_px = one.level_px - one.level_px % view.instrument(wish.instrument).tick_px
        return _made(group, wish, qty, view, trailing_px=wish.trailing_px, trigger_px=level_px)
    halted = view.risk_state is RiskState.HALTED
    reason = wish.reason or f"{wish.order_type.value} at {one.level_px}"
    touched = wish.order_type is OrderType.MARKET_IF_TOUCHED
    if not one.is_stop and not touched:
        tif = TimeInForce.IOC if halted or _is_hidden(wish, qty, view) else TimeInForce.GTC
        return _made(group, wish, qty, view, time_in_force=tif, reason=reason)
    stop_limit = wish.order_type is OrderType.STOP_LIMIT
    if stop_limit and (not group.reduce_only or (not group.attempts and not halted)):
        return _made(group, wish, qty, view, order_type=OrderType.LIMIT, trigger_px=None, reason=reason)
    crosses = stop_limit and group.attempts <= CROSSINGS
    limit_px = _crossing_px(wish, view) if crosses or _takes_limits_only(wish, view) else None
    return _made(
        group,
        wish,
        qty,
        view,
        order_type=OrderType.MARKET if limit_px is None else OrderType.LIMIT,
        limit_px=limit_px,
        trigger_px=None,
        time_in_force=TimeInForce.IOC,
        reason=reason,
    )


def exit_of(group: Group, intent: OrderIntent) -> int:
    """Which exit an order was sent for, as its form tells."""
    if intent.order_type is OrderType.BRACKET:
        return BOTH
    if group.fired != NONE:
        return group.fired
    form = _form(intent)
    for index, one in enumerate(group.intent.exits):
        if _form(one) == form:
            return index
    return NONE


def _form(one: OrderIntent) -> tuple[object, ...]:
    """What tells an exit from another one; where a trailing one acts moves."""
    trails = one.trailing_px is not None
    return (one.order_type, one.limit_px, one.trailing_px if trails else one.trigger_px, trails)


def target_and_stop(group: Group) -> tuple[Exit, Exit] | None:
    """The two exits that a venue's bracket order is made of; None where it would be something else."""
    if len(group.exits) != 2 or not group.reduce_only:
        return None
    target, stop = sorted(group.exits, key=lambda one: one.is_stop)
    fits = (
        target.intent.order_type is OrderType.LIMIT
        and stop.intent.order_type is OrderType.STOP
        and stop.intent.trailing_px is None
    )
    return (target, stop) if fits else None


def attached_prices(group: Group, offer: Offer, rules: Instrument) -> tuple[Decimal, Decimal] | None:
    """Target and stop that the venue is to place itself for what the entry fills; None where it cannot.

    On spot alone: there an exit that meets another one finds nothing left to sell, whatever the venue does.
    """
    entry, found = group.intent.entry, target_and_stop(group)
    if entry is None or found is None or rules.asset_class is not AssetClass.SPOT or not offer.attaches_to(entry):
        return None
    target, stop = found[0].intent, found[1].intent
    if target.time_in_force is not TimeInForce.GTC or stop.time_in_force is not TimeInForce.GTC:
        return None  # the one that the venue makes ends with nobody but us
    assert target.limit_px is not None
    assert stop.trigger_px is not None
    return target.limit_px, stop.trigger_px


def _made(group: Group, wish: OrderIntent, qty: Decimal, view: CoreView, **changes: Any) -> OrderIntent:
    fields = {"time_in_force": TimeInForce.GTC, "trailing_px": None, **changes}
    return msgspec.structs.replace(wish, ts_ns=view.now_ns, qty=qty, parent_id=group.group_id, expire_ns=None, **fields)


def _is_hidden(wish: OrderIntent, qty: Decimal, view: CoreView) -> bool:
    """Whether what others have open leaves less of the account's position than that.  An order that rests could then
    never leave, one that is gone at once can (``engine.netted_exits``)."""
    name, side = wish.instrument, wish.side
    left_qty = view.position(name).qty * -side - view.open_qty(name, side)
    return wish.reduce_only and left_qty < qty and view.instrument(name).can_short


def _takes_limits_only(wish: OrderIntent, view: CoreView) -> bool:
    """In an auction, for example: then a stop goes as far beyond the touch as if it crossed."""
    why = view.tradable(wish.instrument)
    return isinstance(why, Restriction) and why.status is TradingStatus.LIMIT_ONLY


def _crossing_px(wish: OrderIntent, view: CoreView) -> Decimal | None:
    """A little beyond the other side's best price; None where there is none."""
    rules: Instrument = view.instrument(wish.instrument)
    top = view.top(wish.instrument)
    if top is None or not top.is_readable:
        return None
    touch_px = rules.price(top.ask_px if wish.side > 0 else top.bid_px, wish.side)
    slip_px = abs(touch_px) * SLIP_BPS / _BPS
    px = touch_px + (slip_px - slip_px % rules.tick_px) * int(wish.side)
    return px if px > ZERO or rules.allows_negative_px else None
