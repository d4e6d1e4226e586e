"""Can an account fact be booked?  Pure tests at the entry of the core; market events are judged by ``engine.quality``.

A defect is a short reason that becomes a metric label, so the set is closed: ``not_finite``, ``not_positive``,
``bad_size``, ``too_large``, ``unknown_instrument`` and ``conflict``.  A fact that cannot be booked halts
(``engine.core``): money moved, and we cannot say how much.
"""

from __future__ import annotations

from decimal import Decimal

from engine.events import OrderFilled
from engine.instruments import Instrument

_HUGE = Decimal("1e24")
"""No quantity, price or balance is as large; sums and products below it stay exact enough to be money."""


def fill_defect(fill: OrderFilled, instrument: Instrument | None) -> str:
    """Empty when the execution can be booked.  ``instrument`` is None when it was never defined."""
    if instrument is None:
        return "unknown_instrument"
    qty, px = fill.qty, fill.px
    defect = amounts_defect(qty, px, fill.fee)
    if defect:
        return defect
    if qty <= 0:
        return "bad_size"
    if px <= 0 and not instrument.allows_negative_px:
        return "not_positive"
    return ""


def amounts_defect(*amounts: Decimal) -> str:
    """Empty when each amount of money or quantity is a number that arithmetic can bear."""
    for amount in amounts:
        if not amount.is_finite():
            return "not_finite"
        if abs(amount) >= _HUGE:
            return "too_large"
    return ""
