"""Exits that entries bring with them: which of the venue's orders is which entry's, and what may be told of it.

Owns what is known of each entry that was sent with a bracket attached.  The exit has an id that the venue gives: the
answer to the entry names it, or the entry's record does (``attached_order_id``), or the exit's own record names its
entry (``originating_order_id``).  Nothing else says whose it is.  Pure: no clock, no socket.
"""

from __future__ import annotations

from collections import OrderedDict
from decimal import Decimal

import msgspec

from engine.commands import NewOrderWithExits
from engine.events import Side
from engine.order_ids import attached_id

KEPT = 4096
"""Entries remembered; the oldest is forgotten first."""
MISSED_KEPT = 8
"""Entries whose exit was given up and may come after all: each costs a look-up where an unknown order shows itself."""


class Attachment(msgspec.Struct, gc=False):
    """What came with one entry.  ``entry`` and ``name`` are the client order ids of the two, ``qty`` the entry's."""

    entry: str
    name: str
    product_id: str
    instrument: str
    side: Side
    qty: Decimal
    target_px: Decimal
    trigger_px: Decimal
    sent_ns: int
    venue_order_id: str = ""
    """The exit's, once somebody has named it."""
    fate: str = ""
    """``told``, ``missing``, or ``unfilled``: its entry has ended with nothing; empty while it may come."""
    looks: int = 0
    """How often it was looked for in vain since its entry ended, first at ``missed_ns``."""
    missed_ns: int = 0
    listed_ns: int = 0
    """When the listing was read for it last, before balances were told."""


class Attachments:
    """Of one account, by the client order id of the entry and by the venue's id of the exit."""

    def __init__(self) -> None:
        self._of: OrderedDict[str, Attachment] = OrderedDict()
        self._by_exit: dict[str, Attachment] = {}
        self._unsettled: dict[str, Attachment] = {}
        self._missed: OrderedDict[str, Attachment] = OrderedDict()

    def expect(self, order: NewOrderWithExits, product_id: str, venue_order_id: str = "") -> Attachment:
        """An entry is about to leave; or an earlier session has sent it, and knows its exit by ``venue_order_id``."""
        intent = order.intent
        made = self._of[order.client_order_id] = Attachment(
            order.client_order_id,
            attached_id(order.client_order_id),
            product_id,
            intent.instrument,
            intent.side.opposite,
            intent.qty,
            order.target_px,
            order.trigger_px,
            order.ts_ns,
        )
        if venue_order_id:
            self.name(made, venue_order_id)
            made.fate = "told"
        else:
            self._unsettled[made.entry] = made
        while len(self._of) > KEPT:
            _, old = self._of.popitem(last=False)
            self._by_exit.pop(old.venue_order_id, None)
            self._unsettled.pop(old.entry, None)
            self._missed.pop(old.entry, None)
        return made

    def name(self, attachment: Attachment, venue_order_id: str) -> None:
        """The venue has said which order it is."""
        attachment.venue_order_id = venue_order_id
        self._by_exit[venue_order_id] = attachment

    def of(self, entry: str) -> Attachment | None:
        return self._of.get(entry)

    def of_exit(self, venue_order_id: str) -> Attachment | None:
        return self._by_exit.get(venue_order_id)

    def settle(self, attachment: Attachment, fate: str) -> None:
        """What became of it; empty where it may come after all."""
        attachment.fate = fate
        self._missed.pop(attachment.entry, None)
        if fate == "missing":
            self._missed[attachment.entry] = attachment
            while len(self._missed) > MISSED_KEPT:
                self._missed.popitem(last=False)
        if fate:
            self._unsettled.pop(attachment.entry, None)
        elif attachment.entry in self._of:
            self._unsettled[attachment.entry] = attachment

    def unnamed(self, product_id: str) -> list[Attachment]:
        """Those whose exit may be any order of that product which nobody knows; also where it was given up lately."""
        may_come = (*self._unsettled.values(), *self._missed.values())
        return [one for one in may_come if not one.venue_order_id and one.product_id == product_id]

    def unsettled(self) -> list[Attachment]:
        """Those that may come."""
        return list(self._unsettled.values())
