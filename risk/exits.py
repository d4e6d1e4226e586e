"""What binds an order that reduces a position, and what does not.

Owns the checks of reducing orders other than form and rate, and the strict figures that stand in for unusable limits.
Does not decide which orders reduce beyond what is written here; the gate (``risk.gate``) asks.

Two kinds of orders
-------------------
An order *reduces* when it, together with every open order of its side, cannot take the position beyond zero, and it
closes what its own strategy holds; the guardian and an operator close what anybody holds.  By effect, not by flag:
exits must not be trapped, and what is the account owner's is not a strategy's to give away.

===================================  =======  =====================================================================
check                                entries  reducing orders
===================================  =======  =====================================================================
form, instrument, tradable, expiry   yes      yes: the venue would refuse them, or nobody sees what it does
lot, tick, venue's sizes             yes      yes: the same
kill switch, runaway, usable limits  yes      no: leaving is what those states are for
allow-list, order and position size  yes      no: the position bounds a reducing order
exposure, losses, equity, rates      yes      no: they get better
open orders, opposing                yes      no
self-trade                           yes      limit, market: what is in the way is cancelled first (``Way``)
duplicate                            yes      no: ``reduce_only`` counts open orders, so a second one finds nothing left
fresh and sane quote                 yes      limit, bracket: yes.  market, stop: no, leaving blind beats not leaving
price collar                         both     limit, target of a bracket: against the fresh mid, the costly side only;
                                     sides    stop: against its trigger; market: none
orders a second                      yes      yes, in buckets of their own; the guardian and an operator in others
===================================  =======  =====================================================================
"""

from __future__ import annotations

from decimal import Decimal

import msgspec

from engine.arithmetic import plain
from engine.commands import EXIT_WAITS, IN_THE_WAY, OrderIntent, OrderType
from engine.events import Side
from engine.instruments import FULLY_PAID, Instrument
from engine.ports import View
from risk import checks, self_trade
from risk.checks import SECOND_NS, ZERO, Finding
from risk.exposure import (
    BRACKET_STOP,
    UnknownValueError,
    dearest,
    factor_of_trigger,
    known_mark,
    known_rate,
    worth,
)
from risk.limits import MARKET_SLIP_BPS, Limits

# What reducing orders are held to when the limit itself is unusable: strict, but no trap.
EXIT_COLLAR_BPS = Decimal(100)
EXIT_STALE_NS = 5 * SECOND_NS

WAY_NS = SECOND_NS
"""How long an exit waits for orders of ours in its way to be cancelled: then the venue's own prevention decides."""
WAY_HELD_NS = 5 * SECOND_NS
"""An exit that has not asked again for so long waits no more; one that still wants out asks more often."""
_LIMIT, _BRACKET = OrderType.LIMIT, OrderType.BRACKET
_BUY, _SELL = Side.BUY, Side.SELL


class ExitRules(msgspec.Struct, frozen=True):
    """The limits that bind exits, always usable, and what a market order is held to slip by."""

    collar_bps: Decimal
    stale_quote_ns: int
    slip_bps: Decimal

    @classmethod
    def of(cls, limits: Limits) -> ExitRules:
        return cls(
            _usable(limits.collar_bps, EXIT_COLLAR_BPS),
            limits.stale_quote_ns if limits.stale_quote_ns > 0 else EXIT_STALE_NS,
            _usable(limits.market_slip_bps, MARKET_SLIP_BPS),
        )


def _usable(limit: Decimal, otherwise: Decimal) -> Decimal:
    return limit if limit.is_finite() and limit > ZERO else otherwise


def check_exit(
    intent: OrderIntent, view: View, instrument: Instrument, now_ns: int, rules: ExitRules
) -> Finding | None:
    """Prices of an order that is known to reduce."""
    found: Finding | None = None
    limit_px = intent.limit_px
    if (intent.order_type is _LIMIT or intent.order_type is _BRACKET) and limit_px is not None:
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


class _Wait(msgspec.Struct):
    """An exit that found something in its way: when first, when last, and how far it goes (None: any distance)."""

    first_ns: int
    last_ns: int
    px: Decimal | None


class Way:
    """Open orders of ours that an exit would trade with: it waits for them to be cancelled, but not for ever, and no
    others are let in meanwhile.  An exit that left and came to nothing waits anew.

    Memory of one gate, by instrument and side: one that leaves to the other side ends nobody's wait.
    """

    __slots__ = ("waits",)

    def __init__(self) -> None:
        self.waits: dict[tuple[str, Side], _Wait] = {}

    def is_free(self, now_ns: int) -> bool:
        """Whether no exit waits any more; forgets those that ask no more."""
        if self.waits:
            self.waits = {key: one for key, one in self.waits.items() if now_ns - one.last_ns <= WAY_HELD_NS}
        return not self.waits

    def check(self, intent: OrderIntent, view: View, market_factor: Decimal) -> Finding | None:
        """For an order that is known to reduce.  Orders that nobody here has sent are left to their owner."""
        name, side, now_ns = intent.instrument, intent.side, view.now_ns
        key = name, side
        if intent.trigger_px is not None or not view.open_qty(name, _SELL if side > 0 else _BUY):
            if intent.trigger_px is None:
                self.waits.pop(key, None)
            return None  # a stop trades where the price went through whatever rests on the way
        mark_px = view.mark_px(name)
        px = intent.limit_px if intent.limit_px is not None else self_trade.reach_px(side, mark_px, market_factor)
        found = [
            order.client_order_id
            for order in view.open_orders(name)
            if order.side != side
            and order.strategy
            and self_trade.would_trade(side, px, order)
            and not (mark_px is not None and self_trade.waits_for_price(order, mark_px))
        ]
        if not found:
            self.waits.pop(key, None)
            return None
        first_ns = now_ns
        wait = self.waits.get(key)
        if wait is not None and now_ns - wait.last_ns <= WAY_HELD_NS:
            first_ns = wait.first_ns
        if now_ns - first_ns >= WAY_NS:
            self.waits.pop(key, None)
            return None  # being out counts for more
        self.waits[key] = _Wait(first_ns, now_ns, px)
        return (IN_THE_WAY, ",".join(found), "no order of ours that it would trade with")

    def check_entry(self, intent: OrderIntent, now_ns: int) -> Finding | None:
        """For an order that may come to rest where an exit is about to go."""
        limit_px = intent.limit_px
        if limit_px is None or intent.trigger_px is not None or self.is_free(now_ns):
            return None
        side = _SELL if intent.side > 0 else _BUY
        wait = self.waits.get((intent.instrument, side))
        if wait is None or not self_trade.would_meet(side, wait.px, limit_px):
            return None
        far = "at any price" if wait.px is None else f"{'up' if side > 0 else 'down'} to {plain(wait.px)}"
        return (EXIT_WAITS, f"an exit {far}", "no order of ours that it would trade with")


def exit_worth(intent: OrderIntent, view: View, instrument: Instrument, market_factor: Decimal) -> Decimal:
    """Portfolio currency the order is worth at most; 0 when that cannot be known."""
    try:
        at_mark = worth(instrument, known_mark(view, instrument))
        rate = known_rate(view, instrument)
    except UnknownValueError:
        return ZERO  # an exit whose worth is unknown holds nothing: it only takes exposure away
    px, trigger_px = intent.limit_px, intent.trigger_px
    if intent.order_type is _BRACKET and trigger_px is not None and intent.side > 0:
        px = trigger_px * BRACKET_STOP
    elif px is None:
        market_factor *= factor_of_trigger(instrument, trigger_px, at_mark)
    return dearest(at_mark, px, instrument, market_factor) * rate * intent.qty
