"""Watches a running session for its report: equity and prices on timers, every fill, in bounded memory."""

from __future__ import annotations

from engine.core import TradingCore
from engine.events import InputEvent, OrderFilled, Timer
from engine.runtime.histogram import Histogram
from engine.runtime.summary import BoundedSeries, FillPoint, SessionSeries

FILLS_MAX = 5000
"""Fills drawn; later ones are in the journal and counted in the summary."""


class SeriesWatch:
    """Call ``observe`` after each published event.  Time is the events', so a recording is sampled in data time."""

    def __init__(self, core: TradingCore) -> None:
        self._core = core
        self._equity = BoundedSeries()
        self._mids: dict[str, BoundedSeries] = {}
        self._fills: list[FillPoint] = []
        self.first_ns = 0
        self.last_ns = 0

    def observe(self, event: InputEvent) -> None:
        kind = type(event)
        if kind is Timer:
            self._sample(event.ts_recv_ns)
        elif kind is OrderFilled:
            assert isinstance(event, OrderFilled)
            self._add_fill(event)

    def _add_fill(self, fill: OrderFilled) -> None:
        if len(self._fills) >= FILLS_MAX:
            return
        order = self._core.orders.get(fill.client_order_id)
        strategy = "" if order is None else order.intent.strategy
        self._fills.append(
            FillPoint(
                fill.ts_recv_ns,
                fill.instrument,
                int(fill.side),
                float(fill.qty),
                float(fill.px),
                float(fill.fee),
                strategy,
            )
        )

    def _sample(self, now_ns: int) -> None:
        self.first_ns = self.first_ns or now_ns
        self.last_ns = now_ns
        equity = self._core.portfolio.equity
        if equity is not None:
            self._equity.add(now_ns, float(equity))
        for instrument, lane in self._core.lanes.items():
            top = lane.book.top
            if top.ts_recv_ns:
                series = self._mids.get(instrument)
                if series is None:
                    series = self._mids[instrument] = BoundedSeries()
                series.add(now_ns, top.mid_px)

    def collect(self, tick_to_order: Histogram) -> SessionSeries:
        return SessionSeries(
            equity=self._equity.points,
            mids={instrument: series.points for instrument, series in self._mids.items()},
            fills=self._fills,
            latency=[(upper_ns / 1000.0, count) for upper_ns, count in tick_to_order.buckets()],
        )
