"""What a buffer needs beside the quotes and trades of its own instrument.

Owns the book levels, the prices of other instruments, published series and the trading session, and puts each into its
slots of the record before the kernel needs it.  Made only where a column asks for one of them; owns no rows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

from engine.book import OrderBook
from engine.events import Bar, BookDelta, BookSnapshot, MarketEvent, Observation, Quote, Trade
from engine.features import layout as at
from engine.features import tape
from engine.features.sessions import Sessions
from engine.features.spec import FeatureSpec
from engine.instruments import Instrument


class Surroundings:
    """``take`` says whether an event was for it; what belongs to the instrument's own rows goes on to the kernel.

    ``put(kind, block, value, ts_ns)`` hands a value of another instrument or series to the kernel.
    """

    def __init__(
        self,
        spec: FeatureSpec,
        instrument: Instrument,
        state: npt.NDArray[np.float64],
        blocks: tuple[Mapping[str, int], Mapping[str, int]],
        put: Callable[[int, int, float, int], None],
    ) -> None:
        self._own = instrument.id
        self._s = state
        self._peers, self._series = blocks
        self._put = put
        self._by_trades = spec.sampling.price == "trade"
        self._book = OrderBook(instrument.id) if "depth" in spec.requires else None
        self._sessions = Sessions.of(instrument) if "sessions" in spec.requires else None
        self._session_ends_ns = 0

    def take(self, event: MarketEvent) -> bool:
        """True when the event completes no row of this instrument and is done with."""
        if type(event) is Observation:
            block = self._series.get(event.series)
            if block is not None and math.isfinite(event.value):
                self._put(tape.KNOWN, block, event.value, event.ts_event_ns)
            return True
        if type(event) is BookSnapshot or type(event) is BookDelta:
            if self._book is not None and event.instrument == self._own:
                self._take_book(self._book, event)
            return True
        if not isinstance(event, Quote | Trade | Bar):
            return True
        if event.instrument != self._own:
            self._take_peer(event)
            return True
        if self._sessions is not None:
            self.move_session(event.ts_event_ns)
        return False

    def move_session(self, ts_ns: int) -> None:
        """Write the session of that time; of a bar, of its end."""
        if self._sessions is None or ts_ns < self._session_ends_ns:
            return
        open_ns, close_ns = self._sessions.around(ts_ns)
        self._s[at.SESSION_OPEN_S] = open_ns / 1e9
        self._s[at.SESSION_CLOSE_S] = close_ns / 1e9
        self._session_ends_ns = close_ns

    def forget(self) -> None:
        """The feed broke: levels and session are read anew; what others cost is still known, and ages."""
        if self._book is not None:
            self._book.invalidate()
        self._session_ends_ns = 0

    def _take_peer(self, event: Quote | Trade | Bar) -> None:
        block = self._peers.get(event.instrument)
        if block is None:
            return
        if type(event) is Bar:
            px = event.close_px
        elif type(event) is Trade:
            if not self._by_trades:
                return
            px = event.px
        elif self._by_trades:
            return
        else:
            assert type(event) is Quote
            px = 0.5 * (event.bid_px + event.ask_px)
        if 0.0 < px < tape.LIMIT:
            self._put(tape.PEER, block, px, event.ts_event_ns)

    def _take_book(self, book: OrderBook, event: BookSnapshot | BookDelta) -> None:
        if type(event) is BookSnapshot:
            book.apply_snapshot(event)
        else:
            assert type(event) is BookDelta
            book.apply_delta(event)
        if not book.has_levels:
            return
        s = self._s
        s[at.HAS_DEPTH] = 1.0
        for side, offset in ((1, 0), (-1, 2)):
            levels = book.levels(side, at.DEPTH_LEVELS)
            for i in range(at.DEPTH_LEVELS):
                slot = at.LEVELS + 4 * i + offset
                s[slot], s[slot + 1] = levels[i] if i < len(levels) else (math.nan, 0.0)
