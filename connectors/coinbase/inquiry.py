"""What every question about orders is asked with, and where what the venue says of them goes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from connectors.coinbase import wire
from connectors.coinbase.listings import Listings
from connectors.coinbase.tracker import OrderTracker
from engine.events import InputEvent
from engine.ports import Clock

LISTING_MARGIN_NS: Final = 60_000_000_000
"""Listings start this long before the send: the venue's clock and the order's way there may differ from ours."""


@dataclass(frozen=True)
class Inquiry:
    """``observe`` takes in what the venue says of an order; ``venue_offset_ns`` is its clock minus ours.

    ``grace_ns``: for how long something may be missing from listings before it is held to be absent.
    """

    venue: str
    listings: Listings
    tracker: OrderTracker
    clock: Clock
    emit: Callable[[list[InputEvent]], None]
    observe: Callable[[wire.RestOrder], None]
    venue_offset_ns: Callable[[], int]
    grace_ns: int

    async def orders_since(self, product_id: str, sent_ns: int) -> list[wire.RestOrder]:
        """Orders of a product from shortly before ``sent_ns`` (our clock) on.  Raises ``VenueError``."""
        asked = [("product_ids", product_id), ("start_date", self._shortly_before(sent_ns)), ("limit", "100")]
        return await self.listings.orders(asked)

    async def fills_since(self, product_id: str, sent_ns: int) -> list[wire.Fill]:
        """Fills of a product, likewise."""
        start = ("start_sequence_timestamp", self._shortly_before(sent_ns))
        return await self.listings.fills([("product_ids", product_id), start, ("limit", "100")])

    def _shortly_before(self, sent_ns: int) -> str:
        return wire.format_time(sent_ns + self.venue_offset_ns() - LISTING_MARGIN_NS)
