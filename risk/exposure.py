"""Worst-case exposure of the account in portfolio currency, with one order more.

Owns the arithmetic from a view to gross and net exposure.  Does not compare anything with a limit (``risk.checks``).

Formulas, per instrument i with signed position p, open quantities b (buys) and s (sells), mark m and currency rate r:

- longest it can become: ``up = (p + b) * unit``; shortest: ``down = (p - s) * unit``, where ``unit`` is the worth of
  one base unit, ``Instrument.notional(1, px) * r``;
- px is the mark, or the worst limit price among the open orders of that direction where that is worth more; a market
  order counts as priced at the mark plus the collar;
- gross = sum of ``max(|up|, |down|)``; net = the larger of ``sum(up)`` and ``-sum(down)`` for the direction judged.

An open order that is final nowhere (unknown outcome included) is part of b or s: unknown holds its risk.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import msgspec

from engine.events import Side
from engine.instruments import Instrument
from engine.ports import OpenOrder, View

ZERO = Decimal(0)
ONE = Decimal(1)


class UnknownValueError(Exception):
    """A price or rate that exposure needs is not known.  Carries the check's name and what is missing."""

    def __init__(self, check: str, seen: str) -> None:
        super().__init__(check, seen)
        self.check = check
        self.seen = seen


class Exposure(msgspec.Struct, frozen=True, gc=False):
    """Portfolio currency.  ``order`` is the new order alone, ``position`` its instrument in the order's direction,
    ``gross`` and ``net`` the account; ``net`` counts the order's direction positive."""

    order: Decimal
    position: Decimal
    gross: Decimal
    net: Decimal


def known_mark(view: View, instrument: Instrument) -> Decimal:
    """The mark price, finite and of the sign the instrument allows.  Raises ``UnknownValueError``."""
    mark_px = view.mark_px(instrument.id)
    if mark_px is None or not mark_px.is_finite() or (mark_px <= ZERO and not instrument.allows_negative_px):
        raise UnknownValueError("no_price", f"{instrument.id} mark {mark_px}")
    return mark_px


def known_rate(view: View, instrument: Instrument) -> Decimal:
    """Portfolio currency for one unit of settlement currency.  Raises ``UnknownValueError``."""
    rate = view.rate(instrument.settlement)
    if rate is None or not rate.is_finite() or rate <= ZERO:
        raise UnknownValueError("rate_unknown", f"{instrument.settlement} rate {rate}")
    return rate


def worst_unit(
    instrument: Instrument, limit_pxs: Sequence[Decimal | None], mark_px: Decimal, rate: Decimal, market_factor: Decimal
) -> Decimal:
    """Largest worth of one base unit at the mark or at any of the limit prices (None: a market order)."""
    unit = abs(instrument.notional(ONE, mark_px))
    for limit_px in limit_pxs:
        if limit_px is None:
            # factor >= 1: the worst price is above the mark, for an inverse contract (worth 1 / px) below it.
            worth = abs(instrument.notional(ONE, mark_px)) * market_factor
        else:
            worth = abs(instrument.notional(ONE, limit_px))
        unit = max(unit, worth)
    return unit * rate


def worst_case(
    view: View,
    instrument: Instrument,
    *,
    side: Side,
    qty: Decimal,
    limit_px: Decimal | None,
    orders: Sequence[OpenOrder],
    market_factor: Decimal,
) -> Exposure:
    """Exposure if this order and every open one fills.  ``orders``: all open orders of the account.

    Raises ``UnknownValueError`` when a price or rate of anything held, open or wanted is missing.
    """
    target = instrument.id
    mark_px, rate = known_mark(view, instrument), known_rate(view, instrument)
    order_unit = worst_unit(instrument, (limit_px,), mark_px, rate, market_factor)
    busy = {order.instrument for order in orders} if orders else ()
    gross = net = position = ZERO
    counted = False
    for name in view.instruments():
        held = view.position(name).qty
        wanted = name == target
        if not wanted and held == ZERO and name not in busy:
            continue
        if wanted:
            rules, px, currency_rate = instrument, mark_px, rate
        else:
            rules = view.instrument(name)
            px, currency_rate = known_mark(view, rules), known_rate(view, rules)
        ahead = held * side
        with_order = ahead + qty if wanted else ahead
        against = ahead
        unit = against_unit = plain = abs(rules.notional(ONE, px)) * currency_rate
        if name in busy:
            with_order += view.open_qty(name, side)
            against -= view.open_qty(name, side.opposite)
            ours = [order.limit_px for order in orders if order.instrument == name and order.side == side]
            theirs = [order.limit_px for order in orders if order.instrument == name and order.side != side]
            unit = worst_unit(rules, ours, px, currency_rate, market_factor)
            against_unit = worst_unit(rules, theirs, px, currency_rate, market_factor)
        if wanted:
            unit = max(unit, order_unit)
        # What offsets is counted at the mark: a better price of an order that may not fill must not hide risk.
        directed = with_order * (unit if with_order > ZERO else plain)
        opposed = against * (against_unit if against < ZERO else plain)
        net += directed
        gross += max(abs(directed), abs(opposed))
        if wanted:
            position = directed
            counted = True
    if not counted:
        raise UnknownValueError("instrument", f"{target} is not among the view's instruments")
    return Exposure(order_unit * qty, position, gross, net)
