"""Orders whose answer was lost: whether they exist, by the venue's listings alone.

Owns the orders of unknown outcome and what decides them.  None is sent again and none assumed rejected: one that a
listing shows lives, one that is missing from two of them, the last long after its answer was lost, never arrived.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from connectors.coinbase import wire
from connectors.coinbase.listings import Listings
from connectors.coinbase.tracker import OrderTracker
from engine.errors import VenueError
from engine.events import InputEvent, OrderRejected
from engine.ports import Clock

NS_PER_S = 1_000_000_000
LISTING_MARGIN_NS = 60 * NS_PER_S
"""Listings start this long before the send: the venue's clock and the order's way there may differ from ours."""


class _Unknown(msgspec.Struct):
    product_id: str
    sent_ns: int
    lost_ns: int
    absent: int = 0


class UnknownOrders:
    """``observe`` takes in what the venue says of an order; ``venue_offset_ns`` is its clock minus ours."""

    def __init__(
        self,
        venue: str,
        *,
        listings: Listings,
        tracker: OrderTracker,
        clock: Clock,
        emit: Callable[[list[InputEvent]], None],
        observe: Callable[[wire.RestOrder], None],
        venue_offset_ns: Callable[[], int],
        grace_ns: int,
    ) -> None:
        self._venue = venue
        self._listings = listings
        self._tracker = tracker
        self._clock = clock
        self._emit = emit
        self._observe = observe
        self._offset_ns = venue_offset_ns
        self._grace_ns = grace_ns
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
            since_ns = min(self._orders[c].sent_ns for c in client_ids) + self._offset_ns() - LISTING_MARGIN_NS
            asked_ns = self._clock.now_ns()
            try:
                asked = [
                    ("product_ids", product_id),
                    ("start_date", wire.format_time(since_ns)),
                    ("limit", "100"),
                ]
                listed = {order.client_order_id: order for order in await self._listings.orders(asked)}
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
        if unknown.absent >= 2 and asked_ns - unknown.lost_ns >= self._grace_ns:
            del self._orders[client_id]
            self._tracker.not_sent(client_id)
            now_ns = self._clock.now_ns()
            text = (
                f"absent from {unknown.absent} listings, the last {(asked_ns - unknown.lost_ns) / NS_PER_S:.1f} s later"
            )
            self._emit([OrderRejected(now_ns, now_ns, self._venue, client_id, "never_arrived", text)])
