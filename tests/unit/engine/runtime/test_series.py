"""What the report will draw, collected from a real core."""

from __future__ import annotations

from engine import events as e
from engine.runtime.histogram import Histogram
from engine.runtime.series import FILLS_MAX, SeriesWatch
from tests.support.core import (
    BTC,
    MemoryRecorder,
    OpenGate,
    Scripted,
    build_core,
    fill,
    intent,
    open_market,
    quote,
    spot,
)

ETH = "ETH/USD@coinbase"


class Seen:
    """A core and its watch, fed alike."""

    def __init__(self) -> None:
        self.core = build_core(
            MemoryRecorder(), Scripted("s", on_quote=lambda *_: [intent()]), gate=OpenGate(), features=lambda: None
        )
        self.watch = SeriesWatch(self.core)
        open_market(self.core)
        self.core.on_event(e.InstrumentDefined(2, 2, spot(id=ETH, venue_symbol="ETH-USD", base="ETH")))

    def feed(self, *events: e.InputEvent) -> None:
        for event in events:
            self.core.on_event(event)
            self.watch.observe(event)


def test_equity_and_mids_are_sampled_on_timers_in_event_time() -> None:
    """Quotes alone make no point; each timer makes one of equity and of each price that is known."""
    seen = Seen()
    seen.feed(quote(10), quote(11))
    assert seen.watch.collect(Histogram()).mids == {}
    seen.feed(e.Timer(100, 100, "tick"), quote(150, 100.2, 100.22), e.Timer(200, 200, "tick"))
    series = seen.watch.collect(Histogram())
    assert series.mids == {BTC: [(100, 100.005), (200, 0.5 * 100.2 + 0.5 * 100.22)]}
    assert [ts_ns for ts_ns, _ in series.equity] == [100, 200]
    assert series.equity[0][1] == 1000.0


def test_fills_carry_side_figures_and_the_strategy_that_asked() -> None:
    """One of our own, one that we never ordered."""
    seen = Seen()
    seen.feed(quote(10))
    (order,) = seen.core.orders.open_orders()
    ours = fill(order.new, "0.5", "100.25", "t-1", fee="0.1", ts_ns=50)
    foreign = e.OrderFilled(
        60, 60, "coinbase", "not-ours", "v-9", "t-2", BTC, e.Side.SELL, ours.qty, ours.px, ours.fee, "USD",
        e.Liquidity.MAKER,
    )  # fmt: skip
    seen.feed(ours, foreign)
    first, second = seen.watch.collect(Histogram()).fills
    assert (first.ts_ns, first.instrument, first.side, first.qty, first.px, first.fee, first.strategy) == (
        50, BTC, 1, 0.5, 100.25, 0.1, "s",
    )  # fmt: skip
    assert (second.side, second.strategy) == (-1, "")


def test_fills_are_bounded() -> None:
    """One more than the bound: the first ones are kept."""
    seen = Seen()
    seen.feed(quote(10))
    (order,) = seen.core.orders.open_orders()
    for number in range(FILLS_MAX + 1):
        seen.watch.observe(fill(order.new, "0.0001", "100", f"t-{number}", ts_ns=number))
    fills = seen.watch.collect(Histogram()).fills
    assert (len(fills), fills[-1].ts_ns) == (FILLS_MAX, FILLS_MAX - 1)


def test_latency_is_in_microseconds_by_bucket() -> None:
    """Two values of 50 us and one of 2 ms."""
    histogram = Histogram()
    for value_ns in (50_000, 50_000, 2_000_000):
        histogram.record(value_ns)
    buckets = Seen().watch.collect(histogram).latency
    assert [count for _, count in buckets] == [2, 1]
    assert 50 <= buckets[0][0] <= 55
    assert 2000 <= buckets[1][0] <= 2100
