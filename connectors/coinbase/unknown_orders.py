"""Orders whose answer was lost: whether they exist, by the venue's listings alone.

Owns the orders of unknown outcome and what decides them.  None is sent again and none assumed rejected: one that a
listing shows lives, one that is missing from two of them, the last long after its answer was lost, never arrived; but
not while an execution is listed of which the venue cannot say whose it is.
"""

from __future__ import annotations

import msgspec

from connectors.coinbase.inquiry import Inquiry
from engine.errors import VenueError
from engine.events import OrderRejected

NS_PER_S = 1_000_000_000
AGAIN_NS = 5_000_000_000
"""Between two looks at one that may have traded."""
LOOKED_UP_MAX = 20
"""Orders with executions that are looked up at once."""


class _Unknown(msgspec.Struct):
    product_id: str
    sent_ns: int
    lost_ns: int
    absent: int = 0
    due_ns: int = 0
    """When it is asked about again; 0: in the next round."""


class UnknownOrders:
    """See the module docstring."""

    def __init__(self, inquiry: Inquiry) -> None:
        self._asks = inquiry
        self._tracker = inquiry.tracker
        self._clock = inquiry.clock
        self._emit = inquiry.emit
        self._observe = inquiry.observe
        self._orders: dict[str, _Unknown] = {}
        self._others: dict[str, set[str]] = {}
        """By product: venue ids of orders with executions that are none of these, as far as they are still listed."""

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
        now_ns = self._clock.now_ns()
        for client_id, unknown in list(self._orders.items()):
            order = self._tracker.get(client_id)
            if order is None or order.accepted or order.closed:
                del self._orders[client_id]  # the stream has told it meanwhile
            elif unknown.due_ns <= now_ns:
                by_product.setdefault(unknown.product_id, []).append(client_id)
        asked = {unknown.product_id for unknown in self._orders.values()}
        self._others = {product_id: ids for product_id, ids in self._others.items() if product_id in asked}
        failed: VenueError | None = None
        for product_id, asked_about in by_product.items():
            client_ids = [client_id for client_id in asked_about if client_id in self._orders]
            if not client_ids:
                continue  # found among the executions of another product
            sent_ns = min(self._orders[c].sent_ns for c in client_ids)
            asked_ns = self._clock.now_ns()
            try:
                orders = await self._asks.orders_since(product_id, sent_ns)
                listed = {order.client_order_id: order for order in orders}
                for client_id in client_ids:
                    if client_id in listed:
                        del self._orders[client_id]
                        self._observe(listed[client_id])
                absent = [client_id for client_id in client_ids if client_id not in listed]
                late = [client_id for client_id in absent if self._is_late(self._orders[client_id], asked_ns)]
                may_trade = bool(late) and await self._may_have_traded(product_id, sent_ns)
            except VenueError as error:
                # The other products' orders are not kept waiting for this one's listing.
                failed = error
                continue
            for client_id in absent:
                if client_id not in self._orders:
                    continue  # its execution has shown it
                if client_id in late and may_trade:
                    self._orders[client_id].due_ns = self._clock.now_ns() + AGAIN_NS
                else:
                    self._absent(client_id, asked_ns)
        if failed is not None:
            raise failed

    def _is_late(self, unknown: _Unknown, asked_ns: int) -> bool:
        """Whether one more listing without it would decide."""
        return unknown.absent >= 1 and asked_ns - unknown.lost_ns >= self._asks.grace_ns

    async def _may_have_traded(self, product_id: str, sent_ns: int) -> bool:
        """Whether an execution since then is listed whose order's record is not there yet, so that it may be of one of
        these.  Raises ``VenueError``."""
        unread = 0
        fills = await self._asks.fills_since(product_id, sent_ns)
        listed = dict.fromkeys(fill.order_id for fill in fills)
        others = self._others[product_id] = self._others.get(product_id, set()) & listed.keys()
        strange = [one for one in listed if one not in others]
        strange = [one for one in strange if self._tracker.of_venue(one) is None]
        for order_id in strange[:LOOKED_UP_MAX]:
            found = await self._asks.listings.order(order_id)
            if found is None:
                unread += 1
            elif found.client_order_id in self._orders:
                del self._orders[found.client_order_id]
                self._observe(found)
            else:
                others.add(order_id)
        return unread > 0 or len(strange) > LOOKED_UP_MAX

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
