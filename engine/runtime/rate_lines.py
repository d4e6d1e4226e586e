"""What currencies count for, in words: for ``status``, the log and the summary.

Owns the words, and after how long a rate that nothing moves is worth a line.  Rates are ``engine.rates``'s.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from engine.core import TradingCore

OLD_NS = 24 * 3_600_000_000_000
"""A rate that was told so long ago is said in the log, and again after as long."""
_HOUR_NS = 3_600_000_000_000
_PEGGED = Decimal(1)


def currencies_needed(core: TradingCore) -> Sequence[str]:
    """Those that are held, and those in which this session trades."""
    needed = [currency for currency, amount in core.portfolio.cash().items() if amount]
    needed += [lane.instrument.settlement for lane in core.lanes.values() if lane.slots]
    return list(dict.fromkeys(needed))


def rate_lines(core: TradingCore) -> dict[str, str]:
    """By currency: what one unit counts for, who says so, and how long ago."""
    own, now_ns, found = core.portfolio.currency, core.view.now_ns, {}
    for currency, told, market in core.portfolio.rates.each():
        rate = core.portfolio.rate(currency)
        if not market:
            found[currency] = f"{told.rate:f} {own}, told {_hours(now_ns - told.ts_ns)} ago"
        elif rate is None:
            found[currency] = f"unknown until {market} has a price"
        else:
            age_ns = now_ns - core.lanes[market].top.ts_recv_ns
            found[currency] = f"{rate:.10g} {own} by {market}, quoted {_hours(age_ns)} ago"
    return found


def old_rates(core: TradingCore) -> dict[str, int]:
    """Rates in use that nothing moves and that were told long ago, with how many times ``OLD_NS`` ago; one that is
    exactly 1 is a peg that its owner has declared."""
    needed, found = currencies_needed(core), {}
    for currency, told, market in core.portfolio.rates.each():
        times = (core.view.now_ns - told.ts_ns) // OLD_NS
        if times and not market and told.rate != _PEGGED and currency in needed:
            found[currency] = times
    return found


def _hours(age_ns: int) -> str:
    return f"{age_ns / _HOUR_NS:.1f} h"
