"""What a position cost and what closing a part of it earned: average-cost accounting, in settlement currency.

Owns the arithmetic alone; who keeps books by it is ``engine.portfolio`` and ``engine.stakes``.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Protocol

from engine.instruments import Instrument

ZERO = Decimal(0)


class Held(Protocol):
    """What a trade changes: signed quantity, average entry price, realised profit (settlement currency)."""

    qty: Decimal
    avg_px: Decimal
    realised: Decimal


def profit(instrument: Instrument, qty: Decimal, entry_px: Decimal, exit_px: Decimal) -> Decimal:
    """Profit in settlement currency of a signed quantity carried from ``entry_px`` to ``exit_px``.

    Inverse contracts settle in base: ``qty * multiplier * (1/entry - 1/exit)``.
    """
    if instrument.inverse:
        return qty * instrument.multiplier * (1 / entry_px - 1 / exit_px)
    return qty * instrument.multiplier * (exit_px - entry_px)


def trade(held: Held, instrument: Instrument, signed_qty: Decimal, px: Decimal) -> Decimal:
    """Average-cost update by one trade; returns the realised profit of what it closed."""
    before = held.qty
    after = before + signed_qty
    realised = ZERO
    if before == ZERO or (before > ZERO) == (signed_qty > ZERO):
        held.avg_px = _average(instrument, before, held.avg_px, signed_qty, px)
    else:
        closed = -signed_qty if abs(signed_qty) <= abs(before) else before
        realised = profit(instrument, closed, held.avg_px, px)
        held.realised += realised
        if after == ZERO:
            held.avg_px = ZERO
        elif (after > ZERO) != (before > ZERO):
            held.avg_px = px
    held.qty = after
    return realised


def _average(instrument: Instrument, qty: Decimal, avg_px: Decimal, added_qty: Decimal, px: Decimal) -> Decimal:
    if ZERO in (qty, avg_px):
        return px
    total = qty + added_qty
    if instrument.inverse:
        return total / (qty / avg_px + added_qty / px)
    return (avg_px * qty + px * added_qty) / total
