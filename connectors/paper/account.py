"""What the paper exchange remembers of its orders.

Owns the record of one open order and a bounded memory of closed ids.
"""

from __future__ import annotations

from collections import OrderedDict
from decimal import Decimal

from engine.commands import NewOrder
from engine.instruments import Instrument


class PaperOrder:
    """An open order: the command, the venue's id and how much of it is done.  ``qty`` is what went into the book."""

    __slots__ = ("filled_qty", "instrument", "order", "qty", "venue_order_id")

    def __init__(self, order: NewOrder, venue_order_id: str, instrument: Instrument, qty: Decimal) -> None:
        self.order = order
        self.venue_order_id = venue_order_id
        self.instrument = instrument
        self.qty = qty
        self.filled_qty = Decimal(0)


class RecentIds:
    """The last ``size`` ids that were added; the oldest are forgotten first."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._ids: OrderedDict[str, None] = OrderedDict()

    def __contains__(self, order_id: object) -> bool:
        return order_id in self._ids

    def __len__(self) -> int:
        return len(self._ids)

    def add(self, order_id: str) -> None:
        self._ids[order_id] = None
        if len(self._ids) > self._size:
            self._ids.popitem(last=False)
