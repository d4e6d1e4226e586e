"""The controls that a configuration may add: who may trade, strategies, groups, leverage, margin, credit, the market.

Owns which of them are in use, the figures each compares, and what they leave of the account's limits for the common
order (``Ceiling``).  The comparisons are ``risk.checks``; habits and losses, which need a memory, ``risk.throttles``
and ``risk.losses``.  Entries only: orders that reduce pass all of this.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import msgspec

from engine.commands import OrderIntent
from engine.instruments import FULLY_PAID, Instrument
from engine.ports import OpenOrder, Top, View
from engine.stakes import base_name
from engine.venues import Restriction
from risk import checks
from risk.checks import BPS, ZERO, Finding
from risk.exposure import Exposure, OwnPart, UnknownValueError, committed, worst_case
from risk.limits import EVERY_OTHER, GroupLimits, Limits, StrategyLimits


class Ceiling(msgspec.Struct, frozen=True, gc=False):
    """The tightest limits that bind one strategy in one instrument while nothing else is held or open: there position,
    gross, net, group and credit are one figure (``risk.screen``)."""

    order: Decimal
    total: Decimal
    open_orders: int
    asks_gross: bool
    """Whether what the strategy holds elsewhere counts, also where the account shows nothing of it."""


class Controls:
    """The optional part of one account's limits, laid out for asking.  Needs usable limits."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._restricted = frozenset(limits.restricted_instruments or ())
        self._allowed = None if limits.allowed_strategies is None else frozenset(limits.allowed_strategies)
        self._banned = frozenset(limits.restricted_strategies or ())
        self._spread_bps = None if limits.max_spread_bps is None else float(limits.max_spread_bps)
        self._min_volume = None if limits.min_volume is None else float(limits.min_volume)
        self._volume_column = limits.volume_column
        self._references = dict(limits.references or {})
        band = (limits.reference_collar_bps or ZERO) / BPS
        self._reference_highest, self._reference_lowest = 1 + band, 1 - band
        self._stale_ns, self._early_ns = limits.stale_quote_ns, -limits.stale_quote_ns
        self.asks_market = (
            self._spread_bps is not None or self._min_volume is not None or limits.reference_collar_bps is not None
        )
        """Whether ``check_market`` has anything to look at."""
        self.asks_equity = limits.max_leverage is not None or limits.max_margin_bps is not None
        self.asks_marks = limits.stale_mark_ns is not None
        """Whether ``check_marks`` has anything to look at."""
        self._asks_exposure = self.asks_equity or bool(
            limits.strategy_limits or limits.group_limits or limits.max_credit is not None
        )

    # --- who may trade ------------------------------------------------------------------------------------------------

    def of_strategy(self, strategy: str) -> StrategyLimits | None:
        """Its limits; None where strategies have none.  Raises ``KeyError`` for one that was left out of them."""
        table = self._limits.strategy_limits
        if table is None:
            return None
        name = base_name(strategy)
        return table[name] if name in table else table[EVERY_OTHER]

    def check_permission(self, strategy: str, instrument: str) -> Finding | None:
        found = checks.check_restricted(instrument, self._restricted) if self._restricted else None
        if found is None and (self._banned or self._allowed is not None):
            found = checks.check_strategy(base_name(strategy), self._allowed, self._banned)
        if found is None:
            try:
                self.of_strategy(strategy)
            except KeyError:
                return ("strategy_limits", strategy, "limits of its own, or for every other")
        return found

    def groups_of(self, instrument: str) -> Sequence[tuple[str, GroupLimits]]:
        symbol = instrument.partition("@")[0]
        table = self._limits.group_limits or {}
        return [
            (name, one) for name, one in table.items() if instrument in one.instruments or symbol in one.instruments
        ]

    def ceiling(self, strategy: str, instrument: str) -> Ceiling | None:
        """What the limits come to for the common order; None where it may not be entered at all."""
        limits = self._limits
        if self.check_permission(strategy, instrument) is not None:
            return None
        own = self.of_strategy(strategy) or StrategyLimits()
        total = [limits.max_position_notional, limits.max_gross_notional, limits.max_net_notional]
        more = [limits.max_credit, own.max_position_notional, own.max_gross_notional]
        for _, group in self.groups_of(instrument):
            more += [group.max_gross_notional, group.max_net_notional]
        total += [one for one in more if one is not None]
        order = limits.max_order_notional
        if own.max_order_notional is not None:
            order = min(order, own.max_order_notional)
        open_orders = limits.max_open_orders
        if own.max_open_orders is not None:
            open_orders = min(open_orders, own.max_open_orders)
        return Ceiling(order, min(total), open_orders, own.max_gross_notional is not None)

    # --- the market ---------------------------------------------------------------------------------------------------

    def check_market(self, intent: OrderIntent, view: View, top: Top, mark_px: Decimal, now_ns: int) -> Finding | None:
        """Is the instrument fit to be entered, at a price that another source confirms?"""
        found = None if self._spread_bps is None else checks.check_wide(top, self._spread_bps)
        if found is None and self._min_volume is not None:
            features = view.features(intent.instrument)
            try:
                volume = float("nan") if features is None else features.latest(self._limits.volume_column)
            except KeyError:
                return ("min_volume", f"no feature {self._limits.volume_column}", str(self._limits.min_volume))
            found = checks.check_volume(volume, self._min_volume)
        limit_bps = self._limits.reference_collar_bps
        if found is None and limit_bps is not None:
            source = self._references.get(intent.instrument)
            if source is not None:
                px = mark_px if intent.limit_px is None else intent.limit_px
                found = checks.check_reference(px, self._reference_px(view, source, now_ns), limit_bps)
        return found

    def passes_market(
        self, name: str, limit_px: Decimal, view: View, top: Top, reference: str | None, now_ns: int
    ) -> bool:
        """Whether ``check_market`` plainly finds nothing for a limit order above zero; False: ask it.  ``reference``:
        whose price it is held against, None for nobody's."""
        spread_bps = self._spread_bps
        if spread_bps is not None:
            bid_px, ask_px = top.bid_px, top.ask_px
            # A mid below zero has no spread that passes here.
            if not (ask_px - bid_px) * 1e4 <= spread_bps * (0.5 * (bid_px + ask_px)):
                return False
        if self._min_volume is not None:
            features = view.features(name)
            if features is None or not features.latest(self._volume_column) >= self._min_volume:
                return False
        if reference is None:
            return True
        other = view.top(reference)
        if other is None or other.ts_recv_ns == 0 or other.suspect or other.crossed:
            return False
        if not self._early_ns <= now_ns - other.ts_recv_ns <= self._stale_ns or not (other.bid_px < other.ask_px):
            return False
        px = view.mark_px(reference)
        # Strictly within, as in ``risk.screen``.
        if px is None:
            return False
        return limit_px < self._reference_highest * px if limit_px > px else limit_px > self._reference_lowest * px

    def _reference_px(self, view: View, source: str, now_ns: int) -> Decimal | None:
        """The price of another instrument, None unless its book is as fresh and sane as one to trade on."""
        top = view.top(source)
        if checks.check_quote_fresh(top, now_ns, self._limits.stale_quote_ns) is not None or top is None:
            return None
        return view.mark_px(source) if checks.check_book_sane(top) is None else None

    # --- exposure -----------------------------------------------------------------------------------------------------

    def check_exposure(
        self,
        intent: OrderIntent,
        view: View,
        instrument: Instrument,
        *,
        exposure: Exposure,
        orders: Sequence[OpenOrder],
        mark_px: Decimal,
        market_factor: Decimal,
    ) -> Finding | None:
        """Everything that is compared with an amount, the account's own limits excepted."""
        if not self._asks_exposure:
            return None
        limits = self._limits
        own = self.of_strategy(intent.strategy)
        if own is not None:
            found = self._check_own(own, intent, view, instrument, exposure.order, orders, mark_px, market_factor)
            if found is not None:
                return found
        for name, group in self.groups_of(intent.instrument):
            gross = net = ZERO
            for part, directed, size in exposure.parts:
                if part in group.instruments or part.partition("@")[0] in group.instruments:
                    gross += size
                    net += directed
            found = checks.check_amount(f"group_gross[{name}]", gross, group.max_gross_notional) or checks.check_amount(
                f"group_net[{name}]", net, group.max_net_notional
            )
            if found is not None:
                return (found[0].partition("[")[0], f"{name}: {found[1]}", found[2])
        if limits.max_credit is not None:
            credit = committed(view, exposure.order, orders, market_factor)
            found = checks.check_amount("max_credit", credit, limits.max_credit)
            if found is not None:
                return found
        return self._check_equity(view, exposure)

    def check_marks(self, name: str, view: View) -> Finding | None:
        """Is what is held besides ``name``, and money in another currency, worth what it is counted for?  A loss that
        nobody sees stops nobody.  What does not trade has no newer price."""
        limit_ns = self._limits.stale_mark_ns
        if limit_ns is None:
            return None
        for other in dict.fromkeys((*view.held(), *view.rate_markets())):
            if other == name:
                continue
            found = checks.check_mark_fresh(other, view.top(other), view.now_ns, limit_ns)
            if found is not None:
                closed = view.tradable(other)
                if closed == "" or isinstance(closed, Restriction):
                    return found
        return None

    def _check_own(
        self,
        own: StrategyLimits,
        intent: OrderIntent,
        view: View,
        instrument: Instrument,
        order: Decimal,
        orders: Sequence[OpenOrder],
        mark_px: Decimal,
        market_factor: Decimal,
    ) -> Finding | None:
        part = OwnPart(view, intent, orders)
        found = checks.check_amount("strategy_order_notional", order, own.max_order_notional)
        if found is None and own.max_open_orders is not None:
            found = checks.check_open_orders(len(part.orders), own.max_open_orders)
            found = found and ("strategy_open_orders", *found[1:])
        if found is not None or (own.max_position_notional is None and own.max_gross_notional is None):
            return found
        worst = worst_case(
            part,
            instrument,
            side=intent.side,
            qty=intent.qty,
            limit_px=intent.limit_px,
            mark_px=mark_px,
            orders=part.orders,
            market_factor=market_factor,
        )
        return checks.check_amount(
            "strategy_position_notional", worst.position, own.max_position_notional
        ) or checks.check_amount("strategy_gross_notional", worst.gross, own.max_gross_notional)

    def _check_equity(self, view: View, exposure: Exposure) -> Finding | None:
        limits = self._limits
        if not self.asks_equity:
            return None
        equity = view.equity()
        found = None
        if limits.max_leverage is not None:
            found = checks.check_leverage(exposure.gross, equity, limits.max_leverage)
        if found is None and limits.max_margin_bps is not None:
            margin = ZERO
            for name, _, size in exposure.parts:
                margin += size * margin_rate(view.instrument(name))
            if margin:
                found = checks.check_margin(margin, equity, limits.max_margin_bps)
        return found


def margin_rate(instrument: Instrument) -> Decimal:
    """Share of a position's worth that it needs as margin, 0 for what is fully paid.

    Raises ``UnknownValueError`` for a position on margin whose venue does not say.
    """
    if instrument.asset_class in FULLY_PAID:
        return ZERO
    rate = instrument.margin_rate
    if rate is None or not rate.is_finite() or rate <= ZERO:
        raise UnknownValueError("margin_unknown", f"{instrument.id} margin rate {rate}")
    return rate
