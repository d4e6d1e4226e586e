"""One side of an order book: price levels in order, first come first served inside a level.

Owns the queues.  Does not match and does not know accounts or time in force (``engine``).
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import OrderedDict
from collections.abc import Iterator
from decimal import Decimal

from connectors.matching.orders import LiveOrder
from engine.events import Side

_ZERO = Decimal(0)


class Level:
    """All orders at one price, oldest first, and their total quantity."""

    __slots__ = ("px", "qty", "queue")

    def __init__(self, px: Decimal) -> None:
        self.px = px
        self.qty = _ZERO
        # An OrderedDict and not a dict: finding the first key of a dict walks over everything deleted before it.
        self.queue: OrderedDict[str, LiveOrder] = OrderedDict()

    def first(self) -> LiveOrder:
        return next(iter(self.queue.values()))


class BookSide:
    """Levels of one side, best first."""

    __slots__ = ("_bid", "_levels", "_prices", "side")

    def __init__(self, side: Side) -> None:
        self.side = side
        self._bid = side is Side.BUY
        self._levels: dict[Decimal, Level] = {}
        self._prices: list[Decimal] = []  # ascending; the best bid is the last, the best ask the first

    def __len__(self) -> int:
        """Number of price levels."""
        return len(self._prices)

    def best_px(self) -> Decimal | None:
        if not self._prices:
            return None
        return self._prices[-1] if self._bid else self._prices[0]

    def best(self) -> Level | None:
        if not self._prices:
            return None
        return self._levels[self._prices[-1] if self._bid else self._prices[0]]

    def level(self, px: Decimal) -> Level | None:
        return self._levels.get(px)

    def level_of(self, live: LiveOrder) -> Level:
        """The level a resting order stands on.  Raises ``KeyError`` when it does not rest on this side."""
        assert live.limit_px is not None
        return self._levels[live.limit_px]

    def qty_at(self, px: Decimal) -> Decimal:
        level = self._levels.get(px)
        return _ZERO if level is None else level.qty

    def prices(self) -> Iterator[Decimal]:
        """Prices, best first.  Not valid across a change of the book."""
        return reversed(self._prices) if self._bid else iter(self._prices)

    def levels(self) -> Iterator[Level]:
        """Levels, best first.  Not valid across a change of the book."""
        levels = self._levels
        return (levels[px] for px in self.prices())

    def reached_by(self, px: Decimal, limit_px: Decimal | None) -> bool:
        """Whether an order from the other side with this limit (None: any price) may trade at ``px`` of this side."""
        if limit_px is None:
            return True
        return px >= limit_px if self._bid else px <= limit_px

    def add(self, live: LiveOrder) -> None:
        """To the back of the queue at its limit price."""
        px = live.limit_px
        assert px is not None
        level = self._levels.get(px)
        if level is None:
            level = self._levels[px] = Level(px)
            insort(self._prices, px)
        level.queue[live.order_id] = live
        level.qty += live.leaves_qty

    def take(self, level: Level, live: LiveOrder, qty: Decimal) -> None:
        """Lower a resting order by ``qty`` where it stands; at zero it leaves the queue, and an empty level goes."""
        live.leaves_qty -= qty
        level.qty -= qty
        if not live.leaves_qty:
            del level.queue[live.order_id]
            if not level.queue:
                del self._levels[level.px]
                prices = self._prices
                if prices[-1] == level.px:
                    prices.pop()
                else:
                    del prices[bisect_left(prices, level.px)]
