"""Orders whose answer was lost: whether they exist, by the venue's listings alone.

Owns the orders of unknown outcome and what decides them.  None is sent again and none assumed rejected: one that a
listing shows lives, one that is missing from two of them, the last long after its answer was lost, never arrived.
"""

from __future__ import annotations

import msgspec

from connectors.coinbase.inquiry import Inquiry
from engine.errors import VenueError
from engine.events import OrderRejected

NS_PER_S = 1_000_000_000


class _Unknown(msgspec.Struct):
    product_id: str
    sent_ns: int
    lost_ns: int
    absent: int = 0


class UnknownOrders:
    """See the module docstring."""

    def __init__(self, inquiry: Inquiry) -> None:
        self._asks = inquiry
        self._tracker = inquiry.tracker
        self._clock = inquiry.clock
        self._emit = inquiry.emit
        self._observe = inquiry.observe
        self._orders: dict[str, _Unknown] = {}

    def __len__(self) -> int:
        """Orders that are not decided."""
        return len(self._orders)

    def add(self, client_order_id: str, product_id: str, sent_ns: int, lost_ns: int) -> None:
        """Its answer was lost; times are ours."""
        self._orders[client_order_id] = _Unknown(product_id, sent_ns, lost_ns)

    async def look(self) -> None:
        """One listing per product that has unknown orders; decide those that are found, or absent for long enough.
        Raises ``VenueError``."""
        by_product: dict[str, list[str]] = {}
        for client_id, unknown in list(self._orders.items()):
            order = self._tracker.get(client_id)
            if order is None or order.accepted or order.closed:
                del self._orders[client_id]  # the stream has told it meanwhile
            else:
                by_product.setdefault(unknown.product_id, []).append(client_id)
        failed: VenueError | None = None
        for product_id, client_ids in by_product.items():
            sent_ns = min(self._orders[c].sent_ns for c in client_ids)
            asked_ns = self._clock.now_ns()
            try:
                orders = await self._asks.orders_since(product_id, sent_ns)
                listed = {order.client_order_id: order for order in orders}
            except VenueError as error:
                # The other products' orders are not kept waiting for this one's listing.
                failed = error
                continue
            for client_id in client_ids:
                if client_id in listed:
                    del self._orders[client_id]
                    self._observe(listed[client_id])
                else:
                    self._absent(client_id, asked_ns)
        if failed is not None:
            raise failed

    def _absent(self, client_id: str, asked_ns: int) -> None:
        unknown = self._orders[client_id]
        unknown.absent += 1
        order = self._tracker.get(client_id)
        if order is not None and order.accepted:
            return  # told by the stream while the listing was under way
        if unknown.absent >= 2 and asked_ns - unknown.lost_ns >= self._asks.grace_ns:
            del self._orders[client_id]
            self._tracker.not_sent(client_id)
            now_ns = self._clock.now_ns()
            text = (
                f"absent from {unknown.absent} listings, the last {(asked_ns - unknown.lost_ns) / NS_PER_S:.1f} s later"
            )
            self._emit([OrderRejected(now_ns, now_ns, self._asks.venue, client_id, "never_arrived", text)])
