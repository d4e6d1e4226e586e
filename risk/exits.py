"""What binds an order that reduces a position, and what does not.

Owns the checks of reducing orders other than form and rate, and the strict figures that stand in for unusable limits.
Does not decide which orders reduce beyond what is written here; the gate (``risk.gate``) asks.

Two kinds of orders
-------------------
An order *reduces* when it, together with every open order of its side, cannot take the position beyond zero, and it is
flagged ``reduce_only`` or closes what its own strategy holds.  By effect, not by flag alone: exits must not be trapped.

===================================  =======  =====================================================================
check                                entries  reducing orders
===================================  =======  =====================================================================
form, instrument, tradable, expiry   yes      yes: the venue would refuse them anyway
lot, tick, venue's sizes             yes      yes: the same
kill switch, runaway, usable limits  yes      no: leaving is what those states are for
allow-list, order and position size  yes      no: the position bounds a reducing order
exposure, losses, equity, rates      yes      no: they get better
open orders, self-trade, opposing    yes      no
duplicate                            yes      no: ``reduce_only`` counts open orders, so a second one finds nothing left
fresh and sane quote                 yes      limit: yes.  market, stop: no, leaving blind beats not leaving
price collar                         both     limit: against the fresh mid, the costly side only; stop: against its
                                     sides    trigger; market: none
orders a second                      yes      yes, in buckets of their own
===================================  =======  =====================================================================
"""

from __future__ import annotations

from decimal import Decimal

import msgspec

from engine.commands import OrderIntent, OrderType
from engine.instruments import FULLY_PAID, Instrument
from engine.ports import View
from risk import checks
from risk.checks import SECOND_NS, ZERO, Finding
from risk.exposure import UnknownValueError, dearest, known_mark, known_rate, worth
from risk.limits import Limits

# What reducing orders are held to when the limit itself is unusable: strict, but no trap.
EXIT_COLLAR_BPS = Decimal(100)
EXIT_STALE_NS = 5 * SECOND_NS

_LIMIT = OrderType.LIMIT


class ExitRules(msgspec.Struct, frozen=True):
    """The two limits that bind exits, always usable."""

    collar_bps: Decimal
    stale_quote_ns: int

    @classmethod
    def of(cls, limits: Limits) -> ExitRules:
        collar_ok = limits.collar_bps.is_finite() and limits.collar_bps > ZERO
        return cls(
            limits.collar_bps if collar_ok else EXIT_COLLAR_BPS,
            limits.stale_quote_ns if limits.stale_quote_ns > 0 else EXIT_STALE_NS,
        )


def check_exit(
    intent: OrderIntent, view: View, instrument: Instrument, now_ns: int, rules: ExitRules
) -> Finding | None:
    """Prices of an order that is known to reduce."""
    found: Finding | None = None
    limit_px = intent.limit_px
    if intent.order_type is _LIMIT and limit_px is not None:
        top = view.top(intent.instrument)
        found = checks.check_quote_fresh(top, now_ns, rules.stale_quote_ns)
        if found is None and top is not None:
            found = checks.check_book_sane(top)
        if found is None:
            mark_px = known_mark(view, instrument)
            found = checks.check_collar(limit_px, mark_px, rules.collar_bps, intent.side)
    elif limit_px is not None and intent.trigger_px is not None:
        found = checks.check_collar(limit_px, intent.trigger_px, rules.collar_bps, intent.side)
    if found is None and limit_px is not None and not _may_be_small(intent, instrument):
        found = checks.check_min_notional(instrument, intent.qty, limit_px)
    return found


def _may_be_small(intent: OrderIntent, instrument: Instrument) -> bool:
    """What is left of a position on margin can be closed however small it is, where the venue is told that the order
    reduces; what is owned has no such way out."""
    return intent.reduce_only and instrument.asset_class not in FULLY_PAID


def exit_worth(intent: OrderIntent, view: View, instrument: Instrument, market_factor: Decimal) -> Decimal:
    """Portfolio currency the order is worth at most; 0 when that cannot be known."""
    try:
        at_mark = worth(instrument, known_mark(view, instrument))
        rate = known_rate(view, instrument)
    except UnknownValueError:
        return ZERO  # an exit whose worth is unknown holds nothing: it only takes exposure away
    return dearest(at_mark, intent.limit_px, instrument, market_factor) * rate * intent.qty
