"""Quotes of the venue as market events: pure.

Owns what makes an answer to ``best_bid_ask`` a quote.  The venue tells the two best prices and no sizes; v1's include
the spread that its orders pay.  An answer that names no time is one of the moment at which it was
received, by the venue's clock.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import isfinite, nan

import msgspec

from connectors.robinhood import wire
from engine.events import InputEvent, Quote


class Counters(msgspec.Struct):
    """What was dropped, by kind."""

    malformed: int = 0
    unusable: int = 0
    unknown: int = 0


class QuoteProtocol:
    """``symbols`` maps the venue's symbols to canonical instruments; ``offset_ns`` is the venue's clock minus ours."""

    def __init__(self, symbols: Mapping[str, str], offset_ns: Callable[[], int] = lambda: 0) -> None:
        self._symbols = dict(symbols)
        self._offset_ns = offset_ns
        self._decoder = msgspec.json.Decoder(wire.Quotes)
        self.counters = Counters()

    def receive_frame(self, frame: bytes | bytearray | memoryview, recv_ns: int) -> Sequence[InputEvent]:
        """Events of one answer.  A malformed one yields nothing and is counted; never raises."""
        try:
            rows = self._decoder.decode(frame).results
        except wire.UNREADABLE:
            self.counters.malformed += 1
            return ()
        events: list[InputEvent] = []
        venue_ns = recv_ns + self._offset_ns()
        for row in rows:
            instrument = self._symbols.get(row.symbol)
            if instrument is None:
                self.counters.unknown += 1
                continue
            bid_px = wire.number(row.bid_inclusive_of_sell_spread if row.bid is None else row.bid)
            ask_px = wire.number(row.ask_inclusive_of_buy_spread if row.ask is None else row.ask)
            if not (isfinite(bid_px) and isfinite(ask_px) and bid_px > 0.0 and ask_px > 0.0):
                self.counters.unusable += 1
                continue
            events.append(Quote(wire.time_ns(row.timestamp) or venue_ns, recv_ns, instrument, bid_px, nan, ask_px, nan))
        return events
