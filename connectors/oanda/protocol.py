"""OANDA's price stream as events: pure, no clock, no socket.

Owns the meaning of its lines, when the stream is up, and when its silence means that it is dead.  Does not connect or
wait.  The account's stream is ``account_protocol``.

The venue numbers nothing and repeats nothing: after a gap the next price, or the snapshot of a new connection, is the
truth.  It sends at most one price of an instrument in a quarter of a second, and a heartbeat every five seconds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from connectors.oanda import wire
from engine.events import FeedUp, InputEvent, InstrumentStatus, Quote, TradingStatus

LATE_NS = 60 * wire.NS_PER_S
"""A price older than the one before by more is not late: the time of that one was wrong."""
SILENCE_NS = 10 * wire.NS_PER_S
"""Two heartbeats: a stream that says nothing for so long is dead, whatever its connection says."""


class Counters(msgspec.Struct):
    """What was dropped, by kind; each is a defect of the stream, none is fatal."""

    lines: int = 0
    malformed: int = 0
    oversize: int = 0
    unknown_instrument: int = 0
    out_of_order: int = 0
    one_sided: int = 0


class PriceProtocol:
    """``instruments`` maps the venue's names to canonical ids.  ``FeedUp`` when each has told its first price."""

    def __init__(self, venue: str, instruments: Mapping[str, str]) -> None:
        self.venue = venue
        self.counters = Counters()
        self.up = False
        self.heard_ns = 0
        """When anything was received last, by our clock."""
        self._instruments = dict(instruments)
        self._lines = wire.Lines()
        self._time = wire.TimeParser()
        self._awaited = set(instruments)
        self._told_ns: dict[str, int] = {}
        self._tradeable: dict[str, bool] = {}

    def reset(self, now_ns: int) -> None:
        """A new connection: half a line of the old one is forgotten, every instrument is awaited again."""
        self._lines = wire.Lines()
        self._awaited = set(self._instruments)
        self.up = False
        self.heard_ns = now_ns

    def is_silent(self, now_ns: int) -> bool:
        """Whether to give the connection up and dial again."""
        return now_ns - self.heard_ns > SILENCE_NS

    def is_closed(self, instrument: str) -> bool:
        """Whether its market was closed when it was told of last."""
        return self._tradeable.get(instrument) is False

    def receive_frame(self, frame: bytes | bytearray | memoryview, recv_ns: int) -> Sequence[InputEvent]:
        """Events of some bytes of the body, wherever they were cut.  Never raises."""
        self.heard_ns = recv_ns
        events: list[InputEvent] = []
        for line in self._lines.feed(frame):
            self.counters.lines += 1
            try:
                self._line(line, recv_ns, events)
            except wire.UNREADABLE:
                self.counters.malformed += 1
        self.counters.oversize = self._lines.oversize
        return events

    def _line(self, line: bytes, recv_ns: int, events: list[InputEvent]) -> None:
        price = wire.decode_price_line(line)
        if type(price) is not wire.Price:
            return
        instrument = self._instruments.get(price.instrument)
        if instrument is None:
            self.counters.unknown_instrument += 1
            return
        ts_ns = self._time(price.time) or recv_ns
        if 0 < self._told_ns.get(instrument, 0) - ts_ns <= LATE_NS:
            self.counters.out_of_order += 1
            return
        self._told_ns[instrument] = ts_ns
        tradeable = price.is_tradeable
        if self._tradeable.get(instrument) is not tradeable:
            self._tradeable[instrument] = tradeable
            status = TradingStatus.TRADING if tradeable else TradingStatus.HALTED
            events.append(InstrumentStatus(ts_ns, recv_ns, instrument, status))
        if price.bids and price.asks:
            bid, ask = price.bids[0], price.asks[0]
            events.append(Quote(ts_ns, recv_ns, instrument, bid.price, bid.liquidity, ask.price, ask.liquidity))
        elif tradeable:
            self.counters.one_sided += 1
        if not self.up:
            self._awaited.discard(price.instrument)
            if not self._awaited:
                self.up = True
                events.append(FeedUp(recv_ns, recv_ns, self.venue, "market"))
