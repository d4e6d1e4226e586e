"""The read-only picture of the core that strategies and risk judge by: ``engine.ports.View``, live, never a copy."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from engine.commands import RiskState
from engine.events import Side
from engine.instruments import Instrument
from engine.orders import OrderManager
from engine.portfolio import Portfolio
from engine.ports import FeatureView, OpenGroup, OpenOrder, Position, ServedModel, Stake, Tally, Top

if TYPE_CHECKING:
    from engine.consolidated.values import Consolidated
    from engine.lanes import Lane
    from engine.venues import VenueStates


class CoreView:
    """Reads the core's state.  ``now_ns`` and ``risk_state`` are set by the core before each event is handled.

    What one part of the core answers alone is that part's own look-up, bound here: it is asked several times a tick.
    """

    __slots__ = (
        "_lanes",
        "_names",
        "_portfolio",
        "groups",
        "held_by",
        "instrument",
        "is_reached",
        "now_ns",
        "open_orders",
        "open_qty",
        "position",
        "rate",
        "rate_markets",
        "risk_state",
        "stake",
        "strategy_qty",
        "tradable",
    )

    instrument: Callable[[str], Instrument]
    tradable: Callable[[str], str]
    is_reached: Callable[[str], bool]
    position: Callable[[str], Position]
    strategy_qty: Callable[[str, str], Decimal]
    held_by: Callable[[str], Collection[str]]
    stake: Callable[[str, str], Stake]
    rate: Callable[[str], Decimal | None]
    rate_markets: Callable[[], Sequence[str]]
    open_orders: Callable[..., Sequence[OpenOrder]]
    open_qty: Callable[[str, Side], Decimal]
    groups: Callable[..., Sequence[OpenGroup]]

    def __init__(self, lanes: dict[str, Lane], orders: OrderManager, portfolio: Portfolio, venues: VenueStates) -> None:
        self._lanes = lanes
        self._names: tuple[str, ...] = ()
        self._portfolio = portfolio
        self.position = portfolio.position
        self.strategy_qty = portfolio.strategy_qty
        self.held_by = portfolio.held_by
        self.stake = portfolio.stakes.stake
        self.rate = portfolio.rate
        self.rate_markets = portfolio.rate_markets
        self.open_orders = orders.described
        self.open_qty = orders.open_qty
        self.instrument = venues.instrument
        self.tradable = venues.reason_closed
        self.is_reached = venues.is_reached
        self.groups = _no_groups  # the desk has them
        self.now_ns = 0
        self.risk_state = RiskState.ACTIVE

    def instruments(self) -> Sequence[str]:
        if len(self._names) != len(self._lanes):  # lanes come and never go
            self._names = tuple(self._lanes)
        return self._names

    def top(self, instrument: str) -> Top | None:
        lane = self._lanes.get(instrument)
        if lane is None or lane.top.ts_recv_ns == 0:
            return None
        return lane.top

    def held(self) -> Collection[str]:
        return self._portfolio.held

    def mark_px(self, instrument: str) -> Decimal | None:
        lane = self._lanes.get(instrument)
        return None if lane is None else lane.mark_px()

    def equity(self) -> Decimal | None:
        return self._portfolio.equity

    def equity_peak(self) -> Decimal | None:
        return self._portfolio.equity_peak

    def equity_day_start(self) -> Decimal | None:
        return self._portfolio.equity_day_start

    def tallies(self) -> Mapping[str, Tally]:
        return self._portfolio.stakes.tallies

    def features(self, instrument: str) -> FeatureView | None:
        lane = self._lanes.get(instrument)
        return None if lane is None or lane.features is None else lane.reading

    def model(self, instrument: str) -> ServedModel | None:
        lane = self._lanes.get(instrument)
        if lane is None or lane.seat is None or lane.seat.serves or lane.older is None:
            return None if lane is None else lane.seat
        return lane.older if lane.older.serves else lane.seat

    def consolidated(self, instrument: str) -> Consolidated | None:
        lane = self._lanes.get(instrument)
        return None if lane is None or lane.consolidator is None else lane.consolidator.at(self.now_ns)


class TwinView:
    """What a twin is shown: the same picture, with its canary as the model that serves."""

    __slots__ = ("_lanes", "_view")

    def __init__(self, view: CoreView) -> None:
        self._view = view
        self._lanes = view._lanes

    def __getattr__(self, name: str) -> Any:
        return getattr(self._view, name)

    def model(self, instrument: str) -> ServedModel | None:
        """Without a canary it is asked about the champion's predictions, as long as it holds something."""
        lane = self._lanes.get(instrument)
        return self._view.model(instrument) if lane is None or lane.canary is None else lane.canary


def _no_groups(instrument: str | None = None) -> Sequence[OpenGroup]:  # noqa: ARG001
    return ()
