"""The short way through the gate: the common order, which plainly passes every check.

Owns functions that may say "this passes" and otherwise say nothing: then the gate asks every check (``risk.gate``,
``risk.checks``, ``risk.exits``, ``risk.exposure``) from the beginning.  So it decides no refusal and names none.

Why it cannot approve what the checks refuse: it looks at the same values with the same Decimal operations in the same
order, no tolerances, and gives up wherever the long way would need more than that.  It takes limit orders without a
trigger on instruments that are no inverse contracts, have positive prices and no expiry.  Entries it takes in accounts
where all that is held or open lies in this instrument and in this order's direction.  There the formulas of
``risk.exposure`` become ``ahead_qty * ahead_worth * rate`` for position, gross and net alike: what is held is part of
``ahead_qty`` and is worth no more at the mark, so the other direction never counts for more.  It is a bound of the
strategy's own part, of each group and of the credit in use as well, so the smallest of all those limits
(``risk.controls.Ceiling``) stands for them.  NaN raises where it is
compared and an infinity exceeds some limit; both end in the long way.  A test compares the two ways.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from engine.commands import OrderIntent, OrderType, TimeInForce
from engine.events import Side
from engine.instruments import Instrument
from engine.ports import OpenOrder, View
from risk.checks import BPS, ZERO
from risk.controls import Ceiling, Controls, margin_rate
from risk.exposure import UnknownValueError
from risk.limits import EVERY_OTHER, Limits

# Enum members are slow to reach through their class in CPython 3.11; this is the hot path.
_LIMIT = OrderType.LIMIT
_IOC = TimeInForce.IOC
_GTC = TimeInForce.GTC
_BUY, _SELL = Side.BUY, Side.SELL
ONE = Decimal(1)
STRATEGIES_MAX = 1_000
"""Names of strategies whose ceilings are remembered for one instrument; a session has a handful."""


class Bounds:
    """What an instrument's rules and the account's limits say of orders in it: worked out once per definition.

    ``order_qty`` and ``position_qty`` are the limits of entries, None where none are possible.
    """

    __slots__ = (
        "can_short",
        "ceilings",
        "high_qty",
        "instrument",
        "is_plain",
        "is_unit",
        "low_qty",
        "margin_rate",
        "min_notional",
        "order_qty",
        "position_qty",
        "settlement",
    )

    def __init__(self, instrument: Instrument, limits: Limits, *, listed: bool) -> None:
        self.instrument = instrument
        self.is_plain = (
            listed
            and not instrument.inverse
            and not instrument.allows_negative_px
            and instrument.expiry_ns is None
            and instrument.lot_qty > ZERO
            and instrument.tick_px > ZERO
            and instrument.multiplier > ZERO
        )
        # A multiple of the lot that is above zero is at least one lot.
        self.low_qty = max(instrument.min_qty, instrument.lot_qty)
        self.high_qty = instrument.max_qty
        self.can_short = instrument.can_short
        self.min_notional = instrument.min_notional
        # As it is written: 1.0 would show in what an order holds.
        self.is_unit = str(instrument.multiplier) == "1"
        self.settlement = instrument.settlement
        self.ceilings: dict[str, Ceiling | None] = {}
        """By strategy, worked out when it first asks; None: the checks have to say why not."""
        try:
            self.margin_rate: Decimal | None = margin_rate(instrument)
        except UnknownValueError:
            self.margin_rate = None
        self.order_qty: Decimal | None = None
        self.position_qty: Decimal | None = None
        if instrument.id in limits.allowed_instruments:
            self.order_qty = limits.max_order_qty.get(instrument.id, limits.max_order_qty.get(EVERY_OTHER))
            self.position_qty = limits.max_position_qty.get(instrument.id, limits.max_position_qty.get(EVERY_OTHER))


class Screen:
    """The limits of one account, laid out for comparing.  Needs usable limits (``Limits.unusable``)."""

    __slots__ = (
        "_bounds",
        "_collar_bps",
        "_controls",
        "_equity",
        "_levered",
        "_limits",
        "_stale_ns",
    )

    def __init__(self, limits: Limits, controls: Controls) -> None:
        self._limits = limits
        self._controls = controls
        self._equity: Decimal | None = None
        self._levered: tuple[Decimal | None, Decimal | None] | None = None
        self._collar_bps = limits.collar_bps
        self._stale_ns = limits.stale_quote_ns
        self._bounds: dict[str, Bounds] = {}

    def bounds_of(self, intent: OrderIntent, view: View, now_ns: int) -> Bounds | None:
        """The bounds of the intent's instrument, when form, precision, permission to trade and quote plainly pass;
        None when the checks have to say.  Raises ``KeyError`` when the instrument is not defined."""
        name, qty, limit_px = intent.instrument, intent.qty, intent.limit_px
        instrument = view.instrument(name)
        bounds = self._bounds.get(name)
        if bounds is None or bounds.instrument is not instrument:
            bounds = self._bounds[name] = Bounds(instrument, self._limits, listed=name in view.instruments())
        if (
            not bounds.is_plain
            or intent.order_type is not _LIMIT
            or type(qty) is not Decimal
            or type(limit_px) is not Decimal
            or intent.trigger_px is not None
            or intent.trailing_px is not None
        ):
            return None
        side, tif = intent.side, intent.time_in_force
        if (side is not _BUY and side is not _SELL) or (tif is not _GTC and (tif is not _IOC or intent.post_only)):
            return None
        if not bounds.low_qty <= qty <= bounds.high_qty or qty % instrument.lot_qty:
            return None
        if limit_px <= ZERO or limit_px % instrument.tick_px or view.tradable(name) != "":
            return None
        top = view.top(name)
        if top is None or top.ts_recv_ns == 0 or not -self._stale_ns <= now_ns - top.ts_recv_ns <= self._stale_ns:
            return None
        if top.suspect or top.crossed or not (top.bid_px < top.ask_px):
            return None
        return bounds

    def worth_of_entry(
        self, intent: OrderIntent, view: View, bounds: Bounds, held_qty: Decimal, open_qty: Decimal, ahead_qty: Decimal
    ) -> Decimal | None:
        """Portfolio currency that the order holds, when price, size, exposure, number and direction of orders all
        plainly pass; None when the checks have to say.

        For an order that ``bounds_of`` has passed, while the state is ACTIVE.  ``held_qty`` is the account's signed
        position, ``open_qty`` what open orders of the order's side may still fill, ``ahead_qty`` both and this order,
        positive in its direction.
        """
        name, side, qty, limit_px = intent.instrument, intent.side, intent.qty, intent.limit_px
        if limit_px is None or bounds.order_qty is None or bounds.position_qty is None:
            return None
        ceiling = bounds.ceilings.get(intent.strategy) or self._ceiling(bounds, intent.strategy)
        if ceiling is None:
            return None
        if qty > bounds.order_qty or ahead_qty > bounds.position_qty or open_qty < ZERO:
            return None
        if (held_qty < ZERO) if side > 0 else (held_qty > ZERO or not bounds.can_short):
            return None
        own_qty = view.strategy_qty(intent.strategy, name)
        if own_qty != held_qty and (
            (held_qty < own_qty or own_qty < ZERO) if side > 0 else (held_qty > own_qty or own_qty > ZERO)
        ):
            return None
        mark_px, rate = view.mark_px(name), view.rate(bounds.settlement)
        if mark_px is None or rate is None or mark_px <= ZERO or rate <= ZERO:
            return None
        if abs(limit_px - mark_px) * BPS > self._collar_bps * mark_px:
            return None
        if bounds.is_unit:  # one unit is worth its price: spared multiplications
            multiplier = ONE
            if qty * limit_px < bounds.min_notional:
                return None
            at_mark, at_limit = mark_px, limit_px
        else:
            multiplier = bounds.instrument.multiplier
            if qty * limit_px * multiplier < bounds.min_notional:
                return None
            at_mark, at_limit = mark_px * multiplier, limit_px * multiplier
        # No max(): it costs more than all of this.
        notional = (at_limit if at_limit > at_mark else at_mark) * rate * qty
        if notional > ceiling.order:
            return None
        controls = self._controls
        if controls.asks_market:
            top = view.top(name)
            if top is None or not controls.passes_market(name, limit_px, view, top, view.now_ns):
                return None
        orders, held = view.open_orders(), view.held()
        if not orders and not held and not held_qty and not open_qty:
            if notional > ceiling.total or (controls.asks_equity and not self._is_carried(notional, view, bounds)):
                return None
            return notional
        for other in held:
            if other != name:
                return None
        dearest_px = _dearest(orders, name, side, limit_px)
        if dearest_px is None or len(orders) >= ceiling.open_orders or view.open_qty(name, side.opposite):
            return None
        worth = dearest_px * multiplier
        total = ahead_qty * (worth if worth > at_mark else at_mark) * rate
        if total > ceiling.total or (controls.asks_equity and not self._is_carried(total, view, bounds)):
            return None
        return notional

    def _ceiling(self, bounds: Bounds, strategy: str) -> Ceiling | None:
        if strategy not in bounds.ceilings:
            if len(bounds.ceilings) >= STRATEGIES_MAX:
                return None
            bounds.ceilings[strategy] = self._controls.ceiling(strategy, bounds.instrument.id)
        return bounds.ceilings[strategy]

    def _is_carried(self, total: Decimal, view: View, bounds: Bounds) -> bool:
        """Does equity carry this much exposure?"""
        equity = view.equity()
        if equity is not self._equity:
            # It moves with valuations, not with orders.
            self._equity, self._levered = equity, None
            if equity is not None and equity > ZERO:
                leverage, margin_bps = self._limits.max_leverage, self._limits.max_margin_bps
                self._levered = (
                    None if leverage is None else leverage * equity,
                    None if margin_bps is None else margin_bps * equity,
                )
        if self._levered is None:
            return False
        most, most_margin = self._levered
        if most is not None and total > most:
            return False
        if most_margin is None or bounds.margin_rate == ZERO:
            return True
        return bounds.margin_rate is not None and total * bounds.margin_rate * BPS <= most_margin

    def worth_of_exit(self, intent: OrderIntent, view: View, bounds: Bounds) -> Decimal | None:
        """The same for an order that is known to reduce (``risk.exits``): its price and its smallest worth."""
        limit_px = intent.limit_px
        mark_px, rate = view.mark_px(intent.instrument), view.rate(bounds.settlement)
        if limit_px is None or mark_px is None or rate is None or mark_px <= ZERO or rate <= ZERO:
            return None
        costs_px = limit_px - mark_px if intent.side > 0 else mark_px - limit_px
        if costs_px > ZERO and costs_px * BPS > self._collar_bps * mark_px:
            return None
        qty, instrument = intent.qty, bounds.instrument
        multiplier = instrument.multiplier
        if qty * limit_px * multiplier < instrument.min_notional:
            return None
        at_mark, at_limit = mark_px * multiplier, limit_px * multiplier
        return (at_limit if at_limit > at_mark else at_mark) * rate * qty


def _dearest(orders: Sequence[OpenOrder], name: str, side: Side, px: Decimal) -> Decimal | None:
    """The highest limit price among ``px`` and the open orders; None when one of them is of another kind than ``px``:
    another instrument or side, a market order."""
    for order in orders:
        other_px = order.limit_px
        if other_px is None or order.side != side or order.instrument != name or other_px <= ZERO:
            return None
        px = other_px if other_px > px else px
    return px
