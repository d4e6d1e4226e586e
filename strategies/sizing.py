"""How much: from a wish in money to a quantity the venue takes.

Owns the two sizing rules and the rounding to a quantity.  Money here is float64 in the instrument's quote currency; the
door to Decimal is ``Instrument.quantity``, which rounds towards zero.
"""

from __future__ import annotations

import math
from decimal import Decimal

from engine.instruments import Instrument

ZERO = Decimal(0)


def fixed(notional: float, max_notional: float) -> float:
    """The same notional each time, never above the cap."""
    return min(notional, max_notional)


def volatility_target(
    notional: float, *, target_vol_bps: float, realised_vol_bps: float, vol_floor_bps: float, max_notional: float
) -> float:
    """``notional * target / realised``, so that each position risks alike, never above the cap.

    ``target_vol_bps`` and ``realised_vol_bps`` are over the same span.  A quiet market would ask for endless size: the
    realised figure counts as at least the floor.  Returns 0.0 (no trade) when it is not a finite number >= 0.

    >>> volatility_target(1000, target_vol_bps=5, realised_vol_bps=10, vol_floor_bps=1, max_notional=2000)
    500.0
    """
    if not (math.isfinite(realised_vol_bps) and realised_vol_bps >= 0.0):
        return 0.0
    return min(notional * target_vol_bps / max(realised_vol_bps, vol_floor_bps), max_notional)


def quantity_for(instrument: Instrument, notional: float, px: Decimal) -> Decimal:
    """Base units (contracts) worth at most ``notional`` (quote currency) at ``px``; 0 when that is too small."""
    price = float(px)
    if not (math.isfinite(notional) and notional > 0.0 and price > 0.0):
        return ZERO
    multiplier = float(instrument.multiplier)
    # An inverse contract is worth `multiplier` of the quote currency, whatever the price.
    raw = notional / multiplier if instrument.inverse else notional / (price * multiplier)
    qty = min(instrument.quantity(raw), floor_to_lot(instrument, instrument.max_qty))
    worth = qty * instrument.multiplier if instrument.inverse else instrument.notional(qty, px)
    if qty < instrument.min_qty or worth < instrument.min_notional:
        return ZERO
    return qty


def floor_to_lot(instrument: Instrument, qty: Decimal) -> Decimal:
    """The largest multiple of the lot that is not above ``qty`` (>= 0)."""
    return qty // instrument.lot_qty * instrument.lot_qty
