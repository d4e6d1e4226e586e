"""Orders that are looked up one by one: when each is due, and when it needs no look-up any more.

Owns why and how often an order is asked about; what an answer says of it is the tracker's to take in.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from connectors.coinbase import wire
from connectors.coinbase.inquiry import Inquiry
from connectors.coinbase.tracked import Tracked
from engine.events import OrderRejected

NS_PER_S = 1_000_000_000
CHECK_AFTER_S = 2.0
CHECK_AGAIN_S = 5.0
GONE_NS = 300 * NS_PER_S
"""The record of an order that was taken is not found for so long: it is gone.  Longer than any listing lags."""
GONE_LOOKS = 30
"""And so often: a clock that was set says nothing, nor does a venue that could not be asked."""
ROUTINE_LOOKS = 2
"""How often an order that nothing speaks against is looked up, ``CHECK_AGAIN_S`` apart: one answer may lag behind."""
WHILE_CHANGED = 0
"""In place of that number: of one that is looked up for a change alone."""


class OrderChecks:
    """``observe(record, asked_ns)`` takes in what the venue's record of an order says, asked for then (our clock), and
    ``read_fills_of`` books every execution of orders by their venue ids.  ``still_open(client_order_id, asked_ns)``
    hears of each look-up that shows an order alive with no cancel at work on it.  ``wake`` asks for a round now;
    ``wake_idle`` does only where none comes soon anyway, as that would be one more listing.
    """

    def __init__(
        self,
        inquiry: Inquiry,
        *,
        observe: Callable[[wire.RestOrder, int], None],
        read_fills_of: Callable[[Sequence[str]], Awaitable[object]],
        still_open: Callable[[str, int], None],
        wake: Callable[[], None],
        wake_idle: Callable[[], None],
    ) -> None:
        self._inquiry = inquiry
        self._tracker = inquiry.tracker
        self._observe = observe
        self._read_fills_of = read_fills_of
        self._still_open = still_open
        self._wake, self._wake_idle = wake, wake_idle
        self._due_s: dict[str, float] = {}
        self._missing: dict[str, tuple[int, int]] = {}
        """Since when the record of an order that is looked up is not found, and how often it was not."""
        self._routine: dict[str, int] = {}
        """Of those that are looked up for no reason of their own: how often still."""

    @property
    def is_busy(self) -> bool:
        return bool(self._due_s)

    def check_later(self, client_order_id: str) -> None:
        """Look the order up if nothing has ended it in ``CHECK_AFTER_S``."""
        self._routine.pop(client_order_id, None)
        self._due_s.setdefault(client_order_id, asyncio.get_running_loop().time() + CHECK_AFTER_S)
        self._wake_idle()

    def check_now(self, client_order_id: str) -> None:
        self._routine.pop(client_order_id, None)
        self._due_s[client_order_id] = 0.0
        self._wake()

    def check_change(self, client_order_id: str, after_s: float = 0.0) -> None:
        """Look up an order that is being changed, until it is known which version of it lives."""
        due_s = asyncio.get_running_loop().time() + after_s
        if client_order_id not in self._due_s:
            self._routine[client_order_id] = WHILE_CHANGED
        self._due_s[client_order_id] = min(due_s, self._due_s.get(client_order_id, due_s))
        self._wake()

    def check_once(self, client_order_id: str) -> None:
        """Look an order up for no reason of its own."""
        if client_order_id not in self._due_s or client_order_id in self._routine:
            self._routine[client_order_id] = ROUTINE_LOOKS
        self._due_s[client_order_id] = 0.0
        self._wake()

    def check_open(self) -> None:
        """Messages of the user stream were lost: look up every open order, one that rests as it should not for ever,
        and every other one of which nobody knows as which version it has ended."""
        shown = [one for one in self._tracker.open_orders() if one.venue_order_id and not one.held]
        for client_id in dict.fromkeys([*(one.client_order_id for one in shown), *self._tracker.versions.in_doubt()]):
            self.check_once(client_id)
        self._wake()

    async def look(self) -> None:
        """Look up those that are due.  Raises ``VenueError``."""
        loop = asyncio.get_running_loop()
        for client_id in [c for c, due_s in self._due_s.items() if due_s <= loop.time()]:
            order = self._tracker.get(client_id)
            if order is None or not order.venue_order_id or self._is_settled(order):
                self._forget(client_id)
                continue
            self._due_s[client_id] = loop.time() + CHECK_AGAIN_S
            asked_ns = self._inquiry.clock.now_ns()
            found = await self._inquiry.listings.order(order.venue_order_id)
            if found is None:
                # Listings lag behind acceptances: "not found" once is no evidence; it is asked again.
                await self._give_up_gone(order, asked_ns)
                continue
            self._missing.pop(client_id, None)
            self._observe(found, asked_ns)
            if self._is_settled(order):
                self._forget(client_id)
            elif found.is_uncancelled():
                self._still_open(client_id, asked_ns)
                self._count_look(order)

    async def _give_up_gone(self, order: Tracked, asked_ns: int) -> None:
        """An order that the venue has taken, and of which it knows nothing any more for long: neither by its id, nor as
        open, nor any execution.  Should it show itself, it lives."""
        client_id, venue_id = order.client_order_id, order.venue_order_id
        since_ns, looks = self._missing.get(client_id, (asked_ns, 0))
        self._missing[client_id] = since_ns, looks + 1
        missing_ns = asked_ns - since_ns
        if missing_ns < max(GONE_NS, self._inquiry.grace_ns) or looks < GONE_LOOKS:
            return
        if order.attachment is not None or order.claimed_qty or order.booked_qty:
            return
        listed = await self._inquiry.listings.orders([("order_status", "OPEN"), ("limit", "100")])
        await self._read_fills_of([venue_id])
        if order.end or order.booked_qty or order.claimed_qty or venue_id in [one.order_id for one in listed]:
            return
        order.accepted = False
        self._tracker.not_sent(client_id)
        self._forget(client_id)
        now_ns, text = self._inquiry.clock.now_ns(), f"its record is gone: not found for {missing_ns / NS_PER_S:.1f} s"
        self._inquiry.emit([OrderRejected(now_ns, now_ns, self._inquiry.venue, client_id, "never_arrived", text)])

    def _is_settled(self, order: Tracked) -> bool:
        """Whether an order needs no look-up any more."""
        if self._tracker.versions.is_doubtful(order.venue_order_id):
            return False
        return order.closed or self._routine.get(order.client_order_id) == WHILE_CHANGED

    def _count_look(self, order: Tracked) -> None:
        client_id = order.client_order_id
        left = self._routine.get(client_id)
        if left == 1 and not self._tracker.versions.is_doubtful(order.venue_order_id):
            self._forget(client_id)
        elif left is not None and left != WHILE_CHANGED:
            self._routine[client_id] = left - 1  # down to ``WHILE_CHANGED``

    def _forget(self, client_id: str) -> None:
        self._due_s.pop(client_id, None)
        self._routine.pop(client_id, None)
        self._missing.pop(client_id, None)
