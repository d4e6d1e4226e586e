"""What a buffer needs beside the quotes and trades of its own instrument.

Owns the book levels, the prices of other instruments, published series and the trading session, and puts each into its
slots of the record before the kernel needs it.  Made only where a column asks for one of them; owns no rows.
"""

from __future__ import annotations

import bisect
import math
import struct
from collections.abc import Callable, Mapping
from typing import Final, TypeVar

import numpy as np
import numpy.typing as npt

from engine.book import OrderBook
from engine.events import Bar, BookDelta, BookSnapshot, MarketEvent, Observation, Quote, Trade
from engine.features import layout as at
from engine.features import tape
from engine.features.sessions import Sessions
from engine.features.spec import FeatureSpec
from engine.instruments import Instrument

T = TypeVar("T")

NEVER_NS: Final = 2**63 - 1
"""End of the open time bar where none is open."""
_NO_LEVEL = (math.nan, 0.0)
_LEVELS = struct.Struct(f"{4 * at.DEPTH_LEVELS}d")


class Surroundings:
    """``take`` says whether an event was for it; what belongs to the instrument's own rows goes on to the kernel.

    ``put(kind, block, value, period_s, ts_ns)`` hands a value of another instrument or series to the kernel.

    A time bar is closed by what comes after it, or by a timer.  What others cost or publish after its end, and what the
    book looks like then, must not be in its row, or recordings (without timers) would make other rows than the daemon:
    it waits for ``release``.  So does all of it while no bar is open: history may still come that is older.
    """

    def __init__(
        self,
        spec: FeatureSpec,
        instrument: Instrument,
        state: npt.NDArray[np.float64],
        blocks: tuple[Mapping[str, int], Mapping[str, int]],
        put: Callable[[int, int, float, float, int], None],
    ) -> None:
        self._own = instrument.id
        self._s = state
        self._peers, self._series = blocks
        self._put = put
        self._by_trades = spec.sampling.price == "trade"
        self._interval_ns = spec.sampling.interval_ns
        self._lateness_ns = spec.sampling.lateness_ns
        # Older bars than these are in no window that history fills.
        self._bars_max = spec.rows_to_warm + at.HISTORY
        self._published: list[Observation] = []
        # Of each bar, by its number since the epoch, the last; see ``_bar_of``.
        self._prices: dict[int, dict[int, tuple[int, float]]] = {block: {} for block in self._peers.values()}
        self._books: dict[int, tuple[float, ...] | None] = {}
        self._levels: tuple[float, ...] | None = None
        self._book = OrderBook(instrument.id) if "depth" in spec.requires else None
        self.sessions = Sessions.of(instrument) if "sessions" in spec.requires else None
        # Times after the one, up to the other, lie in the session that is in the record; at first none does.
        self._session_after_ns = self._session_close_ns = 0
        self._hours_s = (math.nan, math.nan)

    def take(self, event: MarketEvent, end_ns: int) -> bool:
        """True when the event completes no row of this instrument and is done with; ``end_ns`` of the open time bar."""
        if type(event) is Observation:
            if event.series in self._series and math.isfinite(event.value):
                self._take_published(event)
            return True
        if type(event) is BookSnapshot or type(event) is BookDelta:
            if self._book is not None and event.instrument == self._own:
                self._take_book(self._book, event, end_ns)
            return True
        if not isinstance(event, Quote | Trade | Bar):
            return True
        if event.instrument != self._own:
            self._take_peer(event, end_ns)
            return True
        if self.sessions is not None:
            self.move_session(event.ts_event_ns)
        return False

    def move_session(self, ts_ns: int) -> None:
        """Write the session of a row that is made at that time; of a bar, its end."""
        if self.sessions is None or type(ts_ns) is not int or self._session_after_ns < ts_ns <= self._session_close_ns:
            return
        found = self.sessions.at(ts_ns) if 0 <= ts_ns < 2**63 else None
        if found is None:
            # The calendar does not reach so far, nobody knows whether the market is open: no value, no warm window.
            self._session_after_ns = self._session_close_ns = 0
            self._hours_s = (math.nan, math.nan)
        else:
            self._session_after_ns, self._session_close_ns = found.after_ns, found.close_ns
            self._hours_s = (found.open_ns / 1e9, found.close_ns / 1e9)
        self._s[at.SESSION_OPEN_S], self._s[at.SESSION_CLOSE_S] = self._hours_s

    def forget(self) -> None:
        """The feed broke: levels are worth nothing until the next snapshot; what others cost is known, and ages."""
        if self._book is not None:
            self._book.invalidate()
            self._books.clear()
            self._levels = None

    def restore(self) -> None:
        """The record was cleared: write again what a restart of the indicators leaves as it is."""
        self._s[at.SESSION_OPEN_S], self._s[at.SESSION_CLOSE_S] = self._hours_s
        self._put_levels(self._levels)

    def lose(self, instrument: str) -> None:
        """The feed of another instrument broke: what it costs is unknown until it says so again."""
        block = self._peers.get(instrument)
        if block is not None:
            self._s[block + at.PEER_PX] = math.nan
            self._prices[block].clear()

    def release(self, end_ns: int) -> None:
        """A time bar that ends then is about to be closed: write what was known at its end.

        A price of that very moment belongs to it, as a candle that ends with it does.  What is published at that
        moment does not: the row was due before anybody could have read it.
        """
        while self._published and self._published[0].ts_event_ns < end_ns:
            self._put_published(self._published.pop(0))
        bar = end_ns // self._interval_ns - 1
        for block, waiting in self._prices.items():
            for number in _due(waiting, bar):
                ts_ns, px = waiting.pop(number)
                self._put(tape.PEER, block, px, 0.0, ts_ns)
        for number in _due(self._books, bar):
            self._put_levels(self._books.pop(number))

    def _bar_of(self, event: MarketEvent, ts_ns: int) -> int:
        """Number of the first bar that may know of an event which belongs to the bar that holds ``ts_ns``.

        What is received when a bar should be closed is not in it, whether or not a timer has closed it by then.
        Candles are history, received long after.
        """
        bar = ts_ns // self._interval_ns
        if type(event) is Bar:
            return bar
        return max(bar, (event.ts_recv_ns - self._lateness_ns) // self._interval_ns)

    def _must_wait(self, bar: int, end_ns: int, waiting: Mapping[int, object]) -> bool:
        """Whether it is not known yet that the next row is of that bar or a later one."""
        return bool(waiting) or end_ns == NEVER_NS or bar >= end_ns // self._interval_ns

    def _keep(self, waiting: dict[int, T], bar: int, value: T) -> None:
        waiting[bar] = value
        if len(waiting) > self._bars_max:
            del waiting[min(waiting)]

    def _take_published(self, event: Observation) -> None:
        if self._interval_ns:
            bisect.insort(self._published, event, key=lambda one: one.ts_event_ns)
        else:
            self._put_published(event)

    def _put_published(self, event: Observation) -> None:
        period_s = event.period_end_ns / 1e9
        self._put(tape.KNOWN, self._series[event.series], event.value, period_s, event.ts_event_ns)

    def _take_peer(self, event: Quote | Trade | Bar, end_ns: int) -> None:
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
        if not 0.0 < px < tape.LIMIT:
            return
        ts_ns = event.ts_event_ns
        if self._interval_ns:
            waiting = self._prices[block]
            bar = self._bar_of(event, ts_ns - 1)
            if self._must_wait(bar, end_ns, waiting):
                self._keep(waiting, bar, (ts_ns, px))
                return
        self._put(tape.PEER, block, px, 0.0, ts_ns)

    def _take_book(self, book: OrderBook, event: BookSnapshot | BookDelta, end_ns: int) -> None:
        broken = False
        if type(event) is BookSnapshot:
            book.apply_snapshot(event)
            if not event.bids and not event.asks:
                # So it is told that the book broke: differences that still come make no book of it.
                book.invalidate()
                broken = True
        else:
            assert type(event) is BookDelta
            book.apply_delta(event)
        if not book.has_levels and not broken:
            return
        levels = None if broken else _best(book)
        if self._interval_ns:
            bar = self._bar_of(event, event.ts_event_ns)
            if self._must_wait(bar, end_ns, self._books):
                self._keep(self._books, bar, levels)
                return
        self._put_levels(levels)

    def _put_levels(self, levels: tuple[float, ...] | None) -> None:
        self._levels = levels
        self._s[at.HAS_DEPTH] = 0.0 if levels is None else 1.0
        if levels is not None:
            # Forty single assignments take 15 us, this one 3.
            _LEVELS.pack_into(self._s.data, 8 * at.LEVELS, *levels)


def _best(book: OrderBook) -> tuple[float, ...]:
    """The levels of the record, in its order."""
    sides = []
    for side in (1, -1):
        levels = book.levels(side, at.DEPTH_LEVELS)
        sides.append(levels + [_NO_LEVEL] * (at.DEPTH_LEVELS - len(levels)))
    return tuple(x for bid, ask in zip(*sides, strict=True) for x in bid + ask)


def _due(waiting: Mapping[int, object], bar: int) -> list[int]:
    """The bars up to that one for which something waits, in order."""
    return sorted(number for number in waiting if number <= bar) if waiting else []
