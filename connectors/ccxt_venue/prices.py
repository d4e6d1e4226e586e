"""Prices, trades and books of the library's structures as market events.

Owns what is told of them: a quote when it changed, each trade once, a book as what differs from the last one; and what
is wrong with them: times and numbers that step back, a listing that does not reach the last trade that was told.  One
per symbol.  Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import isfinite, isnan, nan
from typing import Any, Final

from connectors.ccxt_venue.exact import mapping, nanoseconds, plain, text
from engine.events import BookDelta, BookSnapshot, Gap, InputEvent, Quote, Trade

LISTED: Final = 1000
"""Trades that a page of a listing holds, at most."""

Levels = tuple[tuple[float, float], ...]


class PriceReader:
    """``levels``: how deep a book is told; 0 for its best prices only.  Without ``has_sizes`` sizes are NaN.

    ``makers_side``: a trade's side is the one that rested, not the one that took it.  ``cached``: trades that the
    library keeps of a symbol (its option ``tradesLimit``).
    """

    def __init__(
        self,
        venue: str,
        instrument: str,
        *,
        levels: int = 0,
        has_sizes: bool = True,
        makers_side: bool = False,
        cached: int = 1000,
    ) -> None:
        self.venue = venue
        self.instrument = instrument
        self.unreadable = 0
        self.stale = 0
        """Told later than something newer; not told on."""
        self.gaps = 0
        self.best: tuple[float, float, float, float] | None = None
        self._levels = levels
        self._has_sizes = has_sizes
        self._sign = -1 if makers_side else 1
        self._cached = cached
        self._ids_kept = cached + LISTED  # more than the cache or a page of a listing has
        self.offset_ns = 0
        """The exchange's clock minus ours, for what it tells without a time; 0 where they agree well enough."""
        self._quote_ns = 0
        self._book: tuple[Levels, Levels] | None = None
        self._nonce = -1
        self._trade_ids: dict[str, None] = {}
        self.traded_ns = 0
        """The newest trade's time."""

    def restart(self) -> None:
        """Another connection: what it tells first is the truth, whatever number it has."""
        self._nonce = -1
        self._quote_ns = 0
        self._book = None

    def knows(self, trade_id: str) -> bool:
        """Whether this trade was told."""
        return trade_id in self._trade_ids

    @property
    def remembered(self) -> int:
        """Trades that would be known again."""
        return len(self._trade_ids)

    def present(self, recv_ns: int) -> list[InputEvent]:
        """Everything as it stands, for whoever has not heard this reader before."""
        events: list[InputEvent] = []
        if self._book is not None:
            events.append(BookSnapshot(recv_ns, recv_ns, self.instrument, *self._book))
        if self.best is not None:
            bid_px, bid_qty, ask_px, ask_qty = self.best
            if not self._has_sizes:
                bid_qty = ask_qty = nan
            events.append(Quote(self._quote_ns or recv_ns, recv_ns, self.instrument, bid_px, bid_qty, ask_px, ask_qty))
        return events

    # --- prices -----------------------------------------------------------------------------------------------------

    def ticker(self, found: object, recv_ns: int) -> list[InputEvent]:
        """A ticker or a row of best prices.  One without prices (many tickers have none) yields nothing."""
        row = mapping(found)
        names = ("bid", "bidVolume", "ask", "askVolume")
        bid_px, bid_qty, ask_px, ask_qty = (plain(row.get(name)) for name in names)
        return self._quote((bid_px, bid_qty, ask_px, ask_qty), nanoseconds(row.get("timestamp"), 0), recv_ns)

    def book(self, found: Any, recv_ns: int) -> list[InputEvent]:
        """A book; the library goes on changing the object, so it is read at once."""
        try:
            bids, asks = _side(found["bids"], self._levels), _side(found["asks"], self._levels)
            nonce, timestamp = plain(found.get("nonce")), found.get("timestamp")
        except (TypeError, KeyError, ValueError, AttributeError, IndexError):
            self.unreadable += 1
            return []
        if not isnan(nonce):
            if nonce < self._nonce:
                self.stale += 1
                return []
            self._nonce = int(nonce)
        told_ns = nanoseconds(timestamp, 0)
        ts_ns = told_ns or recv_ns + self.offset_ns
        events: list[InputEvent] = []
        if self._levels:
            before, self._book = self._book, (bids, asks)
            if before is None:
                events.append(BookSnapshot(ts_ns, recv_ns, self.instrument, bids, asks))
            elif changes := [*_changes(1, before[0], bids), *_changes(-1, before[1], asks)]:
                events.append(BookDelta(ts_ns, recv_ns, self.instrument, tuple(changes)))
        best_bid, best_ask = bids[0] if bids else (nan, nan), asks[0] if asks else (nan, nan)
        return events + self._quote((*best_bid, *best_ask), told_ns, recv_ns)

    def _quote(self, prices: tuple[float, float, float, float], told_ns: int, recv_ns: int) -> list[InputEvent]:
        """``told_ns``: the exchange's time, 0 where it gives none."""
        bid_px, bid_qty, ask_px, ask_qty = prices
        if not (bid_px > 0 and ask_px > 0):
            self.unreadable += 1
            return []
        if told_ns:
            if told_ns < self._quote_ns:
                self.stale += 1
                return []
            self._quote_ns = told_ns
        if prices == self.best:
            return []
        self.best = prices
        if not self._has_sizes:
            bid_qty = ask_qty = nan  # as the instrument declares
        return [Quote(told_ns or recv_ns + self.offset_ns, recv_ns, self.instrument, bid_px, bid_qty, ask_px, ask_qty)]

    # --- trades -----------------------------------------------------------------------------------------------------

    def trades(self, found: object, recv_ns: int, *, since_ns: int = 0) -> list[InputEvent]:
        """Those that were not told yet, oldest first.  ``since_ns``: older ones are history and only remembered.

        A listing of which nothing is known, after one of which something was, does not reach it: that is a gap.
        """
        if not isinstance(found, Iterable) or isinstance(found, str | bytes | dict):
            self.unreadable += 1
            return []
        rows = [trade for each in found if (trade := self._trade(mapping(each), recv_ns)) is not None]
        news = [trade for trade in rows if trade.trade_id not in self._trade_ids]
        is_gap = bool(self._trade_ids) and len(rows) > 1 and len(news) == len(rows)
        for trade in news:
            self._trade_ids[trade.trade_id] = None
            self.traded_ns = max(self.traded_ns, trade.ts_event_ns)
        while len(self._trade_ids) > self._ids_kept:
            del self._trade_ids[next(iter(self._trade_ids))]
        events: list[InputEvent] = sorted(
            (trade for trade in news if trade.ts_event_ns >= since_ns), key=lambda trade: trade.ts_event_ns
        )
        if is_gap and events:
            self.gaps += 1
            return [Gap(recv_ns, recv_ns, self.venue, self.instrument, 0, len(events)), *events]
        return events

    def updates(self, found: object, recv_ns: int, *, since_ns: int = 0) -> list[InputEvent]:
        """The same of a stream, whose updates never repeat what was told.  As many as the library's cache holds may
        have been more."""
        gaps, is_cut = self.gaps, isinstance(found, list) and len(found) >= self._cached
        events = [event for event in self.trades(found, recv_ns, since_ns=since_ns) if type(event) is not Gap]
        self.gaps = gaps + is_cut
        if is_cut:
            events.insert(0, Gap(recv_ns, recv_ns, self.venue, self.instrument, 0, len(events)))
        return events

    def _trade(self, row: dict[str, object], recv_ns: int) -> Trade | None:
        px, qty = plain(row.get("price")), plain(row.get("amount"))
        if not (px > 0 and qty > 0 and isfinite(px) and isfinite(qty)):
            self.unreadable += 1
            return None
        ts_ns = nanoseconds(row.get("timestamp"), recv_ns + self.offset_ns)
        trade_id = text(row.get("id")) or f"{ts_ns}:{px!r}:{qty!r}"
        aggressor = self._sign * {"buy": 1, "sell": -1}.get(text(row.get("side")), 0)
        return Trade(ts_ns, recv_ns, self.instrument, px, qty, aggressor, trade_id)


def _side(levels: Any, count: int) -> Levels:
    """The first ``count`` levels (one, for none), without what is no price or no size."""
    read = []
    for level in levels[: max(count, 1)]:
        px, qty = plain(level[0]), plain(level[1])
        if px > 0 and qty > 0:
            read.append((px, qty))
    return tuple(read)


def _changes(
    side: int, before: Sequence[tuple[float, float]], now: Sequence[tuple[float, float]]
) -> list[tuple[int, float, float]]:
    """What makes one side of a book the other; sizes are absolute, 0 removes."""
    old, new = dict(before), dict(now)
    gone = [(side, px, 0.0) for px in old if px not in new]
    return gone + [(side, px, qty) for px, qty in new.items() if old.get(px) != qty]
