"""What is known of one order at the venue: the record that the tracker keeps."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from connectors.coinbase.attached import Attachment
from connectors.coinbase.wire import Fill
from engine.commands import OrderIntent
from engine.events import OrderFound

TAKEN_BACK = -1
"""In place of what an entry said, where the venue has taken it back."""


class Tracked(msgspec.Struct, gc=False):
    """One order.  ``ours`` is False for orders that this session did not send."""

    client_order_id: str
    ours: bool
    venue_order_id: str = ""
    accepted: bool = False
    claimed_qty: Decimal = Decimal(0)
    """What the venue says is filled in all."""
    booked_qty: Decimal = Decimal(0)
    """What was told as fills."""
    end: str = ""
    """The venue's final status once seen, told or not."""
    end_reason: str = ""
    found: bool = False
    """Told as an order of somebody else."""
    told: OrderFound | None = None
    """Of such an order that this session has found: how it was told last."""
    is_end_adopted: bool = False
    """The end is an earlier session's: nobody here has seen which one it was."""
    is_end_unread: bool = False
    """The end came without being asked for and nobody has read the fills since: it may hide some of them."""
    closed: bool = False
    """The end was told and every claimed fill was booked."""
    entries: dict[str, int] | None = None
    """The booked entries, by id, with a hash of what they said (0: an earlier session's; ``TAKEN_BACK``); None before
    the first, as one order is made for each tick that trades."""
    unnamed_qty: Decimal = Decimal(0)
    """Of an order that an earlier session has carried, or that was found: what is counted as filled of it, until the
    entries have been read.  Some of that may have been part of balances, without any entries that are known."""
    changed_ns: int = 0
    is_cancel_asked: bool = False
    """By us, so that an end is no surprise."""
    intent: OrderIntent | None = None
    """As it was sent, or as an earlier session knew it last; None for all others."""
    is_adopted: bool = False
    """An earlier session's."""
    is_behind: bool = False
    """Messages of the stream were lost since it was sent: it may have filled more than anybody has said."""
    cancel_acknowledged_ns: int = 0
    """When the venue took the last cancel, by our clock; 0 when none was taken or another one is under way."""
    instrument: str = ""
    """Of an order of an earlier session, which may have traded what this one does not."""
    attachment: Attachment | None = None
    """Of an exit that came with an entry: what is known of that."""
    size_qty: Decimal = Decimal(0)
    """Of such an exit: its size as the venue told it last, ``others_qty`` included."""
    others_qty: Decimal = Decimal(0)
    """Of such an exit: so much of ``booked_qty`` was told as executions of somebody else's order."""
    is_carried: bool = False
    """Of such an exit: an earlier session has told it, and its end is awaited."""
    held: bool = False
    """Nobody knows yet whose it is, as it may be such an exit: nothing of it is told."""
    deferred: dict[str, Fill] | None = None
    """Its executions that cannot be told yet, by entry."""

    @property
    def is_spent(self) -> bool:
        """Of such an exit: whether all that it is to fill was told as executions of somebody else's order."""
        return Decimal(0) < self.size_qty <= self.others_qty

    @property
    def may_rest(self) -> bool:
        """Else the venue ends it by itself, in one step with what it fills: a cancel that is out proves nothing."""
        return self.intent is None or self.intent.may_rest
