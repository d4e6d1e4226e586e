"""Shadow ticks: a second core walks the whole path each millisecond so that the caches stay warm between real ticks.

At low tick rates a cold path costs several times a warm one.  The shadow is a complete core of its own (own state, own
model session, own gate) on a recorder that keeps nothing; its orders are encoded by the venue's own protocol and thrown
away.  It never touches the real core's state, journal or counters, and steps aside while data waits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

import msgspec

from engine.codec import Record, encode_into
from engine.commands import NewOrder, OrderIntent, OrderType, TimeInForce
from engine.core import TradingCore
from engine.events import (
    BalanceReported,
    FeedUp,
    InputEvent,
    InstrumentDefined,
    ModelOffered,
    OrderRejected,
    Quote,
    Side,
    Trade,
)
from engine.instruments import Instrument
from engine.ports import Clock, Recorder, Venue


class Shadow(Protocol):
    """The wire half of a venue's path, without a socket."""

    def decode(self, quote: Quote) -> Sequence[InputEvent]:
        """Encode the quote as the venue would have sent it and parse that frame."""
        ...

    def encode(self, order: NewOrder) -> bytes:
        """The bytes that ``submit`` would have written, signature included."""
        ...


@runtime_checkable
class Shadowed(Protocol):
    """A venue that can lend its wire half."""

    def shadow(self) -> Shadow | None: ...


class NullRecorder:
    """Serialises like the journal, keeps nothing."""

    def __init__(self) -> None:
        self._seq = 0
        self._scratch = bytearray(4096)

    def record(self, record: Record) -> int:
        encode_into(record, self._scratch, 0)
        self._seq += 1
        return self._seq


class ShadowTicker:
    """Ticks the shadow core every ``interval_s``.  ``real`` is only read: its latest prices make the shadow's."""

    def __init__(self, real: TradingCore, shadow: TradingCore, wire: Shadow, clock: Clock, interval_s: float) -> None:
        self._real = real
        self._shadow = shadow
        self._wire = wire
        self._clock = clock
        self._interval_s = interval_s
        self._handle: asyncio.TimerHandle | None = None
        self._seen_events = -1
        self._names: list[str] = []
        self._turn = 0
        self._nudged: dict[str, bool] = {}
        self._offered: dict[str, str] = {}
        self.ticks = 0

    def start(self) -> None:
        for name, lane in self._real.lanes.items():
            if lane.consolidator is not None:
                continue  # made by the shadow itself of its members
            self._open(lane.instrument)
            self._names.append(name)
        self._schedule()

    def stop(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _open(self, instrument: Instrument) -> None:
        now_ns = self._clock.now_ns()
        money = instrument.quote
        for event in (
            InstrumentDefined(now_ns, now_ns, instrument),
            BalanceReported(now_ns, now_ns, instrument.venue, money, instrument.max_qty, instrument.max_qty),
            FeedUp(now_ns, now_ns, instrument.venue, "market"),
            FeedUp(now_ns, now_ns, instrument.venue, "user"),
        ):
            self._shadow.on_event(event)

    def _schedule(self) -> None:
        self._handle = asyncio.get_running_loop().call_later(self._interval_s, self._fire)

    def _fire(self) -> None:
        self._schedule()
        events = self._real.counters.events
        if events != self._seen_events:
            # Real events since the last time kept the caches warm, and more may wait in the socket.
            self._seen_events = events
            return
        if self._names:
            self._turn += 1
            self.tick(self._names[self._turn % len(self._names)])

    def tick(self, instrument: str) -> None:
        """One walk: frame, decode, book, features, model, strategy, risk, order, encode, sign; no write."""
        top = self._real.lanes[instrument].book.top
        if not top.ts_recv_ns:
            return
        now_ns = self._clock.now_ns()
        self._follow(instrument, now_ns)
        # A small alternation, so that every tick is a change and makes a row: of each instrument by itself, because a
        # quote that only repeats the last one of its instrument is none.
        self._nudged[instrument] = nudged = not self._nudged.get(instrument, False)
        nudge = top.bid_qty * (1.0 + 1e-6 * nudged)
        quote = Quote(now_ns, now_ns, instrument, top.bid_px, nudge, top.ask_px, top.ask_qty)
        for event in self._wire.decode(quote):
            if isinstance(event, Quote | Trade):
                for command in self._shadow.on_event(msgspec.structs.replace(event, ts_recv_ns=now_ns)):
                    if isinstance(command, NewOrder):
                        self._forget(command, now_ns)
        self._wire.encode(self._sample_order(instrument, now_ns))
        self.ticks += 1

    def _follow(self, instrument: str, now_ns: int) -> None:
        """What is kept warm is the model that serves: where another one does by now, the shadow takes it too."""
        real, own = self._real.lanes[instrument].seat, self._shadow.lanes[instrument].seat
        if real is None or own is None or real.version == own.version:
            return
        if self._offered.get(instrument) != real.version:  # once: it may refuse it
            self._offered[instrument] = real.version
            wanted = real.assignment
            offer = ModelOffered(now_ns, now_ns, instrument, "champion", wanted.model, wanted.spec, wanted.facts)
            self._shadow.on_event(offer)

    def _forget(self, order: NewOrder, now_ns: int) -> None:
        """The shadow's own orders end at once: its position stays flat and its strategies keep trying."""
        self._shadow.on_event(OrderRejected(now_ns, now_ns, order.venue, order.client_order_id, "shadow"))

    def _sample_order(self, instrument: str, now_ns: int) -> NewOrder:
        definition = self._real.lanes[instrument].instrument
        price = definition.price(self._real.lanes[instrument].book.top.bid_px, 1)
        intent = OrderIntent(
            now_ns,
            "shadow",
            instrument,
            Side.BUY,
            definition.min_qty,
            OrderType.LIMIT,
            price,
            TimeInForce.IOC,
        )
        return NewOrder(now_ns, f"shadow-{self.ticks}", definition.venue, intent)


def make_warmer(
    venue: Venue,
    real: TradingCore,
    build: Callable[[Recorder], TradingCore],
    clock: Clock,
    *,
    interval_ms: int,
) -> ShadowTicker | None:
    """The ticker for a venue that lends its wire half; None where there is none or ``interval_ms`` is 0."""
    if interval_ms <= 0 or not isinstance(venue, Shadowed):
        return None
    wire = venue.shadow()
    if wire is None:
        return None
    return ShadowTicker(real, build(NullRecorder()), wire, clock, interval_ms / 1000.0)
