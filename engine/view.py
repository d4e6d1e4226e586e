"""The read-only picture of the core that strategies and risk judge by: ``engine.ports.View``, live, never a copy."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from decimal import Decimal
from math import isfinite
from typing import TYPE_CHECKING

from engine.commands import RiskState
from engine.events import Side
from engine.instruments import Instrument
from engine.orders import OrderManager
from engine.portfolio import Portfolio
from engine.ports import FeatureView, OpenOrder, Position, Top

if TYPE_CHECKING:
    from engine.lanes import Lane
    from engine.venues import VenueStates


class CoreView:
    """Reads the core's state.  ``now_ns`` and ``risk_state`` are set by the core before each event is handled."""

    __slots__ = ("_lanes", "_names", "_orders", "_portfolio", "_venues", "now_ns", "risk_state")

    def __init__(self, lanes: dict[str, Lane], orders: OrderManager, portfolio: Portfolio, venues: VenueStates) -> None:
        self._lanes = lanes
        self._names: tuple[str, ...] = ()
        self._orders = orders
        self._portfolio = portfolio
        self._venues = venues
        self.now_ns = 0
        self.risk_state = RiskState.ACTIVE

    def instrument(self, instrument: str) -> Instrument:
        return self._lanes[instrument].instrument

    def instruments(self) -> Sequence[str]:
        if len(self._names) != len(self._lanes):  # lanes come and never go
            self._names = tuple(self._lanes)
        return self._names

    def top(self, instrument: str) -> Top | None:
        lane = self._lanes.get(instrument)
        if lane is None or lane.book.top.ts_recv_ns == 0:
            return None
        return lane.book.top

    def position(self, instrument: str) -> Position:
        return self._portfolio.position(instrument)

    def held(self) -> Collection[str]:
        return self._portfolio.held

    def strategy_qty(self, strategy: str, instrument: str) -> Decimal:
        return self._portfolio.strategy_qty(strategy, instrument)

    def open_orders(self, instrument: str | None = None) -> Sequence[OpenOrder]:
        return self._orders.described(instrument)

    def open_qty(self, instrument: str, side: Side) -> Decimal:
        return self._orders.open_qty(instrument, side)

    def mark_px(self, instrument: str) -> Decimal | None:
        lane = self._lanes.get(instrument)
        return None if lane is None else lane.mark_px()

    def rate(self, currency: str) -> Decimal | None:
        return self._portfolio.rate(currency)

    def equity(self) -> Decimal | None:
        return self._portfolio.equity

    def equity_peak(self) -> Decimal | None:
        return self._portfolio.equity_peak

    def equity_day_start(self) -> Decimal | None:
        return self._portfolio.equity_day_start

    def features(self, instrument: str) -> FeatureView | None:
        lane = self._lanes.get(instrument)
        return None if lane is None else lane.features

    def tradable(self, instrument: str) -> str:
        lane = self._lanes.get(instrument)
        if lane is None:
            return "instrument not defined"
        return self._venues.reason_closed(lane.instrument)


def mark_of(instrument: Instrument, top: Top) -> Decimal | None:
    """The mid price on the tick grid; None when the book has no price."""
    mid_px = top.mid_px
    return instrument.price(mid_px) if isfinite(mid_px) else None
