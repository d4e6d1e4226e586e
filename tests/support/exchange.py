"""A venue whose every answer a test decides: ``engine.ports.Venue`` and ``VenueGateway`` in one object."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from engine import events as e
from engine.commands import CancelOrder, NewOrder
from engine.ports import FeedCounts


class Exchange:
    """A venue and its order entry without a wire.  Orders rest; ``on_cancel`` says what becomes of the nth cancel:
    ``cancelled``, ``refused``, or anything else for silence.

    ``on_start`` runs in ``start`` and may return an awaitable; ``over`` ends the feed, by ``failure`` if that is set.
    """

    venue = "coinbase"
    name = "coinbase"

    def __init__(self) -> None:
        self.publish: Callable[[e.InputEvent], None] = lambda event: None
        self.cancels: list[CancelOrder] = []
        self.on_cancel: Callable[[int], str] = lambda number: "cancelled"
        self.on_start: Callable[[], Any] = lambda: None
        self.over = asyncio.Event()
        self.failure: Exception | None = None
        self.settled = 0
        self.confirmed = 0
        self.stopped = False

    @property
    def gateways(self) -> tuple[Exchange, ...]:
        return (self,)

    async def start(self) -> None:
        found = self.on_start()
        if found is not None:
            await found

    async def finished(self) -> None:
        await self.over.wait()
        if self.failure is not None:
            raise self.failure

    def confirm(self) -> None:
        self.confirmed += 1

    def settle(self) -> None:
        self.settled += 1

    def counts(self) -> FeedCounts:
        return FeedCounts()

    async def stop(self) -> None:
        self.stopped = True

    def submit(self, order: NewOrder) -> None:
        at = order.ts_ns
        self.publish(e.OrderAccepted(at, at, self.venue, order.client_order_id, f"v-{order.client_order_id}"))

    def cancel(self, cancel: CancelOrder) -> None:
        self.cancels.append(cancel)
        at, cid = cancel.ts_ns, cancel.client_order_id
        verdict = self.on_cancel(len(self.cancels))
        if verdict == "cancelled":
            self.publish(e.OrderCancelled(at, at, self.venue, cid, cancel.venue_order_id))
        elif verdict == "refused":
            self.publish(e.CancelRejected(at, at, self.venue, cid, "too busy"))
