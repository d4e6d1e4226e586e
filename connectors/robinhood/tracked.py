"""What is known of one order at the venue: the record that the tracker keeps."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from connectors.robinhood import wire
from engine.events import OrderFilled

_ZERO = Decimal(0)


class Tracked(msgspec.Struct, gc=False):
    """One order.  ``ours`` is False for orders that were not sent from here."""

    client_order_id: str
    ours: bool
    instrument: str
    sent_ns: int = 0
    venue_order_id: str = ""
    accepted: bool = False
    """Told as accepted, or as found."""
    claimed_qty: Decimal = _ZERO
    """What the venue says is filled in all."""
    booked_qty: Decimal = _ZERO
    """What was told as fills, or is part of the opening balances."""
    trades: dict[str, None] | None = None
    unlisted_qty: Decimal = _ZERO
    """Of the opening balances: executed, and not in the list of executions then."""
    unnamed_qty: Decimal = _ZERO
    """What an earlier session counted as filled, until the venue has listed that much (``connectors.unnamed``)."""
    fee_told: Decimal | None = _ZERO
    """None for an order of an earlier session, of which it is not known how much of its fee was told."""
    last: OrderFilled | None = None
    end: str = ""
    closed: bool = False
    """The end was told and every claimed execution was told."""
    live: wire.Order | None = None
    """As it was shown last, while it lives."""
    seen_ns: int = 0
    """When it was shown last, by our clock."""
