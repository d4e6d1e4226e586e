"""Exits that the venue makes of itself for what an entry fills, as part of what is tracked.

Owns when such an exit is told: as an order of ours, after as much of its entry.  Until it is known whether an order is
one, nothing of it is told.  The rest of each order's life is ``tracker``'s, whose base this is.
"""

from __future__ import annotations

from collections import OrderedDict
from decimal import Decimal

from connectors.coinbase.attached import Attachment, Attachments
from connectors.coinbase.tracked import Tracked
from connectors.coinbase.wire import Fill
from engine.events import AttachmentMissing, InputEvent, OrderAttached, OrderCancelled

ZERO = Decimal(0)
ENDED_KEPT = 4096
"""Ended orders remembered, for late and repeated messages; the oldest is forgotten first."""
UNCANCELLED = frozenset({"PENDING", "OPEN", "QUEUED", "EDIT_QUEUED"})
"""Statuses of an order that lives and that no cancel is at work on."""
LIVE = UNCANCELLED | {"CANCEL_QUEUED"}
ENDED = frozenset({"FILLED", "CANCELLED", "EXPIRED", "FAILED"})
OVERFILL_NS = 15_000_000_000
"""So long after an exit has filled, what its entry has filled before was shown."""


class ExitTracking:
    """Orders by client id and by venue id, and which of them came with an entry."""

    def __init__(self, venue: str) -> None:
        self.venue = venue
        self.strangers = False
        """An order showed itself that this session has not sent; whoever has looked into it sets it back."""
        self.attachments = Attachments()
        self._by_client: dict[str, Tracked] = {}
        self._by_venue: dict[str, Tracked] = {}
        self._ended: OrderedDict[str, None] = OrderedDict()
        self._wanted: dict[str, None] = {}
        self._held: dict[str, Tracked] = {}
        self._doubted: dict[str, None] = {}

    def book(self, fill: Fill, ts_recv_ns: int) -> list[InputEvent]:
        raise NotImplementedError

    def _accept(
        self, order: Tracked, venue_order_id: str, ts_event_ns: int, ts_recv_ns: int, events: list[InputEvent]
    ) -> None:
        raise NotImplementedError

    def _tell_end(self, order: Tracked, ts_event_ns: int, ts_recv_ns: int, events: list[InputEvent]) -> None:
        raise NotImplementedError

    # --- questions --------------------------------------------------------------------------------------------------

    def take_doubted(self) -> list[str]:
        """Client ids of orders that must be looked up once, since the last call: what is known of an entry and of the
        exit that came with it does not fit yet."""
        doubted = list(self._doubted)
        self._doubted.clear()
        return doubted

    def held_orders(self) -> list[Tracked]:
        """Orders of which nobody knows whether they came with an entry of ours; nothing of them was told."""
        return list(self._held.values())

    @property
    def defers(self) -> bool:
        """Whether executions are known that cannot be told yet."""
        return any(order.deferred for order in self._by_client.values() if not order.closed)

    def awaited_exits(self) -> list[Attachment]:
        """Exits that must show themselves: their entries have ended with something filled, all of which is booked."""
        found = []
        for one in self.attachments.unsettled():
            entry = self._by_client.get(one.entry)
            if entry is not None and entry.end and ZERO < entry.claimed_qty <= entry.booked_qty:
                found.append(one)
        return found

    # --- what is known of them --------------------------------------------------------------------------------------

    def name_exit(self, entry: str, venue_order_id: str, ts_recv_ns: int) -> list[InputEvent]:
        """The venue says which order it makes, or has made, for what an entry (by its client id) fills."""
        attachment = self.attachments.of(entry)
        if attachment is None or attachment.venue_order_id or not venue_order_id:
            return []
        order = self._by_venue.get(venue_order_id)
        if order is not None and order.ours and not order.found:
            return []  # whatever that is, it is an order that we have sent
        self.attachments.name(attachment, venue_order_id)
        events: list[InputEvent] = []
        if order is None:
            return events
        if order.found and not order.closed:
            # Told as somebody else's, which only a venue that denied it before can bring about.
            text = f"it is the exit of {entry}"
            events.append(
                OrderCancelled(ts_recv_ns, ts_recv_ns, self.venue, order.client_order_id, venue_order_id, text)
            )
        if order.is_end_adopted:
            order.end, order.is_end_adopted = "", False  # perhaps only in the books, as it is nobody else's
        self._by_client.pop(order.client_order_id, None)
        self._ended.pop(order.client_order_id, None)
        if self._held.pop(venue_order_id, None) is None:
            self._doubted[attachment.name] = None  # told as somebody else's: it may have ended while nobody asked
        order.others_qty = order.booked_qty
        order.client_order_id, order.instrument, order.attachment = attachment.name, attachment.instrument, attachment
        order.ours, order.held, order.found, order.accepted, order.closed = True, False, False, False, False
        order.is_end_unread = may_hide_fills(order)
        self._by_client[attachment.name] = order
        self._tell_exit_due(order, ts_recv_ns, ts_recv_ns, events)
        return events

    def adopt_exit(self, attachment: Attachment, size_qty: Decimal) -> None:
        """An earlier session has heard of it: it is told again when the venue shows it, as large as it is then.  One
        whose end that session has told, however it ended, is not."""
        order = self._by_client.get(attachment.name)
        if order is not None:
            other = self._by_venue.get(order.venue_order_id)
            if other is not None and other is not order:  # told as somebody else's first
                self._by_client.pop(other.client_order_id, None)
                self._ended.pop(other.client_order_id, None)
                self._bind(order, order.venue_order_id)
                order.others_qty = other.booked_qty
                order.booked_qty += other.booked_qty
                order.unnamed_qty += other.unnamed_qty
                order.claimed_qty = max(order.claimed_qty, order.booked_qty)
                order.entries = {**(other.entries or {}), **(order.entries or {})}
            order.attachment, order.size_qty, order.is_carried = attachment, size_qty + order.others_qty, True
            order.accepted = order.accepted or order.closed

    def release(self, order: Tracked, ts_recv_ns: int) -> list[InputEvent]:
        """A held order came with no entry: it is somebody else's."""
        events: list[InputEvent] = []
        if self._held.pop(order.venue_order_id, None) is not None:
            order.held, order.is_end_unread, self.strangers = False, False, True
            if order.end != "FAILED":
                self._accept(order, order.venue_order_id, ts_recv_ns, ts_recv_ns, events)
            self._catch_up(order, ts_recv_ns, ts_recv_ns, events)
        return events

    def miss_exit(self, attachment: Attachment, reason: str, ts_recv_ns: int) -> list[InputEvent]:
        """The venue has made none."""
        self.attachments.settle(attachment, "missing")
        return [AttachmentMissing(ts_recv_ns, ts_recv_ns, self.venue, attachment.entry, reason)]

    def _book_of_others(
        self, order: Tracked, entry_id: str, qty: Decimal, ts_event_ns: int, ts_recv_ns: int
    ) -> list[InputEvent]:
        """An execution that an earlier session has told as one of somebody else's order: of an order that it found
        later, or of an exit."""
        events: list[InputEvent] = []
        order.entries = {} if order.entries is None else order.entries
        order.entries[entry_id] = 0
        order.booked_qty += qty
        order.others_qty += qty
        if not order.closed:
            if order.attachment is not None:
                self._resize(order)
                if order.accepted:
                    self._tell_exit(order, ts_event_ns, ts_recv_ns, events)
            self._tell_end(order, ts_event_ns, ts_recv_ns, events)
        return events

    def _leave_to_others(self, order: Tracked, ts_recv_ns: int, events: list[InputEvent]) -> None:
        """It has ended, and nothing of it was left to be told as an exit's."""
        attachment = order.attachment
        assert attachment is not None
        self._close(order)
        if attachment.fate != "missing":
            text = f"all that {order.venue_order_id} has filled was told as somebody else's"
            events.extend(self.miss_exit(attachment, text, ts_recv_ns))

    def _hold(self, order: Tracked, venue_order_id: str) -> None:
        order.held = True
        self._bind(order, venue_order_id)
        self._held[venue_order_id] = order

    def _observe_exit(
        self, order: Tracked, venue_order_id: str, size_qty: Decimal | None,
        ts_event_ns: int, ts_recv_ns: int, events: list[InputEvent],
    ) -> None:  # fmt: skip
        if not order.venue_order_id:
            self._bind(order, venue_order_id)
        # What has ended does not get another size: the record is of before.
        resized = not order.closed and self._resize(order, size_qty)
        entry = self._by_client.get(order.attachment.entry) if order.attachment is not None else None
        if entry is not None and entry.closed and not entry.booked_qty and not order.accepted:
            # Its entry has filled nothing and it goes with it; one that lives on is told, so that it is cancelled, and
            # one that an earlier session has told is told with its end.
            if order.end and not order.claimed_qty and not order.is_carried:
                self._close(order)
                return
            self._tell_exit(order, ts_event_ns, ts_recv_ns, events)
        elif order.accepted and resized:
            self._tell_exit(order, ts_event_ns, ts_recv_ns, events)
        self._tell_exit_due(order, ts_event_ns, ts_recv_ns, events)

    def _tell_exit_due(self, order: Tracked, ts_event_ns: int, ts_recv_ns: int, events: list[InputEvent]) -> None:
        """Tell it as soon as something of its entry was."""
        if not order.accepted:
            if not self._may_tell(order, ZERO, ts_recv_ns):
                assert order.attachment is not None
                self._doubted[order.attachment.entry] = None
                return
            if order.closed and not order.is_spent:
                # It went with its entry, unheard of, which has filled something after all.
                order.closed, order.is_end_unread = False, may_hide_fills(order)
                self._ended.pop(order.client_order_id, None)
            self._tell_exit(order, ts_event_ns, ts_recv_ns, events)
        self._catch_up(order, ts_event_ns, ts_recv_ns, events)

    def _tell_exit(self, order: Tracked, ts_event_ns: int, ts_recv_ns: int, events: list[InputEvent]) -> None:
        attachment = order.attachment
        assert attachment is not None
        entry = self._by_client.get(attachment.entry)
        if not order.size_qty and order.end == "FILLED" and order.claimed_qty:
            order.size_qty = order.claimed_qty  # its entry may have filled more since, or may yet
        elif not order.size_qty:
            ended_qty = max(entry.booked_qty, entry.claimed_qty) if entry is not None and entry.end else ZERO
            order.size_qty = ended_qty or attachment.qty
        qty = order.size_qty - order.others_qty
        if qty <= ZERO:
            qty = order.booked_qty - order.others_qty
        if qty <= ZERO:
            return  # nothing of it is left to be told as its own
        if not order.accepted:
            order.accepted, order.changed_ns = True, ts_recv_ns
            self.attachments.settle(attachment, "told")
        events.append(
            OrderAttached(
                ts_event_ns, ts_recv_ns, self.venue, attachment.name, order.venue_order_id, attachment.entry,
                attachment.instrument, attachment.side, qty, attachment.target_px, attachment.trigger_px,
            )
        )  # fmt: skip

    def _resize(self, order: Tracked, size_qty: Decimal | None = None) -> bool:
        """Whether its size is another one: as the venue says (None: nothing), and at least what it has filled, which is
        no more than its entry has.  What goes beyond that is an overfill, and for whoever follows orders to see."""
        before_qty, attachment = order.size_qty, order.attachment
        if size_qty is not None and size_qty > ZERO:
            order.size_qty = size_qty
        entry = None if attachment is None else self._by_client.get(attachment.entry)
        if entry is not None and order.size_qty:
            order.size_qty = max(order.size_qty, min(max(order.claimed_qty, order.booked_qty), entry.booked_qty))
        return order.size_qty != before_qty

    def _may_tell(self, order: Tracked, qty: Decimal, ts_recv_ns: int) -> bool:
        """Whether as much of its entry was told as an execution of ``qty`` more would close; 0: whether any was.  What
        its entry never filled is not awaited for ever: long after the exit has filled it is an overfill."""
        assert order.attachment is not None
        entry = self._by_client.get(order.attachment.entry)
        if entry is None or (entry.closed and (order.accepted or entry.booked_qty > ZERO)):
            return True
        if order.closed and order.accepted:
            return True  # its end was told: what comes after that is waited for by nobody
        if order.end == "FILLED" and ts_recv_ns - order.changed_ns >= OVERFILL_NS:
            return ZERO < entry.claimed_qty <= entry.booked_qty
        return entry.booked_qty > ZERO and entry.booked_qty >= order.booked_qty + qty

    def _catch_up(self, order: Tracked, ts_event_ns: int, ts_recv_ns: int, events: list[InputEvent]) -> None:
        """What was put off is told; more of it is read where it is short."""
        deferred, order.deferred = order.deferred, None
        for fill in sorted((deferred or {}).values(), key=lambda fill: fill.trade_time):
            events.extend(self.book(fill, ts_recv_ns))
        if wants_fills(order):
            self._wanted[order.venue_order_id] = None
        self._tell_end(order, ts_event_ns, ts_recv_ns, events)

    def _follow_entry(self, entry: Tracked, ts_event_ns: int, ts_recv_ns: int, events: list[InputEvent]) -> None:
        """Something of an order was told that may have been awaited by the exit that came with it."""
        attachment = self.attachments.of(entry.client_order_id)
        if attachment is None:
            return
        if entry.closed and not entry.booked_qty:
            self.attachments.settle(attachment, "unfilled")
        elif attachment.fate == "unfilled":
            self.attachments.settle(attachment, "")
        order = self._by_venue.get(attachment.venue_order_id)
        if order is None:
            return
        if entry.closed and not entry.booked_qty:
            self._doubted[order.client_order_id] = None
        else:
            self._tell_exit_due(order, ts_event_ns, ts_recv_ns, events)

    # --- tables ---------------------------------------------------------------------------------------------------

    def _bind(self, order: Tracked, venue_order_id: str) -> None:
        order.venue_order_id = venue_order_id
        self._by_venue[venue_order_id] = order

    def _close(self, order: Tracked) -> None:
        order.closed, order.is_end_unread = True, False
        self._ended[order.client_order_id] = None
        while len(self._ended) > ENDED_KEPT:
            name, _ = self._ended.popitem(last=False)
            old = self._by_client.pop(name, None)
            if old is not None:
                self._by_venue.pop(old.venue_order_id, None)


def wants_fills(order: Tracked) -> bool:
    """Whether fills of it must be read before its end may be told."""
    return order.is_end_unread or order.booked_qty < order.claimed_qty or is_unclaimed(order)


def is_unclaimed(order: Tracked) -> bool:
    """Whether the venue says that it is filled, and nobody says how much."""
    return order.end == "FILLED" and not (order.closed or order.claimed_qty or order.booked_qty)


def may_hide_fills(order: Tracked) -> bool:
    """Whether the end of an order of ours may have been told before what it has filled: one that the venue has made by
    itself (self-trade prevention, the rest of an ``ioc``, a price that was reached) comes in one step with executions,
    and an exit of the venue's own trades while we ask for its cancel.  Of an end that we have asked for all before it
    was told, unless that got lost or the venue would have ended it anyway.  One that is filled, nobody says how much,
    may have more executions than are listed first, and one that failed after it was taken some that got lost."""
    if order.end == "FILLED":
        return not order.claimed_qty
    if order.end == "FAILED":
        return order.accepted and order.is_behind
    is_told_before = order.is_cancel_asked and order.may_rest and not order.is_behind and order.attachment is None
    return order.end in ("CANCELLED", "EXPIRED") and not is_told_before


def defer(order: Tracked, fill: Fill) -> None:
    """An execution that cannot be told yet."""
    if order.deferred is None:
        order.deferred = {}
    order.deferred[fill.entry_id] = fill
