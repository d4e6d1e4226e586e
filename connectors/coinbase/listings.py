"""What the venue lists of orders and fills, read to the end of each listing.

Owns the paging and the form of the answers.  A listing that does not end raises ``VenueError``, as one that cannot be
read does: what it leaves out is not known, and a listing cut short proves nothing about what is absent from it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import msgspec

from connectors.coinbase import wire
from connectors.coinbase.exit_tracking import UNCANCELLED
from connectors.rest import Gets, RestError
from engine.errors import VenueError

MAX_PAGES = 200

T = TypeVar("T")


class LookedUp(wire.RestOrder):
    """One order as GET /orders/historical/{id} shows it."""

    pending_cancel: Any = False
    """``true``, also as text, while a cancel is at work; nothing else in it may cost us the look-up."""

    def is_uncancelled(self) -> bool:
        return self.status in UNCANCELLED and self.pending_cancel not in (True, "true")


class _LookUpAnswer(wire.RestOrderAnswer):
    order: LookedUp


class Listings:
    """Over one REST client; ``params`` are those of the venue's endpoint."""

    def __init__(self, rest: Gets) -> None:
        self._rest = rest

    async def order(self, order_id: str) -> LookedUp | None:
        """By the venue's id; None where the venue knows none of that id."""
        try:
            return (await self._ask(f"/orders/historical/{order_id}", (), _LookUpAnswer)).order
        except RestError as error:
            if error.status != 404:
                raise
        return None

    async def orders(self, params: list[tuple[str, str]]) -> list[wire.RestOrder]:
        """To the listing's end, in its order."""
        orders: list[wire.RestOrder] = []
        cursor = ""
        for _ in range(MAX_PAGES):
            page = await self._ask(
                "/orders/historical/batch", params + ([("cursor", cursor)] if cursor else []), wire.RestOrders
            )
            orders.extend(page.orders)
            if not page.has_next or not page.cursor:
                return orders
            cursor = page.cursor
        # A listing cut short proves nothing about what is absent from it.
        raise VenueError(f"order listing did not end after {MAX_PAGES} pages", expected=f"less of {params[0][1]}")

    async def fills(self, params: list[tuple[str, str]]) -> list[wire.Fill]:
        """To the listing's end, in its order."""
        fills: list[wire.Fill] = []
        cursor = ""
        for _ in range(MAX_PAGES):
            page = await self._ask(
                "/orders/historical/fills", params + ([("cursor", cursor)] if cursor else []), wire.Fills
            )
            fills.extend(page.fills)
            cursor = page.cursor
            if not cursor or not page.fills:
                return fills
        raise VenueError(f"fill listing did not end after {MAX_PAGES} pages")

    async def _ask(self, path: str, params: Sequence[tuple[str, str]], kind: type[T]) -> T:
        body = await self._rest.get(path, params)
        try:
            return msgspec.json.decode(body, type=kind, strict=False)
        except wire.UNREADABLE as error:
            raise RestError(f"GET {path}: unreadable answer: {error}", expected=kind.__name__) from error
