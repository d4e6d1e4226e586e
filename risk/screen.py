"""The short way through the checks of an entry: the common order, which plainly passes them all.

Owns one function that may say "approved, worth this much" and otherwise says nothing: then the gate asks every check
(``risk.gate``, ``risk.checks``, ``risk.exposure``) from the beginning.  So it decides no refusal and names none.

Why it cannot approve what the checks refuse: it looks at the same values with the same Decimal operations in the same
order, no floats and no tolerances, and gives up wherever the long way would need more than that.  It takes limit orders
without a trigger on instruments that are no inverse contracts and have positive prices, in accounts where all that is
held or open lies in this instrument and in this order's direction.  There the formulas of ``risk.exposure`` become
``ahead_qty * ahead_worth * rate`` for position, gross and net alike: what is held is part of ``ahead_qty`` and is worth
no more at the mark, so the other direction never counts for more.  A test compares it with the long way.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from engine.commands import OrderIntent
from engine.events import Side
from engine.instruments import Instrument
from engine.ports import OpenOrder, View
from risk.checks import BPS, ZERO
from risk.limits import EVERY_OTHER, Limits


class Screen:
    """The limits of one account, laid out for comparing.  Needs usable limits (``Limits.unusable``)."""

    __slots__ = (
        "_allowed",
        "_collar_bps",
        "_open_orders",
        "_order_notional",
        "_qtys",
        "_stale_ns",
        "_total_notional",
    )

    def __init__(self, limits: Limits) -> None:
        self._allowed = frozenset(limits.allowed_instruments)
        self._collar_bps = limits.collar_bps
        self._stale_ns = limits.stale_quote_ns
        self._open_orders = limits.max_open_orders
        self._order_notional = limits.max_order_notional
        self._total_notional = min(
            limits.max_position_notional, limits.max_gross_notional, limits.max_net_notional
        )  # the three figures are one here
        self._qtys: dict[str, tuple[Decimal, Decimal]] = {}
        for name in self._allowed:
            order_qty = limits.max_order_qty.get(name, limits.max_order_qty.get(EVERY_OTHER))
            position_qty = limits.max_position_qty.get(name, limits.max_position_qty.get(EVERY_OTHER))
            if order_qty is not None and position_qty is not None:
                self._qtys[name] = (order_qty, position_qty)

    def worth_of_entry(
        self, intent: OrderIntent, view: View, instrument: Instrument, held_qty: Decimal, open_qty: Decimal, now_ns: int
    ) -> Decimal | None:
        """Portfolio currency that the order holds, when permission, quote, price, size, exposure, number and direction
        of orders all plainly pass; None when the checks have to say.

        For an order that form and precision have passed, while the state is ACTIVE.  ``held_qty`` is the account's
        signed position, ``open_qty`` what open orders of the order's side may still fill.
        """
        name, side, qty, limit_px = intent.instrument, intent.side, intent.qty, intent.limit_px
        qtys = self._qtys.get(name)
        if qtys is None or limit_px is None or intent.trigger_px is not None:
            return None
        if instrument.inverse or instrument.allows_negative_px or (side < 0 and not instrument.can_short):
            return None
        top = view.top(name)
        if top is None or top.ts_recv_ns == 0 or not -self._stale_ns <= now_ns - top.ts_recv_ns <= self._stale_ns:
            return None
        if top.suspect or top.crossed or not (top.bid_px < top.ask_px):
            return None
        mark_px, rate = view.mark_px(name), view.rate(instrument.settlement)
        if mark_px is None or rate is None or not mark_px.is_finite() or not rate.is_finite():
            return None
        if mark_px <= ZERO or rate <= ZERO or name not in view.instruments():
            return None
        multiplier = instrument.multiplier
        if qty * limit_px * multiplier < instrument.min_notional:
            return None
        if abs(limit_px - mark_px) * BPS > self._collar_bps * mark_px:
            return None
        before_qty = held_qty if side > 0 else -held_qty
        if before_qty < ZERO:
            return None
        ahead_qty = before_qty + open_qty + qty
        if qty > qtys[0] or ahead_qty > qtys[1]:
            return None
        own_qty = view.strategy_qty(intent.strategy, name)
        if own_qty != held_qty and (held_qty < own_qty if side > 0 else held_qty > own_qty):
            return None
        # No max(): it costs more than all of this.
        at_mark, at_limit = abs(mark_px * multiplier), abs(limit_px * multiplier)
        notional = (at_limit if at_limit > at_mark else at_mark) * rate * qty
        if notional > self._order_notional:
            return None
        orders, held = view.open_orders(), view.held()
        if not orders and not held and not held_qty and not open_qty:
            return notional if notional <= self._total_notional else None
        for other in held:
            if other != name:
                return None
        dearest_px = _dearest(orders, name, side, limit_px)
        if dearest_px is None or len(orders) >= self._open_orders or view.open_qty(name, side.opposite):
            return None
        worth = abs(dearest_px * multiplier)
        total = ahead_qty * (worth if worth > at_mark else at_mark) * rate
        return notional if total <= self._total_notional else None


def _dearest(orders: Sequence[OpenOrder], name: str, side: Side, px: Decimal) -> Decimal | None:
    """The highest limit price among ``px`` and the open orders; None when one of them is of another kind than ``px``:
    another instrument or side, a market order."""
    for order in orders:
        other_px = order.limit_px
        if other_px is None or order.side != side or order.instrument != name or other_px <= ZERO:
            return None
        px = other_px if other_px > px else px
    return px
