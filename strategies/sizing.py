"""How much: from a wish in money to a quantity the venue takes.

Owns the sizing rules and the rounding to a quantity.  Money here is float64 in the instrument's quote currency; the
door to Decimal is ``Instrument.quantity``, which rounds towards zero.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
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


def kelly_of_bet(probability: float, payoff: float) -> float:
    """Share of capital that makes it grow fastest, for a bet that wins ``payoff`` times its stake or loses the stake:
    ``p - (1 - p) / payoff``.  0.0 (no trade) where that is negative or cannot be computed.

    Formula: J. L. Kelly, "A New Interpretation of Information Rate", Bell System Technical Journal 35 (1956), 917-926.

    >>> kelly_of_bet(0.6, 1.0)
    0.19999999999999996
    """
    if not (0.0 <= probability <= 1.0 and math.isfinite(payoff) and payoff > 0.0):
        return 0.0
    return max(probability - (1.0 - probability) / payoff, 0.0)


def kelly_of_return(mean: float, volatility: float) -> float:
    """The same for a return of ``mean`` and standard deviation ``volatility`` (both as fractions, over one span):
    ``mean / volatility ** 2``, the limit for small returns.

    Formula: E. O. Thorp, "The Kelly Criterion in Blackjack, Sports Betting, and the Stock Market", Handbook of Asset
    and Liability Management 1 (2006), section 7.

    >>> round(kelly_of_return(0.001, 0.1), 6)
    0.1
    """
    if not (math.isfinite(mean) and math.isfinite(volatility) and mean > 0.0 and volatility > 0.0):
        return 0.0
    square = volatility * volatility
    return mean / square if square > 0.0 else 0.0


def kelly(best: float, equity: float, *, fraction: float, cap: float, max_notional: float) -> float:
    """Notional of ``fraction`` of the best share of ``equity``, never above ``cap`` of equity nor ``max_notional``.

    The full share assumes that the odds are known exactly; they are estimates, hence a fraction (MacLean, Thorp and
    Ziemba, "Good and bad properties of the Kelly criterion", Quantitative Finance 10 (2010), 681-687).

    >>> kelly(0.2, 10_000.0, fraction=0.25, cap=0.1, max_notional=2_000.0)
    500.0
    """
    if not (math.isfinite(best) and math.isfinite(equity) and best > 0.0 and equity > 0.0):
        return 0.0
    return min(equity * min(best * fraction, cap), max_notional)


def risk_parity(volatilities: Mapping[str, float], *, vol_floor: float) -> dict[str, float]:
    """Weights (sum 1) by which each instrument adds the same risk: ``(1 / vol_i) / sum(1 / vol_j)``.

    Exact where all pairs correlate alike: S. Maillard, T. Roncalli and J. Teiletche, "The Properties of Equally
    Weighted Risk Contribution Portfolios", Journal of Portfolio Management 36 (2010), 60-70.  A volatility counts as at
    least ``vol_floor`` (> 0).  Empty (no trade) when one is not a finite number >= 0: a share of an unknown whole is
    unknown.

    >>> risk_parity({"a": 0.01, "b": 0.03}, vol_floor=0.001)
    {'a': 0.75, 'b': 0.25}
    """
    if not all(math.isfinite(vol) and vol >= 0.0 for vol in volatilities.values()):
        return {}
    inverse = {name: 1.0 / max(vol, vol_floor) for name, vol in volatilities.items()}
    total = sum(inverse.values())
    return {name: one / total for name, one in inverse.items()}


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
