"""Looking for the exits that the venue makes of itself: whose an unknown order is, and whether one was made at all.

Owns the REST questions about them and when they are asked.  An exit is its entry's when one of the two names the other;
it was not made when neither its id, nor its entry, nor the listing shows one for long enough after the entry ended.
"""

from __future__ import annotations

import asyncio
import logging

from connectors.coinbase.attached import Attachment
from connectors.coinbase.inquiry import Inquiry
from connectors.coinbase.tracked import Tracked

NS_PER_S = 1_000_000_000
PAUSES_S = (0.5, 0.5, 1.0, 2.0)
"""Before the first look and between two; the last one repeats."""
LOOKS_MIN = 2
"""One answer may lag behind."""

_log = logging.getLogger(__name__)


class ExitFinder:
    """See the module docstring."""

    def __init__(self, inquiry: Inquiry) -> None:
        self._asks = inquiry
        self._tracker = inquiry.tracker
        self._clock = inquiry.clock
        self._emit = inquiry.emit
        self._observe = inquiry.observe
        self._due_s: dict[str, float] = {}
        self._held_due: dict[str, tuple[int, float]] = {}  # order that is held -> looks so far, when the next is due
        self._seen: frozenset[str] = frozenset()  # orders that were held at the last call of ``news``

    def news(self) -> bool:
        """Whether there is one to look for, or an order to tell whose it is, since the last call."""
        awaited = {one.entry for one in self._tracker.awaited_exits()}
        now_s = asyncio.get_running_loop().time()
        held = frozenset(order.venue_order_id for order in self._tracker.held_orders())
        new = (awaited - self._due_s.keys()) | (held - self._seen)
        self._seen = held
        self._due_s = {entry: self._due_s.get(entry, now_s + PAUSES_S[0]) for entry in sorted(awaited)}
        return bool(new)

    @property
    def is_busy(self) -> bool:
        return bool(self._due_s) or bool(self._tracker.held_orders())

    async def round(self) -> None:
        """Ask what is due.  Raises ``VenueError``."""
        await self.identify(only_due=True)
        self.news()
        loop = asyncio.get_running_loop()
        for attachment in self._tracker.awaited_exits():
            if self._due_s.get(attachment.entry, 0.0) <= loop.time():
                await self._look_for(attachment)
                pause_s = PAUSES_S[min(attachment.looks, len(PAUSES_S) - 1)]
                self._due_s[attachment.entry] = loop.time() + pause_s

    async def find_made(self) -> list[str]:
        """Look for the exit of every entry that has filled something; venue ids of those whose fills are to be read.
        For who is about to tell balances: what an exit has done to them must be known to be its.  Raises
        ``VenueError``."""
        for attachment in self._tracker.attachments.unsettled():
            entry = self._tracker.get(attachment.entry)
            if entry is not None and entry.venue_order_id and entry.claimed_qty:
                asked_ns = self._clock.now_ns()
                # An entry may rest for days: what was listed since it was sent would grow without end.
                await self._ask_for(attachment, entry, attachment.listed_ns or attachment.sent_ns)
                attachment.listed_ns = asked_ns
        return [
            order.venue_order_id
            for order in self._tracker.open_orders()
            if order.attachment is not None and self._tracker.wants_fills(order.venue_order_id)
        ]

    async def identify(self, *, only_due: bool = False) -> None:
        """Whose are the orders that may have come with an entry?  ``only_due``: those whose last look was long enough
        ago, as the venue may never say.  Raises ``VenueError``."""
        loop, held = asyncio.get_running_loop(), self._tracker.held_orders()
        self._held_due = {one.venue_order_id: self._held_due.get(one.venue_order_id, (0, 0.0)) for one in held}
        for order in held:
            looks, due_s = self._held_due.get(order.venue_order_id, (0, 0.0))
            if only_due and due_s > loop.time():
                continue
            self._held_due[order.venue_order_id] = (looks + 1, loop.time() + PAUSES_S[min(looks, len(PAUSES_S) - 1)])
            if order.held and await self._ask_about(order) and order.held:
                self._emit(self._tracker.release(order, self._clock.now_ns()))

    async def _ask_about(self, order: Tracked) -> bool:
        """Whether the order and each entry that it may have come with were read; the record of one whose exit was given
        up may be gone."""
        found = await self._asks.listings.order(order.venue_order_id)
        if found is None:
            return False
        self._observe(found)
        for attachment in self._tracker.attachments.unnamed(found.product_id) if order.held else ():
            entry = self._tracker.get(attachment.entry)
            if entry is not None and not await self._ask_entry(entry) and not attachment.fate:
                return False
        return True

    async def _ask_entry(self, entry: Tracked) -> bool:
        found = await self._asks.listings.order(entry.venue_order_id) if entry.venue_order_id else None
        if found is not None:
            self._observe(found)
        return found is not None

    async def _ask_for(self, attachment: Attachment, entry: Tracked, since_ns: int) -> None:
        if not attachment.venue_order_id:
            await self._ask_entry(entry)
        if attachment.venue_order_id and not attachment.fate:
            found = await self._asks.listings.order(attachment.venue_order_id)
            if found is not None:
                self._observe(found)
        if not attachment.fate:
            for listed in await self._asks.orders_since(attachment.product_id, since_ns):
                if entry.venue_order_id == listed.originating_order_id or listed.order_id == attachment.venue_order_id:
                    self._observe(listed)

    async def _look_for(self, attachment: Attachment) -> None:
        asked_ns = self._clock.now_ns()
        entry = self._tracker.get(attachment.entry)
        if entry is None or not entry.venue_order_id:
            return
        await self._ask_for(attachment, entry, attachment.sent_ns)
        if attachment.fate:
            return
        attachment.looks += 1
        attachment.missed_ns = attachment.missed_ns or asked_ns
        if attachment.looks >= LOOKS_MIN and asked_ns - attachment.missed_ns >= self._asks.grace_ns:
            missed_s = (asked_ns - attachment.missed_ns) / NS_PER_S
            text = f"absent from {attachment.looks} listings, the last {missed_s:.1f} s later"
            _log.warning(
                "%s has made no exit for entry %s (%s): exits are sent from here; does it take brackets with entries?",
                self._asks.venue,
                attachment.entry,
                text,
            )
            self._emit(self._tracker.miss_exit(attachment, text, self._clock.now_ns()))
