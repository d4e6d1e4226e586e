"""The order book of one instrument: best prices always, levels when the venue sends them.

Owns ``Top`` (its only writer) and the level maps.  Judges no events (``engine.quality`` does), knows no orders of ours.
Prices are float64 as the venue sent them: a level is found again by the same float.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from math import nan

from engine.events import BookDelta, BookSnapshot, Quote
from engine.ports import Top

LEVELS_MAX = 100_000
"""Of a side; with more the worst is forgotten.  The deepest real books have some ten thousand."""


class OrderBook:
    """Best prices and, after a snapshot, all levels.

    Levels are kept in lists of sort keys whose best price is last (bids ascending; asks by negated price), so that the
    usual change, near the best price, moves little memory.
    """

    __slots__ = ("_ask_keys", "_asks", "_bid_keys", "_bids", "has_levels", "instrument", "top")

    def __init__(self, instrument: str) -> None:
        self.instrument = instrument
        self.top = Top()
        self.has_levels = False
        self._bids: dict[float, float] = {}
        self._asks: dict[float, float] = {}
        self._bid_keys: list[float] = []
        self._ask_keys: list[float] = []

    def apply_quote(self, quote: Quote) -> None:
        """Take an accepted quote as the best prices."""
        top = self.top
        top.bid_px = quote.bid_px
        top.bid_qty = quote.bid_qty
        top.ask_px = quote.ask_px
        top.ask_qty = quote.ask_qty
        top.ts_event_ns = quote.ts_event_ns
        top.ts_recv_ns = quote.ts_recv_ns
        top.crossed = quote.bid_px >= quote.ask_px
        top.suspect = False

    def apply_snapshot(self, snapshot: BookSnapshot) -> Quote | None:
        """Replace all levels; returns the new best prices as a quote, None when a side is empty."""
        self._bids = {px: qty for px, qty in snapshot.bids if qty > 0.0}
        self._asks = {px: qty for px, qty in snapshot.asks if qty > 0.0}
        self._bid_keys = sorted(self._bids)
        self._ask_keys = sorted(-px for px in self._asks)
        self._forget_worst()
        self.has_levels = True
        return self.best(snapshot.ts_event_ns, snapshot.ts_recv_ns)

    def apply_delta(self, delta: BookDelta) -> Quote | None:
        """Apply absolute level changes; returns the best prices when they (price or size) changed, else None.

        Suspect prices are returned unchanged too: seen again, they may be confirmed.  Before a snapshot, deltas have
        nothing to change and are ignored.
        """
        if not self.has_levels:
            return None
        bids, asks, bid_keys, ask_keys = self._bids, self._asks, self._bid_keys, self._ask_keys
        for side, px, qty in delta.changes:
            if side > 0:
                if qty > 0.0:
                    if px not in bids:
                        insort(bid_keys, px)
                    bids[px] = qty
                elif px in bids:
                    del bids[px]
                    del bid_keys[bisect_left(bid_keys, px)]
            elif qty > 0.0:
                if px not in asks:
                    insort(ask_keys, -px)
                asks[px] = qty
            elif px in asks:
                del asks[px]
                del ask_keys[bisect_left(ask_keys, -px)]
        if len(bid_keys) > LEVELS_MAX or len(ask_keys) > LEVELS_MAX:
            self._forget_worst()
        top = self.top
        if bid_keys and ask_keys and not top.suspect:
            bid_px, ask_px = bid_keys[-1], -ask_keys[-1]
            if (
                bid_px == top.bid_px
                and ask_px == top.ask_px
                and bids[bid_px] == top.bid_qty
                and asks[ask_px] == top.ask_qty
            ):
                # The book was confirmed at this time: freshness moves on, features see no tick.
                top.ts_event_ns = delta.ts_event_ns
                top.ts_recv_ns = delta.ts_recv_ns
                return None
        return self.best(delta.ts_event_ns, delta.ts_recv_ns)

    def _forget_worst(self) -> None:
        for key in _too_many(self._bid_keys):
            del self._bids[key]
        for key in _too_many(self._ask_keys):
            del self._asks[-key]

    def invalidate(self) -> None:
        """Forget the levels after a gap; the prices stay readable but are suspect until the next good quote."""
        self._bids.clear()
        self._asks.clear()
        self._bid_keys.clear()
        self._ask_keys.clear()
        self.has_levels = False
        self.top.suspect = True

    @property
    def is_broken(self) -> bool:
        """Whether levels are known that no market has for long: crossed, locked, or a side without any."""
        if not self.has_levels:
            return False
        return not self._bid_keys or not self._ask_keys or self._bid_keys[-1] >= -self._ask_keys[-1]

    def levels(self, side: int, depth: int) -> list[tuple[float, float]]:
        """Up to ``depth`` levels ``(px, qty)``, best first; ``side`` +1 bids, -1 asks."""
        if side > 0:
            return [(px, self._bids[px]) for px in reversed(self._bid_keys[-depth:])]
        return [(-key, self._asks[-key]) for key in reversed(self._ask_keys[-depth:])]

    def best(self, ts_event_ns: int, ts_recv_ns: int) -> Quote | None:
        """The best levels as a quote of that time; None, and prices that are suspect, when a side is empty."""
        if not self._bid_keys or not self._ask_keys:
            self.top.suspect = True
            self.top.bid_qty = self.top.ask_qty = nan
            return None
        bid_px = self._bid_keys[-1]
        ask_px = -self._ask_keys[-1]
        return Quote(ts_event_ns, ts_recv_ns, self.instrument, bid_px, self._bids[bid_px], ask_px, self._asks[ask_px])


def _too_many(keys: list[float]) -> list[float]:
    """Taken out of ``keys``: the worst beyond ``LEVELS_MAX``."""
    over = len(keys) - LEVELS_MAX
    if over <= 0:
        return []
    worst = keys[:over]
    del keys[:over]
    return worst
