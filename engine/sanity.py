"""Is an event fit to be believed?  Pure tests at the entry of the core; what fails is counted and stops there.

A defect is a short reason that becomes a metric label, so the set is closed: ``not_finite``, ``not_positive``,
``crossed``, ``bad_size`` and, for account facts, ``too_large`` and ``unknown_instrument``.  A bad market event is
dropped; an account fact that cannot be booked also halts (``engine.core``): money moved, and we cannot say how much.
"""

from __future__ import annotations

from decimal import Decimal
from math import inf

from engine.events import Bar, OrderFilled, Quote, Trade
from engine.instruments import Instrument

_HUGE = Decimal("1e24")
"""No quantity, price or balance is as large; sums and products below it stay exact enough to be money."""


def quote_defect(quote: Quote, instrument: Instrument) -> str:
    """Empty when the quote is usable.  A locked quote (bid equals ask) is usable for features; risk blocks entries."""
    bid_px = quote.bid_px
    ask_px = quote.ask_px
    # One chained comparison rejects NaN, infinities and a wrong sign at once: NaN compares false.
    if not 0.0 < bid_px <= ask_px < inf and not (instrument.allows_negative_px and -inf < bid_px <= ask_px < inf):
        return _price_defect(bid_px, ask_px)
    if instrument.has_quote_sizes and not (0.0 < quote.bid_qty < inf and 0.0 < quote.ask_qty < inf):
        return "bad_size"
    return ""


def _price_defect(bid_px: float, ask_px: float) -> str:
    if not (-inf < bid_px < inf and -inf < ask_px < inf):
        return "not_finite"
    if bid_px <= 0.0 or ask_px <= 0.0:
        return "not_positive"
    return "crossed"


def trade_defect(trade: Trade, instrument: Instrument) -> str:
    """Empty when the trade is usable."""
    if not -inf < trade.px < inf:
        return "not_finite"
    if trade.px <= 0.0 and not instrument.allows_negative_px:
        return "not_positive"
    if not 0.0 < trade.qty < inf:
        return "bad_size"
    return ""


def bar_defect(bar: Bar) -> str:
    """Empty when the candle is usable: finite, positive, high and low enclose open and close, volume not negative."""
    low, high = bar.low_px, bar.high_px
    if not (0.0 < low < inf and 0.0 < high < inf):
        return "not_finite" if not (-inf < low < inf and -inf < high < inf) else "not_positive"
    if not (low <= bar.open_px <= high and low <= bar.close_px <= high):
        return "crossed"
    if not 0.0 <= bar.volume_qty < inf:
        return "bad_size"
    return ""


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
