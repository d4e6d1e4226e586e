"""Whether an order keeps an instrument's published rules: steps, smallest and largest size, smallest notional.

Owns the arithmetic of the rules, in the venue's role.  The book (``engine``) takes any positive number; the shells
around it call this first.
"""

from __future__ import annotations

from decimal import Decimal

import msgspec

from connectors.matching.orders import is_positive, is_price
from engine.instruments import FULLY_PAID, Instrument


class Violation(msgspec.Struct, frozen=True):
    """Which field of the instrument was broken and how, in one line."""

    reason: str
    text: str


def violation(
    instrument: Instrument,
    *,
    qty: Decimal,
    limit_px: Decimal | None = None,
    trigger_px: Decimal | None = None,
    reference_px: Decimal | None = None,
    reduce_only: bool = False,
) -> Violation | None:
    """The first rule that an order of ``qty`` base units breaks, None when it keeps them all.

    ``reference_px`` values a market order.  An order that only reduces a position on margin may be below the smallest
    notional, as at the venues that have such positions: a remainder must be possible to close.
    """
    name = instrument.id
    if not is_positive(qty):
        return Violation("bad_qty", f"quantity {qty} of {name}; expected a positive number")
    for label, px in (("limit price", limit_px), ("trigger price", trigger_px)):
        if px is None:
            continue
        if not is_price(px, instrument):
            return Violation("bad_px", f"{label} {px} of {name}; expected a positive number")
        if px % instrument.tick_px:
            return Violation("tick_px", f"{label} {px} of {name}; expected a multiple of {instrument.tick_px}")
    if qty % instrument.lot_qty:
        return Violation("lot_qty", f"quantity {qty} of {name}; expected a multiple of {instrument.lot_qty}")
    if qty < instrument.min_qty:
        return Violation("min_qty", f"quantity {qty} of {name}; expected at least {instrument.min_qty}")
    if qty > instrument.max_qty:
        return Violation("max_qty", f"quantity {qty} of {name}; expected at most {instrument.max_qty}")
    px = limit_px if limit_px is not None else reference_px
    may_be_small = reduce_only and instrument.asset_class not in FULLY_PAID
    if px and not may_be_small and not instrument.inverse:
        notional = instrument.notional(qty, px)
        if notional < instrument.min_notional:
            expected = f"expected at least {instrument.min_notional} {instrument.quote}"
            return Violation("min_notional", f"notional {notional} of {name}; {expected}")
    return None
