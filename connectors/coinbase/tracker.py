"""What is known of each order at the venue, from three sources: answers, the user stream and REST listings.

Owns one record per order and turns observations into account events, each fact told exactly once and in an order that
never releases risk early: fills that the venue claims are booked before the order's end is told, and an end that nobody
has asked for is told when the fills were read after it, as it may come before them.  Pure: no clock, no socket.  The
user stream gives cumulative quantities only; ``take_wanted`` says whose fills the shell must read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal

import msgspec

from connectors.coinbase.exit_tracking import (
    ENDED,
    LIVE,
    ZERO,
    ExitTracking,
    defer,
    is_unclaimed,
    may_hide_fills,
    wants_fills,
)
from connectors.coinbase.fills import LIQUIDITY, base_qty, exact, is_execution, moves, side_of
from connectors.coinbase.refusals import told_end
from connectors.coinbase.tracked import TAKEN_BACK, Tracked
from connectors.coinbase.versions import Version, Versions
from connectors.coinbase.wire import Fill, TimeParser
from connectors.unnamed import unnamed
from engine.commands import OrderIntent, OrderType
from engine.events import (
    InputEvent,
    Liquidity,
    OrderAccepted,
    OrderCancelled,
    OrderExpired,
    OrderFilled,
    OrderFound,
    OrderRejected,
    Side,
)

NEVER_NS = 2**63 - 1


class OrderTracker(ExitTracking):
    """Every order of one venue account, by client id and by venue id.

    Fills of orders that are not ours are told only if they came after the opening balances (``open``): older ones are
    part of them.  ``since_ns`` is that moment by the venue's clock; before ``open`` no such fill is told.
    """

    def __init__(self, venue: str, products: Mapping[str, str], *, since_ns: int = NEVER_NS) -> None:
        super().__init__(venue)
        self.versions = Versions(venue)
        self.since_ns = since_ns
        self.doubtful = ""
        """A foreign fill that may be part of the opening balances or not; empty when there was none."""
        self.unknown_status = 0
        self.duplicate_fills = 0
        self.conflicting_fills = 0
        self.booked_entries: dict[str, Fill] | None = None
        """Entries of fills that were taken in since somebody began to count them."""
        self.moved: dict[str, Decimal] = {}
        """What the fills that were told have done to the balances, by currency."""
        self.unreadable_fills = 0
        self._part: frozenset[str] = frozenset()
        self._told_before: frozenset[str] = frozenset()
        self._products = dict(products)
        self._unreadable: dict[str, str] = {}
        self._unknown: dict[str, str] = {}
        self._doubtful_ns = (NEVER_NS, NEVER_NS)
        self._time = TimeParser()

    # --- questions ----------------------------------------------------------------------------------------------

    def get(self, client_order_id: str) -> Tracked | None:
        return self._by_client.get(client_order_id)

    def of_venue(self, venue_order_id: str) -> Tracked | None:
        return self._by_venue.get(venue_order_id)

    def instrument_of(self, order: Tracked, fill: Fill) -> str:
        """Empty where it is one that neither this session nor the one before it knew."""
        return self._products.get(fill.product_id) or order.instrument

    def in_order(self, fills: Iterable[Fill]) -> list[Fill]:
        """The oldest first; those of one moment as they are listed."""
        return sorted(fills, key=lambda fill: self._time(fill.trade_time))

    def is_told(self, order: Tracked, fill: Fill) -> bool:
        """Whether a booked entry was told as a fill, and is no part of the opening balances."""
        return order.ours or not (self._time(fill.trade_time) < self.since_ns or fill.entry_id in self._part)

    def open_orders(self) -> list[Tracked]:
        """Orders whose end, fills included, has not been told."""
        return [order for order in self._by_client.values() if not order.closed]

    def ended_orders(self, count: int) -> list[Tracked]:
        """The newest of those whose end was told."""
        names = list(self._ended)[-count:]
        return [order for name in names if (order := self._by_client.get(name)) is not None]

    def take_wanted(self) -> list[str]:
        """Venue ids of orders whose fills must be read now; each is given once per observation that wants it."""
        wanted = list(self._wanted)
        self._wanted.clear()
        return wanted

    def misses(self, fill: Fill) -> bool:
        """Whether a listed execution of an order of ours is not in its books and was not put off: it made no sense.
        One that has ended with all that the venue says it has filled misses none."""
        order = self._by_venue.get(fill.order_id)
        if order is None or not order.ours or order.held or not is_execution(fill):
            return False
        if order.closed and order.claimed_qty and not wants_fills(order):
            return False
        return fill.entry_id not in (order.entries or ()) and fill.entry_id not in (order.deferred or ())

    def take_unreadable(self) -> dict[str, str]:
        """Venue ids of orders with fills that could not be booked since the last call, and what was seen."""
        unreadable, self._unreadable = self._unreadable, {}
        return unreadable

    def take_unknown(self) -> dict[str, str]:
        """Client ids of orders that were told with a status which nobody here knows since the last call, and that
        status."""
        unknown, self._unknown = self._unknown, {}
        return unknown

    def take_doubted(self) -> list[str]:
        """Those of ``ExitTracking``, and orders that were shown as another version than any that is known, or of which
        nobody knows whether they were changed."""
        return [*super().take_doubted(), *self.versions.take_strange()]

    def wants_fills(self, venue_order_id: str) -> bool:
        order = self._by_venue.get(venue_order_id)
        return order is not None and wants_fills(order)

    def hides_fills(self, venue_order_id: str) -> bool:
        """Whether the end of an order waits for a reading of its fills, and of its record, that begins now or later."""
        order = self._by_venue.get(venue_order_id)
        return order is not None and (order.is_end_unread or is_unclaimed(order))

    def open(self, since_ns: int, doubtful_ns: tuple[int, int], part: Iterable[str] = ()) -> None:
        """The opening balances were read at ``since_ns``.  Entries in ``part`` are part of them; other fills within
        ``doubtful_ns`` may be or not."""
        self.since_ns = since_ns
        self._doubtful_ns = doubtful_ns
        self._part = frozenset(part)

    def is_strange(self, fill: Fill) -> bool:
        """Whether this is a fill, in something we trade, of an order that never showed itself: since the opening, or at
        any time where an entry of ours names the order as its exit."""
        if fill.order_id in self._by_venue or fill.product_id not in self._products:
            return False
        if self.attachments.of_exit(fill.order_id) is not None:
            return True
        return fill.entry_id not in self._part and self._time(fill.trade_time) >= self.since_ns

    def is_unresolved(self, client_order_id: str) -> bool:
        """Whether it is not known what became of an order, which version of it lives, or which fills it has."""
        order = self._by_client.get(client_order_id)
        if order is None or order.closed:
            return order is not None and self.versions.is_doubtful(order.venue_order_id)
        if self.versions.is_doubtful(order.venue_order_id):
            return True
        if order.attachment is not None and not order.accepted and not order.attachment.fate:
            return order.claimed_qty > ZERO  # else it waits at the venue for its entry to fill
        return order.held or not order.accepted or wants_fills(order)

    def know(self, entries: Iterable[str]) -> None:
        """Entries that earlier sessions have told, of whichever orders: where no order that is carried has them, those
        of a stranger's order were told before it was found, and those of an exit as somebody else's."""
        self._told_before = frozenset(entries)

    def adopt(
        self,
        client_order_id: str,
        venue_order_id: str,
        filled_qty: Decimal,
        entries: Sequence[str],
        *,
        ended: bool,
        rejected: bool = False,
        of_others: bool = False,
        instrument: str = "",
        intent: OrderIntent | None = None,
    ) -> None:
        """Follow an order that an earlier session has sent, or has told as one ``of_others``; its fills that are booked
        are not told again.  One that was ``rejected`` (refused, or given up as never arrived) lives should it show
        itself.  ``intent``: in the version that session knew last."""
        order = self._by_client[client_order_id] = Tracked(client_order_id, True, instrument=instrument, intent=intent)
        order.found, order.is_adopted = of_others, True
        order.booked_qty = order.claimed_qty = order.unnamed_qty = filled_qty
        order.entries = dict.fromkeys(entries, 0)
        if venue_order_id:
            self._bind(order, venue_order_id)
        if ended:
            order.accepted, order.end = not rejected, "FAILED" if rejected else "CANCELLED"
            order.is_end_adopted = True
            self._close(order)

    def find(
        self, client_order_id: str, venue_order_id: str, instrument: str, side: str, qty: Decimal,
        filled_qty: Decimal, limit_px: Decimal | None, ts_recv_ns: int,
    ) -> list[InputEvent]:  # fmt: skip
        """An order that a listing shows as open.  One that is not ours is told with what is filled of it and will not
        be told any more: before the opening that is part of the balances, after it what was told as fills.  It is told
        again with more where that turns out to be part of the balances as well."""
        order = self._find(client_order_id, venue_order_id)
        if order.ours or order.found or order.closed or order.held or side_of(side) is None:
            return []
        order.found = order.accepted = True
        if not order.venue_order_id:
            self._bind(order, venue_order_id)
        if self.since_ns == NEVER_NS:
            order.booked_qty = order.claimed_qty = max(order.claimed_qty, filled_qty)
            order.unnamed_qty = order.booked_qty
            self._wanted.pop(venue_order_id, None)
        if not self.versions.is_known(venue_order_id):
            self.versions.follow(order.client_order_id, venue_order_id, Version(qty, limit_px))
        order.told = OrderFound(
            ts_recv_ns, ts_recv_ns, self.venue, order.client_order_id, venue_order_id, instrument,
            Side.BUY if side == "BUY" else Side.SELL, qty, order.booked_qty, limit_px,
        )  # fmt: skip
        return [order.told]

    # --- observations -------------------------------------------------------------------------------------------

    def sent(self, client_order_id: str, ts_ns: int, intent: OrderIntent | None = None) -> None:
        """The request is about to leave: from now on the order may exist.  Which version of it lives is followed where
        its ``intent`` is known."""
        order = self._by_client[client_order_id] = Tracked(client_order_id, True)
        order.changed_ns, order.intent = ts_ns, intent

    def messages_lost(self) -> None:
        """Messages of the user stream were lost: executions of the orders that are open may be among them."""
        for order in self.open_orders():
            order.is_behind = True

    def not_sent(self, client_order_id: str) -> None:
        """Nothing left, or the venue refused: the order does not exist."""
        order = self._by_client.get(client_order_id)
        if order is not None and not order.accepted:
            order.end = order.end or "FAILED"
            self._close(order)
            if (attachment := self.attachments.of(client_order_id)) is not None:
                self.attachments.settle(attachment, "unfilled")

    def accepted(self, client_order_id: str, venue_order_id: str, ts_ns: int) -> list[InputEvent]:
        """The venue answered with an order id."""
        order = self._find(client_order_id, venue_order_id)
        events: list[InputEvent] = []
        self._accept(order, venue_order_id, ts_ns, ts_ns, events)
        return events

    def observe(
        self,
        *,
        client_order_id: str,
        venue_order_id: str,
        product_id: str,
        status: str,
        filled_qty: str,
        reason: str,
        ts_event_ns: int,
        ts_recv_ns: int,
        size_qty: Decimal | None = None,
        leaves: str = "",
    ) -> list[InputEvent]:
        """The venue told an order's state (user stream or REST).  Repetitions and late ones yield nothing.

        ``size_qty``, or what is left to fill (``leaves``), is read of exits that the venue has made alone.
        """
        order = self._find(client_order_id, venue_order_id)
        events: list[InputEvent] = []
        if product_id not in self._products and not order.ours:
            # Somebody else's order in something we do not trade.
            order.end = status
            self._close(order)
            return events
        if not order.ours and not order.found:
            if not order.venue_order_id and self.attachments.unnamed(product_id):
                self._hold(order, venue_order_id)
            self.strangers = self.strangers or not order.held
        claimed = exact(filled_qty)
        if claimed is not None and claimed > order.claimed_qty:
            order.claimed_qty = claimed
            order.changed_ns = ts_recv_ns
        if status != "FAILED" or order.claimed_qty > 0:
            self._reopen(order)  # before its end is taken in, which may be the first thing that is told of it
        if status in LIVE and order.closed and order.is_adopted:
            self._doubt_end(order, ts_recv_ns)
        if status in ENDED:
            if not order.end:
                order.end, order.end_reason, order.changed_ns = status, reason, ts_recv_ns
                order.is_end_unread = (order.ours or order.held) and may_hide_fills(order)
        elif status not in LIVE:
            # A status we do not know is not guessed: the order stays as it is and REST is asked later.
            self.unknown_status += 1
            self._unknown[order.client_order_id] = status[:40]
        if order.held:
            return events
        if order.attachment is not None:
            if size_qty is None and status in LIVE and (left_qty := exact(leaves)) is not None:
                size_qty = (claimed or ZERO) + left_qty
            self._observe_exit(order, venue_order_id, size_qty, ts_event_ns, ts_recv_ns, events)
            return events
        if status != "FAILED" or order.claimed_qty > 0:
            self._accept(order, venue_order_id, ts_event_ns, ts_recv_ns, events)
        elif not order.venue_order_id:
            self._bind(order, venue_order_id)
        if wants_fills(order):
            self._wanted[venue_order_id] = None
        self._tell_end(order, ts_event_ns, ts_recv_ns, events)
        return events

    def recall(self, fills: Sequence[Fill]) -> None:
        """Know the entries that an earlier session counted without their ids: of an order that it found half filled
        they are the oldest ones.  ``fills``: all that are listed of each order among them."""
        for order_id in dict.fromkeys(fill.order_id for fill in fills):
            order = self._by_venue.get(order_id)
            if order is None or not order.unnamed_qty:
                continue
            order.entries = {} if order.entries is None else order.entries
            mine = self.in_order(fill for fill in fills if fill.order_id == order_id)
            listed = [(fill.entry_id, base_qty(fill) or ZERO) for fill in mine if is_execution(fill)]
            names, is_whole = unnamed(order.unnamed_qty, listed, order.entries)
            order.entries.update(dict.fromkeys(names, 0))
            if is_whole:
                order.unnamed_qty = ZERO

    def book(self, fill: Fill, ts_recv_ns: int) -> list[InputEvent]:
        """One entry of the fills listing.  De-duplicated by ``entry_id``: trade ids repeat across orders.

        An entry that cannot be booked (``take_unreadable``) leaves its order wanted: it may be mended at the venue.
        """
        order = self._by_venue.get(fill.order_id)
        instrument = self._products.get(fill.product_id) or ("" if order is None else order.instrument)
        if order is None or not instrument:
            return []
        if order.held:
            defer(order, fill)
            return []
        known = None if order.entries is None else order.entries.get(fill.entry_id)
        side = side_of(fill.side)
        qty = base_qty(fill)
        if known in (0, TAKEN_BACK):
            self.duplicate_fills += 1
            return []
        if side is None or qty is None or not fill.commission.is_finite():
            self.unreadable_fills += 1
            self._unreadable[fill.order_id] = (
                f"fill {fill.entry_id[:64]}: side {fill.side[:16]!r}, size {fill.size}, price {fill.price}, "
                f"commission {fill.commission}"
            )
            return []
        is_exit = order.attachment is not None
        if is_exit and known is None and (put_off := self._put_off(order, fill, qty, ts_recv_ns)) is not None:
            return put_off
        said = hash((side, qty, fill.price, fill.commission)) or 1
        if known == said:
            self.duplicate_fills += 1
            return []
        ts_ns = self._time(fill.trade_time) or ts_recv_ns
        is_part = not order.ours and (ts_ns < self.since_ns or fill.entry_id in self._part)
        if order.unnamed_qty and known is None and (is_part or (order.ours and order.found)):
            # Perhaps counted when it was found: that is known when all of the order's are read (``recall``).
            if not is_part:
                self._wanted[fill.order_id] = None
            return []
        if order.found and known is None and not is_part and not is_exit and fill.entry_id in self._told_before:
            return self._book_of_others(order, fill.entry_id, qty, ts_ns, ts_recv_ns)  # before the order was found
        if order.entries is None:
            order.entries = {}
        order.entries[fill.entry_id] = said
        base, _, quote = instrument.partition("@")[0].rpartition("/")
        told = OrderFilled(
            ts_ns, ts_recv_ns, self.venue, order.client_order_id, fill.order_id, fill.entry_id, instrument,
            side, qty, fill.price, fill.commission, quote,
            LIQUIDITY.get(fill.liquidity_indicator, Liquidity.UNKNOWN),
        )  # fmt: skip
        if known is not None:
            # Told again with other values: the first ones stand, and whoever keeps the books hears of it once.
            self.conflicting_fills += 1
            return [] if is_part else [told]
        if self.booked_entries is not None:
            self.booked_entries[fill.entry_id] = fill
        order.booked_qty += qty
        order.unnamed_qty += qty if order.unnamed_qty else ZERO
        is_near = self._doubtful_ns[0] <= ts_ns <= self._doubtful_ns[1]
        if is_near and not order.ours and fill.entry_id not in self._part:
            self.doubtful = f"fill {fill.entry_id[:64]} of {fill.trade_time[:40]} came while the balances were read"
        events: list[InputEvent] = []
        if not is_part:
            self._accept(order, fill.order_id, ts_ns, ts_recv_ns, events)
            for currency, amount in moves(fill, base, quote):
                self.moved[currency] = self.moved.get(currency, Decimal(0)) + amount
            if is_exit and (self._resize(order) or order.is_spent):
                self._tell_exit(order, ts_ns, ts_recv_ns, events)
            events.append(told)
        elif order.told is not None:
            order.told = msgspec.structs.replace(
                order.told, ts_event_ns=ts_recv_ns, ts_recv_ns=ts_recv_ns, filled_qty=order.booked_qty
            )
            events.append(order.told)
        self._tell_end(order, ts_ns, ts_recv_ns, events)
        self._follow_entry(order, ts_ns, ts_recv_ns, events)
        return events

    def fills_read(self, venue_order_id: str, ts_recv_ns: int, *, after_end: bool = False) -> list[InputEvent]:
        """The listing of an order's fills was read to its end, and asked for ``after_end`` was seen, as its record was:
        an end that only waited for them can be told.  Of one with an entry that made no sense, and no claim that says
        what it has filled, it cannot."""
        order = self._by_venue.get(venue_order_id)
        events: list[InputEvent] = []
        if order is not None:
            is_unclear = venue_order_id in self._unreadable and not order.claimed_qty
            order.is_end_unread = order.is_end_unread and (is_unclear or not after_end)
            self._tell_end(order, ts_recv_ns, ts_recv_ns, events)
            self._follow_entry(order, ts_recv_ns, ts_recv_ns, events)
        return events

    def _put_off(self, order: Tracked, fill: Fill, qty: Decimal, ts_recv_ns: int) -> list[InputEvent] | None:
        """Of an exit an execution that is not to be told as its own, or not yet; None: it is to be told now."""
        is_told, ts_ns = fill.entry_id in self._told_before, self._time(fill.trade_time) or ts_recv_ns
        if order.unnamed_qty and order.others_qty:
            is_before = not order.is_adopted and (ts_ns < self.since_ns or fill.entry_id in self._part)
            if is_told or is_before:  # perhaps counted when it was found as somebody else's (``recall``)
                self._wanted[fill.order_id] = None
                return []
        if is_told:
            return self._book_of_others(order, fill.entry_id, qty, ts_ns, ts_recv_ns)
        if not self._may_tell(order, qty, ts_recv_ns):
            defer(order, fill)
            return []
        return None

    # --- transitions --------------------------------------------------------------------------------------------

    def _find(self, client_order_id: str, venue_order_id: str) -> Tracked:
        order = self._by_venue.get(venue_order_id) or self._by_client.get(client_order_id)
        attachment = self.attachments.of_exit(venue_order_id)
        if (
            order is not None
            and order.venue_order_id not in ("", venue_order_id)
            and self.attachments.of(client_order_id)
        ):
            order, client_order_id = None, ""  # an exit that goes by its entry's name
        if order is None and attachment is not None:
            order = self._by_client[attachment.name] = Tracked(attachment.name, True, instrument=attachment.instrument)
            order.attachment = attachment
        if order is None:
            # Not sent by this session.  Orders made by hand may lack a client id: the venue's id stands in.
            name = client_order_id or venue_order_id
            order = self._by_client[name] = Tracked(name, False)
        return order

    def _accept(
        self, order: Tracked, venue_order_id: str, ts_event_ns: int, ts_recv_ns: int, events: list[InputEvent]
    ) -> None:
        if not order.venue_order_id:
            self._bind(order, venue_order_id)
        if not order.accepted and order.attachment is not None:
            self._tell_exit(order, ts_event_ns, ts_recv_ns, events)
        elif not order.accepted:
            self._reopen(order)
            order.accepted = True
            order.changed_ns = ts_recv_ns
            self._follow_version(order)
            events.append(OrderAccepted(ts_event_ns, ts_recv_ns, self.venue, order.client_order_id, venue_order_id))

    def _follow_version(self, order: Tracked) -> None:
        """Somebody may change it by hand: perhaps before anything was heard of it, as what it has filled may show."""
        intent, is_adopted = order.intent, order.is_adopted
        if intent is None or intent.order_type is not OrderType.LIMIT or not intent.may_rest:
            return
        if order.end and (order.end != "FILLED" or order.claimed_qty == intent.qty):
            return
        if not self.versions.is_known(order.venue_order_id):
            version = Version(intent.qty, intent.limit_px)
            self.versions.follow(order.client_order_id, order.venue_order_id, version, is_doubtful=is_adopted)
            if is_adopted:
                self._doubted[order.client_order_id] = None  # nobody has listened since it was sent

    def _close(self, order: Tracked) -> None:
        super()._close(order)
        self.versions.ended(order.venue_order_id)

    def _reopen(self, order: Tracked) -> None:
        """Evidence that an order exists overrules an earlier "it never arrived"."""
        if order.closed and order.end == "FAILED" and not order.accepted and order.attachment is None:
            order.closed, order.end = False, ""
            self._ended.pop(order.client_order_id, None)

    def _doubt_end(self, order: Tracked, ts_recv_ns: int) -> None:
        """An order that has filled as far as an earlier session knew is shown as open: it may have been made larger.
        It lives on where a look-up of it alone has shown that."""
        intent, order_id = order.intent, order.venue_order_id
        if intent is None or intent.order_type is not OrderType.LIMIT or not intent.may_rest:
            return
        if order.attachment is not None or not order.accepted or order.booked_qty < intent.qty:
            return
        if self.versions.take_revived(order_id):
            order.closed, order.end, order.is_behind = False, "", True
            self._ended.pop(order.client_order_id, None)
        elif not self.versions.is_known(order_id):
            version = Version(max(intent.qty, order.booked_qty), intent.limit_px)
            self.versions.doubt_end(order.client_order_id, order_id, version, ts_recv_ns)
            self._doubted[order.client_order_id] = None

    def _tell_end(self, order: Tracked, ts_event_ns: int, ts_recv_ns: int, events: list[InputEvent]) -> None:
        if not order.end or order.closed or wants_fills(order):
            return
        if order.attachment is not None and not order.accepted:
            if order.is_spent:
                self._leave_to_others(order, ts_recv_ns, events)
            return  # nobody has heard of it yet
        args = (ts_event_ns, ts_recv_ns, self.venue, order.client_order_id)
        if order.end == "FILLED" and order.attachment is not None and order.size_qty > order.booked_qty:
            order.size_qty = order.booked_qty  # nobody had said how large it was
            self._tell_exit(order, ts_event_ns, ts_recv_ns, events)
        if order.end == "CANCELLED":
            events.append(OrderCancelled(*args, order.venue_order_id, order.end_reason))
        elif order.end == "EXPIRED":
            events.append(OrderExpired(*args, order.venue_order_id))
        elif order.end == "FAILED" and order.booked_qty > 0:
            # It did exist and did trade: what ended is the rest of it.
            events.append(OrderCancelled(*args, order.venue_order_id, f"failed: {order.end_reason}".rstrip(": ")))
        elif order.end == "FAILED":
            # Also after an acceptance: accepted is not live (a post-only order that would cross fails afterwards).
            events.append(OrderRejected(*args, *told_end(order.end_reason)))
        elif order.end == "FILLED" and (order.found or ZERO < order.booked_qty <= order.others_qty):
            # Executions that were told before it was found, by this session or an earlier one, do not fill it anew; nor
            # do those of an exit that were told as somebody else's, where nothing else fills it.
            events.append(OrderCancelled(*args, order.venue_order_id, "it has filled"))
        self._close(order)
        self._follow_entry(order, ts_event_ns, ts_recv_ns, events)
