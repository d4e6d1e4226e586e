"""Shadow ticks walk a whole second core and leave the real one alone."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence

import msgspec
import pytest

from engine import events as e
from engine.codec import encode
from engine.commands import NewOrder, OrderType
from engine.core import TradingCore
from engine.runtime.clocks import ManualClock
from engine.runtime.shadow import NullRecorder, ShadowTicker, make_warmer
from tests.support.core import (
    BTC,
    MemoryRecorder,
    MidModel,
    OpenGate,
    Scripted,
    build_core,
    intent,
    open_market,
    quote,
    spot,
)
from tests.support.exchange import Exchange


class Wire:
    """A wire half that goes through bytes, as a real one does."""

    def __init__(self) -> None:
        self.encoded: list[NewOrder] = []

    def decode(self, quote: e.Quote) -> Sequence[e.InputEvent]:
        return [msgspec.json.decode(msgspec.json.encode(quote), type=e.Quote)]

    def encode(self, order: NewOrder) -> bytes:
        self.encoded.append(order)
        return encode(order)


class Lending(Exchange):
    """A venue that lends its wire half."""

    def __init__(self, wire: Wire | None) -> None:
        super().__init__()
        self.wire = wire

    def shadow(self) -> Wire | None:
        return self.wire


def trading(recorder: object) -> TradingCore:
    """Orders on every prediction."""
    return build_core(recorder, Scripted("s", on_prediction=lambda *_: [intent()]), gate=OpenGate(), model=MidModel())


class Warmed:
    def __init__(self, interval_s: float = 0.001) -> None:
        self.recorder = MemoryRecorder()
        self.real = trading(self.recorder)
        self.shadow = trading(NullRecorder())
        self.wire = Wire()
        self.clock = ManualClock()
        self.ticker = ShadowTicker(self.real, self.shadow, self.wire, self.clock, interval_s)
        open_market(self.real, spot())


async def test_a_shadow_tick_predicts_orders_and_encodes_in_the_shadow_alone() -> None:
    """Three ticks: predictions and orders there, none of them open, nothing new here."""
    warmed = Warmed()
    warmed.real.on_event(quote(10))
    before = (len(warmed.recorder.records), dict(vars(warmed.real.counters)))
    warmed.ticker.start()
    try:
        for _ in range(3):
            warmed.clock.advance(1_000_000)
            warmed.ticker.tick(BTC)
    finally:
        warmed.ticker.stop()
    counters = warmed.shadow.counters
    assert (counters.ticks, counters.predictions, counters.orders) == (3, 3, 3)
    assert warmed.shadow.orders.open_count == 0
    assert len(warmed.wire.encoded) == warmed.ticker.ticks == 3
    sample = warmed.wire.encoded[0].intent
    assert (sample.order_type, sample.qty, str(sample.limit_px)) == (OrderType.LIMIT, spot().min_qty, "100.00")
    assert (len(warmed.recorder.records), dict(vars(warmed.real.counters))) == before


@pytest.mark.parametrize("count", [1, 2, 3, 4])
async def test_each_walk_of_an_instrument_is_a_change_of_its_quote(count: int) -> None:
    """However many instruments take turns: a quote that repeats the last one of its instrument makes no row, so that
    nothing behind it would be kept warm."""
    warmed = Warmed(interval_s=1000.0)
    names = [BTC, *(f"C{number}/USD@coinbase" for number in range(1, count))]
    for name in names:
        open_market(warmed.real, spot(id=name))
        warmed.real.on_event(quote(10, instrument=name))
    walked: dict[str, list[float]] = {name: [] for name in names}
    decode = warmed.wire.decode

    def seen(event: e.Quote) -> Sequence[e.InputEvent]:
        walked[event.instrument].append(event.bid_qty)
        return decode(event)

    warmed.wire.decode = seen  # type: ignore[method-assign]
    warmed.ticker.start()
    for _ in range(1 + 4 * count):
        warmed.ticker._fire()
    warmed.ticker.stop()
    for quantities in walked.values():
        assert len(quantities) == 4
        assert all(one != other for one, other in itertools.pairwise(quantities))


async def test_before_the_first_quote_there_is_nothing_to_walk() -> None:
    """No price, no tick."""
    warmed = Warmed()
    warmed.ticker.start()
    warmed.ticker.tick(BTC)
    warmed.ticker.stop()
    assert warmed.ticker.ticks == 0
    assert warmed.wire.encoded == []


async def test_it_steps_aside_while_data_comes() -> None:
    """Real events between two firings: no shadow tick; a firing without one: a tick."""
    warmed = Warmed(interval_s=1000.0)
    warmed.real.on_event(quote(10))
    warmed.ticker.start()
    for number in range(5):
        warmed.real.on_event(quote(20 + number))
        warmed.ticker._fire()
    assert warmed.ticker.ticks == 0
    warmed.ticker._fire()
    assert warmed.ticker.ticks == 1
    warmed.ticker.stop()


async def test_it_ticks_by_its_own_timer_until_it_is_stopped() -> None:
    """Lets the loop run until it ticked, then long enough for many more."""
    warmed = Warmed()
    warmed.real.on_event(quote(10))
    warmed.ticker.start()
    while warmed.ticker.ticks < 3:
        await asyncio.sleep(0.001)
    warmed.ticker.stop()
    done = warmed.ticker.ticks
    await asyncio.sleep(0.01)
    assert warmed.ticker.ticks == done


@pytest.mark.parametrize(
    ("venue", "interval_ms", "made"),
    [(Lending(Wire()), 1, True), (Lending(Wire()), 0, False), (Lending(None), 1, False), (Exchange(), 1, False)],
)
def test_only_a_venue_that_lends_its_wire_is_warmed(venue: Exchange, interval_ms: int, made: bool) -> None:
    """With and without a wire half, and switched off; no core is built in vain."""
    built = []

    def build(recorder: object) -> TradingCore:
        built.append(recorder)
        return trading(recorder)

    warmer = make_warmer(venue, trading(MemoryRecorder()), build, ManualClock(), interval_ms=interval_ms)
    assert (warmer is not None, len(built)) == (made, made)


def test_the_null_recorder_counts_and_keeps_nothing() -> None:
    """Numbers go up; a record that cannot be encoded fails as it would in the journal."""
    recorder = NullRecorder()
    assert [recorder.record(quote(1)), recorder.record(quote(2))] == [1, 2]


async def test_the_shadow_takes_the_model_that_serves_by_now() -> None:
    """Another version was offered to the real core: the next walk predicts with it, offered once."""
    warmed = Warmed()
    warmed.real.on_event(quote(10))
    warmed.ticker.start()
    warmed.ticker.stop()
    warmed.ticker.tick(BTC)
    seat = warmed.real.lanes[BTC].seat
    assert seat is not None
    warmed.real.on_event(e.ModelOffered(20, 20, BTC, "champion", "mid@2", seat.assignment.spec, ()))
    for _ in range(2):
        warmed.clock.advance(1_000_000)
        warmed.ticker.tick(BTC)
    own = warmed.shadow.lanes[BTC].seat
    assert own is not None
    assert own.version == "mid@2"
    assert warmed.shadow.counters.swaps == warmed.real.counters.swaps == 1
